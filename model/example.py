"""One draw of the stream as the model wants it, in two steps: the words and the choice of frames, then the pixels.

``outline`` reads no media, so a whole global step can be counted before its first frame is decoded; ``load`` decodes.
A sample that does not fit is an error that names its key; nothing is cut and nothing takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.config import ModelConfig
from model.conversation import Conversation, encode_turns, prompt_for
from model.frames import annotated_frames, clip_frames, mask_frames, region_frames
from model.losses import Counts
from model.regions import grids_of
from model.tokenizer import Tokenizer
from shards import rle
from shards.record import Record, Region
from shards.stream import Draw
from shards.tokens import REF, SEG

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

MAX_TEXT_TOKENS: Final = 2048
"""Tokens of the conversation before the clip's are inserted (release, ``model_max_length``; it cuts, we refuse)."""


class SampleError(ValueError):
    """A sample cannot be used as it is; the message begins with its key and ends with a remedy."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Everything about an example but its pixels.

    ``clip`` holds T frame indices (none for text), ``regions`` (masklet, frames) of each object shown, ``masks``
    (object, frame) of each mask to be predicted, ``mask_weight`` how many of the asked frames each stands for.
    ``compat``: faults of the release that its pixels are to have (``ModelConfig.compat``).
    """

    draw: Draw
    words: Conversation
    clip: tuple[int, ...]
    regions: tuple[tuple[int, tuple[int, ...]], ...]
    masks: tuple[tuple[int, int], ...]
    mask_weight: float
    compat: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.draw.sample.key

    @property
    def counts(self) -> Counts:
        """Supervised tokens, and masks by weight."""
        return Counts(float(sum(self.words.learned)), len(self.masks) * self.mask_weight)


@dataclass(frozen=True, slots=True)
class Example:
    """An outline with its pixels: frames [H, W, 3] uint8 by index, region grids, masks [height, width] uint8."""

    outline: Outline
    frames: dict[int, Pixels]
    grids: tuple[Tensor, ...]
    mask_pixels: dict[int, Pixels]
    masks: tuple[Tensor, ...]


def outline(
    draw: Draw,
    config: ModelConfig,
    tokenizer: Tokenizer,
    *,
    seed: int,
    max_text_tokens: int | None = MAX_TEXT_TOKENS,
) -> Outline:
    """The words and frames of a draw. Mask frames follow from (seed, epoch, repetition, record, window).

    ``max_text_tokens`` None: any length will do. Raises SampleError.
    """
    try:
        words = encode_turns(draw.turns, tokenizer)
        _check(draw, words, max_text_tokens)
        masks, weight = _masks(draw, config, seed)
    except ValueError as error:
        raise SampleError(f"{draw.sample.key}: {error}") from None
    regions = _regions(draw.sample.regions, config)
    return Outline(draw, words, _clip(draw, config), regions, masks, weight, config.compat)


def question(draw: Draw, number: int, config: ModelConfig, tokenizer: Tokenizer) -> Outline:
    """What the model is given before its answer ``number``: the true turns so far, nothing to learn, no masks.

    Raises ValueError where there is no such question.
    """
    words = prompt_for(draw.turns, number, tokenizer)
    silent = replace(words, learned=(False,) * len(words.ids), segs=())
    shown = draw.sample.regions[: len(words.refs)]
    return Outline(draw, silent, _clip(draw, config), _regions(shown, config), (), 1.0)


def _check(draw: Draw, words: Conversation, max_text_tokens: int | None) -> None:
    """Raise ValueError, with a remedy, for words that are too many or do not go with what is attached to them."""
    sample, kind = draw.sample, draw.record.clip.kind
    if max_text_tokens is not None and len(words.ids) > max_text_tokens:
        raise ValueError(
            f"its conversation has {len(words.ids)} tokens, {max_text_tokens} are allowed; raise "
            "`max_text_tokens` of [train], or leave it out of the mixture by entry, task or tag"
        )
    for token, found, attached in (
        (REF, len(words.refs), len(sample.regions)),
        (SEG, len(words.segs), len(sample.targets or ())),
    ):
        if found != attached:
            raise ValueError(f"{found} {token} stand for {attached} objects; run `multigrain verify` on the corpus")
    if (words.media_at is None) != (kind == "none"):
        start = "without" if words.media_at is None else "with"
        raise ValueError(
            f"its clip is of kind {kind!r}, its conversation begins {start} <image> or <video>; run "
            "`multigrain verify` on the corpus"
        )


def _clip(draw: Draw, config: ModelConfig) -> tuple[int, ...]:
    clip = draw.record.clip
    return tuple(clip_frames(clip, draw.sample, config.num_frames)) if clip.kind != "none" else ()


def _regions(regions: Sequence[Region], config: ModelConfig) -> tuple[tuple[int, tuple[int, ...]], ...]:
    return tuple((region.masklet, tuple(region_frames(region, config.max_region_frames))) for region in regions)


def _masks(draw: Draw, config: ModelConfig, seed: int) -> tuple[tuple[tuple[int, int], ...], float]:
    """The (object, frame) pairs to predict, frame by frame, and the weight of each."""
    sample, record = draw.sample, draw.record
    if not sample.targets:
        return (), 1.0
    key = f"masks/{seed}/{draw.epoch}/{draw.repetition}/{record.key}/{sample.window}"
    frames = mask_frames(record, sample, config.num_mask_frames, key)
    known = [annotated_frames(record, target) if target else set(frames) for target in sample.targets]
    pairs = tuple((o, frame) for frame in frames for o in range(len(sample.targets)) if frame in known[o])
    return pairs, config.num_mask_frames / len(frames)


def load(plan: Outline, config: ModelConfig) -> Example:
    """The example with its pixels. Raises CorpusError, naming record and shard, for media that cannot be read."""
    record, seen = plan.draw.record, _in_set_order(plan)
    wanted = sorted({*seen.clip, *(frame for _, frames in seen.regions for frame in frames)})
    predicted = sorted({frame for _, frame in seen.masks})
    indices = sorted({*wanted, *predicted})
    pictures = dict(zip(indices, plan.draw.frames(indices), strict=True)) if indices else {}
    return Example(
        seen,
        frames={frame: resized(pictures[frame], config.image_size) for frame in wanted},
        grids=tuple(_grids(record, masklet, frames, config.grid) for masklet, frames in _masks_shown(plan)),
        mask_pixels={frame: resized(pictures[frame], config.mask_image_size) for frame in predicted},
        masks=tuple(target_mask(plan.draw, target, frame) for target, frame in _masks_stacked(plan)),
    )


def _masks_stacked(plan: Outline) -> list[tuple[int, int]]:
    """The (object, frame) whose mask is laid to each pair of the outline, which go frame by frame.

    The release stacks masks object by object and predictions frame by frame (``compat`` "object_order", its D1).
    """
    return sorted(plan.masks) if "object_order" in plan.compat else list(plan.masks)


def _masks_shown(plan: Outline) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """The (masklet, frames) under whose masks each object is pooled.

    Where objects are shown on one frame the release takes the first one's first mask for it (``compat`` "first_mask",
    its D3).
    """
    if "first_mask" not in plan.compat or any(len(frames) != 1 for _, frames in plan.regions):
        return plan.regions
    masklets = plan.draw.record.masklets
    return tuple((plan.regions[0][0], (min(masklets[plan.regions[0][0]].rles),)) for _ in plan.regions)


def _in_set_order(plan: Outline) -> Outline:
    """The outline with the frames whose pictures are seen.

    Where a sample shows objects and asks for masks, the release takes the pictures of the annotated frames in the
    order of a Python set and their masks in ascending order (``compat`` "frame_order", its D4).
    """
    if "frame_order" not in plan.compat or not (plan.regions and plan.masks):
        return plan
    annotated = sorted({*(f for _, frames in plan.regions for f in frames), *(f for _, f in plan.masks)})
    seen = dict(zip(annotated, list(set(annotated)), strict=True))
    regions = tuple((masklet, tuple(seen[frame] for frame in frames)) for masklet, frames in plan.regions)
    return replace(plan, regions=regions, masks=tuple((target, seen[frame]) for target, frame in plan.masks))


def resized(picture_HWC: Pixels, side: int) -> Pixels:
    """The picture at [side, side, 3], bicubic, its aspect given up (release, SigLIP processor and SAM transform)."""
    return np.asarray(Image.fromarray(picture_HWC).resize((side, side), Image.Resampling.BICUBIC))


def _grids(record: Record, masklet: int, frames: Sequence[int], grid: int) -> Tensor:
    """The object's masks on the patch grid, bool [frames, G, G]."""
    clip, rles = record.clip, record.masklets[masklet].rles
    masks = np.stack([rle.decode(rles[frame], clip.height, clip.width) for frame in frames])
    return grids_of(torch.from_numpy(masks), grid)


def target_mask(draw: Draw, target: int, frame: int) -> Tensor:
    """Target number ``target`` on a frame, uint8 [height, width]: the union of its masklets, empty for none."""
    clip, masklets = draw.record.clip, draw.record.masklets
    mask = np.zeros((clip.height, clip.width), bool)
    for index in (draw.sample.targets or ())[target]:
        mask |= rle.decode(masklets[index].rles[frame], clip.height, clip.width)
    return torch.from_numpy(mask.astype(np.uint8))
