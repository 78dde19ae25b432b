"""What became of the entries of a build: samples, and a line for every item that is none."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.chunk import ChunkResult
from pipelines.plan import EntryPlan
from shards.manifest import InputFile
from shards.skips import Skipped


@dataclass(slots=True)
class EntryOutcome:
    """What became of an entry: items = samples + skipped."""

    plan: EntryPlan
    results: list[ChunkResult]

    @property
    def name(self) -> str:
        return self.plan.entry.name

    @property
    def skipped(self) -> list[Skipped]:
        """In order of key."""
        return sorted(self._skipped(), key=lambda skip: (skip.key, skip.reason, skip.detail))

    def _skipped(self) -> Iterator[Skipped]:
        yield from self.plan.skipped
        for result in self.results:
            yield from result.skipped

    @property
    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(skip.reason for skip in self._skipped()).items()))

    @property
    def adjusted(self) -> dict[str, int]:
        """Kind of adjustment → number of samples."""
        total: Counter[str] = Counter()
        for result in self.results:
            total.update(result.adjusted)
        return dict(sorted(total.items()))

    @property
    def samples(self) -> int:
        return sum(record.samples for result in self.results for record in result.records)

    @property
    def records(self) -> int:
        return sum(len(result.records) for result in self.results)

    @property
    def inputs(self) -> list[InputFile]:
        files = {file.path: file for result in self.results for file in result.inputs}
        files |= {file.path: file for file in self.plan.inputs}
        return [files[path] for path in sorted(files)]


def skipped_lines(outcomes: list[EntryOutcome]) -> bytes:
    """The content of ``skipped.jsonl``: by entry, then key."""
    lines = [
        json.dumps(
            {"key": skip.key, "entry": outcome.name, "reason": skip.reason, "detail": skip.detail}, ensure_ascii=True
        )
        for outcome in sorted(outcomes, key=lambda outcome: outcome.name)
        for skip in outcome.skipped
    ]
    return "".join(f"{line}\n" for line in lines).encode("ascii")
