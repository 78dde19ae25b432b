"""Looking at files and folders without reading them whole: how many there are, and whether one is what it should be."""

import codecs
import fnmatch
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENDS: Final = 4096
"""Bytes looked at on either end of a file."""
MOST_STATS: Final = 1000
"""Files of a folder whose sizes are looked at: each costs a round trip where the disk is far away."""
READ_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Counted:
    """What a folder holds: ``found`` of the kind asked for, and how many of the ``looked`` at are empty."""

    found: int
    empty: int
    looked: int


class Disk:
    """Remembers what was counted and hashed: entries of a recipe share folders.

    ``tell`` hears of the file that is hashed, the bytes so far, and all its bytes.
    """

    def __init__(self, tell: Callable[[Path, int, int], None] = lambda path, done, total: None) -> None:
        self.tell = tell
        self._counted: dict[tuple[Path, str], Counted] = {}
        self._hashed: dict[tuple[Path, str], str] = {}

    def count(self, folder: Path, holds: str) -> Counted:
        """What ``folder`` holds of ``holds`` (``Needed.holds``); nothing where it is no folder or cannot be read."""
        if (folder, holds) not in self._counted:
            self._counted[folder, holds] = _folders(folder) if holds == "*/" else _files(folder, holds)
        return self._counted[folder, holds]

    def digest(self, path: Path, kind: str) -> str:
        """The hex digest of a file; ``kind`` is sha256 or md5."""
        if (path, kind) not in self._hashed:
            digest = hashlib.new(kind, usedforsecurity=False)
            total = path.stat().st_size
            with path.open("rb") as file:
                while data := file.read(READ_BYTES):
                    digest.update(data)
                    self.tell(path, file.tell(), total)
            self._hashed[path, kind] = digest.hexdigest()
        return self._hashed[path, kind]


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What stands in ``folder`` by name, without hidden files and links in a circle; nothing where it is no folder or
    cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if _is_shown(entry)), key=lambda entry: entry.name)
    except OSError:
        return []


def _is_shown(entry: os.DirEntry[str]) -> bool:
    try:
        entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
    return not entry.name.startswith(".")


def _folders(folder: Path) -> Counted:
    inner = [entry for entry in entries(folder) if entry.is_dir()]
    filled = sum(_holds_anything(entry.path) for entry in inner)
    return Counted(filled, len(inner) - filled, len(inner))


def _holds_anything(folder: str) -> bool:
    try:
        with os.scandir(folder) as found:
            return any(True for _ in found)
    except OSError:
        return False


def _files(folder: Path, holds: str) -> Counted:
    levels = holds.split("/")
    wanted = re.compile(fnmatch.translate(levels[-1]), re.IGNORECASE)
    places = [folder]
    for _ in levels[:-1]:
        places = [Path(entry.path) for place in places for entry in entries(place) if entry.is_dir()]
    found = [entry for place in places for entry in entries(place) if wanted.match(entry.name)]
    looked = found[:: max(len(found) // MOST_STATS, 1)]
    return Counted(len(found), sum(_is_empty(entry) for entry in looked), len(looked))


def _is_empty(entry: os.DirEntry[str]) -> bool:
    try:
        return not _holds_anything(entry.path) if entry.is_dir() else entry.stat().st_size == 0
    except OSError:  # a link to nowhere
        return True


# -------------------------------------------------------------------------------------- the ends of one file


def fault_of(path: Path) -> str:
    """Why a file cannot be what its name says, judged by its two ends; empty where nothing is wrong with them."""
    try:
        first, last = _two_ends(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not first.strip():
        return "empty"
    if first.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file"
    if first.lstrip(codecs.BOM_UTF8).lstrip()[:9].lower() in (b"<!doctype", b"<html>") or b"<html" in first[:512]:
        return "a web page, not the file: the download asked for something"
    return _cut(path.suffix, first, last)


MAGIC: Final = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"\xfd7zXZ", "xz"), (b"7z\xbc\xaf", "7z"))


def packing_of(path: Path) -> str:
    """``gzip``, ``zip``, … where the file begins like one, else nothing."""
    try:
        first, _ = _two_ends(path)
    except OSError:
        return ""
    return next((name for magic, name in MAGIC if first.startswith(magic)), "")


def _cut(suffix: str, first: bytes, last: bytes) -> str:
    if suffix == ".json":
        first, last = first.removeprefix(codecs.BOM_UTF8).lstrip(), last.rstrip()
        if first[:1] not in (b"[", b"{"):
            return f"not JSON: it begins with {first[:12].decode('latin-1')!r}"
        if last[-1:] != {b"[": b"]", b"{": b"}"}[first[:1]]:
            return f"cut: it begins with {first[:1].decode()} and ends with {last[-12:].decode('latin-1')!r}"
    if suffix in (".p", ".pkl", ".pickle") and last[-1:] != b".":
        return "cut: a pickle ends with a full stop"
    if suffix in (".txt", ".csv") and b"\0" in first + last:
        return "not text: it holds zero bytes"
    return ""


def _two_ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        first = file.read(ENDS)
        file.seek(max(os.fstat(file.fileno()).st_size - ENDS, 0))
        return first, file.read(ENDS)


def lines_of(path: Path) -> int:
    """The lines of a text file that are not blank."""
    with path.open("rb") as file:
        return sum(bool(line.strip()) for line in file)
