"""What a release consists of, thing by thing: what ``multigrain check`` looks for before any conversion.

A converter's ``release`` lists it for its split and options. Nothing here touches the disk, and nothing is guessed: a
checksum or a count stands here only where the owners publish it.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

HEX_DIGITS: Final = {"md5": 32, "sha256": 64}
HOLDS: Final = re.compile(r"(\*/)?\*(\.[a-z0-9]+)?|\*/")


@dataclass(frozen=True, slots=True)
class Needed:
    """A file that a conversion reads, or a folder of many.

    ``path`` is relative to the root (absolute where an option names it). ``holds`` is empty for a file, and for a
    folder says what is counted in it: ``*.mp4``, ``*/*.json``, or ``*/`` for folders. ``media`` marks the clips;
    ``per_clip`` names the key of ``RawClip.shared`` that is None where a clip's own file in this folder is absent.
    ``page`` is where the owners publish it, ``archive`` its name there (``*`` for parts). ``also`` are other paths it
    is commonly found at, ``unlike`` file names that look like it and are something else, with what they are.
    ``checksum`` is ``sha256:…`` or ``md5:…`` of the published file, which has at least ``least_bytes``: a smaller one
    is an excerpt, and not compared. ``count`` is the published number of files, folders or lines. ``option`` is the
    option that can name another place.
    """

    path: str
    what: str
    page: str
    archive: str = ""
    holds: str = ""
    media: bool = False
    per_clip: str = ""
    also: tuple[str, ...] = ()
    unlike: tuple[tuple[str, str], ...] = ()
    checksum: str = ""
    least_bytes: int = 0
    count: int | None = None
    optional: bool = False
    option: str = ""

    def __post_init__(self) -> None:
        if not self.path or ".." in PurePosixPath(self.path).parts:
            raise ValueError(f"needed path {self.path!r} is not a path below the root")
        if self.holds and not HOLDS.fullmatch(self.holds):
            raise ValueError(f"{self.path}: holds {self.holds!r} is none of *, *.ext, */*.ext and */")
        if self.checksum:
            kind, _, digits = self.checksum.partition(":")
            if self.holds or not re.fullmatch(f"[0-9a-f]{{{HEX_DIGITS.get(kind, 0)}}}", digits):
                raise ValueError(f"{self.path}: {self.checksum!r} is not sha256:<hex> or md5:<hex> of one file")
        if self.count is not None and self.count < 1:
            raise ValueError(f"{self.path}: count {self.count} is not 1 or more")
