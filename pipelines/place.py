"""The folder that a build writes to: claimed for a corpus, and by one build at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shards.manifest import MANIFEST_FILE
from shards.toml_table import RecipeError

WORK: Final = ".work"
"""Scratch folder inside the corpus while it is built: the plan's spool, finished chunks, unfinished shards."""
LOCK: Final = ".building"


def claim(out: Path) -> None:
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
