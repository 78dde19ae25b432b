"""The laws of the learning rate, and the numbers of the release."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.schedule import FLOOR, PEAK, WARMUP, learning_rate

SHARES = st.floats(0, 1)
RUNS = st.fixed_dictionaries(
    {"steps": st.integers(1, 400), "peak": st.floats(1e-8, 10), "warmup": SHARES, "floor": SHARES}
)


def rates(run: dict[str, Any]) -> list[float]:
    return [learning_rate(step, **run) for step in range(run["steps"])]


def warm_steps(run: dict[str, Any]) -> int:
    return math.ceil(run["warmup"] * run["steps"] - 1e-9)


@given(RUNS)
def test_no_step_has_a_rate_above_the_peak_and_none_after_the_warm_up_is_below_the_floor(run):
    assert max(rates(run)) <= run["peak"]
    assert all(rate >= run["floor"] * run["peak"] for rate in rates(run)[warm_steps(run) :])


@given(RUNS)
def test_the_rate_rises_through_the_warm_up_and_never_rises_after_it(run):
    warm, cold = rates(run)[: warm_steps(run)], rates(run)[warm_steps(run) :]
    assert all(earlier < later for earlier, later in pairwise(warm))
    assert all(earlier >= later for earlier, later in pairwise(cold))


@given(RUNS)
def test_the_warm_up_begins_above_zero_and_ends_on_the_peak(run):
    warm = rates(run)[: warm_steps(run)]
    assert not warm or (warm[0] > 0 and warm[-1] == run["peak"])


@given(RUNS)
def test_the_last_step_is_on_the_floor(run):
    if warm_steps(run) < run["steps"]:
        assert rates(run)[-1] == run["peak"] * run["floor"]


def test_the_cosine_is_deepspeeds_with_the_numbers_of_the_release():
    """By hand from WarmupCosineLR.get_lr_ratio: 1000 steps, 30 of warm-up; step 514 is half way down."""
    assert (PEAK, WARMUP, FLOOR) == (2e-5, 0.03, 0.03)
    expected = {0: 2e-5 / 30, 14: 1e-5, 29: 2e-5, 514: 2e-5 * 0.515, 999: 6e-7}
    assert {step: learning_rate(step, steps=1000) for step in expected} == pytest.approx(expected, rel=1e-12)


def test_a_share_that_binary_cannot_say_adds_no_step_to_the_warm_up():
    assert 0.07 * 100 > 7
    assert learning_rate(6, steps=100, warmup=0.07) == PEAK


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"step": 10}, "step 10 is not one of the 10"),
        ({"step": -1}, "step -1"),
        ({"peak": 0.0}, "above 0"),
        ({"peak": math.nan}, "above 0"),
        ({"warmup": 3.0}, "warmup is 3.0"),
        ({"floor": -0.1}, "floor is -0.1"),
    ],
)
def test_a_number_out_of_range_is_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        learning_rate(**({"step": 0, "steps": 10} | wrong))
