"""One draw of the stream as the model wants it, in two steps: the words and the choice of frames, then the pixels.

``outline`` reads no media, so a whole global step can be counted before its first frame is decoded; ``load`` decodes.
A sample that does not fit is an error that names its key; nothing is cut and nothing takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.config import ModelConfig
from model.conversation import Conversation, encode_turns
from model.frames import annotated_frames, clip_frames, mask_frames, region_frames
from model.losses import Counts
from model.regions import grids_of
from model.tokenizer import Tokenizer
from shards import rle
from shards.record import Record, Turns
from shards.stream import Draw

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
    """

    draw: Draw
    words: Conversation
    clip: tuple[int, ...]
    regions: tuple[tuple[int, tuple[int, ...]], ...]
    masks: tuple[tuple[int, int], ...]
    mask_weight: float

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
    max_text_tokens: int = MAX_TEXT_TOKENS,
    turns: Turns | None = None,
) -> Outline:
    """The words and frames of a draw. Mask frames follow from (seed, epoch, repetition, record, window).

    Raises SampleError. ``turns`` replaces the draw's own rendering.
    """
    sample, record = draw.sample, draw.record
    try:
        words = encode_turns(draw.turns if turns is None else turns, tokenizer)
        if len(words.ids) > max_text_tokens:
            raise ValueError(
                f"its conversation has {len(words.ids)} tokens, {max_text_tokens} are allowed; raise "
                "`max_text_tokens` of [train], or leave it out of the mixture by entry, task or tag"
            )
        for token, found, attached in (
            ("<Ref>", len(words.refs), len(sample.regions)),
            ("<Seg>", len(words.segs), len(sample.targets or ())),
        ):
            if found != attached:
                raise ValueError(f"{found} {token} stand for {attached} objects; run `multigrain verify` on the corpus")
        if (words.media_at is None) != (record.clip.kind == "none"):
            start = "without" if words.media_at is None else "with"
            raise ValueError(
                f"its clip is of kind {record.clip.kind!r}, its conversation begins {start} <image> or <video>; run "
                "`multigrain verify` on the corpus"
            )
        clip = tuple(clip_frames(record.clip, sample, config.num_frames)) if record.clip.kind != "none" else ()
        masks, weight = _masks(draw, config, seed)
    except ValueError as error:
        raise SampleError(f"{sample.key}: {error}") from None
    regions = tuple(
        (region.masklet, tuple(region_frames(region, config.max_region_frames))) for region in sample.regions
    )
    return Outline(draw, words, clip, regions, masks, weight)


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
    record = plan.draw.record
    wanted = sorted({*plan.clip, *(frame for _, frames in plan.regions for frame in frames)})
    predicted = sorted({frame for _, frame in plan.masks})
    indices = sorted({*wanted, *predicted})
    pictures = dict(zip(indices, plan.draw.frames(indices), strict=True)) if indices else {}
    return Example(
        plan,
        frames={frame: resized(pictures[frame], config.image_size) for frame in wanted},
        grids=tuple(_grids(record, masklet, frames, config.grid) for masklet, frames in plan.regions),
        mask_pixels={frame: resized(pictures[frame], config.mask_image_size) for frame in predicted},
        masks=tuple(target_mask(plan.draw, target, frame) for target, frame in plan.masks),
    )


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
