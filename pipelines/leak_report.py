"""``multigrain leaks``: which evaluation clips a training run would see, and the list of train samples to leave out."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.counts import share
from pipelines.leaks import Leaks, Side, find_leaks
from pipelines.progress import Progress
from pipelines.same_picture import rows_of_samples
from shards.reader import Corpus
from shards.toml_table import RecipeError
from shards.writer import write_atomically

RULE = "Train is every split named train; every other split counts as evaluation."
NOT_SEEN = (
    "Not seen: copies under another name that were encoded again, resized or cut differently, other parts of the same "
    "source video, and single pictures taken from a video."
)
OLD_INDEX = "by content alone: the index of an older version knows no ids"
PAIR_HEAD = ("train entry", "samples", "evaluation entry", "clips", "samples", "found by")


def run_leaks(paths: Sequence[Path], as_json: bool, out: Path | None, fail: bool) -> int:
    if len({path.resolve() for path in paths}) < len(paths):
        raise RecipeError(f"a corpus is named twice: {', '.join(map(str, paths))}; name each once")
    corpora = [Corpus.open(path) for path in paths]
    with Progress().stage("leaks", None) as bar:
        leaks = find_leaks(corpora, read_shards=True, tell=lambda done, total: bar.at(done, f"of {total} clips"))
    if out is not None:
        write_atomically(out, train_lines(corpora, leaks))
    if as_json:
        print(json.dumps(leaks_json(leaks)))
    else:
        _print(leaks, Console(), out)
    return 1 if fail and leaks.pairs else 0


def leaks_json(leaks: Leaks) -> dict[str, Any]:
    """What was found, for machines."""
    train, evaluation = leaks.entries
    return {
        "rule": RULE,
        "not_seen": NOT_SEEN,
        "train": {"entries": train} | asdict(leaks.train),
        "evaluation": {"entries": evaluation} | asdict(leaks.evaluation),
        "pairs": [asdict(leak) for leak in leaks.pairs],
        "without_ids": list(leaks.without_ids),
    }


def train_lines(corpora: Sequence[Corpus], leaks: Leaks) -> bytes:
    """One JSON line for every train sample whose clip also stands in an evaluation split, in the order of the index."""
    lines: list[str] = []
    for corpus, rows in zip(corpora, leaks.train_rows, strict=True):
        at = np.flatnonzero(np.isin(rows_of_samples(corpus), rows))
        found = corpus.samples.select(["sample_key", "record_key", "entry"]).take(pa.array(at))
        lines += [json.dumps({**row, "corpus": str(corpus.root)}) for row in found.to_pylist()]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def summary(leaks: Leaks) -> str:
    """All of it in one line."""
    return _found(leaks) + (f" ({OLD_INDEX})" if leaks.without_ids else "")


def _found(leaks: Leaks) -> str:
    train, evaluation = leaks.entries
    if not (train and evaluation):
        there = "only train splits" if train else "no train split" if evaluation else "no clips at all"
        return f"nothing to compare: {there}"
    if not leaks.pairs:
        return "no clip of a train split is in an evaluation split"
    shown = share(leaks.train.samples, leaks.train.of_samples)
    return (
        f"{leaks.evaluation.records:,} of {leaks.evaluation.of_records:,} evaluation clips stand in a train split too; "
        f"{leaks.train.samples:,} train samples ({shown}) show them"
    )


def pair_rows(leaks: Leaks) -> list[tuple[str, ...]]:
    """A row of ``PAIR_HEAD`` for every pair of entries."""
    return [
        (
            entry_name(leak.train, leaks),
            _samples(leak.train),
            entry_name(leak.evaluation, leaks),
            f"{leak.evaluation.records:,}",
            _samples(leak.evaluation),
            ", ".join(f"{way} {count:,}" for way, count in leak.by.items() if count),
        )
        for leak in leaks.pairs
    ]


def _samples(side: Side) -> str:
    return f"{side.samples:,} ({share(side.samples, side.of_samples)})"


def example_rows(leaks: Leaks, most: int) -> list[tuple[str, str, str]]:
    """(train record, evaluation record, how they were found) of the first few clips of every pair."""
    return [(e.train, e.evaluation, ", ".join(e.by)) for leak in leaks.pairs for e in leak.examples[:most]]


def entry_name(side: Side, leaks: Leaks) -> str:
    """The entry, after its corpus where there are several: by its folder's name, or its path if that is not enough."""
    if len(leaks.corpora) == 1:
        return side.entry
    names = [Path(corpus).name for corpus in leaks.corpora]
    name = Path(side.corpus).name
    return f"{name if names.count(name) == 1 else side.corpus}: {side.entry}"


# --------------------------------------------------------------------------------------------- on a terminal


def _print(leaks: Leaks, console: Console, out: Path | None) -> None:
    def say(words: str) -> None:
        console.print(words, highlight=False, markup=False, soft_wrap=True)

    say(f"{summary(leaks)}.")
    if leaks.pairs:
        table = Table(box=box.SIMPLE, pad_edge=False)
        for head in PAIR_HEAD[:-1]:  # how they were found follows with the examples
            table.add_column(head, overflow="fold")
        for row in pair_rows(leaks):
            table.add_row(*row[:-1])
        console.print(table)
        say("The first clip of each pair:")
        for train, evaluation, by in example_rows(leaks, 1):
            say(f"  {train} = {evaluation} (by {by})")
        remedy = f"are listed in {out}" if out else "are listed by --out FILE"
        say(f"The train samples of these clips {remedy}, one JSON line each, so that a mixture can leave them out.")
    say(f"{RULE}\n{NOT_SEEN}")
