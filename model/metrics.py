"""How well a prediction fits the truth; pure functions."""

from typing import Any

import numpy as np

from shards.record import Span
from shards.tokens import taus_in

Bitmap = np.ndarray[Any, np.dtype[np.bool_]]


def jaccard(predicted_HW: Bitmap, true_HW: Bitmap) -> float:
    """J: intersection over union, 0…1; two empty masks agree, 1 (DAVIS 2017, arXiv 1704.00675)."""
    union = np.logical_or(predicted_HW, true_HW).sum()
    return float(np.logical_and(predicted_HW, true_HW).sum() / union) if union else 1.0


def temporal_iou(predicted: Span, true: Span) -> float:
    """Intersection over union of two spans, 0…1; two equal moments agree, 1."""
    if predicted == true:
        return 1.0
    both = min(predicted[1], true[1]) - max(predicted[0], true[0])
    either = max(predicted[1], true[1]) - min(predicted[0], true[0])
    return max(both, 0.0) / either if either > 0 else 0.0


def times_right(predicted: str, true: str) -> bool:
    """Whether both texts have the same time tokens in the same order."""
    return taus_in(predicted) == taus_in(true)
