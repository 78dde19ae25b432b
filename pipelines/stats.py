"""``multigrain stats``: what a corpus holds, from its indexes and manifest alone."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipelines.counts import words_of
from shards.reader import Corpus

QUANTILES = {"min": 0, "median": 50, "p95": 95, "max": 100}


def corpus_stats(corpus: Corpus) -> dict[str, Any]:
    """Counts per entry and task, quantiles of what decides cost, reasons for skipped items."""
    samples, records = corpus.samples, corpus.records
    return {
        "name": corpus.manifest["name"],
        "totals": corpus.manifest["totals"],
        "entries": [
            {name: entry[name] for name in ("entry", "dataset", "split", "items", "records", "samples", "skipped")}
            for entry in corpus.manifest["entries"]
        ],
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
    }


def run_stats(path: Path, as_json: bool) -> int:
    stats = corpus_stats(Corpus.open(path))
    if as_json:
        print(json.dumps(stats))
        return 0
    console = Console()
    console.print(_entries_table(stats))
    console.print(_two_columns("task", "samples", stats["tasks"]))
    console.print(_lengths_table(stats["lengths"]))
    return 0


def _numbers(table: pa.Table, column: str) -> "np.ndarray[Any, Any]":
    return table.column(column).drop_null().to_numpy()


def _samples_per_record(samples: pa.Table) -> "np.ndarray[Any, Any]":
    return np.array(list(Counter(samples.column("record_key").to_pylist()).values()))


def _quantiles(values: "np.ndarray[Any, Any]") -> dict[str, float]:
    if not len(values):
        return {}
    return {name: round(float(np.percentile(values, q)), 3) for name, q in QUANTILES.items()}


def _entries_table(stats: dict[str, Any]) -> Table:
    table = Table("entry", title=stats["name"])
    for name in ("items", "records", "samples", "kept"):
        table.add_column(name, justify="right")
    table.add_column("skipped", overflow="fold")
    for entry in [*stats["entries"], {"entry": "total", **stats["totals"], "skipped": {}}]:
        kept = f"{entry['samples'] / entry['items']:.1%}" if entry["items"] else "-"
        numbers = [f"{entry[name]:,}" for name in ("items", "records", "samples")]
        table.add_row(entry["entry"], *numbers, kept, words_of(entry["skipped"]))
    return table


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
