"""Looking for what is not where it should be: under another spelling, nested too deep, left packed, beside the root."""

import os
import re
import tarfile
import urllib.parse
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from converters.release import Needed
from pipelines.check_files import entries

MAX_DEPTH: Final = 5
MAX_FOLDERS: Final = 2000
WIDE: Final = 60
"""A folder with more folders than this holds clips: what is inside them is not looked at."""
MEDIA: Final = frozenset((".jpg", ".jpeg", ".png", ".mp4", ".webm", ".mkv", ".avi", ".mov", ".wav", ".mp3"))
UNFINISHED: Final = (".part", ".crdownload", ".aria2", ".tmp", ".download", ".incomplete")
ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".gz")
MOST_MEMBERS: Final = 50
"""Members of a tar that are looked at: it has no table of contents."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The folders and files below a root, as relative paths, but for the inside of the clips' folders."""

    root: Path
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def tree_of(root: Path) -> Tree:
    """Breadth first, so that of two matches the shallower comes first."""
    tree = Tree(root)
    layer = [""]
    for _ in range(MAX_DEPTH):
        inner: list[str] = []
        for folder in layer:
            found = entries(root / folder)
            below = [f"{folder}{entry.name}" for entry in found if entry.is_dir()]
            tree.folders.extend(below)
            tree.files.extend(
                f"{folder}{entry.name}"
                for entry in found
                if os.path.splitext(entry.name)[1].lower() not in MEDIA and not entry.is_dir()
            )
            inner += [f"{path}/" for path in below] if len(below) <= WIDE else []
        layer = inner[: max(MAX_FOLDERS - len(tree.folders), 0)]
    return tree


# ----------------------------------------------------------------------------------------------- other names


def named_otherwise(need: Needed, tree: Tree) -> Iterator[tuple[bool, list[str]]]:
    """The paths below the root that ``need`` may lie at: deeper, at one of its other places, or spelled otherwise.

    For each of those places: whether it stands for several that belong together, and the paths.
    """
    there = tree.folders if need.holds else tree.files
    for pattern in (need.path, *need.also):
        if found := [path for path in there if path != need.path and _matches(path, pattern)]:
            yield "*" in pattern, found


def _matches(path: str, pattern: str) -> bool:
    """Whether ``path`` ends in ``pattern``, part by part, in any spelling."""
    have, want = path.split("/"), pattern.split("/")
    if len(have) < len(want):
        return False
    ends = have[len(have) - len(want) :]
    return all(fnmatchcase(_spelling(part), _spelling(ask)) for part, ask in zip(ends, want, strict=True))


def _spelling(name: str) -> str:
    """What is left of a name when case, separators, ``(1)`` of a second download and %-codes are taken away."""
    name = re.sub(r" ?\(\d+\)(?=\.\w+$)|\.\d$", "", urllib.parse.unquote(name))
    return re.sub(r"[^a-z0-9+*.]", "", name.lower())


def look_alike(need: Needed, tree: Tree) -> tuple[str, str] | None:
    """A file that is taken for ``need`` now and then, and what it is instead."""
    for pattern, what in need.unlike:
        for path in tree.files:
            if fnmatchcase(path.rpartition("/")[2], pattern):
                return path, what
    return None


def unfinished(need: Needed, tree: Tree) -> str | None:
    """A download of ``need`` or of its archive that has not come to its end."""
    wanted = [need.path.rpartition("/")[2], *([need.archive.rpartition("/")[2]] if need.archive else [])]
    for path in tree.files:
        name = path.rpartition("/")[2]
        for suffix in UNFINISHED:
            if name.endswith(suffix) and any(fnmatchcase(name.removesuffix(suffix), want) for want in wanted):
                return path
    return None


# -------------------------------------------------------------------------------------------------- archives


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive that holds ``need``: unpacked into ``into`` it lies where it should; ``member`` is the one file."""

    archive: str
    into: str
    member: str = ""
    fault: str = ""


def packed(need: Needed, tree: Tree) -> list[Packed]:
    """The archives below the root that hold ``need``; a broken one has a ``fault``."""
    archives = [path for path in tree.files if path.endswith(ARCHIVES) or _is_named(need, path)]
    return [one for path in archives if (one := _packed_in(need, tree.root, path)) is not None]


def _is_named(need: Needed, path: str) -> bool:
    return bool(need.archive) and fnmatchcase(path.rpartition("/")[2], need.archive.rpartition("/")[2])


def _packed_in(need: Needed, root: Path, path: str) -> Packed | None:
    if re.search(r"\.tar\.gz\.\w+$", path):  # one of several parts: nothing can be read of it alone
        return Packed(path, need.path) if _is_named(need, path) else None
    if path.endswith(".gz") and not path.endswith(".tar.gz"):
        same = not need.holds and any(_matches(path.removesuffix(".gz"), name) for name in (need.path, *need.also))
        return Packed(path, need.path) if same else None
    if _is_named(need, path) and path.endswith(".zip") and not zipfile.is_zipfile(root / path):
        return Packed(path, "", fault="cut, or no zip at all: download it again")
    try:
        return _by_members(need, path, _is_named(need, path), _members(root / path))
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError, EOFError):
        return None


def _members(archive: Path) -> Iterator[str]:
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            yield from (name for name in file.namelist() if not name.endswith("/"))
        return
    with tarfile.open(archive) as file:
        for number, member in enumerate(file):
            if member.isfile():
                yield member.name.removeprefix("./")
            if number > MOST_MEMBERS:
                return


def _by_members(need: Needed, path: str, trusted: bool, members: Iterator[str]) -> Packed | None:
    """Where to unpack it to: beside itself, or so that the end of the needed path is what the archive holds."""
    beside = path.rpartition("/")[0]
    for member in members:
        inner = _folder_in(need.holds, member) if need.holds else member
        if inner is None:
            continue
        single = "" if need.holds else member
        if f"{beside}/{inner}".strip("/") == need.path or _matches(inner, need.path):
            return Packed(path, _without_end(need.path, inner, beside), single)
        if trusted and (not inner or need.path == inner or need.path.endswith(f"/{inner}")):
            return Packed(path, _without_end(need.path, inner, beside), single)
    return None


def _without_end(path: str, inner: str, beside: str) -> str:
    if not inner:
        return path
    if path == inner or path.endswith(f"/{inner}"):
        return path[: -len(inner)].strip("/")
    return beside  # the archive has further folders around it: what to move is told by the next check


def _folder_in(holds: str, member: str) -> str | None:
    """The folder that would be counted in, if ``member`` is of the kind that is counted; "" is the top."""
    parts = PurePosixPath(member).parts
    depth = 2 if "/" in holds else 1
    suffix = PurePosixPath(holds.rstrip("/")).suffix
    if len(parts) < depth or not parts[-1].lower().endswith(suffix):
        return None
    return "/".join(parts[:-depth])


# ---------------------------------------------------------------------------------------------- another root


def other_root(root: Path, needs: tuple[Needed, ...]) -> Path | None:
    """The folder around, beside or below ``root`` that holds more of the release than ``root`` does, which has none."""
    if _score(root, needs):
        return None
    below = _below(root)
    near = [root.parent, *_below(root.parent), *below, *(inner for folder in below for inner in _below(folder))]
    best = max(near, key=lambda place: _score(place, needs), default=None)
    return best if best is not None and _score(best, needs) else None


def _score(root: Path, needs: tuple[Needed, ...]) -> int:
    """How many of those that lie below a root are there."""
    below = [(need, root / need.path) for need in needs if not need.path.startswith("/")]
    return sum(path.is_dir() if need.holds else path.is_file() for need, path in below)


def _below(folder: Path) -> list[Path]:
    found = [Path(entry.path) for entry in entries(folder) if entry.is_dir()]
    return found if len(found) <= WIDE else []
