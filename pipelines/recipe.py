"""A corpus recipe: TOML → frozen dataclasses. Unknown keys are errors that name the nearest valid one."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from converters.base import Converter
from converters.table import CONVERTERS, UnknownConverter, find_converter
from shards.keys import ENTRY_NAME, MAX_ENTRY_CHARS

UNITS: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


class RecipeError(ValueError):
    """The recipe, or a word of the command line, is wrong; the message names the file, the key and the remedy."""


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


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises RecipeError naming it."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}") from None


def load_recipe(path: Path, changes: Iterable[str] = ()) -> Recipe:
    """The recipe at ``path`` with the changes of ``--set key=value`` applied. Raises RecipeError."""
    raw = read_toml(path)
    for change in changes:
        _apply(raw, change)
    return _Reader(path).recipe(raw)


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
        if isinstance(dataset, dict) and step in (str(position), dataset.get("name"), dataset.get("converter")):
            return dataset
    raise RecipeError(f"--set {change}: no dataset {step!r} in the recipe")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class _Reader:
    """Reads the parts of one recipe; knows its path for the messages."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, where: str, words: str) -> RecipeError:
        return RecipeError(f"{self.path}: {where} {words}")

    def recipe(self, raw: dict[str, Any]) -> Recipe:
        self.known(raw, ("corpus", "dataset"), "the recipe")
        corpus, datasets = raw.get("corpus", {}), raw.get("dataset", [])
        if not isinstance(corpus, dict):
            raise self.fail("[corpus]", "is not a table")
        if not isinstance(datasets, list) or not datasets or not all(isinstance(item, dict) for item in datasets):
            raise self.fail("[[dataset]]", "is missing: a recipe names at least one dataset")
        self.known(corpus, CORPUS_KEYS, "[corpus]")
        entries = tuple(self.entry(item, f"[[dataset]] number {i + 1}") for i, item in enumerate(datasets))
        names = [entry.name for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise self.fail(
                    "[[dataset]]", f"{name!r} stands {names.count(name)} times: give each a `name` of its own"
                )
        return Recipe(
            name=self.get(corpus, "name", str, "[corpus]", self.path.stem),
            seed=self.get(corpus, "seed", int, "[corpus]", 0),
            shard_size=self.size(corpus.get("shard_size", "512 MiB")),
            wordings=self.count(corpus, "wordings", "[corpus]") or 0,
            max_skip_share=self.share(corpus, "max_skip_share", 0.01),
            max_missing_share=self.share(corpus, "max_missing_share", 0.0),
            entries=entries,
            out=self.get(corpus, "out", str, "[corpus]", None),
        )

    def entry(self, raw: dict[str, Any], where: str) -> Entry:
        self.known(raw, DATASET_KEYS, where)
        for key in ("converter", "root", "split"):
            if key not in raw:
                raise self.fail(where, f"lacks `{key}`")
        converter = self.get(raw, "converter", str, where, "")
        try:
            found = find_converter(converter)
        except UnknownConverter as error:
            raise self.fail(where, f"`converter`: {error}{nearest(converter, CONVERTERS)}") from None
        split = self.get(raw, "split", str, where, "")
        if split not in found.splits:
            hint = nearest(split, found.splits)
            raise self.fail(where, f"`split` {split!r} is none of {', '.join(found.splits)} of {found.name}{hint}")
        options = self.options(raw.get("options", {}), found, where)
        name = self.get(raw, "name", str, where, default_name(found, split, options))
        if not ENTRY_NAME.fullmatch(name) or len(name) > MAX_ENTRY_CHARS:
            raise self.fail(where, f"`name` {name!r} is not 1 to {MAX_ENTRY_CHARS} of the characters A-Z a-z 0-9 _ -")
        root = self.root(self.get(raw, "root", str, where, ""), where)
        return Entry(name, converter, root, split, options, self.count(raw, "take", where))

    def options(self, raw: Any, converter: type[Converter], where: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise self.fail(where, "`options` is not a table")
        self.known(raw, tuple(converter.options), f"{where}, `options` of {converter.name}")
        try:
            return {name: option.resolve(name, raw.get(name)) for name, option in converter.options.items()}
        except ValueError as error:
            raise self.fail(where, str(error)) from None

    def root(self, text: str, where: str) -> Path:
        if "://" in text:
            raise self.fail(
                where, f"`root` {text} is a URL: this version reads releases from local disk; mount or copy it"
            )
        root = (self.path.parent / text).absolute()
        try:
            there = root.is_dir()
        except OSError:  # a name too long for the file system
            there = False
        if not there:
            raise self.fail(where, f"`root` {root} is not a folder: correct it, or download the release there")
        return root

    def known(self, raw: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
        for key in raw:
            if key not in allowed:
                raise self.fail(
                    where, f"has no key `{key}`{nearest(key, allowed) or '; allowed: ' + ', '.join(allowed)}"
                )

    def get(self, raw: Mapping[str, Any], key: str, kind: type, where: str, default: Any) -> Any:
        value = raw.get(key, default)
        if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
            raise self.fail(where, f"`{key}` is {value!r}, not {'text' if kind is str else 'a whole number'}")
        return value

    def count(self, raw: Mapping[str, Any], key: str, where: str) -> int | None:
        value = self.get(raw, key, int, where, None)
        if value is not None and value < 0:
            raise self.fail(where, f"`{key}` is {value}, not 0 or more")
        return value

    def share(self, raw: Mapping[str, Any], key: str, default: float) -> float:
        value = raw.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            raise self.fail("[corpus]", f"`{key}` is {value!r}, not a share between 0 and 1")
        return float(value)

    def size(self, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        found = SIZE.fullmatch(value) if isinstance(value, str) else None
        if found is None or found[2].upper() not in UNITS or not float(found[1]) > 0:
            raise self.fail("[corpus]", f'`shard_size` is {value!r}, not a size such as "512 MiB"')
        return int(float(found[1]) * UNITS[found[2].upper()])


def default_name(converter: type[Converter], split: str, options: Mapping[str, Any]) -> str:
    """Converter, split and subset joined by ``-`` (FORMAT: a corpus)."""
    subset = options.get("subset") if split == "train" else None
    return "-".join([converter.name, split, *([subset] if isinstance(subset, str) else subset or [])])


def nearest(word: str, allowed: Iterable[str]) -> str:
    """``; did you mean …?`` or nothing."""
    found = difflib.get_close_matches(word, list(allowed), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
