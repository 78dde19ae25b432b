"""The build: plan → chunks → shards → indexes → manifest, which is published last and all at once."""

import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from converters.table import find_converter
from pipelines.bucket import Member, ShardResult, ShardTask, run_shard
from pipelines.chunk import ChunkResult, run_chunk
from pipelines.executor import PACKAGES, Executor, in_process, make_executor
from pipelines.needs import CONVERSION, require
from pipelines.plan import Chunk, EntryPlan, Plan, chunks_of, make_plan
from pipelines.progress import Progress
from pipelines.recipe import Recipe, RecipeError
from shards.index import RECORDS_FILE, RECORDS_SCHEMA, SAMPLES_FILE, SAMPLES_SCHEMA
from shards.manifest import MANIFEST_FILE, SKIPPED_FILE, InputFile, sha256_of, write_manifest
from shards.partition import partition
from shards.record import FORMAT_VERSION
from shards.skips import FREE_REASONS, Skipped
from shards.writer import write_atomically

WORK: Final = ".work"
"""Scratch folder inside the corpus while it is built: the plan's spool, finished chunks, unfinished shards."""
LOCK: Final = ".building"


class BuildFailed(Exception):
    """The data lost more than the recipe allows; carries the table of what was lost."""

    def __init__(self, message: str, entries: "list[EntryOutcome]", skipped_file: Path) -> None:
        super().__init__(message)
        self.entries, self.skipped_file = entries, skipped_file


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
        found = [skip for result in self.results for skip in result.skipped]
        return sorted([*self.plan.skipped, *found], key=lambda skip: (skip.key, skip.reason, skip.detail))

    @property
    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(skip.reason for skip in self.skipped).items()))

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
    _claim(out)
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
        manifest = _publish(recipe, outcomes, shards, out)
        clock.lap("publish")
    shutil.rmtree(work)
    return Built(out, manifest, outcomes, clock.laps)


# ------------------------------------------------------------------------------------------------ the place


def _claim(out: Path) -> None:
    """Refuse a folder that holds something else: a build removes what does not belong to the corpus."""
    if "://" in str(out):
        raise RecipeError(f"--out {out}: this version writes to local disk only; build there and copy the folder")
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is a file; name a folder")
    ours = (MANIFEST_FILE, WORK, LOCK)
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in ours):
        raise RecipeError(f"--out {out} is not empty and holds no corpus; name a new or empty folder")
    (out / WORK).mkdir(parents=True, exist_ok=True)


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Only one build at a time in one place: an advisory lock that dies with its process."""
    path = out / LOCK
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = f"another build is at work in {out}; wait for it or choose another --out"
            raise RecipeError(words) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


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
                f"max_missing_share is {recipe.max_missing_share}"
            )
    if failures:
        skipped_file = work / SKIPPED_FILE
        write_atomically(skipped_file, _skipped_lines(outcomes))
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
        members = [
            Member(result.records_file, result.stamp, record) for result in outcome.results for record in result.records
        ]
        keys = [member.record.key for member in members]
        sizes = [member.record.tar_bytes() for member in members]
        for bucket in partition(keys, sizes, recipe.shard_size):
            chosen = tuple(members[i] for i in bucket.members)
            yield ShardTask(out, out / WORK / "shards", outcome.name, bucket.number, chosen)


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


# --------------------------------------------------------------------------------------------- publication


def _publish(recipe: Recipe, outcomes: list[EntryOutcome], shards: list[ShardResult], out: Path) -> dict[str, Any]:
    """Put the indexes beside the shards, then the manifest; then remove what an earlier build left."""
    (out / MANIFEST_FILE).unlink(missing_ok=True)  # from here on the old corpus is no more
    _join(out / RECORDS_FILE, [shard.records_index for shard in shards], RECORDS_SCHEMA)
    _join(out / SAMPLES_FILE, [shard.samples_index for shard in shards], SAMPLES_SCHEMA)
    write_atomically(out / SKIPPED_FILE, _skipped_lines(outcomes))
    manifest = _manifest(recipe, outcomes, shards, out)
    _remove_strangers(out, {shard.path for shard in shards})
    write_manifest(out, manifest)
    return manifest


def _join(path: Path, parts: list[Path], schema: pa.Schema) -> None:
    """One index from the shards' parts, in order."""
    table = pa.concat_tables([pq.read_table(part, schema=schema) for part in parts] or [schema.empty_table()])
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    pq.write_table(table.combine_chunks(), partial, compression="zstd", row_group_size=100_000)
    partial.replace(path)


def _skipped_lines(outcomes: list[EntryOutcome]) -> bytes:
    lines = [
        json.dumps(
            {"key": skip.key, "entry": outcome.name, "reason": skip.reason, "detail": skip.detail}, ensure_ascii=True
        )
        for outcome in sorted(outcomes, key=lambda outcome: outcome.name)
        for skip in outcome.skipped
    ]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _manifest(recipe: Recipe, outcomes: list[EntryOutcome], shards: list[ShardResult], out: Path) -> dict[str, Any]:
    entries = [_entry_json(outcome) for outcome in outcomes]
    return {
        "format": FORMAT_VERSION,
        "name": recipe.name,
        "seed": recipe.seed,
        "recipe": recipe.public(),
        "code": {"version": _version(), "commit": _commit()},
        "entries": entries,
        "shards": [
            {"path": s.path, "bytes": s.bytes, "sha256": s.sha256, "records": s.records, "samples": s.samples}
            for s in shards
        ],
        "files": {name: sha256_of(out / name) for name in (RECORDS_FILE, SAMPLES_FILE, SKIPPED_FILE)},
        "totals": {
            "items": sum(entry["items"] for entry in entries),
            "records": sum(entry["records"] for entry in entries),
            "samples": sum(entry["samples"] for entry in entries),
            "skipped": sum(sum(entry["skipped"].values()) for entry in entries),
            "shards": len(shards),
            "bytes": sum(shard.bytes for shard in shards),
        },
    }


def _entry_json(outcome: EntryOutcome) -> dict[str, Any]:
    converter = find_converter(outcome.plan.entry.converter)
    if outcome.plan.items != outcome.samples + len(outcome.skipped):
        raise AssertionError(f"{outcome.name}: {outcome.plan.items} items, {outcome.samples} samples, the rest is lost")
    return {
        "entry": outcome.name,
        "dataset": converter.name,
        "split": outcome.plan.entry.split,
        "items": outcome.plan.items,
        "records": outcome.records,
        "samples": outcome.samples,
        "skipped": outcome.reasons,
        "license": converter.license,
        "citation": converter.citation,
        "inputs": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in outcome.inputs],
    }


def _remove_strangers(out: Path, ours: set[str]) -> None:
    """Shards of an earlier build that this one does not have, and unfinished files of killed ones."""
    for path in (out / "shards").glob("*.tar") if (out / "shards").is_dir() else ():
        if path.relative_to(out).as_posix() not in ours:
            path.unlink()
    for path in out.glob(".*.partial"):
        path.unlink()


def _version() -> str:
    try:
        return version("multigrain")
    except PackageNotFoundError:
        return "uninstalled"


def _commit() -> str | None:
    """The commit of the checkout that this code runs from; None outside one."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    ask = ["git", "-C", str(here), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        found = subprocess.run(ask, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return found.stdout.strip() or None
