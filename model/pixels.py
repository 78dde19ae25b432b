"""Pictures as numbers: uint8 travels to the device, and is normalised there.

Shapes: U frames of side S, three colours.
"""

from typing import Final

import torch
from torch import Tensor

MASK_MEAN: Final = (123.675, 116.28, 103.53)
MASK_STD: Final = (58.395, 57.12, 57.375)
"""SAM 2's pixel statistics, in 0…255 (release, ``sam2.py``)."""


def for_vision(frames_UHWC: Tensor) -> Tensor:
    """[U, 3, S, S] in -1…1: x/255, mean 0.5, std 0.5 (SigLIP's preprocessor_config.json)."""
    return (frames_UHWC.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def for_masks(frames_UHWC: Tensor) -> Tensor:
    """[U, 3, S, S], less SAM 2's mean, over its deviation."""
    mean, std = (torch.tensor(values, device=frames_UHWC.device)[:, None, None] for values in (MASK_MEAN, MASK_STD))
    return (frames_UHWC.permute(0, 3, 1, 2).float() - mean) / std
