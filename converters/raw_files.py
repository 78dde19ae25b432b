"""Reading the annotation files of a release: safely, with every file that was read accounted for."""

import codecs
import hashlib
import io
import json
import math
import pickle
import re
from pathlib import Path, PurePosixPath
from typing import Any, Final, NoReturn

from shards.manifest import InputFile
from shards.skips import SkipItem

MAX_DIGITS: Final = 300
MAX_INT: Final = 10**MAX_DIGITS
"""A whole number beyond it is read as infinite, as Python's JSON reads ``1e400``: so every number that comes out can
become a float, and text."""
HUGE: Final = re.compile(rb"[0-9]{%d}" % MAX_DIGITS)


class DatasetError(ValueError):
    """A file that the whole dataset needs is missing or unreadable; the message names it and the remedy."""


class RawFiles:
    """The annotation files below ``root``; ``inputs`` lists those that were read, with size and hash."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._inputs: dict[str, InputFile] = {}

    @property
    def inputs(self) -> list[InputFile]:
        return [self._inputs[path] for path in sorted(self._inputs)]

    def read(self, path: str) -> bytes:
        """The bytes of an annotation file; DatasetError if it cannot be read."""
        try:
            data = (self.root / path).read_bytes()
        except FileNotFoundError:
            raise DatasetError(f"{self.root / path} does not exist: download it, or correct the root") from None
        except OSError as error:
            raise DatasetError(f"{self.root / path} cannot be read: {error.strerror}") from None
        self._inputs[path] = InputFile(path, len(data), hashlib.sha256(data).hexdigest())
        return data

    def json(self, path: str) -> Any:
        """The JSON in ``path``. An object that has a key twice is an error: one of the two would be lost."""
        data = self.read(path)
        parse_int = _int_or_inf if HUGE.search(data) else None  # slow, so only where it is needed
        try:
            return json.loads(data, object_pairs_hook=_unique_keys, parse_int=parse_int)
        except (ValueError, RecursionError) as error:
            raise self.unreadable(path, f"is not JSON ({error})") from None

    def text(self, path: str) -> str:
        """The text in ``path``: UTF-8, and Latin-1 in the lines that are not that."""
        lines = self.read(path).removeprefix(codecs.BOM_UTF8).split(b"\n")
        return "\n".join(_decoded(line) for line in lines)

    def pickle(self, path: str) -> Any:
        """The plain data in a pickle. No class or function is ever looked up: such a pickle is refused.

        Byte strings, as Python 2 wrote them, become text; what comes out could stand in a JSON file.
        """
        data = self.read(path)
        try:
            return _plain(_DataUnpickler(io.BytesIO(data), encoding="bytes").load())
        except Exception as error:  # a broken pickle raises nearly anything
            raise self.unreadable(path, f"is not a pickle of plain data ({error})") from None

    def unreadable(self, path: str, why: str) -> DatasetError:
        return DatasetError(f"{self.root / path} {why}: download it again")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants {module_name}.{global_name}, which data does not need")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _decoded(value)
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and abs(value) > MAX_INT:
        return math.inf if value > 0 else -math.inf
    if isinstance(value, str | int | float | None):
        return value
    raise ValueError(f"it holds a {type(value).__name__}")


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _int_or_inf(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def utf8(text: str, what: str) -> str:
    """``text`` itself; SkipItem where it holds half of a surrogate pair, which no file in UTF-8 can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise SkipItem("malformed", f"{what} holds half a surrogate pair, which is no text") from None
    return text


def inside(root: Path, path: str) -> Path:
    """``root / path``; SkipItem for a path that is absolute or climbs out of the root."""
    if not path.strip():
        raise SkipItem("malformed", "the path of the media is blank")
    parts = PurePosixPath(path).parts
    if "\0" in path or path.startswith(("/", "\\")) or ".." in parts or "\\" in path:
        raise SkipItem("unsafe_path", f"{path!r} leads out of the dataset's root")
    return root / path


def existing(path: Path) -> Path:
    """``path`` itself; SkipItem where no file is."""
    try:
        there = path.is_file()
    except OSError:  # a name too long for the file system
        there = False
    if not there:
        raise SkipItem("missing_media", f"{path.name} is not there")
    return path
