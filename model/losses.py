"""The loss: 1.0 · text NLL + 2.0 · BCE + 0.5 · DICE (UFVideo, arXiv 2512.11336, section on training; release,
``videorefer_qwen2.py: forward`` and its ``dice_loss`` / ``sigmoid_ce_loss``).

Every term is a sum over this micro-batch divided by counts of the whole global step, so the result does not depend
on how a step is cut into micro-batches or ranks. The release divides by the counts of each micro-batch.

Shapes: C supervised tokens, W vocabulary, M masks.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from model.segmentation import upsampled

CE_WEIGHT: Final = 1.0
BCE_WEIGHT: Final = 2.0
DICE_WEIGHT: Final = 0.5
DICE_SCALE: Final = 1000.0
DICE_EPS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Counts:
    """What the sums of a global step are divided by: supervised tokens, and masks by their weights."""

    tokens: float
    masks: float

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tokens + other.tokens, self.masks + other.masks)


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars; ``total`` is what is differentiated. ``presence`` is None where the object score is not trained."""

    total: Tensor
    ce: Tensor
    bce: Tensor
    dice: Tensor
    presence: Tensor | None = None


def losses(
    logits_CW: Tensor,
    labels_C: Tensor,
    mask_logits_MZZ: Tensor,
    masks: tuple[Tensor, ...],
    weight_M: Tensor,
    counts: Counts,
) -> Losses:
    """This micro-batch's part of the step's losses. ``masks`` are [H, W] each, at the clip's own size."""
    ce = F.cross_entropy(logits_CW.float(), labels_C, reduction="sum") / max(counts.tokens, 1)
    bce, dice = ce.new_zeros(()), ce.new_zeros(())
    for logits_ZZ, mask_HW, weight in zip(mask_logits_MZZ, masks, weight_M, strict=True):
        logits_HW = upsampled(logits_ZZ[None], (mask_HW.shape[0], mask_HW.shape[1]))[0]
        bce = bce + weight * bce_loss(logits_HW, mask_HW) / counts.masks
        dice = dice + weight * dice_loss(logits_HW, mask_HW) / counts.masks
    total = CE_WEIGHT * ce + BCE_WEIGHT * bce + DICE_WEIGHT * dice
    return Losses(total, ce.detach(), bce.detach(), dice.detach())


def bce_loss(logits_HW: Tensor, mask_HW: Tensor) -> Tensor:
    """Mean over the pixels of the binary cross-entropy."""
    return F.binary_cross_entropy_with_logits(logits_HW, mask_HW.to(logits_HW.dtype))


def dice_loss(logits_HW: Tensor, mask_HW: Tensor) -> Tensor:
    """1 - (2 · Σ(p·t)/s + ε) / (Σp/s + Σt/s + ε) with p = sigmoid, s = 1000, ε = 1e-6."""
    p, t = torch.sigmoid(logits_HW), mask_HW.to(logits_HW.dtype)
    both = (p * t).sum() / DICE_SCALE
    return 1 - (2 * both + DICE_EPS) / (p.sum() / DICE_SCALE + t.sum() / DICE_SCALE + DICE_EPS)


def presence_loss(presence_M: Tensor, masks: tuple[Tensor, ...], weight_M: Tensor, counts: Counts) -> Tensor:
    """This micro-batch's part of the mean over masks of the cross-entropy of "the object is on the frame".

    An object is there where its mask has a pixel. The release trains no object score; SAM 2 does (arXiv 2408.00714,
    appendix D.2.1).
    """
    if not masks:
        return presence_M.sum() * 0.0
    there_M = torch.stack([mask.any() for mask in masks]).to(presence_M.dtype)
    each_M = F.binary_cross_entropy_with_logits(presence_M, there_M, reduction="none")
    return (weight_M * each_M).sum() / counts.masks
