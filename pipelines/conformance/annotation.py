"""Annotation files of any release as plain values that can be shuffled, broken and written again.

JSON, lines of JSON, lines of text, pickles of plain data; any other file is bytes. A *place* in a value is the tuple of
the keys and positions that lead to it.
"""

import fnmatch
import json
import pickle
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Literal

Json = Any
Place = tuple[str | int, ...]
Form = Literal["json", "json lines", "text", "pickle", "bytes"]

FORMS: Final[dict[str, Form]] = {
    ".json": "json",
    ".jsonl": "json lines",
    ".p": "pickle",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".txt": "text",
    ".csv": "text",
    ".tsv": "text",
}
HEADED: Final = (".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of one annotation file; ``file`` is its path below the root."""

    file: str
    form: Form
    value: Json

    def bytes(self) -> bytes:
        match self.form:
            case "json":
                return json.dumps(self.value).encode("ascii")
            case "json lines":
                return b"".join(json.dumps(line).encode("ascii") + b"\n" for line in self.value)
            case "text":
                return "".join(self.value).encode("utf-8", "surrogatepass")
            case "pickle":
                return pickle.dumps(self.value, protocol=2)
        return self.value

    def replaced(self, place: Place, new: Json) -> "Annotation":
        """With another value at ``place``; the rest is shared."""
        return Annotation(self.file, self.form, _replaced(self.value, place, new))

    def removed(self, place: Place) -> "Annotation":
        parent = value_at(self.value, place[:-1])
        if isinstance(parent, dict):
            rest: Json = {key: item for key, item in parent.items() if key != place[-1]}
        else:
            rest = [item for position, item in enumerate(parent) if position != place[-1]]
        return self.replaced(place[:-1], rest)

    def doubled(self, place: Place) -> "Annotation":
        """With the element of a list at ``place`` there twice, once at the end."""
        parent = value_at(self.value, place[:-1])
        return self.replaced(place[:-1], [*parent, parent[place[-1]]])


def load(file: str, content: bytes) -> Annotation:
    """The file's value by its suffix; bytes where it does not hold what the suffix says."""
    form = FORMS.get(PurePath(file).suffix.lower(), "bytes")
    with suppress(Exception):  # a pickle raises anything
        match form:
            case "json":
                return Annotation(file, form, json.loads(content))
            case "json lines":
                return Annotation(file, form, [json.loads(line) for line in content.splitlines() if line.strip()])
            case "text":
                return Annotation(file, form, content.decode("utf-8").splitlines(keepends=True))
            case "pickle":
                return Annotation(file, form, pickle.loads(content, encoding="latin1"))
    return Annotation(file, "bytes", content)


def value_at(value: Json, place: Place) -> Json:
    for step in place:
        value = value[step]
    return value


def _replaced(value: Json, place: Place, new: Json) -> Json:
    if not place:
        return new
    copied: Json = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = _replaced(value[place[0]], place[1:], new)
    return copied


def walk(value: Json, steps: Sequence[int]) -> Place:
    """The place that the steps lead to: each picks one of the children, until there are none."""
    place: list[str | int] = []
    for step in steps:
        if not isinstance(value, dict | list | tuple) or not value:
            break
        names: Sequence[Any] = list(value) if isinstance(value, dict) else range(len(value))
        place.append(names[step % len(names)])
        value = value_at(value, (place[-1],))
    return tuple(place)


def element_around(value: Json, place: Place) -> Place:
    """The smallest thing around ``place`` that a release can lack: an object or an element of a list, not the root."""
    for length in range(len(place), 0, -1):
        found, parent = value_at(value, place[:length]), value_at(value, place[: length - 1])
        if isinstance(parent, list | tuple) or (isinstance(found, dict) and length < len(place)):
            return place[:length]
    return place


# ------------------------------------------------------------------------------------------- shuffling, enlarging


def shuffled(annotation: Annotation, seed: int, in_order: Collection[str]) -> Annotation:
    """The same facts in another order: members of objects, lines, and the lists that are tables."""
    rng = random.Random(seed)
    value = _members_shuffled(annotation.value, rng)
    for place in _tables(annotation, in_order):
        rows = list(value_at(value, place))
        head = rows[:1] if _has_header(annotation.file) else []
        rest = rows[len(head) :]
        rng.shuffle(rest)
        if annotation.form == "text":
            rest = [line if line.endswith("\n") else f"{line}\n" for line in rest]
        value = _replaced(value, place, [*head, *rest])
    return Annotation(annotation.file, annotation.form, value)


def _members_shuffled(value: Json, rng: random.Random) -> Json:
    if isinstance(value, dict):
        names = list(value)
        rng.shuffle(names)
        return {name: _members_shuffled(value[name], rng) for name in names}
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [_members_shuffled(item, rng) for item in value]
    return value


def _tables(annotation: Annotation, in_order: Collection[str]) -> Iterator[Place]:
    """The lists whose elements are in no order: at the top of the file, or members of the object there."""

    def free(member: str) -> bool:
        return not any(fnmatch.fnmatch(f"{annotation.file}:{member}", pattern) for pattern in in_order)

    if isinstance(annotation.value, list) and free(""):
        yield ()
    elif isinstance(annotation.value, dict):
        yield from ((name,) for name, item in annotation.value.items() if isinstance(item, list) and free(str(name)))


def _has_header(file: str) -> bool:
    return PurePath(file).suffix.lower() in HEADED


def enlarged(annotation: Annotation, size: int, in_order: Collection[str]) -> Annotation:
    """The same rows again and again until the file has about ``size`` bytes; in objects under further names."""
    times = size // max(len(annotation.bytes()), 1) + 1
    tables, value = list(_tables(annotation, in_order)), annotation.value
    for place in tables:
        rows = list(value_at(value, place))
        head = rows[:1] if _has_header(annotation.file) else []
        value = _replaced(value, place, [*head, *rows[len(head) :] * times])
    if isinstance(value, dict) and not tables:
        named = [name for name, item in value.items() if isinstance(item, dict)]
        value = (
            value | {name: _more_members(value[name], times) for name in named}
            if named
            else _more_members(value, times)
        )
    return Annotation(annotation.file, annotation.form, value)


def _more_members(value: dict[str, Json], times: int) -> dict[str, Json]:
    return {(f"{name}~{i}" if i else name): item for i in range(times) for name, item in value.items()}
