"""The manifest: what a finished corpus is. Written last and atomically; without it there is no corpus."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shards.record import FORMAT_VERSION
from shards.writer import CHUNK, write_atomically

MANIFEST_FILE: Final = "manifest.json"
SKIPPED_FILE: Final = "skipped.jsonl"
SKIPPED_FIELDS: Final = ("key", "entry", "reason", "detail")


class CorpusError(ValueError):
    """The folder is not a corpus that this version reads; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """An annotation file that was read: path relative to the entry's root, size and hash."""

    path: str
    bytes: int
    sha256: str


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_manifest(corpus: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    write_atomically(corpus / MANIFEST_FILE, text.encode("utf-8"))


def read_manifest(corpus: Path) -> dict[str, Any]:
    """The manifest of a finished corpus, its version checked."""
    path = corpus / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        remedy = "build it to its end, or correct the path" if corpus.is_dir() else "correct the path"
        raise CorpusError(f"{path} does not exist, so {corpus} is not a finished corpus: {remedy}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise CorpusError(f"{path} is not a manifest: {error}; build the corpus again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise CorpusError(f"{path} has format {found!r}, this version reads {FORMAT_VERSION}; build the corpus again")
    missing = {"name", "entries", "shards", "files", "totals"} - manifest.keys()
    if missing:
        raise CorpusError(f"{path} lacks {', '.join(sorted(missing))}: build the corpus again")
    return manifest


def read_skipped(corpus: Path) -> list[dict[str, str]]:
    """The lines of ``skipped.jsonl``: key, entry, reason, detail. Raises CorpusError naming file and line."""
    path = corpus / SKIPPED_FILE
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}; build the corpus again") from None
    return [_skipped_line(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _skipped_line(text: bytes, place: str) -> dict[str, str]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{place} is not JSON: {error}; build the corpus again") from None
    if not isinstance(line, dict) or not all(isinstance(line.get(name), str) for name in SKIPPED_FIELDS):
        raise CorpusError(f"{place} has not the texts {', '.join(SKIPPED_FIELDS)}; build the corpus again")
    return line
