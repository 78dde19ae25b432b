"""SAM 2's memory: objects that were prompted on one frame are followed over the others, one frame at a time.

The prompt conditions the first frame only. Every frame's mask is encoded as a memory; the next frames attend to the
prompted frame's, to those of the ``memory_frames`` - 1 frames just before, and to the pointers of up to 15 frames
(Ravi et al., arXiv 2408.00714, section 4; sam2 1.1, ``SAM2Base.track_step``, whose two halves are called here because
the whole drops the scores while it trains). Gradients flow back through all of it.

Shapes: N objects, M pairs of a frame and an object, T frames of the object with most, C mask width, Z pixels of a mask
frame's side.
"""

import sys
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from model.sam2_modules import LANGUAGE, LanguageSAM2

ENDLESS: Final = sys.maxsize
"""Frames of a clip. SAM 2.1 measures the times of pointers by the clip's length up to 16 frames; a model that trains on
four frames and follows an object over hundreds wants one measure for both."""
NOTHING: Final = -1
"""In a table of places: the object has no such frame."""


def in_time(object_M: Tensor, num_objects: int) -> Tensor:
    """The pairs of each object, int64 [N, T], -1 behind its last; pairs of an object ascend in time. Reads values."""
    pairs: list[list[int]] = [[] for _ in range(num_objects)]
    for pair, number in enumerate(object_M.tolist()):
        pairs[number].append(pair)
    most = max(map(len, pairs), default=0)
    filled = [[*own, *[NOTHING] * (most - len(own))] for own in pairs]
    return torch.tensor(filled, dtype=torch.int64).reshape(num_objects, most)


def by_pair(values_NT: Tensor, place_NT: Tensor, num_pairs: int) -> Tensor:
    """What stands at each pair's place: [N, T, …] → [M, …]."""
    row_NT = torch.where(place_NT < 0, num_pairs, place_NT)  # one row more, for the places without a pair
    rows = values_NT.new_zeros(num_pairs + 1, *values_NT.shape[2:])
    return rows.index_put((row_NT.flatten(),), values_NT.flatten(0, 1))[:num_pairs]


@dataclass(slots=True)
class Track:
    """N objects on their way through a clip; ``at`` is the index of the next frame, not below 0.

    Of older frames nothing is kept, so a clip may be as long as it likes.
    """

    sam2: LanguageSAM2
    prompts_NC: Tensor
    at: int = 0
    backwards: bool = False
    prompted: dict[int, dict[str, Any]] = field(default_factory=dict)
    followed: dict[int, dict[str, Any]] = field(default_factory=dict)

    def step(self, levels: list[Tensor], remember: bool = True) -> tuple[Tensor, Tensor]:
        """(mask logits [N, Z/4, Z/4], presence [N, 1]) on the next frame of the way; the first one is prompted.

        ``levels`` are the frame's fine, middle and coarse features for each object. Without ``remember`` the frame
        leaves no memory, as the last one needs none.
        """
        index, first = self.at, not self.prompted
        self.at += -1 if self.backwards else 1
        places = [level.flatten(2).permute(2, 0, 1) for level in levels]
        sizes = [tuple(level.shape[-2:]) for level in levels]
        _, told, _, _ = self.sam2._track_step(
            frame_idx=index,
            is_init_cond_frame=first,
            current_vision_feats=places,
            current_vision_pos_embeds=[self._positions(levels[-1])],
            feat_sizes=sizes,
            point_inputs=self._prompt() if first else None,
            mask_inputs=None,
            output_dict={"cond_frame_outputs": self.prompted, "non_cond_frame_outputs": self.followed},
            num_frames=ENDLESS,
            track_in_reverse=self.backwards,
            prev_sam_mask_logits=None,
        )
        _, _, presence, low_res, high_res, pointer, score = told
        if remember:
            memory: dict[str, Any] = {"obj_ptr": pointer}
            self.sam2._encode_memory_in_output(places, sizes, None, True, high_res, score, memory)
            (self.prompted if first else self.followed)[index] = memory
            self._forget(index)
        return low_res, presence

    def turned(self) -> "Track":
        """The same objects from the prompted frame back to the first, with nothing in mind but that frame."""
        return Track(self.sam2, self.prompts_NC, min(self.prompted) - 1, True, self.prompted)

    def _prompt(self) -> dict[str, Tensor]:
        labels = -torch.ones(len(self.prompts_NC), 1, dtype=torch.int32, device=self.prompts_NC.device)
        return {"point_labels": labels, LANGUAGE: self.prompts_NC}

    def _positions(self, coarse: Tensor) -> Tensor:
        encoded: Tensor = self.sam2.image_encoder.neck.position_encoding(coarse[:1])
        return encoded.to(coarse.dtype).expand_as(coarse).flatten(2).permute(2, 0, 1)

    def _forget(self, index: int) -> None:
        """Drop what the frame after ``index`` does not look at: masks first, then pointers."""
        for before, memory in list(self.followed.items()):
            away = abs(index - before) + 1  # from the next frame
            if away >= self.sam2.num_maskmem:
                memory.pop("maskmem_features", None)
            if away >= max(self.sam2.num_maskmem, self.sam2.max_obj_ptrs_in_encoder):
                del self.followed[before]
