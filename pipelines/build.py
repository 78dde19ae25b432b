"""The build: plan → chunks → shards → indexes → manifest, which is published last and all at once."""

import functools
import hashlib
import importlib.util
import math
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.table import find_converter
from pipelines.bucket import Member, ShardResult, ShardTask, run_shard
from pipelines.chunk import ChunkResult, run_chunk
from pipelines.executor import PACKAGES, Executor, in_process, make_executor
from pipelines.needs import CONVERSION, require
from pipelines.outcome import EntryOutcome, skipped_lines
from pipelines.place import WORK, claim, lock
from pipelines.plan import Chunk, Plan, chunks_of, make_plan
from pipelines.progress import Progress
from pipelines.publish import publish
from pipelines.recipe import Recipe
from shards.manifest import MANIFEST_FILE, SKIPPED_FILE
from shards.partition import MEDIA_KINDS, partition, shard_number
from shards.skips import FREE_REASONS
from shards.writer import write_atomically


class BuildFailed(Exception):
    """The data lost more than the recipe allows; carries the table of what was lost."""

    def __init__(self, message: str, entries: list[EntryOutcome], skipped_file: Path) -> None:
        super().__init__(message)
        self.entries, self.skipped_file = entries, skipped_file


@dataclass(frozen=True, slots=True)
class Built:
    corpus: Path
    manifest: dict[str, Any]
    outcomes: list[EntryOutcome]
    seconds: dict[str, float]


def build(
    recipe: Recipe,
    out: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> Built:
    """Build the recipe's corpus in ``out``; the same inputs give the same bytes, whatever the workers and kills.

    Raises RecipeError for a place that is not ours to write to, BuildFailed when an entry lost too much (then no
    manifest is written), DatasetError for an annotation file that everything needs.
    """
    require(*CONVERSION, *(() if in_process(workers, address) else ("ray",)))
    progress = progress or Progress(quiet=True)
    work = out / WORK
    claim(out)
    if (out / MANIFEST_FILE).exists():
        progress.note(f"{out} holds a finished corpus, which this build replaces when it is done")
    clock = _Clock()
    with lock(out):
        executor: Executor | None = None
        try:
            with progress.stage("scan", None) as bar:
                plan = make_plan(recipe, work / "plan", lambda entry, items: bar.at(items, entry.name))
            clock.lap("scan")
            executor = make_executor(workers, address)
            outcomes = _convert(plan, recipe, work, executor, progress)
            clock.lap("convert")
            _check_losses(recipe, outcomes, work)
            shards = _write_shards(outcomes, recipe, out, executor, progress)
            clock.lap("write")
        finally:
            if executor is not None:
                executor.close()
        manifest = publish(recipe, outcomes, shards, out)
        clock.lap("publish")
    shutil.rmtree(work)
    return Built(out, manifest, outcomes, clock.laps)


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self.last = round(now - self.last, 3), now


# --------------------------------------------------------------------------------------------- the two phases


def _convert(plan: Plan, recipe: Recipe, work: Path, executor: Executor, progress: Progress) -> list[EntryOutcome]:
    code = code_digest(recipe)
    outcomes = {entry.entry.name: EntryOutcome(entry, []) for entry in plan.entries}
    run = functools.partial(_run_named, folder=work / "chunks", code=code)
    with progress.stage("convert", plan.planned) as bar:
        for name, result in executor.map(run, (chunk for chunk, _ in chunks_of(plan, recipe))):
            outcomes[name].results.append(result)
            bar.add(result.items, name, Counter(skip.reason for skip in result.skipped))
    for outcome in outcomes.values():
        # Chunks finish in any order; the corpus must not know.
        outcome.results.sort(key=lambda result: result.records_file.name)
    return list(outcomes.values())


def _run_named(chunk: Chunk, folder: Path, code: str) -> tuple[str, ChunkResult]:
    return chunk.entry.name, run_chunk(chunk, folder, chunk.digest(code))


def _check_losses(recipe: Recipe, outcomes: list[EntryOutcome], work: Path) -> None:
    failures: list[str] = []
    for outcome in outcomes:
        items, reasons = outcome.plan.items, outcome.reasons
        lost = sum(count for reason, count in reasons.items() if reason not in FREE_REASONS)
        missing = reasons.get("missing_media", 0)
        if items and lost / items > recipe.max_skip_share:  # lost > share * items would round: 0.29 * 100 < 29
            failures.append(
                f"{outcome.name}: {lost} of {items} items skipped, max_skip_share is {recipe.max_skip_share}"
            )
        if items and missing / items > recipe.max_missing_share:
            failures.append(
                f"{outcome.name}: the media of {missing} of {items} items is missing, "
                f"max_missing_share is {recipe.max_missing_share}: download it, or accept it with "
                f"--set max_missing_share={math.ceil(100 * missing / items) / 100}"
            )
    if failures:
        skipped_file = work / SKIPPED_FILE
        write_atomically(skipped_file, skipped_lines(outcomes))
        raise BuildFailed("; ".join(failures), outcomes, skipped_file)


def _write_shards(
    outcomes: list[EntryOutcome], recipe: Recipe, out: Path, executor: Executor, progress: Progress
) -> list[ShardResult]:
    tasks = list(_shard_tasks(outcomes, recipe, out))
    with progress.stage("write", len(tasks)) as bar:
        results = []
        for result in executor.map(run_shard, tasks):
            results.append(result)
            bar.add(1, result.path, Counter())
    return sorted(results, key=lambda result: result.path)


def _shard_tasks(outcomes: list[EntryOutcome], recipe: Recipe, out: Path) -> Iterator[ShardTask]:
    for outcome in outcomes:
        results = outcome.results
        members = [Member(result.records_file, result.stamp, record) for result in results for record in result.records]
        for suffix in MEDIA_KINDS:
            alike = [member for member in members if member.suffix == suffix]
            keys = [member.record.key for member in alike]
            sizes = [member.record.tar_bytes() for member in alike]
            for bucket in partition(keys, sizes, recipe.shard_size):
                chosen = tuple(alike[i] for i in bucket.members)
                number = shard_number(bucket.prefix, suffix)
                yield ShardTask(out, out / WORK / "shards", outcome.name, number, chosen)


def code_digest(recipe: Recipe) -> str:
    """The hash of all code and phrases that decide a chunk's output: ours, and the modules of foreign converters."""
    here = Path(__file__).parent.parent
    files = [
        path for package in PACKAGES for path in sorted((here / package).rglob("*")) if path.suffix in (".py", ".toml")
    ]
    for entry in recipe.entries:
        module = importlib.util.find_spec(find_converter(entry.converter).__module__)
        if module is not None and module.origin is not None:
            files.append(Path(module.origin))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()
