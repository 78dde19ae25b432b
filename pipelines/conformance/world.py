"""The worlds that a converter is tried on, and where on disk each has its place."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from converters.table import find_converter
from converters.world.expected import Expected, World, Writer
from pipelines.recipe import Entry, Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One entry of a written world. ``base`` is the tree that is watched: the release, what lies outside, scratch."""

    converter: str
    base: Path
    expected: Expected
    in_order: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        return self.base / "release"

    @property
    def outside(self) -> Path:
        return self.base / "outside"

    @property
    def work(self) -> Path:
        return self.base / "work"

    def __str__(self) -> str:
        options = [
            "+".join(value) if isinstance(value, list) else str(value) for value in self.expected.options.values()
        ]
        words = "-".join([find_converter(self.converter).name, self.expected.split, *options])
        return re.sub(r"[^\w.+-]", "_", words)

    def entry(self, root: Path | None = None) -> Entry:
        """The case as an entry of a recipe, its options resolved."""
        known = find_converter(self.converter).options
        options = {name: option.resolve(name, self.expected.options.get(name)) for name, option in known.items()}
        return Entry("laws", self.converter, root or self.root, self.expected.split, options)

    def recipe(self) -> Recipe:
        """A recipe of this entry alone, which forgives everything."""
        return Recipe("laws", 0, 1 << 20, 1, 1.0, 1.0, (self.entry(),))


class Worlds:
    """The worlds that one converter is tried on, each written once."""

    def __init__(self, converter: str, write: Writer, folder: Path) -> None:
        self.converter, self._write, self._folder = converter, write, folder
        self._known: dict[int, list[Case]] = {}

    def cases(self, number: int = 0) -> list[Case]:
        """The entries of world ``number``; it has one to three clips, and the number is its seed."""
        if number not in self._known:
            base = self._folder / f"world{number}"
            for name in ("release", "outside", "work"):
                (base / name).mkdir(parents=True)
            world = self._write(base / "release", 1 + number % 3, number)
            if not isinstance(world, World) or not world.entries:
                raise TypeError(f"the writer of {self.converter} returned {world!r}, not a World with entries")
            self._known[number] = [Case(self.converter, base, e, world.in_order) for e in world.entries]
        return self._known[number]


def linked_copy(case: Case) -> Path:
    """The release at another place, its files shared with the first."""
    to = Path(tempfile.mkdtemp(dir=case.base)) / "moved"
    shutil.copytree(case.root, to, copy_function=os.link, symlinks=True)
    return to
