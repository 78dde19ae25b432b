"""The laws of the two overlaps, and that times are compared as tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.metrics import jaccard, temporal_iou, times_right

MASKS = arrays(bool, (3, 4))
SPANS = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda span: (span[0] / 99, span[1] / 99))


def mask(*pixels: int) -> np.ndarray:
    return np.isin(np.arange(6), pixels).reshape(2, 3)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [((0, 1, 2), (1, 2, 3), 0.5), ((0, 1), (2, 3), 0), ((), (0,), 0), ((), (), 1), ((4,), (4,), 1)],
)
def test_masks_overlap_by_intersection_over_union(one, other, overlap):
    assert jaccard(mask(*one), mask(*other)) == overlap


@given(MASKS, MASKS)
def test_jaccard_is_a_share_that_asks_for_no_order(one, other):
    assert 0 <= jaccard(one, other) <= 1
    assert jaccard(one, other) == jaccard(other, one)
    assert jaccard(one, one) == 1
    assert (jaccard(one, other) == 1) == np.array_equal(one, other)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ((0, 2), (1, 3), 1 / 3),
        ((0, 1), (1, 2), 0),
        ((0, 1), (2, 3), 0),
        ((1, 2), (0, 4), 0.25),
        ((1, 1), (0, 4), 0),
        ((1, 1), (1, 1), 1),
        ((1, 1), (2, 2), 0),
        ((3, 1), (0, 4), 0),
    ],
)
def test_spans_overlap_by_intersection_over_union(one, other, overlap):
    """The last one ends before it begins, as a model may say."""
    assert temporal_iou(one, other) == temporal_iou(other, one) == pytest.approx(overlap)


@given(SPANS, SPANS)
def test_temporal_iou_is_a_share_that_asks_for_no_order(one, other):
    assert 0 <= temporal_iou(one, other) <= 1
    assert temporal_iou(one, other) == temporal_iou(other, one)
    assert temporal_iou(one, one) == 1


def test_times_are_right_only_all_of_them_in_order():
    assert times_right("at <Temp-5>, then <Temp-9>", "<Temp-5><Temp-9>")
    assert times_right("no time", "none")
    assert not times_right("<Temp-9><Temp-5>", "<Temp-5><Temp-9>")
    assert not times_right("<Temp-5>", "<Temp-5><Temp-9>")
