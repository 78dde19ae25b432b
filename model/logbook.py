"""What a run tells while it trains: a line of numbers per step, curves in TensorBoard, a live line, a plot at the end.

``metrics.jsonl`` is the record; everything else is drawn from the same numbers. Only rank 0 keeps a logbook.
"""

import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from shards.writer import write_atomically

METRICS_FILE: Final = "metrics.jsonl"
PLOT_FILE: Final = "loss.png"
TIMING: Final = frozenset({"samples_per_second", "seconds"})
"""The only names whose numbers may differ between a run and the same run stopped and resumed."""
SHOWN: Final = {
    "loss": "loss {:.4f}",
    "ce": "ce {:.4f}",
    "bce": "bce {:.4f}",
    "dice": "dice {:.4f}",
    "lr": "lr {:.2e}",
    "samples_per_second": "{:.2f} samples/s",
}
"""What the live line says of a step, in this order; a number that a step lacks is left out."""
PANELS: Final = {"ce": "text loss", "bce": "BCE", "dice": "DICE", "lr": "learning rate"}
PLAIN_SECONDS: Final = 5.0
"""Least time between two lines where there is no terminal, so that the log of a long run stays readable."""
CURVES_SECONDS: Final = 10
"""What a kill takes from the curves at most; it takes nothing from ``metrics.jsonl``."""
MEAN_SHARE: Final = 50
"""The running mean of the plot spans one 50th of the points, so that it lags by one 100th of the panel's width."""


class Logbook:
    """Writes ``metrics.jsonl``, ``tensorboard/`` and ``loss.png`` under ``folder``, and a live line to stderr.

    Steps count from 0, so that step k is the first one after k finished steps. Used as a context manager, it closes
    itself, also when the training fails: the plot shows how it came to that.
    """

    def __init__(self, folder: Path, total_steps: int, quiet: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._live = _LiveLine(total_steps, quiet)
        self._curves: Any = None
        self._curves_missing = False
        self._first_step: int | None = None
        self._closed = False

    @property
    def metrics(self) -> Path:
        return self.folder / METRICS_FILE

    def resume_at(self, step: int) -> None:
        """Forget ``step`` and all later ones, which will be run again. Call it before the first ``log``.

        A run that is killed has logged steps beyond its last checkpoint, and perhaps half a line.
        """
        self._first_step = step
        if self.metrics.exists():
            kept = [line for line in _whole_lines(self.metrics) if _numbers(line, self.metrics)["step"] < step]
            write_atomically(self.metrics, b"".join(kept))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Record the numbers of one step; losses as means, ``lr`` as used by the step, rates per second.

        Raises ValueError for a number that is not finite, before anything is written.
        """
        if "step" in numbers:
            raise ValueError("the numbers of a step contain `step`, which is the name of its count; rename it")
        finite = {name: _finite(step, name, number) for name, number in numbers.items()}
        with self.metrics.open("ab") as file:  # one write per line: a kill leaves at most the last one torn
            file.write(json.dumps({"step": step} | finite).encode() + b"\n")
        self._draw_curves(step, finite)
        self._live.show(step, finite)

    def note(self, words: str) -> None:
        """One line to stderr, above the live line."""
        self._live.note(words)

    def close(self) -> None:
        """Finish the live line and the curves, and draw the plot. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._live.stop()
        if self._curves is not None:
            self._curves.close()
        if self.metrics.exists() and _whole_lines(self.metrics):
            try:
                draw_losses(self.metrics, self.folder / PLOT_FILE)
            except ImportError:
                self.note(f"no {PLOT_FILE}: matplotlib is not installed (pip install matplotlib)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draw_curves(self, step: int, numbers: Mapping[str, float]) -> None:
        if self._curves is None and not self._curves_missing:
            self._curves = self._open_curves()
        if self._curves is not None:
            for name, number in numbers.items():
                self._curves.add_scalar(name, number, step)

    def _open_curves(self) -> Any:
        """TensorBoard's writer, opened at the first step: only then is it known which steps to purge."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._curves_missing = True
            self.note(
                "no curves: tensorboard is not installed (pip install tensorboard); metrics.jsonl has all numbers"
            )
            return None
        folder = str(self.folder / "tensorboard")
        return SummaryWriter(folder, purge_step=self._first_step, flush_secs=CURVES_SECONDS)


class _LiveLine:
    """How far the run is: a bar on a terminal, elsewhere a plain line every few seconds and at the last step."""

    def __init__(self, total: int, quiet: bool) -> None:
        self.total, self.quiet = total, quiet
        self.console = Console(stderr=True, quiet=quiet)
        self._bar: Progress | None = None
        self._start: tuple[int, float] | None = None
        self._last_plain = -math.inf

    def note(self, words: str) -> None:
        self.console.print(words, soft_wrap=True, highlight=False, markup=False)

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        done, now = step + 1, time.monotonic()
        words = ", ".join(form.format(numbers[name]) for name, form in SHOWN.items() if name in numbers)
        words = f"{words}, {self._time_left(done, now)}"
        if self.console.is_terminal and not self.quiet:
            bar = self._running_bar()
            bar.update(bar.task_ids[0], completed=done, words=words)
        elif now - self._last_plain >= PLAIN_SECONDS or done == self.total:
            self._last_plain = now
            self.note(f"step {done:,}/{self.total:,}: {words}")

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _running_bar(self) -> Progress:
        """Started by the first step, so that reading the model before it can print in peace."""
        if self._bar is None:
            columns = (TextColumn("training"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
            self._bar = Progress(*columns, console=self.console)
            self._bar.add_task("training", total=self.total, words="")
            self._bar.start()
        return self._bar

    def _time_left(self, done: int, now: float) -> str:
        """From the mean time of a step since this process's first one, whose own time (compiling) is not known."""
        if self._start is None:
            self._start = (done, now)
        first, began = self._start
        if done == first:
            return "ETA -"
        seconds = round((now - began) / (done - first) * (self.total - done))
        return f"ETA {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def draw_losses(metrics_jsonl: Path, png: Path) -> None:
    """Draw text loss, BCE, DICE and learning rate over steps: each step light, their trailing mean bold.

    Raises ValueError if the file has no step or a line that is not JSON, ImportError without matplotlib.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [_numbers(line, metrics_jsonl) for line in _whole_lines(metrics_jsonl)]
    if not steps:
        raise ValueError(f"{metrics_jsonl} has no steps to draw; log some first")
    figure = Figure(figsize=(12, 7.5), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)  # no pyplot: it keeps figures and a backend for the whole process
    for axes, (name, title) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS.items(), strict=True):
        _draw_panel(axes, name, title, [(entry["step"], entry[name]) for entry in steps if name in entry])
    picture = io.BytesIO()
    canvas.print_png(picture)
    write_atomically(png, picture.getvalue())


def _draw_panel(axes: Any, name: str, title: str, points: list[tuple[int, float]]) -> None:
    axes.set(title=title, xlabel="step", ylabel=title)
    axes.grid(alpha=0.3)
    axes.tick_params(labelbottom=True)
    if not points:
        axes.text(0.5, 0.5, f"no step has `{name}`", transform=axes.transAxes, ha="center", va="center", color="0.5")
        return
    steps, values = np.array([step for step, _ in points]), np.array([value for _, value in points], float)
    if name == "lr":
        axes.plot(steps, values, color="C2", linewidth=2)  # a schedule has no noise to average away
        return
    window = max(1, len(values) // MEAN_SHARE)
    axes.plot(steps, values, ".", color="C0", alpha=0.3, markersize=4, label="each step")
    axes.plot(steps, _running_mean(values, window), color="C0", linewidth=2, label=f"mean of the last {window}")
    axes.legend(frameon=False)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value and up to ``window`` - 1 before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _whole_lines(metrics: Path) -> list[bytes]:
    """The lines that were written to their end; a kill can leave a torn one, which is always the last."""
    return [line for line in metrics.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _numbers(line: bytes, path: Path) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}: the line {line[:60]!r} is not JSON ({error}); remove it") from error


def _finite(step: int, name: str, number: float) -> float:
    number = number if isinstance(number, int) else float(number)  # numpy and torch scalars are not JSON
    if not math.isfinite(number):
        raise ValueError(
            f"step {step}: {name} is {number}; only finite numbers are logged: stop the run and look at it"
        )
    return number
