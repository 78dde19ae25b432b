"""The logbook's record is strict, survives a kill, and is the same for a stopped-and-resumed run."""

import json
import math
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from model import logbook
from model.logbook import TIMING, Logbook, draw_losses

# tensorboard's generated protobuf code, and what it imports, use what Python 3.12 and later frown at.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard", "ignore::DeprecationWarning:google")


def numbers(step: int, speed: float = 2.0) -> dict[str, float]:
    ce = 2.0 / (step + 1)
    masks = {"bce": 0.5 * ce, "dice": 0.4 * ce} if step % 2 else {}
    return {"loss": 2 * ce, "ce": ce, **masks, "lr": 1e-5, "samples_per_second": speed}


def entries(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def untimed(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in entry.items() if name not in TIMING} for entry in entries(folder)]


def events(folder: Path, tag: str) -> list[tuple[int, float]]:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = accumulators.EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


class Clock:
    """Stands for ``time``: the live line asks only for ``monotonic``."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(logbook, "time", clock)
    return clock


# --------------------------------------------------------------------------------------------- metrics.jsonl


def test_each_step_is_one_line_that_begins_with_the_step(tmp_path):
    with Logbook(tmp_path, 2, quiet=True) as book:
        book.log(0, {"loss": 1.5, "samples": 8})
        book.log(1, {"loss": cast("float", np.float32(0.25)), "samples": 7})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == ['{"step": 0, "loss": 1.5, "samples": 8}', '{"step": 1, "loss": 0.25, "samples": 7}']


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_number_that_is_not_finite_is_refused_by_name_and_leaves_no_trace(tmp_path, number):
    with Logbook(tmp_path, 2, quiet=True) as book:
        book.log(0, numbers(0))
        with pytest.raises(ValueError, match="step 1: bce is"):
            book.log(1, numbers(1) | {"bce": number})
    assert [entry["step"] for entry in entries(tmp_path)] == [0]


def test_a_second_step_count_is_refused(tmp_path):
    with Logbook(tmp_path, 2, quiet=True) as book, pytest.raises(ValueError, match="`step`"):
        book.log(0, {"step": 3})


def test_a_stopped_and_resumed_run_has_the_lines_and_curves_of_the_uninterrupted_one(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    with Logbook(whole, 8, quiet=True) as book:
        for step in range(8):
            book.log(step, numbers(step))

    with Logbook(stopped, 8, quiet=True) as book:  # a checkpoint after 4 steps, killed in the sixth
        for step in range(6):
            book.log(step, numbers(step) | ({"loss": 99.0} if step >= 4 else {}))
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    time.sleep(1.0)  # TensorBoard tells the order of its files by the second in their names
    with Logbook(stopped, 8, quiet=True) as book:
        book.resume_at(4)
        assert [entry["step"] for entry in entries(stopped)] == [0, 1, 2, 3]
        for step in range(4, 8):
            book.log(step, numbers(step, speed=9.0))

    assert untimed(stopped) == untimed(whole)
    assert entries(stopped) != entries(whole)
    assert events(stopped, "loss") == events(whole, "loss")


def test_resuming_in_an_empty_folder_is_a_fresh_start(tmp_path):
    with Logbook(tmp_path, 1, quiet=True) as book:
        book.resume_at(0)
        book.log(0, numbers(0))
    assert len(entries(tmp_path)) == 1


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(ValueError, match='metrics.jsonl.*{"st'):
        Logbook(tmp_path, 3, quiet=True).resume_at(1)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


# --------------------------------------------------------------------------------------------- the live line


def test_without_a_terminal_a_line_comes_every_few_seconds_and_at_the_last_step(tmp_path, capsys, clock):
    with Logbook(tmp_path, 10) as book:
        for step in range(10):
            book.log(step, numbers(step))
            clock.now += 2.0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == ["step 1/10", "step 4/10", "step 7/10", "step 10/10"]


def test_the_line_says_the_losses_the_rate_the_speed_and_the_time_left(tmp_path, capsys, clock):
    with Logbook(tmp_path, 1000) as book:
        book.log(99, numbers(99))  # resumed: the 99 steps before count as done, not as fast
        clock.now = 20.0
        book.log(101, numbers(101))
    first, second = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert (
        first == "step 100/1,000: loss 0.0400, ce 0.0200, bce 0.0100, dice 0.0080, lr 1.00e-05, 2.00 samples/s, ETA -"
    )
    assert second.endswith("ETA 2:29:40")


def test_a_quiet_logbook_says_nothing(tmp_path, capsys):
    with Logbook(tmp_path, 2, quiet=True) as book:
        book.log(0, numbers(0))
        book.note("hello")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_one_bar_with_the_same_words(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    with Logbook(tmp_path, 4) as book:
        for step in range(4):
            book.log(step, numbers(step))
    said = capsys.readouterr().err
    assert "4/4" in said
    assert "ce 0.5000" in said
    assert "step 4/4" not in said


# --------------------------------------------------------------------------------------------- the plot


def test_closing_draws_the_plot_also_when_the_training_failed(tmp_path):
    with pytest.raises(ValueError), Logbook(tmp_path, 9, quiet=True) as book:  # noqa: PT012
        book.log(0, numbers(0))
        book.log(1, {"ce": math.nan})
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 600
    book.close()


def test_a_run_without_a_step_leaves_no_plot(tmp_path):
    Logbook(tmp_path, 9, quiet=True).close()
    assert not (tmp_path / "loss.png").exists()
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match="no steps"):
        draw_losses(tmp_path / "metrics.jsonl", tmp_path / "loss.png")


def test_the_panels_hold_every_point_with_labelled_axes(tmp_path, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure")
    drawn = []
    plain = figures.Figure
    monkeypatch.setattr(figures, "Figure", lambda **options: drawn.append(plain(**options)) or drawn[-1])
    with Logbook(tmp_path, 200, quiet=True) as book:
        for step in range(200):
            book.log(step, numbers(step))
    panels = {axes.get_title(): axes for axes in drawn[0].axes}
    assert list(panels) == ["text loss", "BCE", "DICE", "learning rate"]
    assert all(axes.get_xlabel() == "step" and axes.get_ylabel() for axes in panels.values())
    points, mean = panels["BCE"].get_lines()
    assert list(points.get_xdata()) == list(range(1, 200, 2))  # only steps with masks have a BCE
    assert mean.get_linewidth() > points.get_linewidth() or points.get_linestyle() == "None"
    assert (points.get_alpha() or 1) < (mean.get_alpha() or 1)


def test_a_run_without_masks_is_drawn_too(tmp_path):
    with Logbook(tmp_path, 2, quiet=True) as book:
        book.log(0, {"ce": 1.0})
    assert (tmp_path / "loss.png").exists()


def test_the_running_mean_looks_back_over_its_window():
    values = np.array([4.0, 2.0, 6.0, 0.0, 3.0])
    assert logbook._running_mean(values, 3).tolist() == [4.0, 3.0, 4.0, 8 / 3, 3.0]
    assert logbook._running_mean(values, 1).tolist() == values.tolist()


# --------------------------------------------------------------------------------------------- missing libraries


def test_without_tensorboard_and_matplotlib_the_run_goes_on_with_a_note_for_each(tmp_path, capsys, monkeypatch):
    for name in ("torch.utils.tensorboard", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with Logbook(tmp_path, 2) as book:
        book.log(0, numbers(0))
        book.log(1, numbers(1))
    said = capsys.readouterr().err
    assert said.count("tensorboard is not installed") == said.count("matplotlib is not installed") == 1
    assert len(entries(tmp_path)) == 2
    assert not (tmp_path / "loss.png").exists()
