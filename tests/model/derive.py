"""Small numbers of our own, one set per golden case, so that parity is watched where the golden folder is absent.

    python -m tests.model.derive        # writes tests/model/derived.json anew

Run it only when every golden test passes, and say so in the commit: the file then holds what the code computes at
parity. The numbers are ours, from weights by formula, and none of the reference.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from model import metrics
from model.config import ModelConfig
from model.connector import STCConnector
from model.example import resized
from model.frames import evenly
from model.regions import RegionEncoder, grids_of
from model.segmentation import SegmentationHead
from model.ufvideo import UFVideo
from tests.model.conftest import even_noise, fill_by_formula, smallest_config
from tests.model.test_golden import small_batch

FILE: Final = Path(__file__).with_name("derived.json")
TAKEN: Final = 12
"""Entries of a tensor that are kept, evenly spaced."""
GRADIENTS: Final = (
    "connector.s1.b1.conv1.conv.weight",
    "connector.sampler.0.weight",
    "connector.readout.2.weight",
    "regions.feat_linear.0.weight",
    "language.model.embed_tokens.weight",
    "language.model.layers.0.self_attn.q_proj.weight",
    "language.lm_head.weight",
    "segmentation.project.0.weight",
    "segmentation.sam2.sam_mask_decoder.conv_s0.weight",
    "segmentation.sam2.sam_mask_decoder.transformer.layers.0.self_attn.v_proj.weight",
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return even_noise(int(np.prod(shape)), 7919 * seed + 1).reshape(shape).float()


def some(values: Tensor) -> list[float]:
    """A few entries, and last the mean of all sizes."""
    flat = values.detach().flatten().double()
    kept = flat[torch.linspace(0, len(flat) - 1, TAKEN).round().long()]
    return [float(f"{number:.6g}") for number in (*kept.tolist(), flat.abs().mean().item())]


def filled(module: nn.Module) -> Any:
    return fill_by_formula(module).eval()


def connector() -> dict[str, Any]:
    """Case a: an odd and an even grid."""
    built = filled(STCConnector(16, 32, 2))
    grids = {"odd": 5, "even": 4}
    return {name: some(built(noise(1, 4, side * side, 16, seed=side))) for name, side in grids.items()}


def regions() -> dict[str, Any]:
    """Case b: an object on six frames, of which two are alike, one on two, and one with an empty mask."""
    encoder = filled(RegionEncoder(16, 32, 4))
    features = noise(7, 25, 16, seed=1)
    features[3] = features[2]
    masks = torch.zeros(9, 30, 40)
    for pair in range(8):
        masks[pair, 3 * pair : 3 * pair + 9, 4 * (pair % 3) : 4 * (pair % 3) + 20] = 1
    place = torch.tensor([[0, 1, 2, 3, 4, 5], [6, 7, -1, -1, -1, -1], [8, -1, -1, -1, -1, -1]])
    tokens, there = encoder(features, torch.tensor([0, 1, 2, 3, 4, 5, 6, 0, 1]), grids_of(masks, 5), place)
    return {"counts": there.sum(1).tolist(), "tokens": some(tokens[there])}


def segmentation(config: ModelConfig) -> dict[str, Any]:
    """Case c: prompts, three masks and scores, the choice; and what no golden case has, the object score."""
    head: SegmentationHead = filled(SegmentationHead(config))
    states, frames = noise(2, config.width, seed=1), noise(3, 3, 64, 64, seed=2)
    frame, number = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 0])
    found = head.answer(states, frames, frame, number)
    told = {"masks": some(found.logits_MZZ), "presence": some(found.presence_M)}
    if config.memory:
        return told
    prompts, levels = head.project(states), head.features(frames)
    low_res, ious = head.decode([level[frame] for level in levels], prompts[number])
    chosen = {"ious": some(ious), "best": ious.argmax(1).tolist()}
    return told | {"prompts": some(prompts), "coarse": some(levels[2]), "low_res": some(low_res)} | chosen


def whole(config: ModelConfig) -> dict[str, Any]:
    """Case d: states, logits, losses, norms of gradients."""
    model, batch = fill_by_formula(UFVideo(config)), small_batch(config, noise)
    assert isinstance(model, UFVideo)
    model.train_parts()
    with torch.enable_grad():
        found = model.loss(batch, batch.counts())
        found.total.backward()
    output = model(batch)
    losses = {name: float(f"{float(getattr(found, name)):.7g}") for name in ("total", "ce", "bce", "dice")}
    norms = {name: some_norm(model.get_parameter(name)) for name in GRADIENTS}
    states = model.read(*model.embed(batch))[batch.learned_row_C, batch.learned_column_C]
    told = {"states": some(states), "logits": some(output.logits_CW), "masks": some(output.mask_logits_MZZ)}
    return {"losses": losses, "gradients": norms, **told}


def some_norm(parameter: nn.Parameter) -> float:
    assert parameter.grad is not None
    return float(f"{float(parameter.grad.norm()):.5g}")


def preprocessing() -> dict[str, Any]:
    """Case e: pixels of one picture at both sizes, by checksum and by value; masks on the grid; frame tables."""
    picture = ((noise(45, 70, 3, seed=5) + 1) * 127.5).to(torch.uint8).numpy()
    sizes = {str(side): resized(picture, side) for side in (56, 128)}
    return {
        "checksums": {side: zlib.crc32(pixels.tobytes()) for side, pixels in sizes.items()},
        "pixels": {
            side: pixels.reshape(-1)[:: len(pixels.reshape(-1)) // TAKEN].tolist() for side, pixels in sizes.items()
        },
        "grid": grids_of(noise(1, 45, 70, seed=6), 5).long().flatten().tolist(),
        "frames": {f"{count} of {total}": evenly(count, total) for count, total in ((8, 10), (32, 100), (4, 3))},
    }


def judged() -> dict[str, Any]:
    """Case f: J and F of two masks, spans, letters."""
    one, other = np.zeros((2, 40, 60), bool)
    one[5:25, 10:40], other[8:30, 12:37] = True, True
    text = "It runs from <Temp-5> to <Temp-40>, and at <Temp-99>."
    return {
        "j": metrics.jaccard(one, other),
        "f": metrics.boundary_f(one, other),
        "spans": [list(span) for span in metrics.spans_in(text, (2.0, 12.0))],
        "tiou": metrics.temporal_iou((0.1, 0.5), (0.3, 0.9)),
        "letters": [metrics.choice(said, 4) for said in ("B.", "(C) a dog", "Answer: D", "A or B", "a dog")],
    }


def numbers() -> dict[str, Callable[[], dict[str, Any]]]:
    """What is computed, by name."""
    config = smallest_config()
    remembers: Any = {"memory": True, "memory_layers": 1}
    return {
        "a connector": connector,
        "b regions": regions,
        "c segmentation": lambda: segmentation(config),
        "d whole": lambda: whole(config),
        "e preprocessing": preprocessing,
        "f metrics": judged,
        "memory of SAM 2.0": lambda: segmentation(replace(config, **remembers)),
        "memory of SAM 2.1": lambda: segmentation(replace(config, sam2_version="2.1", **remembers)),
    }


def main() -> None:
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    with torch.no_grad():
        told = {name: compute() for name, compute in numbers().items()}
    words = (
        f"By tests/model/derive.py ({versions}, CPU, one thread) on a day when all golden tests passed. Numbers of our "
        "own code from weights by formula, none of the reference; the memory of SAM 2 is in no golden case."
    )
    FILE.write_text(json.dumps({"provenance": words, **told}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
