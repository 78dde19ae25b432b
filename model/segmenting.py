"""Pictures come, masks go: the objects that a model has said, on as many frames as there are, a few at a time.

Without memory each frame is segmented by itself; with it they are followed from the first picture on, and what is kept
of the frames before does not grow. Where the object score is in use, an object that is not seen has an empty mask.

Shapes: N objects, S frames at once, D language width, C mask width, Z pixels of a mask frame's side.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from model.example import Pixels, resized
from model.memory import Track
from model.pixels import for_masks
from model.segmentation import upsampled
from model.ufvideo import UFVideo

Bitmap = np.ndarray[Any, np.dtype[np.bool_]]
FRAMES_AT_ONCE: Final = 16
"""Frames that are encoded together."""


def begin(model: UFVideo, states_ND: Tensor, at: int = 0) -> Track:
    """The objects of these states on their way from frame ``at`` on. Only for a model with memory."""
    return Track(model.segmentation.sam2, model.segmentation.project(states_ND), at)


def segment(
    model: UFVideo, states_ND: Tensor, pictures: Iterable[Pixels], track: Track | None = None
) -> Iterator[Bitmap]:
    """For each picture the masks of all objects, [N, height, width]; the pictures have one size.

    With memory the first picture is the prompted one, unless a ``track`` brings what came before.
    """
    if model.config.memory and track is None:
        track = begin(model, states_ND)
    coming = iter(pictures)
    while part := list(islice(coming, FRAMES_AT_ONCE)):
        size = part[0].shape[0], part[0].shape[1]
        for logits_NHW, presence_N in _answers(model, states_ND, part, track):
            seen_NHW = upsampled(logits_NHW, size) > 0
            if model.config.object_score:
                seen_NHW &= (presence_N > 0)[:, None, None]
            yield seen_NHW.cpu().numpy()


def _answers(
    model: UFVideo, states_ND: Tensor, pictures: list[Pixels], track: Track | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """(mask logits [N, Z, Z], presence [N]) of each picture."""
    device, side = states_ND.device, model.config.mask_image_size
    small = torch.from_numpy(np.stack([resized(picture, side) for picture in pictures])).to(device)
    num_objects, num_frames = len(states_ND), len(pictures)
    if track is not None:
        maps = model.segmentation.maps(for_masks(small))
        for t in range(num_frames):
            low_res, presence = track.step([level[t].expand(num_objects, -1, -1, -1) for level in maps])
            yield upsampled(low_res, side), presence[:, 0]
        return
    found = model.segmentation.answer(
        states_ND,
        for_masks(small),
        torch.arange(num_frames, device=device).repeat_interleave(num_objects),
        torch.arange(num_objects, device=device).repeat(num_frames),
    )
    shape = (num_frames, num_objects)
    yield from zip(found.logits_MZZ.unflatten(0, shape), found.presence_M.unflatten(0, shape), strict=True)
