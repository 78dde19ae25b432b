"""Scores of the samples that a run shows: what is missing counts, and what is not asked for does not."""

import pytest

from model.example import target_mask
from model.predict import Prediction
from model.show import score
from shards.stream import Draw
from tests.model.small_clips import draw, masklet, record, sample

TWO = record(
    sample("<video>\nSegment both.", "<Seg> and <Seg>.", targets=((0,), (1,))),
    masklets=[masklet(0, range(4)), masklet(1, range(4))],
)


def true_masks(drawn: Draw, *pairs: tuple[int, int]) -> dict:
    return {pair: target_mask(drawn, *pair).numpy() > 0 for pair in pairs}


def test_masks_that_are_missing_count_as_nothing() -> None:
    drawn = draw(TWO)
    asked = [(0, 0), (1, 0), (0, 2), (1, 2)]
    whole = Prediction("k", ("<Seg> and <Seg>.",), true_masks(drawn, *asked), len(asked))
    half = Prediction("k", ("<Seg>.",), true_masks(drawn, (0, 0), (0, 2)), len(asked))
    none = Prediction("k", ("No.",), {}, len(asked))
    assert [score(drawn, told).j for told in (whole, half, none)] == [1.0, 0.5, 0.0]


def test_a_mask_beside_the_object_scores_nothing() -> None:
    drawn = draw(TWO)
    masks = {pair: ~mask for pair, mask in true_masks(drawn, (0, 0), (1, 0)).items()}
    assert score(drawn, Prediction("k", ("<Seg> and <Seg>.",), masks, 2)).j == 0.0


@pytest.mark.parametrize(
    ("said", "words", "times", "tiou"),
    [
        ("From <Temp-10> to <Temp-20>.", True, True, 1.0),
        ("Between <Temp-10> and <Temp-20>!", False, True, 1.0),
        ("From <Temp-15> to <Temp-20>.", False, False, 0.5),
        ("Never.", False, False, 0.0),
    ],
)
def test_words_times_and_overlap_are_judged_apart(said: str, words: bool, times: bool, tiou: float) -> None:
    drawn = draw(record(sample("<video>\nWhen?", "From <Temp-10> to <Temp-20>.")))
    found = score(drawn, Prediction("k", (said,), {}, 0))
    assert (found.words_right, found.times_right, found.j) == (words, times, None)
    assert found.tiou == pytest.approx(tiou)


def test_a_sample_without_times_or_masks_is_judged_by_its_words_alone() -> None:
    drawn = draw(record(sample("<video>\nWhat?", "A car.")))
    for said, right in (("A car.", True), ("A cat.", False)):
        found = score(drawn, Prediction("k", (said,), {}, 0))
        assert (found.words_right, found.times_right, found.tiou, found.j) == (right, None, None, None)
