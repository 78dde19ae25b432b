"""The account of a corpus: raw items in, samples out, and why the rest is not there, per entry and in all."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.outcome import EntryOutcome
from shards.skips import ADJUSTMENTS, REASONS


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of an entry's items: samples or skips by reason; and what was changed about samples, by kind."""

    entry: str
    items: int
    records: int
    samples: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    adjusted: Mapping[str, int] = field(default_factory=dict)


def counts_of(outcome: EntryOutcome) -> Counts:
    skipped, adjusted = outcome.reasons, outcome.adjusted
    return Counts(outcome.name, outcome.plan.items, outcome.records, outcome.samples, skipped, adjusted)


def stated_counts(entry: Mapping[str, Any]) -> Counts:
    """The counts of an entry as its manifest states them; older manifests know of no adjustments."""
    name, skipped, adjusted = entry["entry"], entry["skipped"], entry.get("adjusted", {})
    return Counts(name, entry["items"], entry["records"], entry["samples"], skipped, adjusted)


def total(counts: Sequence[Counts]) -> Counts:
    """The sum of all entries, as an entry called "total"."""
    skipped, adjusted = Counter[str](), Counter[str]()
    for entry in counts:
        skipped.update(entry.skipped)
        adjusted.update(entry.adjusted)
    return Counts(
        entry="total",
        items=sum(entry.items for entry in counts),
        records=sum(entry.records for entry in counts),
        samples=sum(entry.samples for entry in counts),
        skipped=dict(sorted(skipped.items())),
        adjusted=dict(sorted(adjusted.items())),
    )


def share(part: int, whole: int) -> str:
    """``part`` of ``whole`` in percent; says 100.0% only of all and 0.0% only of nothing."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if part > 0 and percent < 0.05:
        return "<0.1%"
    if part < whole and percent >= 99.95:
        return ">99.9%"
    return f"{percent:.1f}%"


# --------------------------------------------------------------------------------------------- on a terminal


def print_counts(outcomes: Sequence[EntryOutcome], console: Console) -> None:
    """The tables that end a build."""
    for table in count_tables([counts_of(outcome) for outcome in outcomes]):
        console.print(table)


def count_tables(counts: Sequence[Counts], title: str | None = None) -> Iterator[Table]:
    """Raw items → kept → share; then why the rest was skipped, and what was changed about the kept, where any was."""
    yield _kept_table(counts, title)
    everything = total(counts)
    if everything.skipped:
        yield _meanings("skipped because", everything.skipped, everything.items, "of raw", REASONS)
        yield _by_entry("skipped because", [(c.entry, c.skipped, c.items) for c in counts], "of raw")
    if everything.adjusted:
        yield _meanings("adjusted", everything.adjusted, everything.samples, "of kept", ADJUSTMENTS)
        yield _by_entry("adjusted", [(c.entry, c.adjusted, c.samples) for c in counts], "of kept")


def _kept_table(counts: Sequence[Counts], title: str | None) -> Table:
    table = Table("entry", title=title)
    for name in ("raw items", "kept", "share", "skipped", "clips"):
        table.add_column(name, justify="right")
    for entry in counts:
        table.add_row(*_kept(entry))
    table.add_section()
    table.add_row(*_kept(total(counts)))
    return table


def _kept(entry: Counts) -> tuple[str, ...]:
    skipped = sum(entry.skipped.values())
    kept = f"{entry.items:,}", f"{entry.samples:,}", share(entry.samples, entry.items)
    return entry.entry, *kept, f"{skipped:,}", f"{entry.records:,}"


def _meanings(what: str, found: Mapping[str, int], whole: int, of: str, meanings: Mapping[str, str]) -> Table:
    """Each reason or kind in all entries together, and what it means."""
    table = _numbers_table(what, of)
    table.add_column("meaning")
    for name, count in found.items():
        table.add_row(name, f"{count:,}", share(count, whole), meanings.get(name, "of a later version"))
    return table


def _by_entry(what: str, rows: Sequence[tuple[str, Mapping[str, int], int]], of: str) -> Table:
    """Each reason or kind of each entry, which has so many items or samples."""
    table = _numbers_table("entry", what, of)
    for entry, found, whole in rows:
        for name, count in found.items():
            table.add_row(entry, name, f"{count:,}", share(count, whole))
    return table


def _numbers_table(*words: str) -> Table:
    """A table of texts, then a number, then its share, which the last word names."""
    table = Table(*words[:-1])
    for name in ("number", words[-1]):
        table.add_column(name, justify="right")
    return table
