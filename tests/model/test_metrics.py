"""The laws of overlaps and boundaries, and what is read from an answer."""

from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from model.metrics import (
    boundary,
    boundary_f,
    choice,
    dilated,
    j_and_f,
    jaccard,
    release_choice,
    release_span,
    release_times,
    spans_in,
    temporal_iou,
    times_right,
)
from shards.tokens import CHECKPOINT_SPELLING, seconds_of, time_token
from templates.material import listed

MASKS = arrays(bool, (3, 4))
PAIRS = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)
TAUS = st.integers(0, 99)
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


# ------------------------------------------------------------------------------------------ boundaries


def square(shift: int = 0) -> np.ndarray:
    """60 pixels a side, in a picture of 200 whose tolerance is 3 pixels."""
    mask = np.zeros((200, 200), bool)
    mask[70:130, 40 + shift : 100 + shift] = True
    return mask


def test_a_boundary_is_where_a_mask_differs_from_its_right_lower_or_diagonal_neighbour():
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert np.argwhere(boundary(mask)).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_nothing_lies_beyond_the_picture():
    """DAVIS: the last row is compared to the right, the last column downwards, the last corner not at all."""
    corner, side = np.zeros((3, 3), bool), np.zeros((3, 3), bool)
    corner[2, 2] = side[1:, 2] = True
    assert not boundary(np.ones((3, 3), bool)).any()
    assert np.argwhere(boundary(corner)).tolist() == [[1, 1], [1, 2], [2, 1]]
    assert np.argwhere(boundary(side)).tolist() == [[0, 1], [0, 2], [1, 1], [2, 1]]


@given(PAIRS, st.integers(0, 9))
def test_a_mask_grows_by_a_disk(pair, radius):
    mask = pair[0]
    inside = np.argwhere(mask)
    near = [
        [any(hypot(y - i, x - j) <= radius for i, j in inside) for x in range(mask.shape[1])] for y in range(len(mask))
    ]
    np.testing.assert_array_equal(dilated(mask, radius), near)


@given(PAIRS, st.floats(0, 1))
def test_boundaries_score_by_precision_and_recall_within_the_tolerance(pair, tolerance):
    """The definition once more, distance by distance."""
    one, other = (np.argwhere(boundary(mask)) for mask in pair)
    near = np.ceil(tolerance * hypot(*pair[0].shape))
    if len(one) and len(other):
        apart = np.hypot(*(one[:, None] - other[None]).transpose(2, 0, 1)) <= near
        precision, recall = apart.any(1).mean(), apart.any(0).mean()
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    else:
        expected = float(len(one) == len(other))
    assert boundary_f(*pair, tolerance=tolerance) == pytest.approx(expected)


@given(PAIRS)
def test_boundaries_score_a_share_that_asks_for_no_order(pair):
    one, other = pair
    assert 0 <= boundary_f(one, other) <= 1
    assert boundary_f(one, other) == boundary_f(other, one) == boundary_f(one.T, other.T)
    assert boundary_f(one, one) == j_and_f(one, one) == 1
    assert j_and_f(one, other) == (jaccard(one, other) + boundary_f(one, other)) / 2


@given(PAIRS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_tolerance_scores_no_less(pair, one, other):
    assert boundary_f(*pair, tolerance=min(one, other)) <= boundary_f(*pair, tolerance=max(one, other)) + 1e-12


def test_empty_masks_agree_and_one_alone_fails():
    empty = np.zeros((200, 200), bool)
    assert boundary_f(empty, empty) == j_and_f(empty, empty) == 1
    assert boundary_f(square(), empty) == boundary_f(empty, square()) == j_and_f(empty, square()) == 0


def test_a_mask_that_fills_the_picture_has_no_boundary_so_only_j_tells_it_from_an_empty_one():
    full, empty = np.ones((20, 20), bool), np.zeros((20, 20), bool)
    assert boundary_f(full, empty) == 1
    assert jaccard(full, empty) == 0


def test_the_farther_a_mask_is_off_the_less_it_scores():
    """Up to half the square; then the left edge of one nears the right edge of the other."""
    scores = [boundary_f(square(), square(shift)) for shift in range(30)]
    assert scores == sorted(scores, reverse=True)
    assert scores[3] == 1, "all within the tolerance"
    assert scores[4] < 1
    both = [j_and_f(square(), square(shift)) for shift in range(30)]
    assert both == sorted(both, reverse=True)
    assert len(set(both)) == 30


def test_a_boundary_may_be_off_by_twelve_pixels_at_720p():
    """ceil(0.008 · 1468.6)."""
    mask = np.zeros((720, 1280), bool)
    mask[200:500, 300:600] = True
    assert boundary_f(mask, np.roll(mask, 12, axis=1)) == 1
    assert boundary_f(mask, np.roll(mask, 13, axis=1)) < 1


# ------------------------------------------------------------------------------------------ times


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


@given(SPANS, SPANS)
def test_the_releases_overlap_is_ours_wherever_it_is_defined_for_upright_spans(one, other):
    one, other = (tuple(sorted(span)) for span in (one, other))
    if one == other and one[0] == one[1]:
        with pytest.raises(ZeroDivisionError):
            temporal_iou(one, other, compat="release")
    else:
        assert temporal_iou(one, other, compat="release") == temporal_iou(one, other)


def test_a_reversed_span_has_no_overlap_in_the_release_even_with_itself():
    assert temporal_iou((0.5, 0.1), (0.5, 0.1), compat="release") == 0
    assert temporal_iou((0.5, 0.1), (0.1, 0.5), compat="release") == temporal_iou((0.5, 0.1), (0.1, 0.5)) == 0


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("It runs from <Temp-0> to <Temp-99>.", [(0, 99)]),
        ("<Temp-3> <Temp-9> and <Temp-20>", [(3, 9), (20, 20)]),
        ("{<Temp-3><Temp-9>}", [(3, 9)]),
        ("<Temp-3>-<Temp-9>, <Temp-4> – <Temp-5>", [(3, 9), (4, 5)]),
        ("at <Temp-3>, <Temp-4> and <Temp-5>", [(3, 3), (4, 4), (5, 5)]),
        ("from <Temp-9> to <Temp-3>", [(9, 3)]),
        ("<Temp-100> <TEMP-003> <Temp-03>", []),
        ("never", []),
    ],
)
def test_spans_are_read_from_the_time_tokens_of_an_answer(text, spans):
    assert spans_in(text) == [(seconds_of(start, (0, 1)), seconds_of(end, (0, 1))) for start, end in spans]


def test_spans_are_times_of_the_window():
    assert spans_in("from <Temp-0> to <Temp-99>", (10.0, 20.0)) == [(10.0, 20.0)]
    assert spans_in("at <Temp-33>", (0.0, 9.0)) == [(3.0, 3.0)]


@given(st.lists(st.tuples(TAUS, TAUS), min_size=1, max_size=4), st.booleans())
def test_spans_come_back_from_both_ways_in_which_phrases_say_them(taus, alone):
    """As ``templates/timing.py`` writes them: a sentence, or tokens alone; a moment is one token."""
    tokens = [(time_token(a),) if a == b else (time_token(a), time_token(b)) for a, b in taus]
    said = [" ".join(span) if alone else f"from {' to '.join(span)}" for span in tokens]
    assert spans_in(listed(said)) == [(a / 99, b / 99) for a, b in taus]


@given(TAUS, TAUS)
def test_the_releases_span_comes_back_to_five_decimals_in_either_spelling(start, end):
    tokens = time_token(start) + time_token(end)
    theirs = CHECKPOINT_SPELLING[time_token(start)] + CHECKPOINT_SPELLING[time_token(end)]
    assert release_span(f"At {{{tokens}}}.") == release_span(f"At {{{theirs}}}.")
    assert release_span(f"{{{theirs}}}") == (round(start / 99, 5), round(end / 99, 5))


@pytest.mark.parametrize("text", ["", "{}", "{<TEMP-001>}", "{<TEMP-001> <TEMP-002>}", "{<TEMP-001>, <TEMP-002>}"])
def test_what_the_release_cannot_read_is_a_span_of_nothing_at_the_start(text):
    assert release_span(text) == (0, 0)


def test_the_release_leaves_words_and_other_braces_alone():
    assert release_times("{a,} <TEMP-099> <TEMP-100>") == "{a} 1.00000, <TEMP-100>"


# ------------------------------------------------------------------------------------------ choices


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("B", 1),
        (" B. ", 1),
        ("B) a blue cube", 1),
        ("(B) a blue cube", 1),
        ("B: a blue cube, as in (B)", 1),
        ("Answer: B", 1),
        ("The answer is (B).", 1),
        ("the answer is B", 1),
        ("It is (B), not the cone.", 1),
        ("(A) or (B)", None),
        ("A, although (B) is near", None),
        ("E", None),
        ("(E)", None),
        ("A cube is blue", None),
        ("I do not know", None),
        ("Both", None),
        ("b", None),
        ("", None),
    ],
)
def test_a_choice_is_a_letter_that_stands_for_nothing_else(text, option):
    assert choice(text, 4) == option


@given(st.text(max_size=20), st.integers(1, 26))
def test_a_choice_is_one_of_the_options_or_none(text, num_options):
    found = choice(text, num_options)
    assert found is None or 0 <= found < num_options


@given(st.integers(0, 25))
def test_every_letter_can_be_chosen_where_there_is_such_an_option(option):
    letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[option]
    assert choice(letter, 26) == choice(f"({letter})", option + 1) == option
    assert choice(letter, option) is None


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("(D) yes", 3),
        ("Answer: D", 3),
        ("A cube", 0),
        ("Because it is (C).", 1),
        ("E", 2),
        ("it is the CONE", 2),
        ("the blue cube", 1),
        ("", 2),
    ],
)
def test_the_release_always_finds_a_choice(text, option):
    assert release_choice(text, ("Red cube", "Blue cube", "Green ball", "Yes")) == option
