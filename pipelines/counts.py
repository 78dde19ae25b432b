"""The tables that end a build: what went in, what came out, and why the rest did not."""

from rich.console import Console
from rich.table import Table

from pipelines.outcome import EntryOutcome


def print_counts(outcomes: list[EntryOutcome], console: Console) -> None:
    counts = Table("entry")
    for name in ("items", "records", "samples", "skipped", "kept"):
        counts.add_column(name, justify="right")
    for outcome in outcomes:
        counts.add_row(outcome.name, *_numbers(outcome))
    console.print(counts)
    if any(outcome.reasons for outcome in outcomes):
        console.print(_reasons(outcomes))


def _numbers(outcome: EntryOutcome) -> list[str]:
    items, samples = outcome.plan.items, outcome.samples
    kept = f"{samples / items:.1%}" if items else "-"
    return [f"{items:,}", f"{outcome.records:,}", f"{samples:,}", f"{items - samples:,}", kept]


def _reasons(outcomes: list[EntryOutcome]) -> Table:
    table = Table("entry", "skipped because")
    table.add_column("items", justify="right")
    for outcome in outcomes:
        for reason, count in outcome.reasons.items():
            table.add_row(outcome.name, reason, f"{count:,}")
    return table


def words_of(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
