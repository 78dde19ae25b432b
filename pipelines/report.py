"""What a build leaves for people and for machines: ``report.html`` and ``build.json``. No part of the corpus."""

import json
import platform
from html import escape
from pathlib import Path
from typing import Any

from pipelines.build import Built
from pipelines.counts import words_of
from pipelines.stats import corpus_stats
from shards.page import html_table, page
from shards.reader import Corpus
from shards.skips import REASONS
from shards.writer import write_atomically

EXAMPLES = 3


def write_report(built: Built) -> Path:
    """Write both files into the corpus; returns the page."""
    stats = corpus_stats(Corpus.open(built.corpus))
    facts = {"seconds": built.seconds, "machine": platform.platform(), "python": platform.python_version()}
    write_atomically(built.corpus / "build.json", json.dumps(facts | {"stats": stats}, indent=1).encode("utf-8"))
    path = built.corpus / "report.html"
    write_atomically(path, page(f"Corpus {stats['name']}", _body(built, stats)).encode("utf-8"))
    return path


def _body(built: Built, stats: dict[str, Any]) -> str:
    totals = stats["totals"]
    parts = [
        f'<p class="soft">{totals["samples"]:,} samples about {totals["records"]:,} clips '
        f"in {totals['shards']:,} shards, {totals['bytes'] / 1e6:,.1f} MB; "
        f"{totals['skipped']:,} of {totals['items']:,} items skipped; "
        f"built in {sum(built.seconds.values()):.1f} s.</p>",
        "<h2>Entries</h2>",
        html_table(
            ("entry", "items", "records", "samples", "kept", "skipped", "licence of the annotations"),
            [_entry_row(entry) for entry in built.manifest["entries"]],
        ),
        "<h2>Tasks</h2>",
        html_table(("task", "samples", "share"), _shares(stats["tasks"])),
        "<h2>Lengths</h2>",
        html_table(
            ("", "min", "median", "95 %", "max"),
            [(name, *values.values()) for name, values in stats["lengths"].items() if values],
        ),
        "<h2>Skipped items</h2>",
        _skips(built),
    ]
    return "\n".join(parts)


def _entry_row(entry: dict[str, Any]) -> tuple[object, ...]:
    kept = f"{entry['samples'] / entry['items']:.1%}" if entry["items"] else "-"
    counts = (entry["items"], entry["records"], entry["samples"])
    return entry["entry"], *counts, kept, words_of(entry["skipped"]), entry["license"]


def _shares(counts: dict[str, int]) -> list[tuple[object, ...]]:
    total = sum(counts.values()) or 1
    return [(name, count, f"{count / total:.1%}") for name, count in counts.items()]


def _skips(built: Built) -> str:
    rows: list[tuple[object, ...]] = []
    for outcome in built.outcomes:
        by_reason: dict[str, list[str]] = {}
        for skip in outcome.skipped:
            by_reason.setdefault(skip.reason, []).append(f"{skip.key}: {skip.detail}")
        for reason, lines in sorted(by_reason.items()):
            rows.append((outcome.name, reason, len(lines), REASONS[reason], " · ".join(lines[:EXAMPLES])))
    if not rows:
        return "<p>None.</p>"
    note = f'<p class="soft">All of them are listed in {escape("skipped.jsonl")}.</p>'
    return note + html_table(("entry", "reason", "items", "meaning", "the first ones"), rows)
