"""A corpus recipe: TOML → frozen dataclasses. Unknown keys are errors that name the nearest valid one."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from converters.base import Converter
from converters.table import CONVERTERS, UnknownConverter, find_converter
from shards.keys import ENTRY_NAME, MAX_ENTRY_CHARS
from shards.toml_table import RecipeError, Table, nearest, read_toml

UNITS: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``[[dataset]]``: a split of a release, with its options resolved. ``root`` is absolute."""

    name: str
    converter: str
    root: Path
    split: str
    options: Mapping[str, Any] = field(default_factory=dict)
    take: int | None = None

    def open(self) -> Converter:
        return find_converter(self.converter)(self.root, self.split, self.options)

    @property
    def narrowed(self) -> bool:
        """Whether an option is not at its default, which may leave nothing of a release."""
        declared = find_converter(self.converter).options
        return any(value != declared[name].resolve(name, None) for name, value in self.options.items())

    def public(self) -> dict[str, Any]:
        """The entry as the manifest states it: without the root, and with no path of this machine."""
        options = {
            name: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
            for name, value in self.options.items()
        }
        out = {"name": self.name, "converter": self.converter, "split": self.split, "options": options}
        return out if self.take is None else out | {"take": self.take}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole recipe. Sizes in bytes, shares in 0…1."""

    name: str
    seed: int
    shard_size: int
    wordings: int
    max_skip_share: float
    max_missing_share: float
    entries: tuple[Entry, ...]
    out: str | None = None

    def public(self) -> dict[str, Any]:
        """The recipe as resolved, as the manifest states it: without roots and without out."""
        corpus = {name: getattr(self, name) for name in CORPUS_KEYS if name != "out"}
        return {"corpus": corpus, "dataset": [entry.public() for entry in self.entries]}


CORPUS_KEYS: Final = (
    "name", "seed", "shard_size", "wordings", "max_skip_share", "max_missing_share", "out",
)  # fmt: skip
DATASET_KEYS: Final = ("name", "converter", "root", "split", "options", "take")


def load_recipe(path: Path, changes: Iterable[str] = (), *, roots_exist: bool = True) -> Recipe:
    """The recipe at ``path`` with the changes of ``--set key=value`` applied. Raises RecipeError.

    A root that is no folder is an error too, unless ``roots_exist`` is False.
    """
    raw = read_toml(path)
    for change in changes:
        _apply(raw, change)
    return _recipe(path, raw, roots_exist)


def _apply(raw: dict[str, Any], change: str) -> None:
    """``corpus.seed=3``, ``seed=3`` (of [corpus]) or ``dataset.0.take=100`` / ``dataset.<name>.take=100``."""
    path, equals, text = change.partition("=")
    if not equals:
        raise RecipeError(f"--set {change}: write it as key=value, for example --set wordings=2")
    steps = path.strip().split(".")
    if steps[0] not in ("corpus", "dataset"):
        steps.insert(0, "corpus")
    at: Any = raw.setdefault(steps[0], {})
    for step in steps[1:-1]:
        if isinstance(at, list):
            at = _dataset_named(at, step, change)
        elif isinstance(at, dict):
            at = at.setdefault(step, {})
    if not isinstance(at, dict):
        raise RecipeError(f"--set {change}: {path} is not a key of a recipe")
    at[steps[-1]] = _value(text.strip())


def _dataset_named(datasets: list[Any], step: str, change: str) -> Any:
    for position, dataset in enumerate(datasets):
        if isinstance(dataset, dict) and step in (str(position), _name_of(dataset), dataset.get("converter")):
            return dataset
    names = [str(_name_of(dataset)) for dataset in datasets if isinstance(dataset, dict)]
    raise RecipeError(
        f"--set {change}: no dataset {step!r} in the recipe{nearest(step, names)}; it has {', '.join(names)}"
    )


def _name_of(dataset: dict[str, Any]) -> Any:
    """The name of a ``[[dataset]]``, also where the recipe leaves it to us; None where something is wrong with it."""
    if "name" in dataset:
        return dataset["name"]
    try:
        converter, given = find_converter(dataset["converter"]), dataset.get("options", {})
        options = {name: option.resolve(name, given.get(name)) for name, option in converter.options.items()}
        return default_name(converter, dataset["split"], options)
    except (KeyError, TypeError, AttributeError, ValueError):  # told when the recipe is read
        return None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _recipe(path: Path, raw: Mapping[str, Any], roots_exist: bool) -> Recipe:
    Table(path, "the recipe", raw).known(("corpus", "dataset"))
    corpus = Table.one(path, raw, "corpus")
    datasets = Table.several(path, raw, "dataset", "a recipe names at least one dataset")
    corpus.known(CORPUS_KEYS)
    entries = tuple(_entry(dataset, roots_exist) for dataset in datasets)
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                f"{path}: [[dataset]] {name!r} stands {names.count(name)} times: give each a `name` of its own"
            )
    return Recipe(
        name=corpus.text("name", path.stem),
        seed=corpus.whole("seed", 0),
        shard_size=_size(corpus),
        wordings=corpus.whole("wordings", 0, least=0),
        max_skip_share=corpus.share("max_skip_share", 0.01),
        max_missing_share=corpus.share("max_missing_share", 0.0),
        entries=entries,
        out=corpus.text("out", None),
    )


def _entry(table: Table, roots_exist: bool) -> Entry:
    table.known(DATASET_KEYS)
    table.required(("converter", "root", "split"))
    converter = table.text("converter", "")
    try:
        found = find_converter(converter)
    except UnknownConverter as error:
        raise table.fail(f"`converter`: {error}{nearest(converter, CONVERTERS)}") from None
    split = table.choice("split", "", found.splits)
    options = _options(table, found)
    name = table.text("name", default_name(found, split, options))
    if not ENTRY_NAME.fullmatch(name) or len(name) > MAX_ENTRY_CHARS:
        raise table.fail(f"`name` {name!r} is not 1 to {MAX_ENTRY_CHARS} of the characters A-Z a-z 0-9 _ -")
    return Entry(name, converter, _root(table, roots_exist), split, options, table.whole("take", None, least=0))


def _options(table: Table, converter: type[Converter]) -> dict[str, Any]:
    raw = table.raw.get("options", {})
    if not isinstance(raw, dict):
        raise table.fail("`options` is not a table")
    Table(table.path, f"{table.where}, `options` of {converter.name}", raw).known(converter.options)
    try:
        return {name: option.resolve(name, raw.get(name)) for name, option in converter.options.items()}
    except ValueError as error:
        raise table.fail(str(error)) from None


def _root(table: Table, must_exist: bool) -> Path:
    text = table.text("root", "")
    if "://" in text:
        raise table.fail(f"`root` {text} is a URL: this version reads releases from local disk; mount or copy it")
    root = (table.path.parent / text).absolute()
    try:
        there = root.is_dir()
    except OSError:  # a name too long for the file system
        there = False
    if not there and must_exist:
        raise table.fail(f"`root` {root} is not a folder: correct it, or download the release there")
    return root


def _size(corpus: Table) -> int:
    value = corpus.raw.get("shard_size", "512 MiB")
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2].upper() not in UNITS or not float(found[1]) > 0:
        raise corpus.wrong("shard_size", 'a size such as "512 MiB"')
    return int(float(found[1]) * UNITS[found[2].upper()])


def default_name(converter: type[Converter], split: str, options: Mapping[str, Any]) -> str:
    """Converter, split and subset joined by ``-`` (FORMAT: a corpus)."""
    subset = options.get("subset") if split == "train" else None
    return "-".join([converter.name, split, *([subset] if isinstance(subset, str) else subset or [])])
