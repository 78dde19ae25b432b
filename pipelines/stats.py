"""``multigrain stats``: what a corpus holds and what became of its items, from its indexes and manifest alone."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipelines.counts import Counts, count_tables, stated_counts, total
from pipelines.leak_report import leaks_json, summary
from pipelines.leaks import Leaks, find_leaks
from shards.reader import Corpus

QUANTILES = {"min": 0, "median": 50, "p95": 95, "max": 100}


def corpus_stats(corpus: Corpus, leaks: Leaks) -> dict[str, Any]:
    """The account of every entry and of all, counts per task, quantiles of what decides cost, leaks.

    ``leaks`` are the corpus's own.
    """
    samples, records = corpus.samples, corpus.records
    entries = corpus.manifest["entries"]
    return {
        "name": corpus.manifest["name"],
        "totals": {**corpus.manifest["totals"], **_account(total([stated_counts(entry) for entry in entries]))},
        "entries": [_entry(entry) for entry in entries],
        "tasks": dict(sorted(Counter(samples.column("task").to_pylist()).items())),
        "tags": dict(sorted(Counter(tag for tags in samples.column("tags").to_pylist() for tag in tags).items())),
        "kinds": dict(sorted(Counter(records.column("kind").to_pylist()).items())),
        "lengths": {
            "samples per record": _quantiles(_samples_per_record(samples)),
            "text bytes per sample": _quantiles(_numbers(samples, "num_text_bytes")),
            "region frames per sample": _quantiles(_numbers(samples, "num_region_frames")),
            "targets per sample": _quantiles(_numbers(samples, "num_targets")),
            "frames per clip": _quantiles(_numbers(records, "num_frames")),
            "seconds per clip": _quantiles(_numbers(records, "duration")),
            "media bytes per record": _quantiles(_numbers(records, "media_size")),
        },
        "leaks": leaks_json(leaks),
    }


def own_leaks(corpus: Corpus) -> Leaks:
    """What the corpus's indexes say about leaks between its entries."""
    return find_leaks([corpus], read_shards=False)


def run_stats(path: Path, as_json: bool) -> int:
    corpus = Corpus.open(path)
    leaks = own_leaks(corpus)
    stats = corpus_stats(corpus, leaks)
    if as_json:
        print(json.dumps(stats))
        return 0
    console = Console()
    for table in count_tables([stated_counts(entry) for entry in corpus.manifest["entries"]], stats["name"]):
        console.print(table)
    console.print(_two_columns("task", "samples", stats["tasks"]))
    console.print(_lengths_table(stats["lengths"]))
    console.print(_rights_table(stats["entries"]))
    console.print(f"leaks: {summary(leaks)}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    stated = {name: entry[name] for name in ("entry", "dataset", "split", "items", "records", "samples", "skipped")}
    rights = {name: entry.get(name, "unknown") for name in ("license", "citation")}
    return stated | _account(stated_counts(entry)) | rights


def _account(counts: Counts) -> dict[str, Any]:
    """Shares from 0 to 1: of the raw items that were kept, and that each reason took; of the samples that changed."""
    return {
        "kept": _fraction(counts.samples, counts.items),
        "reasons": {
            reason: {"items": count, "share": _fraction(count, counts.items)}
            for reason, count in counts.skipped.items()
        },
        "adjusted": {
            kind: {"samples": count, "share": _fraction(count, counts.samples)}
            for kind, count in counts.adjusted.items()
        },
    }


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _numbers(table: pa.Table, column: str) -> "np.ndarray[Any, Any]":
    return table.column(column).drop_null().to_numpy()


def _samples_per_record(samples: pa.Table) -> "np.ndarray[Any, Any]":
    return np.array(list(Counter(samples.column("record_key").to_pylist()).values()))


def _quantiles(values: "np.ndarray[Any, Any]") -> dict[str, float]:
    if not len(values):
        return {}
    return {name: round(float(np.percentile(values, q)), 3) for name, q in QUANTILES.items()}


def _two_columns(name: str, value: str, counts: dict[str, int]) -> Table:
    table = Table(name)
    table.add_column(value, justify="right")
    for key, count in counts.items():
        table.add_row(key, f"{count:,}")
    return table


def _lengths_table(lengths: dict[str, dict[str, float]]) -> Table:
    table = Table("")
    for name in QUANTILES:
        table.add_column(name, justify="right")
    for name, quantiles in lengths.items():
        if quantiles:
            table.add_row(name, *(f"{value:,.10g}" for value in quantiles.values()))
    return table


def _rights_table(entries: list[dict[str, Any]]) -> Table:
    """Licence and citation of every dataset; the report gives both in full, per entry."""
    table = Table("dataset", "licence of the annotations", "cite")
    for dataset, license, citation in dict.fromkeys((e["dataset"], e["license"], e["citation"]) for e in entries):
        table.add_row(dataset, license, _short(citation))
    return table


def _short(citation: str) -> str:
    """Who and where: the first part, and the last one that has a year, of "Who, Title, Where 2016, arXiv:…"."""
    parts = [part.strip() for part in citation.split(",")]
    dated = [part for part in parts[1:] if re.search(r"\b(19|20)[0-9]{2}\b(?!\.)", part)]
    return f"{parts[0]}, {dated[-1]}" if dated else citation
