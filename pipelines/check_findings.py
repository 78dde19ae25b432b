"""One needed thing: is it there, is it whole, and if not, where is it and which command puts it right."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from converters.release import Needed
from pipelines.check_files import Disk, fault_of, lines_of, packing_of
from pipelines.check_remedies import get, move, rename_packed, unite, unpack
from pipelines.check_search import Tree, look_alike, named_otherwise, packed, unfinished

State = Literal["present", "incomplete", "misnamed", "missing", "corrupt"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one needed thing; ``remedy`` are lines to be copied (``pipelines.check_remedies``)."""

    need: Needed
    state: State
    remark: str = ""
    remedy: tuple[str, ...] = ()
    found_as: str = ""

    @property
    def fails(self) -> bool:
        return self.state != "present" and not self.need.optional


def look_at(root: Path, need: Needed, tree: Tree, disk: Disk, allowed: float = 0.0) -> Finding:
    """The finding about ``need``; a folder may lack the share ``allowed`` of what is published."""
    if need.holds:
        return _folder(root, need, tree, disk, allowed)
    path = root / need.path
    if not path.is_file():
        return _elsewhere(root, need, tree, disk)
    if packing := packing_of(path):
        return Finding(need, "misnamed", f"{packing}, still packed under this name", rename_packed(path, packing))
    if fault := fault_of(path):
        return Finding(need, "corrupt", fault, get(root, need))
    return _whole_file(root, need, disk)


def _whole_file(root: Path, need: Needed, disk: Disk) -> Finding:
    path = root / need.path
    size = path.stat().st_size
    remark = f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"
    if need.count and path.suffix == ".txt":
        remark = f"{lines_of(path):,} lines of {need.count:,}"
    if not need.checksum:
        return Finding(need, "present", remark)
    if size < need.least_bytes:
        return Finding(need, "present", f"{remark}, an excerpt, not compared")
    kind, _, published = need.checksum.partition(":")
    digest = disk.digest(path, kind)
    if digest == published:
        return Finding(need, "present", f"{remark}, {kind} as published")
    words = f"{kind} is {digest}, its owners published {published}: damaged, or another edition"
    return Finding(need, "corrupt", words, get(root, need))


def _folder(root: Path, need: Needed, tree: Tree, disk: Disk, allowed: float) -> Finding:
    counted = disk.count(root / need.path, need.holds)
    if not counted.found:
        return _elsewhere(root, need, tree, disk)
    remark = _counted(counted.found, need)
    if counted.empty:
        words = f"{remark}; {counted.empty:,} of {counted.looked:,} looked at are empty"
        return Finding(need, "corrupt", words, get(root, need))
    if not need.count or counted.found >= need.count:
        return Finding(need, "present", remark)
    remark = f"{remark} of {need.count:,}"
    if 1 - counted.found / need.count <= allowed:
        return Finding(need, "present", remark)
    archives = [one for one in packed(need, tree) if not one.fault]
    return Finding(need, "incomplete", remark, unpack(root, need, archives) or get(root, need))


def _counted(found: int, need: Needed) -> str:
    if need.holds == "*/":
        one, several = "folder", "folders"
    elif "." in need.holds:
        one = f"{need.holds.rpartition('.')[2]} file"
        several = f"{one}s"
    else:
        one, several = "entry", "entries"
    return f"{found:,} {one if found == 1 else several}"


# ----------------------------------------------------------------------------------------- not where it should be


def _elsewhere(root: Path, need: Needed, tree: Tree, disk: Disk) -> Finding:
    """Misnamed, if it lies elsewhere or packed; else missing."""
    for several, paths in named_otherwise(need, tree):
        counts = {path: disk.count(root / path, need.holds).found if need.holds else 1 for path in paths}
        if filled := [path for path in paths if counts[path]]:
            chosen = filled if several else [max(filled, key=lambda path: counts[path])]
            return _moved(root, need, chosen, sum(counts[path] for path in chosen))
    if archives := packed(need, tree):
        names = _listed([one.archive for one in archives])
        if fault := next((one.fault for one in archives if one.fault), ""):
            return Finding(need, "corrupt", f"{names}: {fault}", get(root, need), names)
        return Finding(need, "misnamed", f"still packed in {names}", unpack(root, need, archives), names)
    if part := unfinished(need, tree):
        return Finding(need, "missing", f"{part} is a download that has not ended", get(root, need))
    if other := look_alike(need, tree):
        return Finding(need, "missing", f"{other[0]} is {other[1]}", get(root, need))
    words = "a link that leads nowhere" if (root / need.path).is_symlink() else ""
    return Finding(need, "missing", words, get(root, need))


def _moved(root: Path, need: Needed, paths: list[str], count: int) -> Finding:
    names = _listed(paths)
    remark = f"found as {names}" + (f" ({_counted(count, need)})" if need.holds else "")
    sources, target = [root / path for path in paths], root / need.path
    lines = unite(sources, target) if len(sources) > 1 else move(sources[0], target)
    if need.option and len(sources) == 1:
        lines += (f'# or in the recipe: options = {{ {need.option} = "{sources[0]}" }}',)
    return Finding(need, "misnamed", remark, lines, names)


def _listed(paths: list[str]) -> str:
    return ", ".join(paths) if len(paths) <= 3 else f"{paths[0]} and {len(paths) - 1} more"
