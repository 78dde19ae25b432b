"""The table of a clip: ids once, work once, and what was adjusted about a shared thing counts for all who share it."""

import pytest

from converters.clip_table import ClipTable
from shards.record import Clip
from shards.rle import empty
from shards.skips import SkipItem

CLIP = Clip("video", "a.mp4", 8, 6, 10, 5.0, 2.0)
MASK = empty(6, 8)


@pytest.fixture
def table():
    return ClipTable(CLIP)


def test_masks_that_are_a_function_are_read_once(table):
    asked = []

    def read():
        asked.append(1)
        return {0: MASK}

    assert [table.masklet(id, read) for id in ("a", "a", "b", "a")] == [0, 0, 1, 0]
    assert len(asked) == 2


def test_masks_that_are_given_must_be_those_that_are_known(table):
    assert table.masklet("a", {0: MASK}) == table.masklet("a", {0: MASK}) == 0
    with pytest.raises(SkipItem, match="a is annotated in two different ways"):
        table.masklet("a", {1: MASK})


def test_a_mask_outside_the_clip_is_a_bad_frame(table):
    with pytest.raises(SkipItem, match="mask a is on frame 10, the clip has 10"):
        table.masklet("a", {10: MASK})


def test_what_is_forgotten_is_read_again_under_the_same_index(table):
    before = table.mark()
    assert (table.masklet("a", {0: MASK}), table.tube("a", {0: None})) == (0, 0)
    table.forget(before)
    assert (list(table.masklets), list(table.tubes)) == ([], [])
    assert table.masklet("b", lambda: {0: MASK}) == 0


def test_an_adjustment_of_a_shared_tube_counts_for_every_item(table):
    def cut():
        table.adjust("box_cut")
        return {0: (0.0, 0.0, 8.0, 6.0)}

    for _ in range(2):
        table.mark()
        table.span(0.0, 5.0)
        table.tube("a", cut)
        assert table.adjusted == {"box_cut", "end_cut"}
    table.mark()
    assert table.adjusted == set()


def test_windows_are_cut_and_counted_and_none_for_the_whole_clip(table):
    table.mark()
    assert table.window(0.5, 1.5) == (0.5, 1.5)
    assert table.adjusted == set()
    assert table.window(0.0, 2.2) is None
    assert table.adjusted == {"window_cut"}


def test_only_named_adjustments_can_be_noted(table):
    with pytest.raises(ValueError, match="adjustment 'shortened' is not one of"):
        table.adjust("shortened")
