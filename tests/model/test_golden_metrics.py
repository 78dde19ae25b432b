"""Parity with the official code's evaluation (UFVideo d1dbdd4): golden case f, its faults included.

No tolerance but for the last bits of a division. The case has no mask at a picture's border, no text with two spans
and no options' words.
"""

import pytest

from model.metrics import (
    boundary_f,
    choice,
    j_and_f,
    jaccard,
    release_choice,
    release_span,
    release_times,
    spans_in,
    temporal_iou,
)

OPTIONS = ("option 1", "option 2", "option 3", "option 4")
"""The case does not say what the options were."""

SIX = range(6)


@pytest.fixture(scope="module")
def case_f(golden):
    return golden("f_metrics")


@pytest.mark.parametrize(("name", "metric"), [("J", jaccard), ("F", boundary_f), ("JF", j_and_f)])
def test_masks_score_as_in_the_reference(case_f, name, metric):
    predicted, true = (case_f.tensors[f"in.{which}"].numpy() > 0 for which in ("pred", "gt"))
    assert [metric(predicted[i], true[i]) for i in SIX] == pytest.approx(case_f.about[name], abs=1e-12)


def test_the_case_has_masks_of_which_none_one_or_both_are_empty(case_f):
    filled = [(bool(case_f.tensors["in.pred"][i].any()), bool(case_f.tensors["in.gt"][i].any())) for i in SIX]
    assert {(True, True), (False, False)} < set(filled)
    assert {(True, False), (False, True)} & set(filled)


def test_spans_are_read_as_the_reference_reads_them(case_f):
    for text, with_shares, span in case_f.about["parse"]:
        assert release_times(text) == with_shares
        assert release_span(text) == tuple(span), text


def test_spans_overlap_as_in_the_reference(case_f):
    for one, other, overlap in case_f.about["tiou"]:
        assert temporal_iou(tuple(one), tuple(other), compat="release") == pytest.approx(overlap, abs=1e-12)


def test_our_overlap_differs_from_the_references_in_none_of_its_rows(case_f):
    """They have a reversed span against an upright one, but no moment."""
    for one, other, overlap in case_f.about["tiou"]:
        assert temporal_iou(tuple(one), tuple(other)) == pytest.approx(overlap, abs=1e-12)


def test_letters_are_read_as_the_reference_reads_them(case_f):
    assert len(case_f.about["mcq"]) == 7
    for text, option in case_f.about["mcq"]:
        assert release_choice(text, OPTIONS) == option, text


def test_the_strict_reading_differs_where_the_reference_guesses(case_f):
    found = {text: (choice(text, 4), option) for text, option in case_f.about["mcq"]}
    assert {text: both for text, both in found.items() if both[0] != both[1]} == {
        "the green cone": (None, 2),
        "I do not know": (None, 2),
        "Because it is (C).": (2, 1),
    }


def test_our_reading_of_spans_finds_those_without_braces_too(case_f):
    """In the shards' spelling, as our tokenizer gives an answer back."""
    texts = [text for text, _, _ in case_f.about["parse"]]
    ours = [spans_in(text.replace("<TEMP-0", "<Temp-").replace("<Temp-0", "<Temp-")) for text in texts]
    assert [len(spans) for spans in ours] == [1, 1, 1, 0, 1, 1]
    for text, spans in zip(texts, ours, strict=True):
        if release_span(text) != (0, 0):
            assert spans[0] == pytest.approx(release_span(text), abs=5e-6)
