"""Ours and plain take turns on one release of a few thousand items; medians of what each turn took."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from bench.convert.agree import check
from bench.convert.cases import Case
from bench.convert.media import forget, probing_seconds
from bench.convert.ours import Took, facts_alone, ours, records

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rates:
    """Samples per second of one core, by medians over the rounds; ``ratios`` are ours over plain, round by round.

    ``ours_probing`` and ``plain_probing`` are seconds of the processor for the media of all samples, once.
    """

    samples: int
    ours: float
    plain: float
    scan: float
    facts: float
    ratios: tuple[float, ...]
    ours_probing: float
    plain_probing: float

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def whole_ratio(self) -> float:
        """With the media probed in earnest by both."""
        ours, plain = self.samples / self.ours + self.ours_probing, self.samples / self.plain + self.plain_probing
        return plain / ours


def take_turns(case: Case, root: Path, work: Path, rounds: int) -> Rates:
    """First a turn each that counts for nothing but the check that they agree; then ``rounds`` each."""
    forget()
    took, results = ours(case, root, work)
    ours_probing, plain_probing = probing_seconds()
    count, _ = _plain(case, root, work)
    agreed = check(records(results), [_out(work, split) for split in case.splits], took.skipped)
    assert agreed == took.samples <= count
    mine: list[Took] = []
    theirs: list[float] = []
    facts: list[float] = []
    for _ in range(rounds):
        mine.append(_settled(lambda: ours(case, root, work)[0]))
        theirs.append(_settled(lambda: _plain(case, root, work)[1]))
        facts.append(_settled(lambda: facts_alone(case, root, work)))
    return Rates(
        samples=agreed,
        ours=agreed / median(took.seconds for took in mine),
        plain=agreed / median(theirs),
        scan=agreed / median(took.scan for took in mine),
        facts=agreed / median(facts),
        ratios=tuple(other / took.seconds for took, other in zip(mine, theirs, strict=True)),
        ours_probing=ours_probing,
        plain_probing=plain_probing,
    )


def _settled(turn: Callable[[], T]) -> T:
    """What ``turn`` gives, begun without the garbage of the turns before."""
    gc.collect()
    return turn()


def _plain(case: Case, root: Path, work: Path) -> tuple[int, float]:
    began = time.process_time()
    count = sum(case.plain(root, split, _out(work, split)) for split in case.splits)
    return count, time.process_time() - began


def _out(work: Path, split: str) -> Path:
    return work / f"plain {split}.jsonl"
