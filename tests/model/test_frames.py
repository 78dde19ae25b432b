"""Which frames stand for a clip, and on which masks are predicted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.frames import NoFrames, clip_frames, evenly, mask_frames, region_frames, window_frames
from shards.record import Clip, Masklet, Record, Region, Sample
from tests.model.small_clips import clip, masklet, record, sample

FILM = clip("video", num_frames=40, fps=10.0, duration=4.0)
UNEVEN = clip("video", num_frames=5, fps=2.0, duration=4.0, frame_times=(0.0, 0.5, 2.0, 2.5, 3.5))


# ------------------------------------------------------------------------------------------- frames of the clip


def released(count: int, total: int) -> list[int]:
    """The release's ``frame_sample``, written down a second time in its own steps."""
    size = float(total - 1) / count
    middles = [(size * i + size * (i + 1)) / 2 for i in range(count)]
    return np.round(np.array(middles) + 1e-6).astype(int).tolist()


@pytest.mark.parametrize("count", [4, 8, 16, 32])
def test_frames_are_those_of_the_release(count):
    for total in range(1, 400):
        assert evenly(count, total) == released(count, total), f"{count} of {total}"


def test_thirty_two_of_a_hundred_frames_begin_at_two_and_end_at_ninety_seven():
    assert evenly(32, 100)[:4] == [2, 5, 8, 11]
    assert evenly(32, 100)[-1] == 97


def test_frames_repeat_where_there_are_too_few():
    assert evenly(32, 10)[:6] == [0, 0, 1, 1, 1, 2]
    assert evenly(8, 1) == [0] * 8


@given(st.integers(1, 200), st.integers(1, 5000))
def test_positions_ascend_inside_and_are_distinct_where_there_are_enough(count, total):
    found = evenly(count, total)
    assert len(found) == count
    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] < total
    assert total <= count or len(set(found)) == count


def windowed(shows: Clip, *window: float) -> list[int]:
    return window_frames(shows, sample(window=window or None))


def test_without_a_window_all_stored_frames_may_be_shown():
    assert windowed(FILM) == list(range(40))
    assert windowed(replace(FILM, stored_frames=(0, 7, 39))) == [0, 7, 39]


@pytest.mark.parametrize(
    ("shows", "window", "frames"),
    [
        (FILM, (1.0, 1.5), [10, 11, 12, 13, 14]),
        (FILM, (3.8, 4.0), [38, 39]),
        (FILM, (1.01, 1.02), [10]),
        (UNEVEN, (0.5, 2.5), [1, 2]),
        (UNEVEN, (0.6, 1.9), [2]),
        (UNEVEN, (3.6, 4.0), [4]),
        (replace(FILM, stored_frames=(0, 11, 12, 39)), (1.0, 1.5), [11, 12]),
        (replace(FILM, stored_frames=(0, 16, 39)), (1.0, 1.5), [16]),
    ],
)
def test_a_window_has_its_frames_or_the_nearest_one(shows, window, frames):
    assert windowed(shows, *window) == frames


def test_a_clip_is_shown_evenly_over_its_window_and_never_beside_it():
    assert clip_frames(FILM, sample(), 4) == [released(4, 40)[i] for i in range(4)]
    assert clip_frames(FILM, sample(window=(1.0, 3.0)), 4) == [10 + at for at in released(4, 20)]
    assert clip_frames(FILM, sample(window=(1.0, 1.2)), 4) == [10, 10, 11, 11]
    assert clip_frames(replace(FILM, stored_frames=(3, 5, 9)), sample(), 4) == [3, 5, 5, 9]


@pytest.mark.parametrize("most", [1, 3, 9])
def test_an_object_is_shown_on_all_its_frames_or_on_as_many_as_allowed(most):
    shown = (0, 4, 5, 8, 10, 11, 12, 19, 30)
    assert region_frames(Region(0, shown), most) == [shown[at] for at in (evenly(most, 9) if most < 9 else range(9))]
    assert len(set(region_frames(Region(0, shown), most))) == most


# ------------------------------------------------------------------------------------------- frames with masks


def chosen(*masklets: Masklet, targets: tuple[tuple[int, ...], ...] = ((0,),), seed: str = "a", **facts) -> list[int]:
    """Four mask frames of a sample on a film of twenty frames, ten a second."""
    window = facts.pop("window", None)
    told = record(
        sample(targets=targets, window=window),
        shows=clip("video", fps=10.0, duration=2.0, **facts),
        masklets=masklets,
    )
    return mask_frames(told, told.samples[0], 4, seed)


SEEDS = [str(number) for number in range(20)]


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_are_predicted_on_distinct_frames_of_the_window_in_ascending_order(seed):
    frames = chosen(masklet(0, range(20)), seed=seed, window=(0.5, 1.5))
    assert len(frames) == len(set(frames)) == 4
    assert frames == sorted(frames)
    assert set(frames) <= set(range(5, 15))


@pytest.mark.parametrize("seed", SEEDS)
def test_only_annotated_and_stored_frames_are_chosen(seed):
    assert set(chosen(masklet(0, range(0, 20, 3)), seed=seed)) <= set(range(0, 20, 3))
    assert chosen(masklet(0, range(20)), seed=seed, stored_frames=(1, 5, 9)) == [1, 5, 9]


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_where_the_object_is_hidden_only_fill_up(seed):
    enough = chosen(masklet(0, [2, 4, 6, 8, 10], hidden=range(11, 20)), seed=seed)
    assert set(enough) <= {2, 4, 6, 8, 10}
    few = chosen(masklet(0, [2, 4], hidden=range(11, 20)), seed=seed)
    assert {2, 4} < set(few)
    assert len(few) == 4
    assert chosen(masklet(0, [], hidden=[7, 3]), seed=seed) == [3, 7], "never visible"


def test_one_visible_object_is_enough():
    both = masklet(0, [1, 2], hidden=range(3, 20)), masklet(1, [3, 4], hidden=[1, 2, *range(5, 20)])
    assert chosen(*both, targets=((0,), (1,))) == [1, 2, 3, 4]
    assert chosen(*both, targets=((0, 1),)) == [1, 2, 3, 4], "as parts of one target"


def test_the_choice_follows_from_the_seed():
    choices = [tuple(chosen(masklet(0, range(20)), seed=seed)) for seed in SEEDS]
    assert choices == [tuple(chosen(masklet(0, range(20)), seed=seed)) for seed in SEEDS]
    assert len(set(choices)) > 15
    assert {frame for choice in choices for frame in choice} == set(range(20)), "every frame has its chance"


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_that_know_all_targets_are_taken_where_there_are_any(seed):
    half = masklet(0, range(10)), masklet(1, range(7, 20))
    assert chosen(*half, targets=((0,), (1,)), seed=seed) == [7, 8, 9]
    assert chosen(*half, targets=((0, 1),), seed=seed) == [7, 8, 9], "a union is known where its parts are"


@pytest.mark.parametrize("seed", SEEDS)
def test_targets_that_share_no_frame_take_those_of_any(seed):
    apart = masklet(0, range(3)), masklet(1, range(15, 18))
    assert set(chosen(*apart, targets=((0,), (1,)), seed=seed)) <= {0, 1, 2, 15, 16, 17}
    assert chosen(*apart, targets=((0,), (1,)), seed=seed, window=(0.0, 1.0)) == [0, 1, 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_absent_object_asks_for_no_annotation(seed):
    frames = chosen(targets=((),), seed=seed, window=(0.5, 1.5))
    assert len(set(frames)) == 4
    assert set(frames) <= set(range(5, 15))
    assert chosen(masklet(0, [2, 4]), targets=((), (0,)), seed=seed) == [2, 4], "beside one that is there"


def test_a_window_without_annotation_has_no_mask_frames():
    with pytest.raises(NoFrames, match="window"):
        chosen(masklet(0, range(10)), window=(1.5, 2.0))
    with pytest.raises(NoFrames, match="window"):
        chosen(masklet(0, range(10)), masklet(1, range(10, 20)), targets=((0, 1),))


def test_a_still_has_one_mask_frame():
    told: Record = record(sample(targets=((0,),)), shows=clip("still"), masklets=[masklet(0, [0])])
    found: Sample = told.samples[0]
    assert mask_frames(told, found, 4, "a") == [0]
    assert clip_frames(told.clip, found, 4) == [0, 0, 0, 0]
