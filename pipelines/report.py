"""What a build leaves for people and for machines: ``report.html`` and ``build.json``. No part of the corpus.

All of it is said from the published corpus, so that page, manifest and ``skipped.jsonl`` cannot disagree.
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.build import Built
from pipelines.counts import Counts, share, stated_counts, total
from pipelines.leak_report import NOT_SEEN, PAIR_HEAD, RULE, example_rows, pair_rows, summary
from pipelines.leaks import Leaks
from pipelines.stats import corpus_stats, own_leaks
from shards.manifest import SKIPPED_FILE, read_skipped
from shards.page import html_table, page
from shards.reader import Corpus
from shards.skips import ADJUSTMENTS, REASONS
from shards.writer import write_atomically

EXAMPLES = 3


def write_report(built: Built) -> Path:
    """Write both files into the corpus; returns the page."""
    corpus = Corpus.open(built.corpus)
    leaks = own_leaks(corpus)
    stats = corpus_stats(corpus, leaks)
    facts = {"seconds": built.seconds, "machine": platform.platform(), "python": platform.python_version()}
    write_atomically(built.corpus / "build.json", json.dumps(facts | {"stats": stats}, indent=1).encode("utf-8"))
    path = built.corpus / "report.html"
    body = _body(corpus, stats, leaks, sum(built.seconds.values()))
    write_atomically(path, page(f"Corpus {stats['name']}", body).encode("utf-8", "backslashreplace"))
    return path


def _body(corpus: Corpus, stats: dict[str, Any], leaks: Leaks, seconds: float) -> str:
    totals, entries = stats["totals"], corpus.manifest["entries"]
    counts = [stated_counts(entry) for entry in entries]
    parts = [
        f'<p class="soft">{totals["samples"]:,} samples about {totals["records"]:,} clips '
        f"in {totals['shards']:,} shards, {totals['bytes'] / 1e6:,.1f} MB; "
        f"{totals['skipped']:,} of {totals['items']:,} items skipped; built in {seconds:.1f} s.</p>",
        "<h2>Entries</h2>",
        html_table(
            ("entry", "raw items", "kept", "share", "skipped", "clips"),
            [_entry_row(entry) for entry in [*counts, total(counts)]],
        ),
        "<h2>Skipped items</h2>",
        _skips(counts, read_skipped(corpus.root)),
        "<h2>Adjusted samples</h2>",
        _adjusted(counts),
        "<h2>Leaks</h2>",
        _leaks(leaks),
        "<h2>Tasks</h2>",
        html_table(("task", "samples", "share"), _shares(stats["tasks"])),
        "<h2>Lengths</h2>",
        html_table(
            ("", "min", "median", "95 %", "max"),
            [(name, *values.values()) for name, values in stats["lengths"].items() if values],
        ),
        "<h2>Licences and citations</h2>",
        html_table(
            ("entry", "licence of the annotations", "citation"),
            [(entry["entry"], entry["license"], entry["citation"]) for entry in entries],
        ),
    ]
    return "\n".join(parts)


def _entry_row(entry: Counts) -> tuple[object, ...]:
    kept = share(entry.samples, entry.items)
    return entry.entry, entry.items, entry.samples, kept, sum(entry.skipped.values()), entry.records


def _shares(counts: dict[str, int]) -> list[tuple[object, ...]]:
    whole = sum(counts.values())
    return [(name, count, share(count, whole)) for name, count in counts.items()]


def _skips(counts: Sequence[Counts], lines: list[dict[str, str]]) -> str:
    """Every reason of every entry, counted over the lines of ``skipped.jsonl``, and the first ones of each."""
    if not lines:
        return "<p>None.</p>"
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        found.setdefault((line["entry"], line["reason"]), []).append(f"{line['key']}: {line['detail']}")
    items = {entry.entry: entry.items for entry in counts}
    rows = [
        (entry, reason, len(all_), share(len(all_), items[entry]), REASONS[reason], " · ".join(all_[:EXAMPLES]))
        for (entry, reason), all_ in sorted(found.items())
    ]
    note = f'<p class="soft">All of them are listed in {SKIPPED_FILE}.</p>'
    return note + html_table(("entry", "reason", "items", "of raw", "meaning", "the first ones"), rows)


def _adjusted(counts: Sequence[Counts]) -> str:
    rows = [
        (entry.entry, kind, number, share(number, entry.samples), ADJUSTMENTS.get(kind, ""))
        for entry in counts
        for kind, number in entry.adjusted.items()
    ]
    return html_table(("entry", "adjusted", "samples", "of kept", "meaning"), rows) if rows else "<p>None.</p>"


def _leaks(leaks: Leaks) -> str:
    """From the indexes alone; ``multigrain leaks`` reads the shards too."""
    notes = f'<p class="soft">{RULE} {NOT_SEEN} <code>multigrain leaks</code> also compares the bytes themselves.</p>'
    if not leaks.pairs:
        return f"<p>{summary(leaks)}.</p>{notes}"
    examples = html_table(("train record", "evaluation record", "found by"), example_rows(leaks, EXAMPLES))
    return f"<p>{summary(leaks)}.</p>{notes}{html_table(PAIR_HEAD, pair_rows(leaks))}{examples}"
