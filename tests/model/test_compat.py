"""Faults of the release, asked for by name: each does what the release does, and nothing without its name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.collate import collate
from model.config import COMPAT
from model.example import Example, Outline, load, outline, question
from model.predict import generate
from model.regions import grids_of
from model.ufvideo import UFVideo
from shards.stream import Draw
from tests.model.small_clips import block, clip, draw, masklet, record, regions, sample

TWO = record(sample("<video>\nWhere?", "<Seg> and <Seg>.", targets=((0,), (2,))))
SHOWN = record(
    sample("<video>\nWhere does <Ref> go, and <Ref>?", "Here.", regions=regions((7,), (9,))),
    masklets=[masklet(0, (3, 7)), masklet(1, range(20))],
)


@pytest.fixture(scope="module")
def loaded(clip_config, clip_words) -> Callable[..., Example]:
    def read(drawn: Draw, *compat: str) -> Example:
        config = replace(clip_config, compat=compat)
        return load(outline(drawn, config, clip_words, seed=0), config)

    return read


def test_masks_are_stacked_by_object_and_predictions_by_frame(loaded, clip_config, clip_words):
    """D1. Row t · n + o of four frames and two objects meets object i // 4 on frame i % 4."""
    plain, stacked = loaded(draw(TWO)), loaded(draw(TWO), "object_order")
    assert stacked.outline.masks == plain.outline.masks
    frames = sorted({frame for _, frame in plain.outline.masks})
    assert list(plain.outline.masks) == [(o, frame) for frame in frames for o in (0, 1)]
    for row, mask in enumerate(stacked.masks):
        np.testing.assert_array_equal(mask.numpy(), block((0, 2)[row // 4], frames[row % 4]))
    batches = [collate([one], clip_config, clip_words.pad) for one in (plain, stacked)]
    assert torch.equal(batches[0].mask_object_M, batches[1].mask_object_M)


REFERENCE = {"annotated": [9, 17, 33, 40, 52], "region": 33, "pictures": [40, 9, 17, 52], "masks": [17, 33, 40, 52]}
"""Of the release's own Dataset (D4): the region frame 33 met the mask of frame 9, pictures these masks."""


def test_pictures_come_in_the_order_of_a_set_and_masks_ascend(clip_config, clip_words):
    long = record(
        sample("<video>\nWhere does <Ref> go?", "To <Seg>.", regions=regions((9,)), targets=((0,),)),
        shows=clip(num_frames=60),
        masklets=[masklet(0, REFERENCE["annotated"])],
    )
    config = replace(clip_config, compat=("frame_order",))
    plan = outline(draw(long), config, clip_words, seed=0)
    plan = replace(plan, masks=tuple((0, frame) for frame in REFERENCE["masks"]))
    example = load(plan, config)
    assert example.outline.regions == ((0, (REFERENCE["region"],)),)
    assert [frame for _, frame in example.outline.masks] == REFERENCE["pictures"]
    for frame, mask in zip(REFERENCE["masks"], example.masks, strict=True):
        np.testing.assert_array_equal(mask.numpy(), block(0, frame))
    grid = grids_of(torch.from_numpy(block(0, 9))[None].float(), config.grid)
    assert torch.equal(example.grids[0], grid)
    assert set(example.mask_pixels) == set(REFERENCE["pictures"])
    assert REFERENCE["region"] in example.frames


def test_an_object_on_one_frame_is_pooled_under_the_first_mask_of_all(loaded, clip_config):
    """D3: the picture of frame 7, under the mask of frame 3; and any other object under the same."""
    plain, first = loaded(draw(SHOWN)), loaded(draw(SHOWN), "first_mask")
    assert first.outline.regions == plain.outline.regions
    grid = grids_of(torch.from_numpy(block(0, 3))[None].float(), clip_config.grid)
    assert all(torch.equal(one, grid) for one in first.grids)
    assert not any(torch.equal(one, grid) for one in plain.grids)
    several = record(sample("<video>\nWhat does <Ref> do?", "It runs.", regions=regions((2, 5))))
    for one, other in zip(loaded(draw(several)).grids, loaded(draw(several), "first_mask").grids, strict=True):
        assert torch.equal(one, other), "the release shows several frames as they are"


@torch.no_grad()
def test_a_target_is_prompted_by_the_state_one_step_before(clip_model, clip_config, clip_words):
    """D2: state k - 1 for token k; nothing for a first word."""
    early = UFVideo(replace(clip_config, compat=("seg_state",))).eval()
    early.load_state_dict(clip_model.state_dict())
    example = load(question(draw(TWO), 0, clip_config, clip_words), clip_config)
    batch = collate([example], clip_config, clip_words.pad)
    word, seg, end = clip_words.encode("a")[0], clip_words.seg, clip_words.im_end

    def said(model: UFVideo, *ids: int) -> list[torch.Tensor]:
        script = [*ids, end]
        head = model.language.lm_head
        one_hot = torch.nn.functional.one_hot
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(head, "forward", lambda _: one_hot(torch.tensor([script.pop(0)]), len(clip_words)).float())
            return generate(model, batch, clip_words, 9)[1]

    assert said(early, seg) == []
    right, before = said(clip_model, word, seg, seg), said(early, word, seg, seg)
    assert len(right) == len(before) == 2
    torch.testing.assert_close(before[1], right[0])
    assert not torch.allclose(before[0], right[0], atol=1e-3)


def test_answering_has_none_of_the_faults_of_training(clip_config, clip_words):
    config = replace(clip_config, compat=COMPAT)
    plans: list[Outline] = [question(draw(SHOWN), 0, one, clip_words) for one in (clip_config, config)]
    grids = [load(plan, config).grids for plan in plans]
    assert all(torch.equal(one, other) for one, other in zip(*grids, strict=True))
