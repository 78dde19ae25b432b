"""Publication: the indexes beside the shards, and last the manifest that makes them a corpus."""

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from converters.table import find_converter
from pipelines.bucket import ShardResult
from pipelines.outcome import EntryOutcome, skipped_lines
from pipelines.recipe import Recipe
from shards.index import RECORDS_FILE, RECORDS_SCHEMA, SAMPLES_FILE, SAMPLES_SCHEMA, join_indexes
from shards.manifest import MANIFEST_FILE, SKIPPED_FILE, sha256_of, write_manifest
from shards.record import FORMAT_VERSION
from shards.writer import write_atomically


def publish(recipe: Recipe, outcomes: list[EntryOutcome], shards: list[ShardResult], out: Path) -> dict[str, Any]:
    """Put the indexes beside the shards, then the manifest; then remove what an earlier build left."""
    (out / MANIFEST_FILE).unlink(missing_ok=True)  # from here on the old corpus is no more
    _join(out / RECORDS_FILE, [shard.records_index for shard in shards], RECORDS_SCHEMA)
    _join(out / SAMPLES_FILE, [shard.samples_index for shard in shards], SAMPLES_SCHEMA)
    write_atomically(out / SKIPPED_FILE, skipped_lines(outcomes))
    manifest = _manifest(recipe, outcomes, shards, out)
    _remove_strangers(out, {shard.path for shard in shards})
    write_manifest(out, manifest)
    return manifest


def _join(path: Path, parts: list[Path], schema: pa.Schema) -> None:
    """One index from the shards' parts, put in place whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    join_indexes(partial, parts, schema)
    partial.replace(path)


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
        "adjusted": outcome.adjusted,
        "license": converter.license,
        "citation": converter.citation,
        "pictures": converter.pictures,
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
