"""What must become of a raw release, in the fewest words: the keys of its samples, and the reasons of its skips.

The conformance kit (``pipelines.conformance``) tries a converter on releases that a function like this one writes:

    def write(root: Path, clips: int, seed: int) -> World:
        ...                                               # files below root, the same for the same arguments
        return World(Expected("train", samples=["kitchen/train/7"], skips={"kitchen/train/8": "bad_span"}))

Let the release have what the real one has: every form an annotation takes, and an item for every fault you know of.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.record import Span


@dataclass(frozen=True, slots=True)
class Expected:
    """One entry of the release: the keys of its samples, and of every other item the reason why it is skipped.

    A key is in both where a later item is a ``duplicate`` of a good one, or a ``key_conflict``. ``options`` are those
    that the entry is converted with; one ``Expected`` for each choice that changes anything. ``spans`` are what was
    filmed, in seconds, for the samples that are named there: an end read as inclusive is found by nothing else.
    """

    split: str
    samples: Collection[str]
    skips: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    spans: Mapping[str, Sequence[Span]] = field(default_factory=dict)


class World:
    """What was written: its entries, and the lists in which the place of an element means something.

    ``in_order`` holds patterns of ``<file>:<member>``: the kit shuffles the members of every JSON object, the lines of
    every text, and the lists at the top of a file or one object below, but for those.
    """

    def __init__(self, *entries: Expected, in_order: Collection[str] = ()) -> None:
        self.entries, self.in_order = entries, tuple(in_order)


Writer = Callable[[Path, int, int], World]
"""(root, clips, seed) → the world that it wrote below ``root``."""
