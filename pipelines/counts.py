"""The table that ends a build: what went in, what came out, and why the rest did not."""

from rich.console import Console
from rich.table import Table

from pipelines.outcome import EntryOutcome


def print_counts(outcomes: list[EntryOutcome], console: Console) -> None:
    table = Table()
    table.add_column("entry", overflow="fold", min_width=max((len(outcome.name) for outcome in outcomes), default=0))
    for name in ("items", "records", "samples", "skipped", "kept"):
        table.add_column(name, justify="right")
    table.add_column("reasons", overflow="fold")
    for outcome in outcomes:
        table.add_row(outcome.name, *_numbers(outcome), words_of(outcome.reasons))
    console.print(table)


def _numbers(outcome: EntryOutcome) -> list[str]:
    items, samples = outcome.plan.items, outcome.samples
    kept = f"{samples / items:.1%}" if items else "-"
    return [f"{items:,}", f"{outcome.records:,}", f"{samples:,}", f"{items - samples:,}", kept]


def words_of(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
