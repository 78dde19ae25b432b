"""How well a prediction fits the truth; pure functions, numpy only.

Each judges one pair: a mask on a frame, a span, an answer. Averaging is the caller's, and decides what a number means:
the benchmarks take the mean over the frames of an object or expression and then over those, the release pools the
frames of all. A prediction that is missing counts 0, whatever the truth is; the release leaves missing masks out
(defect D14). Functions named ``release_…``, and ``compat="release"``, repeat the evaluation scripts of UFVideo d1dbdd4
with their faults, to compare with published numbers; use them for nothing else.
"""

import re
from collections.abc import Sequence
from math import ceil, hypot, isqrt
from typing import Any, Final, Literal

import numpy as np

from shards.record import Span
from shards.tokens import CHECKPOINT_SPELLING, NUM_TIME_TOKENS, TIME_TOKENS, seconds_of, taus_in

Bitmap = np.ndarray[Any, np.dtype[np.bool_]]

BOUNDARY_TOLERANCE: Final = 0.008
"""Share of the picture's diagonal by which a boundary may be off (DAVIS, ``bound_th``)."""

# ------------------------------------------------------------------------------------------ masks


def jaccard(predicted_HW: Bitmap, true_HW: Bitmap) -> float:
    """J: intersection over union, 0…1; two empty masks agree, 1 (DAVIS 2017, arXiv 1704.00675)."""
    union = np.logical_or(predicted_HW, true_HW).sum()
    return float(np.logical_and(predicted_HW, true_HW).sum() / union) if union else 1.0


def boundary_f(predicted_HW: Bitmap, true_HW: Bitmap, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """F: harmonic mean of the boundaries' precision and recall, 0…1 (DAVIS 2017, ``f_measure``; Perazzi et al. 2016).

    A boundary pixel is right within ceil(``tolerance`` · diagonal) pixels of the other's boundary. Two masks without
    boundary agree, 1; one alone gives 0. As in DAVIS a mask that fills the picture has no boundary, like an empty one:
    J tells them apart. A pair at 1280x720 takes 4 ms where the objects are a third of the picture's width, 12 ms at
    most (one core of an EPYC).
    """
    predicted, true = boundary(predicted_HW), boundary(true_HW)
    num_predicted, num_true = np.count_nonzero(predicted), np.count_nonzero(true)
    if not num_predicted or not num_true:
        return float(num_predicted == num_true)
    radius = ceil(tolerance * hypot(*true.shape))
    box = _box(predicted | true)
    predicted, true = predicted[box], true[box]
    precision = np.count_nonzero(predicted & dilated(true, radius)) / num_predicted
    recall = np.count_nonzero(true & dilated(predicted, radius)) / num_true
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def j_and_f(predicted_HW: Bitmap, true_HW: Bitmap) -> float:
    """J&F: the mean of J and F of one mask."""
    return (jaccard(predicted_HW, true_HW) + boundary_f(predicted_HW, true_HW)) / 2


def boundary(mask_HW: Bitmap) -> Bitmap:
    """Pixels that differ from their right, lower or lower right neighbour (DAVIS, ``seg2bmap``).

    Nothing lies beyond the picture: the last row looks to the right only, the last column only down.
    """
    mask = np.asarray(mask_HW, bool)
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def _box(mask_HW: Bitmap) -> tuple[slice, slice]:
    """The smallest rectangle around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def dilated(mask_HW: Bitmap, radius: int) -> Bitmap:
    """Pixels whose centre is within ``radius`` of one of the mask: dilation by a disk, x² + y² ≤ radius².

    The disk is put together of rows; from its top to its middle they only grow, so each is the last one and a rim.
    """
    height = len(mask_HW)
    out, row, grown = np.zeros_like(mask_HW), mask_HW.copy(), 0
    for dy in range(radius, -1, -1):
        half = isqrt(radius * radius - dy * dy)
        for dx in range(grown + 1, half + 1):
            row[:, dx:] |= mask_HW[:, :-dx]
            row[:, :-dx] |= mask_HW[:, dx:]
        grown = half
        if dy < height:
            out[dy:] |= row[: height - dy]
            out[: height - dy] |= row[dy:]
    return out


# ------------------------------------------------------------------------------------------ times


def temporal_iou(predicted: Span, true: Span, compat: Literal["release"] | None = None) -> float:
    """Intersection over union of two spans, 0…1; two equal moments agree, 1. The unit does not matter.

    A span that ends before it begins, as a model may say, has no overlap. The release divides without looking:
    with ``compat="release"`` two equal moments raise ZeroDivisionError, and a reversed span gives 0 even against
    itself.
    """
    if predicted == true and compat is None:
        return 1.0
    both = min(predicted[1], true[1]) - max(predicted[0], true[0])
    either = max(predicted[1], true[1]) - min(predicted[0], true[0])
    if compat == "release":
        return max(0, both) / either
    return max(both, 0.0) / either if either > 0 else 0.0


def times_right(predicted: str, true: str) -> bool:
    """Whether both texts have the same time tokens in the same order."""
    return taus_in(predicted) == taus_in(true)


_TIME: Final = "|".join(map(re.escape, TIME_TOKENS))
_SPAN: Final = re.compile(rf"({_TIME})(?:\s*(?:to|-|–)?\s*({_TIME}))?")


def spans_in(text: str, window: Span = (0.0, 1.0)) -> list[Span]:
    """The spans that a text says in time tokens, in its order, as times of ``window``; by default in shares of it.

    Two tokens with nothing but space, "to" or a dash between them are a span, as our templates and the release write
    it; any other token is a moment [t, t]. A reversed span stays reversed.
    """
    found = [taus_in(start + end) for start, end in _SPAN.findall(text)]
    return [(seconds_of(taus[0], window), seconds_of(taus[-1], window)) for taus in found]


_RELEASE_TIMES: Final = {
    spelling: f"{tau / (NUM_TIME_TOKENS - 1):.5f},"
    for tau, token in enumerate(TIME_TOKENS)
    for spelling in (token, CHECKPOINT_SPELLING[token])
}
_ANY_TIME: Final = re.compile("|".join(map(re.escape, _RELEASE_TIMES)))
_BRACED: Final = re.compile(r"\{([0-9.]+),([0-9.]+)\}")


def release_times(text: str) -> str:
    """The text with each time token, in either spelling, as a share of five decimals and a comma; ``,}`` as ``}``.

    Source: evaluation of Charades-STA, ``replace_and_normalize``.
    """
    return _ANY_TIME.sub(lambda token: _RELEASE_TIMES[token[0]], text).replace(",}", "}")


def release_span(text: str) -> Span:
    """The first ``{<TEMP-aaa><TEMP-bbb>}`` in shares of the clip, 0…1; (0, 0) where there is none.

    A space inside the braces is enough for none, and so are missing braces. That it is the first of several is our
    guess; no golden row has two.
    """
    found = _BRACED.search(release_times(text))
    return (float(found[1]), float(found[2])) if found else (0.0, 0.0)


# ------------------------------------------------------------------------------------------ choices

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BRACKETED: Final = re.compile(r"\(([A-Z])\)")
_LEADING: Final = re.compile(r"\s*(?:(?:[Tt]he )?[Aa]nswer(?: is|:| is:)?\s+)?([A-Z])(?=[.):,]|\s*$)")
RELEASE_DEFAULT: Final = 2
"""Option C, which an answer without letter gets in the release (D14)."""


def choice(text: str, num_options: int) -> int | None:
    """The option that an answer names, from 0; None where it names none, several, or one that there is not.

    Letters count in brackets, "(B)", or at the beginning, "B", "B.", "B)", "Answer: B". None is a wrong answer to be
    counted by itself: whoever takes it for an option makes up a score.
    """
    leading = _LEADING.match(text)
    named = {*_BRACKETED.findall(text), *([leading[1]] if leading else [])}
    index = _LETTERS.index(named.pop()) if len(named) == 1 else num_options
    return index if index < num_options else None


def release_choice(text: str, options: Sequence[str]) -> int:
    """The release's option for an answer to MVBench, from 0; it always finds one.

    The words "Answer" and "answer" are dropped, then the first capital that is an option's letter counts, wherever it
    stands ("Because it is (C)." is B), then the first option whose words occur, then option C. Dropping the two words,
    and the options' own letters as the class, are a guess that fits the seven golden rows; options' words are in none.
    """
    rest = text.replace("Answer", "").replace("answer", "")
    letters = _LETTERS[: len(options)]
    if found := re.search(f"[{letters}]", rest):
        return letters.index(found[0])
    return next((index for index, option in enumerate(options) if option.lower() in rest.lower()), RELEASE_DEFAULT)
