"""The strict reader of every recipe: each mistake is an error that names the file, the table, the key and the remedy.

raw = read_toml(path)
train = Table.one(path, raw, "train")
train.known(("steps", "rate", "name"))
steps = train.whole("steps", 1000, least=1)
name = train.text("name", None)      # None: the recipe need not say
"""

import difflib
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Default = TypeVar("Default")


class RecipeError(ValueError):
    """The recipe, or a word of the command line, is wrong; the message names the file, the key and the remedy."""


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


def nearest(word: str, allowed: Iterable[str]) -> str:
    """``; did you mean …?`` or nothing."""
    found = difflib.get_close_matches(word, list(allowed), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the recipe at ``path``; ``where`` names it in messages, for example ``[stream]``.

    A method that reads a key returns ``default`` where the key is absent, and raises RecipeError for a wrong value.
    """

    path: Path
    where: str
    raw: Mapping[str, Any]

    @classmethod
    def one(cls, path: Path, raw: Mapping[str, Any], name: str) -> "Table":
        """``[name]`` of a parsed file, empty where it is absent. Raises RecipeError if it is no table."""
        found = raw.get(name, {})
        if not isinstance(found, dict):
            raise RecipeError(f"{path}: [{name}] is not a table")
        return cls(path, f"[{name}]", found)

    @classmethod
    def several(cls, path: Path, raw: Mapping[str, Any], name: str, remedy: str) -> list["Table"]:
        """Every ``[[name]]`` of a parsed file, at least one. Raises RecipeError with the remedy if there is none."""
        found = raw.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
            raise RecipeError(f"{path}: [[{name}]] is missing: {remedy}")
        return [cls(path, f"[[{name}]] number {number}", item) for number, item in enumerate(found, 1)]

    def fail(self, words: str) -> RecipeError:
        """The error to raise for the table as a whole; ``words`` follow its name."""
        return RecipeError(f"{self.path}: {self.where} {words}")

    def wrong(self, key: str, wanted: str) -> RecipeError:
        """The error to raise for the value of ``key``, which is not what is wanted."""
        return RecipeError(f"{self.path}: {self.where}: `{key}` is {self.raw.get(key)!r}, not {wanted}")

    def known(self, allowed: Iterable[str]) -> None:
        """Raise RecipeError, with the nearest allowed key, for any other."""
        allowed = tuple(allowed)
        for key in self.raw:
            if key not in allowed:
                raise self.fail(f"has no key `{key}`{nearest(key, allowed) or '; allowed: ' + ', '.join(allowed)}")

    def required(self, keys: Iterable[str]) -> None:
        """Raise RecipeError for the first of ``keys`` that is absent."""
        for key in keys:
            if key not in self.raw:
                raise self.fail(f"lacks `{key}`")

    def text(self, key: str, default: Default) -> str | Default:
        """A string."""
        if key not in self.raw:
            return default
        value = self.raw[key]
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def choice(self, key: str, default: Default, allowed: Iterable[str]) -> str | Default:
        """A string that is one of ``allowed``."""
        value, allowed = self.text(key, default), tuple(allowed)
        if key in self.raw and value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}{nearest(str(value), allowed)}")
        return value

    def whole(self, key: str, default: Default, *, least: int | None = None) -> int | Default:
        """An integer, not below ``least``."""
        if key not in self.raw:
            return default
        value = self.raw[key]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "a whole number")
        if least is not None and value < least:
            raise self.wrong(key, f"{least} or more")
        return value

    def number(
        self, key: str, default: Default, *, least: float | None = None, above: float | None = None
    ) -> float | Default:
        """A finite integer or float, not below ``least`` and greater than ``above``."""
        if key not in self.raw:
            return default
        value = self.raw[key]
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(key, "a number")
        if not abs(value) <= sys.float_info.max:  # infinite, not a number, or an integer that no float can hold
            raise self.wrong(key, "a finite number")
        if least is not None and value < least:
            raise self.wrong(key, f"{least} or more")
        if above is not None and value <= above:
            raise self.wrong(key, f"above {above}")
        return float(value)

    def share(self, key: str, default: Default) -> float | Default:
        """A number from 0 to 1."""
        value = self.number(key, default)
        if key in self.raw and not 0 <= self.raw[key] <= 1:
            raise self.wrong(key, "a share between 0 and 1")
        return value

    def flag(self, key: str, default: Default) -> bool | Default:
        """true or false."""
        if key not in self.raw:
            return default
        value = self.raw[key]
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def names(self, key: str) -> str | tuple[str, ...] | None:
        """One name, or a list of names; None where it is absent."""
        value = self.raw.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
            return tuple(value)
        raise self.wrong(key, "a name or a list of names")
