"""The batch: what ``UFVideo.forward`` takes, as tensors that say where everything goes.

Nothing here depends on the weights, and nothing in the model depends on Python loops over samples: frames stand once
in a table whatever sample shows them, and clips, objects, prompts and masks point into it. So a prediction can never
meet another object's mask, whatever the order of frames and objects (defect D1 of the release).

Shapes: B rows, L tokens of the longest, U distinct frames, V clips, T frames of a clip, P (object, frame) pairs shown,
G patches a side, R objects shown, F frames of the object with most, Q region tokens, C supervised tokens, N ``<Seg>``,
S distinct mask frames, M (mask frame, ``<Seg>``) pairs, T also mask frames of the ``<Seg>`` with most.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses import Counts


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch. Indices are int64; ``row`` and ``column`` point into [B, L]."""

    keys: tuple[str, ...]
    """Sample keys of the rows."""

    ids_BL: Tensor
    """Token ids; any id stands where visual and region tokens go, and behind the end."""
    attends_BL: Tensor
    """Bool: a token, not filling."""

    frames_UHWC: Tensor
    """Uint8 RGB at the vision tower's size."""
    clip_frame_VT: Tensor
    """Rows of ``frames_UHWC``."""
    clip_row_V: Tensor
    clip_column_V: Tensor
    """Where the first visual token of the clip stands."""

    region_frame_P: Tensor
    """Rows of ``frames_UHWC``."""
    region_grid_PGG: Tensor
    """Bool: the object's mask on the patch grid."""
    region_place_RF: Tensor
    """Pairs of each object in time; -1 behind the last."""
    slot_object_Q: Tensor
    slot_token_Q: Tensor
    slot_row_Q: Tensor
    slot_column_Q: Tensor
    """Token ``slot_token`` of object ``slot_object`` goes to (row, column)."""

    learned_row_C: Tensor
    learned_column_C: Tensor
    """The position whose state predicts the label."""
    label_C: Tensor

    seg_row_N: Tensor
    seg_column_N: Tensor
    """The position whose state predicts ``<Seg>``: the one before it."""
    mask_frames_SHWC: Tensor
    """Uint8 RGB at the mask encoder's size."""
    mask_frame_M: Tensor
    """Rows of ``mask_frames_SHWC``."""
    mask_object_M: Tensor
    """Rows of ``seg_row_N``."""
    mask_weight_M: Tensor
    """Float32: 1, or more where a clip has fewer frames than it is asked for and each stands for several."""
    masks: tuple[Tensor, ...]
    """M masks, uint8 [height, width] at the clip's own size."""
    mask_place_NT: Tensor | None = None
    """The pairs of each ``<Seg>`` in time, -1 behind the last; for a model with memory, which else counts them."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        moved = {
            field.name: value.to(device, non_blocking=True)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return dataclasses.replace(self, masks=tuple(mask.to(device) for mask in self.masks), **moved)

    def counts(self) -> Counts:
        """What this micro-batch adds to the counts of its step."""
        return Counts(float(len(self.label_C)), float(self.mask_weight_M.sum()))
