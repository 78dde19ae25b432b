"""The shell commands that put a release right, to be copied; ``# …`` where only a person can do it."""

import re
import shlex
from pathlib import Path

from converters.release import Needed
from pipelines.check_search import Packed

Lines = tuple[str, ...]


def quoted(path: Path | str) -> str:
    return shlex.quote(str(path))


def get(root: Path, need: Needed) -> Lines:
    """Where the owners publish it, and where it goes."""
    what, path = need.archive or need.path.rpartition("/")[2], root / need.path
    if need.holds:
        return (f"# get {what} from {need.page}, and unpack it so that {path} holds {need.holds}",)
    return (f"# get {what} from {need.page}, so that there is {path}",)


def move(source: Path, target: Path) -> Lines:
    """Bring a file or folder to ``target``; into a folder that is there already its content is linked."""
    if source.is_relative_to(target):  # one level too deep
        beside = quoted(target.with_name(f"{target.name}.inner"))
        return (f"mv {quoted(source)} {beside}", f"rmdir {quoted(target)}", f"mv {beside} {quoted(target)}")
    if target.is_dir() and any(target.iterdir()):
        return _linked(source, target)
    if target.is_dir():
        return (f"rmdir {quoted(target)}", f"mv {quoted(source)} {quoted(target)}")
    return (*_made(target.parent), f"mv {quoted(source)} {quoted(target)}")


def unite(sources: list[Path], target: Path) -> Lines:
    """Bring the content of several folders into one, as hard links: nothing is copied, nothing is lost."""
    return (*_made(target), *(line for source in sources for line in _linked(source, target)))


def _linked(source: Path, target: Path) -> Lines:
    return (f"cp -al {quoted(source)}/. {quoted(target)}/",)


def _made(folder: Path) -> Lines:
    return () if folder.is_dir() else (f"mkdir -p {quoted(folder)}",)


def rename_packed(path: Path, packing: str) -> Lines:
    """A file that is packed without saying so in its name."""
    if packing == "gzip":
        return (f"mv {quoted(path)} {quoted(f'{path}.gz')}", f"gunzip {quoted(f'{path}.gz')}")
    inner = quoted(f"{path}.{packing}")
    return (f"mv {quoted(path)} {inner}", f"# unpack {inner}, then check again")


def unpack(root: Path, need: Needed, archives: list[Packed]) -> Lines:
    """Unpack every archive where it belongs."""
    target = root / need.path
    lines: list[str] = []
    for one in archives:
        into = root / one.into
        lines += _made(into if need.holds else target.parent)
        lines.append(_unpack(root / one.archive, into, one.member, target))
    return tuple(dict.fromkeys(lines))


def _unpack(archive: Path, into: Path, member: str, target: Path) -> str:
    """One member goes straight to ``target``; everything else is unpacked below ``into``."""
    source = quoted(archive)
    if archive.suffix == ".zip" and member:
        return f"unzip -p {source} {quoted(member)} > {quoted(target)}"
    if archive.suffix == ".zip":
        return f"unzip -q {source} -d {quoted(into)}"
    if re.search(r"\.tar\.gz\.\w+$", archive.name):
        return f"cat {quoted(archive.with_suffix(''))}.* | tar -xz -C {quoted(into)}"
    if not archive.name.endswith((".tar", ".tar.gz", ".tgz")):
        return f"gunzip -c {source} > {quoted(target)}"
    return f"tar -xOf {source} {quoted(member)} > {quoted(target)}" if member else f"tar -xf {source} -C {quoted(into)}"
