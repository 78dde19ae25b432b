"""Every field of an annotation, replaced by everything that it should not be: many faults at once, in elements apart.

Fields are told apart by their shape: the way to them with positions and keys that hold a digit left out, such as
``videos.*.expressions.*.exp``. Every shape meets every odd value once, somewhere.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from pipelines.conformance.annotation import Annotation, Place, load, value_at
from pipelines.conformance.fault_laws import OF_THE_RELEASE, attempt, bad_account, left_the_root
from pipelines.conformance.faults import HALF_A_PAIR, applied, spelt
from pipelines.conformance.watching import watch
from pipelines.conformance.world import Case

GONE: Final = object()
ODD_NUMBERS: Final = (GONE, None, "x", -1, 0.5, math.nan, 10**400, [1])
ODD_TEXTS: Final = (GONE, None, "", f"x{HALF_A_PAIR}", "../../x", 7, ["x"], {"x": 1})
ODD_LISTS: Final = (GONE, None, "x", 7, [], {}, [None])
ODD_OBJECTS: Final = (GONE, None, "x", 7, [], {}, {"x": None})
WIDE: Final = 60
"""Elements of a list or members of an object that are looked at, spread evenly: enough to find every shape."""

Shape = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One field and what it is to become."""

    file: str
    place: Place
    shape: Shape
    new: Any

    @property
    def element(self) -> tuple[str, Place]:
        """What the change spoils: the outermost row that the field lies in, or the file where there are no rows."""
        depth = self.shape.index("*") + 1 if "*" in self.shape else 0
        return self.file, self.place[:depth]

    def __str__(self) -> str:
        return f"{self.file}: {spelt(self.place)} {'is gone' if self.new is GONE else f'→ {self.new!a:.50}'}"


def harm(case: Case, files: Sequence[str], known: set[Shape]) -> Iterator[str]:
    """What breaks a law while fields of ``files`` are odd, each with the one change that does it.

    Shapes that are ``known`` are left out; those that were tried are added.
    """
    annotation = {file: load(file, (case.root / file).read_bytes()) for file in files}
    waiting = list(_changes(annotation, known))
    known.update(options[0].shape for options in waiting)
    for batch in _batches(waiting):
        yield from _harm(case, annotation, batch)


def _harm(case: Case, annotation: Mapping[str, Annotation], batch: Sequence[Change]) -> Iterator[str]:
    """Halves the batch until the change that does harm is alone. A release may be refused for one that it all needs."""
    problems = list(_tried(case, annotation, batch))
    if problems and len(batch) > 1:
        half = len(batch) // 2
        yield from _harm(case, annotation, batch[:half])
        yield from _harm(case, annotation, batch[half:])
    elif problems != [REFUSED]:
        yield from (f"{batch[0]}: {words}" for words in problems)


REFUSED: Final = "the release is refused"


def _tried(case: Case, annotation: Mapping[str, Annotation], batch: Sequence[Change]) -> Iterator[str]:
    changed = dict(annotation)
    for change in sorted(batch, key=lambda change: len(change.place), reverse=True):
        file = changed[change.file]
        gone = change.new is GONE
        changed[change.file] = file.removed(change.place) if gone else file.replaced(change.place, change.new)
    with ExitStack() as stack:
        for file in {change.file for change in batch}:
            stack.enter_context(applied(case, file, changed[file].bytes()))
        accesses = stack.enter_context(watch(case.base))
        found = attempt(case)
    yield from left_the_root(case, accesses)
    if isinstance(found, OF_THE_RELEASE):
        yield REFUSED
    elif isinstance(found, Exception):
        yield f"ends in {type(found).__name__}: {found!s:.200}"
    else:
        yield from bad_account(case, found)


# --------------------------------------------------------------------------------------------- which changes


def _batches(waiting: list[list[Change]]) -> Iterator[list[Change]]:
    """All changes, each at one of its places, in batches that have no two in one element."""
    while waiting:
        batch: dict[tuple[str, Place], Change] = {}
        later: list[list[Change]] = []
        for options in waiting:
            free = next((change for change in options if _apart(change, batch)), None)
            if free is None:
                later.append(options)
            else:
                batch[free.element] = free
        yield list(batch.values())
        waiting = later


def _apart(change: Change, batch: Mapping[tuple[str, Place], Change]) -> bool:
    """Not in an element that the batch changes; and a row is removed only where its file has no other change."""
    shifts = change.new is GONE and isinstance(change.place[-1], int)
    if shifts or any(other.new is GONE and isinstance(other.place[-1], int) for other in batch.values()):
        return all(other.file != change.file for other in batch.values())
    return change.element not in batch and all(
        other.file != change.file or other.element[1] for other in batch.values()
    )


def _changes(annotation: Mapping[str, Annotation], known: set[Shape]) -> Iterator[list[Change]]:
    """For every shape and every odd value the places where it can be put."""
    places: dict[Shape, list[tuple[str, Place]]] = {}
    for file, content in annotation.items():
        if content.form in ("json", "json lines", "pickle"):
            for place in _places(content.value, ()):
                if (shape := tuple(map(_step, place))) not in known:
                    places.setdefault(shape, []).append((file, place))
    for shape, found in places.items():
        file, place = found[0]
        for turn, new in enumerate(_odd(value_at(annotation[file].value, place))):
            start = turn * len(found) // 8  # another value, another place
            yield [Change(file, place, shape, new) for file, place in [*found[start:], *found[:start]]]


def _step(step: str | int) -> str:
    return "*" if isinstance(step, int) or any(char.isdigit() for char in step) else step


def _places(value: Any, place: Place) -> Iterator[Place]:
    if place:
        yield place
    names: Sequence[Any] = list(value) if isinstance(value, dict) else range(len(value)) if _is_rows(value) else ()
    for name in names[:: len(names) // WIDE + 1]:
        yield from _places(value[name], (*place, name))


def _is_rows(value: Any) -> bool:
    """Lists of numbers are masks and boxes: a value, not rows."""
    return isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple | str) for item in value)


def _odd(value: Any) -> tuple[Any, ...]:
    match value:
        case dict():
            return ODD_OBJECTS
        case list() | tuple():
            return ODD_LISTS
        case str():
            return ODD_TEXTS
    return ODD_NUMBERS
