"""Faults that can befall any raw release, put into its files one at a time and taken out again."""

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from pipelines.conformance.annotation import Annotation, Place, element_around, load, value_at, walk
from pipelines.conformance.world import Case

BAIT: Final = "bait"
"""The name, without suffix, of the files outside the root that a path of a fault may lead to."""
HALF_A_PAIR: Final = "\ud800"
ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 0.5, 7, 10**9, -(10**400), 10**400, math.nan, math.inf),
    *("", " ", "x", HALF_A_PAIR, "a\0b", "é" * 3000, "<Seg> <Temp-07> <region> [SEG]", "<video>\n<image>"),
    *([], {}, [[]], [None], [-1], [10**400], {"a": None}, {"size": [10**6, 10**6], "counts": "0"}),
)
"""Values that an annotation may hold by mistake; numbers beyond any float, text that no file can hold, other types."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one file. ``content`` is None where the file is gone, a path where it is a link to that.

    ``without`` is the file without the element that the fault lies in, None for no file: what can be told from that
    must still be told.
    """

    words: str
    file: str
    content: bytes | Path | None
    without: bytes | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.words}"


@contextmanager
def applied(case: Case, file: str, content: bytes | Path | None) -> Iterator[None]:
    """The release with another content of ``file``, for as long as the block runs."""
    place, aside = case.root / file, case.base / f"aside {file.replace('/', ' ')}"
    place.rename(aside)
    try:
        if isinstance(content, Path):
            place.symlink_to(content)
        elif content is not None:
            place.write_bytes(content)
        yield
    finally:
        place.unlink(missing_ok=True)
        aside.rename(place)


def baits(case: Case, media: Sequence[Path]) -> list[str]:
    """Copies of the release's media outside its root, and paths that lead there from folders of any depth."""
    names: list[str] = []
    for path in {path.suffix: path for path in media}.values():
        bait = case.outside / f"{BAIT}{path.suffix}"
        if not bait.exists():
            shutil.copyfile(path, bait)
        names += [f"outside/{bait.name}", f"outside/{BAIT}"]
    climbing = [f"{'../' * depth}{name}" for depth in range(1, 7) for name in dict.fromkeys(names)]
    return [*climbing, *(str(case.base / name) for name in names), "..", "x/../../y", "..\\outside"]


# --------------------------------------------------------------------------------------------- of annotations


@st.composite
def annotation_faults(draw: st.DrawFn, case: Case, files: Sequence[str], odd: Sequence[Any] = ODD) -> Fault:
    """One fault in one of the annotation ``files``; ``odd`` are the values that it may put somewhere."""
    file = draw(st.sampled_from(files), label="file")
    content = (case.root / file).read_bytes()
    annotation = load(file, content)
    whole = draw(st.integers(0, 9)) == 0
    if annotation.form == "bytes" or whole or not annotation.value:
        cut = draw(st.integers(0, max(len(content) - 1, 0)))
        return draw(st.sampled_from(file_faults(file, content, cut)))
    deepest = walk(annotation.value, draw(st.lists(st.integers(0, 9999), min_size=9, max_size=9)))
    place = deepest[: draw(st.integers(1, len(deepest)))]
    if annotation.form == "text":
        return _line_fault(draw, annotation, place, odd)
    return _value_fault(draw, annotation, place, odd)


def file_faults(file: str, content: bytes, cut: int) -> list[Fault]:
    """Faults of a whole file; some of them at byte ``cut``."""
    kinds: dict[str, bytes | None] = {
        "the file is gone": None,
        "the file is empty": b"",
        f"the file ends after {cut} of {len(content)} bytes": content[:cut],
        f"byte {cut} is 0xff": content[:cut] + b"\xff" + content[cut + 1 :],
        "an object has a key twice": content.replace(b"{", b'{"a": 1, "a": 2, ', 1),
        "the file holds null": b"null",
        "the file holds a list of numbers": b"[1, 2, 3]",
        "the file holds an object": b'{"a": {"b": [null]}}',
    }
    return [Fault(words, file, broken) for words, broken in kinds.items()]


def _value_fault(draw: st.DrawFn, annotation: Annotation, place: Place, odd: Sequence[Any]) -> Fault:
    element = element_around(annotation.value, place)
    without = annotation.removed(element).bytes()
    value = value_at(annotation.value, place)
    words = f"{spelt(place)} ({_shown(value)})"
    how = draw(st.sampled_from(["odd", "odd", "odd", "near", "gone", "twice"]))
    if how == "gone":
        return Fault(f"{words} is gone", annotation.file, annotation.removed(place).bytes(), without)
    if how == "twice" and isinstance(value_at(annotation.value, place[:-1]), list):
        return Fault(f"{words} is there twice", annotation.file, annotation.doubled(place).bytes(), without)
    new = draw(st.sampled_from(_near(value) if how == "near" else list(odd)))
    return Fault(f"{words} → {_shown(new)}", annotation.file, annotation.replaced(place, new).bytes(), without)


def _near(value: Any) -> list[Any]:
    """What somebody could have written instead."""
    match value:
        case bool() | None:
            return [not value, "null", "", 0]
        case int() | float():
            return [-value, value + 1, value + 0.5, value * 1000, str(value), [value], 10 * value]
        case str():
            return [f"{value}{HALF_A_PAIR}", f"../{value}", f"/{value}", f" {value} ", value.upper(), [value], 3]
        case list():
            return [value[:-1], value[::-1], [*value, None], value + value, dict(enumerate(value)), value[:1]]
        case dict():
            return [list(value.values()), dict.fromkeys(value), value | {HALF_A_PAIR: 1}, {}, [value], str(value)[:99]]
    return [None]


def _line_fault(draw: st.DrawFn, annotation: Annotation, place: Place, odd: Sequence[Any]) -> Fault:
    """A line of text with one of its words gone, twice or replaced, or the whole line there twice."""
    line: str = annotation.value[place[0]].rstrip("\r\n")
    end = annotation.value[place[0]][len(line) :]
    without = annotation.removed(place[:1]).bytes()
    if draw(st.integers(0, 7)) == 0:
        return Fault(f"line {place[0]} is there twice", annotation.file, annotation.doubled(place[:1]).bytes(), without)
    parts = line.split(" ")
    at = draw(st.integers(0, len(parts) - 1))
    spoilt = [str(new) for new in odd if "\n" not in str(new)]
    new = draw(st.sampled_from(["", parts[at] * 2, f"-{parts[at]}", f"../{parts[at]}", parts[at][:-1], *spoilt]))
    broken = " ".join([*parts[:at], new, *parts[at + 1 :]]) + end
    words = f"line {place[0]}, {parts[at]!r} → {_shown(new)}"
    return Fault(words, annotation.file, annotation.replaced(place[:1], broken).bytes(), without)


def spelt(place: Place) -> str:
    return "".join(f"[{step!r}]" for step in place)


def _shown(value: Any) -> str:
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**20 else "a number of 401 digits"
    return text if len(text) <= 60 else f"{text[:57]}…"


# --------------------------------------------------------------------------------------------------- of media


def media_faults(case: Case, path: Path, other: Path) -> st.SearchStrategy[Fault]:
    """Faults of one media file; ``other`` is another one of the release."""
    file, content = path.relative_to(case.root).as_posix(), path.read_bytes()
    return st.sampled_from(
        [
            Fault("is gone", file, None),
            Fault("is empty", file, b""),
            Fault("has lost its second half", file, content[: len(content) // 2]),
            Fault("has lost its last byte", file, content[:-1]),
            Fault("is a text", file, b"<html>404 Not Found</html>\n"),
            Fault(f"is {other.name} by mistake", file, other.read_bytes()),
            Fault("has noise in its middle", file, _noisy(content)),
            Fault("links to itself", file, path),
            Fault("links to nothing", file, case.outside / "nothing"),
        ]
    )


def link_out(case: Case, path: Path) -> Fault:
    """The media file as a link to a good copy of it outside the root."""
    bait = case.outside / f"linked{path.suffix}"
    if not bait.exists():
        shutil.copyfile(path, bait)
    return Fault("links out of the root", path.relative_to(case.root).as_posix(), Path(os.fspath(bait)))


def _noisy(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(range(64)) + content[middle + 64 :]
