"""Which files are opened, and which folders listed, while a block runs: Python's own audit events, whoever opens."""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

EVENTS: Final = ("open", "os.listdir", "os.scandir")
WRITING: Final = os.O_WRONLY | os.O_RDWR


class Access(NamedTuple):
    """A file that was opened or a folder that was listed; ``path`` with all links followed."""

    path: Path
    writes: bool


_heard: list[list[tuple[str, bool]]] = []
"""One list for each block at work. A hook cannot be removed again, so there is one, which mostly has nobody to tell."""


@contextmanager
def watch(tree: Path) -> Iterator[list[Access]]:
    """The accesses to what is named below ``tree``, filled in when the block ends."""
    _install()
    heard: list[tuple[str, bool]] = []
    found: list[Access] = []
    _heard.append(heard)
    try:
        yield found
    finally:
        _heard.remove(heard)
        top = os.path.realpath(tree)
        for path, writes in heard:
            named = os.path.abspath(path)
            if named.startswith((f"{top}/", f"{tree}/")):
                found.append(Access(Path(os.path.realpath(path)), writes))


@functools.cache
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _heard and event in EVENTS and isinstance(args[0], str | bytes | os.PathLike):
        writes = event == "open" and isinstance(args[2], int) and bool(args[2] & WRITING)
        for heard in _heard:
            heard.append((os.fsdecode(args[0]), writes))
