"""Parity with the official code (UFVideo d1dbdd4) before the model: pixels, masks, choice of frames; golden case e.

Everything is equal to the last bit, on the CPU and Pillow of the case. The page of parity, docs/parity.md, is run here.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.example import resized
from model.frames import evenly
from model.pixels import for_masks, for_vision
from shards import rle
from tests.model import test_golden
from tests.model.conftest import CHECKPOINT_PREFIXES

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"


@pytest.fixture(scope="module")
def case_e(golden):
    return golden("e_preprocess")


def scaled(case, side: int) -> Tensor:
    return torch.tensor(resized(case.tensors["in.image_u8"].numpy(), side))


@pytest.mark.parametrize("side", [56, 98])
def test_the_vision_tower_sees_the_references_pixels(case_e, side):
    assert torch.equal(for_vision(scaled(case_e, side)[None])[0], case_e.tensors[f"out.siglip{side}"])


def test_the_mask_encoder_sees_the_references_pixels(case_e):
    picture = scaled(case_e, 128)
    assert torch.equal(picture, case_e.tensors["out.sam128_u8"])
    assert torch.equal(for_masks(picture[None])[0], case_e.tensors["out.sam128"])


@pytest.mark.parametrize(("annotation", "mask"), [("rle", "rle"), ("uncompressed_rle", "rle"), ("polygon", "polygon")])
def test_every_kind_of_mask_is_read_as_the_reference_reads_it(case_e, annotation, mask):
    height, width = case_e.about["height"], case_e.about["width"]
    bitmap = rle.decode(rle.from_coco(case_e.about[annotation], height, width), height, width)
    assert np.array_equal(bitmap, case_e.tensors[f"out.mask_from_{mask}"].numpy())
    assert bitmap.any()


def test_a_mask_is_written_as_the_reference_writes_it(case_e):
    counts, mask = case_e.about["rle"]["counts"], case_e.tensors["out.mask_from_rle"].numpy()
    assert rle.encode(mask) == counts
    assert rle.from_coco(case_e.about["uncompressed_rle"], *mask.shape) == counts


def test_the_frames_are_the_references(case_e):
    tables = {(int(n), int(d)): want for n, row in case_e.about["frame_indices"].items() for d, want in row.items()}
    assert len(tables) == 64
    assert {key: evenly(*key) for key in tables} == tables


# ------------------------------------------------------------------------------------------ docs/parity.md


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page's blocks leave behind, run one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 8
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    with torch.no_grad():
        for number, block in enumerate(blocks):
            exec(compile(block, f"docs/parity.md, block {number}", "exec"), names)
    return names


def test_the_blocks_of_the_page_run_and_give_what_they_say(page):
    config = page["config"]
    assert page["visual"].shape == (1, config.visual_tokens, config.width)
    assert page["there"].sum(1).tolist() == [2, 1]
    assert page["features"].shape == (5, config.grid**2, config.vision_width)
    assert page["mask_logits"].shape == page["object_major"].shape == (8, 128, 128)
    assert torch.equal(page["object_major"][5], page["mask_logits"][1 * 2 + 1])
    torch.testing.assert_close(page["followed"][:2], page["mask_logits"][:2], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(page["followed"][2:], page["mask_logits"][2:], atol=1e-2)
    assert page["output"].logits_CW.shape == (4, 361)
    assert torch.allclose(page["logits"][0, page["batch"].learned_column_C], page["output"].logits_CW, atol=1e-5)
    assert page["losses"].total.isfinite()


def test_the_config_of_the_page_is_that_of_the_golden_cases(page):
    assert page["config"] == test_golden.CONFIG


def test_the_names_of_the_page_are_those_that_are_read(page):
    rows = dict(re.findall(r"^\| `([a-z0-9_.]+\.)` \| `([a-z0-9_.]+\.)` \|$", PAGE.read_text(), re.MULTILINE))
    assert CHECKPOINT_PREFIXES.items() <= rows.items()
    weights = set(page["weights"])
    for theirs, ours in rows.items():
        read = {page["our_name"](name) for name in weights if name.startswith(theirs)}
        assert read == {name for name in page["model"].state_dict() if name.startswith(ours)} != set(), theirs
