"""Reading the annotation files of a release: safely, with every file that was read accounted for."""

import hashlib
import io
import json
import pickle
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from shards.manifest import InputFile
from shards.skips import SkipItem


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
        try:
            return json.loads(self.read(path), object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:
            if isinstance(error, DatasetError):
                raise
            raise self.unreadable(path, f"is not JSON ({error})") from None

    def text(self, path: str) -> str:
        """The text in ``path``: UTF-8, or Latin-1 where it is not that."""
        data = self.read(path)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def pickle(self, path: str) -> Any:
        """The plain data in a pickle. No class or function is ever looked up: such a pickle is refused.

        Byte strings, as Python 2 wrote them, become text.
        """
        try:
            return _as_text(_DataUnpickler(io.BytesIO(self.read(path)), encoding="bytes").load())
        except DatasetError:
            raise
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


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")
    if isinstance(value, dict):
        return {_as_text(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return value


def inside(root: Path, path: str) -> Path:
    """``root / path``; SkipItem for a path that is absolute or climbs out of the root."""
    parts = PurePosixPath(path).parts
    if not path or "\0" in path or path.startswith(("/", "\\")) or ".." in parts or "\\" in path:
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
