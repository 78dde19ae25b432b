"""Telling people how far a build is: a live line on a terminal, a plain line per stage elsewhere."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

LABELS = {
    "generate": "generating a world",
    "scan": "reading annotations",
    "convert": "converting items",
    "write": "writing shards",
    "verify": "verifying shards",
    "draw": "drawing samples",
    "leaks": "comparing clips",
}


class Progress:
    """Writes to stderr, so that stdout stays for results."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.live = self.console.is_terminal and not quiet

    def note(self, words: str) -> None:
        self.console.print(words, soft_wrap=True, highlight=False, markup=False)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator["Stage"]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[at]} {task.fields[skips]}"),
        )
        start = time.monotonic()
        with Bars(*columns, console=self.console, disable=not self.live) as bars:
            task = bars.add_task(LABELS.get(name, name), total=total, at="", skips="")
            stage = Stage(bars, task)
            yield stage
        if not self.live:
            took = time.monotonic() - start
            self.console.print(f"{LABELS.get(name, name)}: {stage.done:,} in {took:.1f} s{stage.skip_words()}")


class Stage:
    """One bar: how much is done, where, and what was skipped so far by reason."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        self.bars, self.task = bars, task
        self.done = 0
        self.skips: Counter[str] = Counter()
        self._earlier: dict[str, int] = {}

    def at(self, count: int, where: str) -> None:
        """``count`` things of ``where`` are done so far."""
        self._earlier[where] = count
        self.done = sum(self._earlier.values())
        self.bars.update(self.task, completed=self.done, at=where)

    def add(self, count: int, where: str, skips: Counter[str]) -> None:
        """``count`` more are done, some of them skipped."""
        self.done += count
        self.skips += skips
        self.bars.update(self.task, completed=self.done, at=where, skips=self.skip_words())

    def skip_words(self) -> str:
        if not self.skips:
            return ""
        return "; skipped: " + ", ".join(f"{reason} {count:,}" for reason, count in self.skips.most_common(4))
