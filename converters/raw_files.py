"""Reading the annotation files of a release: safely, with every file that was read accounted for."""

import codecs
import csv
import hashlib
import io
import math
import os
import pickle
import pickletools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, NoReturn

from converters import json_stream
from shards.manifest import InputFile
from shards.skips import SkipItem

MAX_INT: Final = 10**json_stream.MAX_DIGITS
MAX_VALUES: Final = 10


class DatasetError(ValueError):
    """A file that the whole dataset needs is missing or unreadable; the message names it and the remedy."""


class FileNotRead(DatasetError):
    """The file is not there, or cannot be opened: nothing is known about its content."""


class RawFiles:
    """The annotation files below ``root``; ``inputs`` lists those that were read, with size and hash."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._inputs: dict[str, InputFile] = {}

    @property
    def inputs(self) -> list[InputFile]:
        return [self._inputs[path] for path in sorted(self._inputs)]

    def read(self, path: str) -> bytes:
        """The bytes of an annotation file; DatasetError if it cannot be read, or changes meanwhile."""
        with self._opened(path) as read:
            return read(-1)

    def json(self, path: str) -> Any:
        """The JSON in ``path``, whole. An object that has a key twice is an error: one of the two would be lost."""
        data = self.read(path)
        try:
            return json_stream.parsed(data)
        except (ValueError, RecursionError) as error:
            raise self.unreadable(path, f"is not JSON ({error})") from None

    def elements(self, path: str) -> Iterator[Any]:
        """The elements of the JSON list in ``path``, of any size: one at a time is in memory."""
        return self._streamed(path, json_stream.elements)

    def members(self, path: str) -> Iterator[tuple[str, Any]]:
        """The members of the JSON object in ``path``, one at a time."""
        return self._streamed(path, json_stream.members)

    def rows(self, path: str, *tables: str) -> Iterator[tuple[str, Any]]:
        """(table, row) of the lists of those names in the JSON object in ``path``, one at a time."""
        return self._streamed(path, lambda read: json_stream.rows(read, tables))

    def _streamed(self, path: str, parse: Callable[[json_stream.Read], Iterator[Any]]) -> Iterator[Any]:
        with self._opened(path) as read:
            try:
                yield from parse(read)
            except (ValueError, RecursionError) as error:
                raise self.unreadable(path, f"is not JSON as it should be ({error})") from None

    @contextmanager
    def _opened(self, path: str) -> Iterator[json_stream.Read]:
        """A function that reads on in the file. What was read to the end is one of the ``inputs``.

        SkipItem for a path that climbs out, which an item may have named; for links, see ``inside``.
        """
        if _climbs(path):
            raise SkipItem("unsafe_path", f"{path!r} leads out of the dataset's root")
        try:
            with (self.root / path).open("rb") as file:
                reading = _Reading(file)
                yield reading.read
                before, after = reading.before, os.stat(self.root / path)
        except FileNotFoundError:
            raise FileNotRead(f"{self.root / path} does not exist: download it, or correct the root") from None
        except OSError as error:
            raise FileNotRead(f"{self.root / path} cannot be read: {error.strerror}") from None
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or reading.size != after.st_size:
            raise DatasetError(f"{self.root / path} changed while it was read: let its download end, then build again")
        self._inputs[path] = InputFile(path, reading.size, reading.hash.hexdigest())

    def table(self, path: str, *columns: str, separator: str = ",") -> Iterator[dict[str, str] | None]:
        """The rows below the header of a CSV file, as text by column; None for a row with more or fewer cells.

        DatasetError where one of ``columns`` is missing, or stands twice.
        """
        rows = csv.reader(io.StringIO(self.text(path), newline=""), delimiter=separator, strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
            if wrong := [name for name in columns if header.count(name) != 1]:
                raise self.unreadable(
                    path, f"has the columns {', '.join(header) or 'none'}: {wrong[0]!r} is not once there"
                )
            for row in rows:
                if row:
                    yield dict(zip(header, row, strict=True)) if len(row) == len(header) else None
        except csv.Error as error:
            raise self.unreadable(path, f"is not CSV ({error})") from None

    def text(self, path: str) -> str:
        """The text in ``path``: UTF-8, and Latin-1 in the lines that are not that. Every line ends in ``\\n``."""
        data = self.read(path).removeprefix(codecs.BOM_UTF8)
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        return "\n".join(_decoded(line) for line in lines)

    def pickle(self, path: str) -> Any:
        """The plain data in a pickle. No class or function is ever looked up: such a pickle is refused.

        Byte strings, as Python 2 wrote them, become text; what comes out could stand in a JSON file.
        """
        data = self.read(path)
        try:
            _check_memo(data)
            return _Plain(len(data)).of(_DataUnpickler(io.BytesIO(data), encoding="bytes").load())
        except Exception as error:  # a broken pickle raises nearly anything
            words = " ".join(str(error).split()) or type(error).__name__
            raise self.unreadable(path, f"is not a pickle of plain data ({words})") from None

    def unreadable(self, path: str, why: str) -> DatasetError:
        return DatasetError(f"{self.root / path} {why}: download it again")


class _Reading:
    """A file that is read once from its beginning to its end, hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.before = file, os.fstat(file.fileno())
        self.hash, self.size = hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.hash.update(data)
        self.size += len(data)
        return data


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants {module_name}.{global_name}, which data does not need")


OPCODES: Final = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
LENGTH_BYTES: Final = {-2: 1, -3: 4, -4: 4, -5: 8}
"""How many bytes say an argument's length, by the codes of ``pickletools`` for arguments that begin with theirs."""


def _check_memo(data: bytes) -> None:
    """ValueError for a pickle that numbers its values beyond its own size: the table for them would fill the memory.

    Steps from opcode to opcode; what is no pickle, or wants a class, is left to the unpickler. (``pickletools.genops``
    decodes text on its way, and stops at Python 2's.)
    """
    at = 0
    while at < len(data):
        opcode = OPCODES.get(data[at])
        at += 1
        if opcode is None or opcode.name in ("STOP", "GLOBAL", "INST"):
            return
        if opcode.arg is None:
            continue
        begin, kind = at, opcode.arg.n
        if kind >= 0:
            at += kind
        elif kind == pickletools.UP_TO_NEWLINE:
            at = data.find(b"\n", at) + 1 or len(data)
        else:
            size = LENGTH_BYTES[kind]
            at += size + int.from_bytes(data[at : at + size], "little")
        if opcode.name == "LONG_BINPUT" and int.from_bytes(data[begin:at], "little") > len(data):
            raise ValueError(f"it numbers a value {int.from_bytes(data[begin:at], 'little')} in {len(data)} bytes")
        if opcode.name == "PUT" and (number := data[begin:at].strip()).isdigit() and int(number[:20]) > len(data):
            raise ValueError(f"it numbers a value {int(number[:20])} in {len(data)} bytes")


class _Plain:
    """Copies what came out of a pickle into plain data.

    A pickle of a hundred bytes may hold one list a billion times over; so there may be ``MAX_VALUES`` values a byte.
    """

    def __init__(self, size: int) -> None:
        self._left = MAX_VALUES * (size + 100)

    def of(self, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it repeats its parts without end")
        if isinstance(value, bytes):
            return _decoded(value)
        if isinstance(value, dict):
            return {str(self.of(key)): self.of(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
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


def utf8(text: str, what: str) -> str:
    """``text`` itself; SkipItem for what UTF-8 cannot say: bytes of another encoding, half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise SkipItem("malformed", f"{what} holds bytes that are not UTF-8, or half a surrogate pair") from None
    return text


def inside(root: Path, path: str, folder: str = "") -> Path:
    """``root / folder / path``; SkipItem where ``path`` is absolute, climbs out of the folder, or leads out by a link.

    ``path`` is what an annotation says. ``root`` and ``folder`` are the user's own: they may be links themselves, and
    ``folder`` (of the layout, or named by an option) may lie elsewhere.
    """
    if not path.strip():
        raise SkipItem("malformed", "the path of the media is blank")
    if _climbs(path) or "\\" in path:
        raise SkipItem("unsafe_path", f"{path!r} leads out of the dataset's root")
    home = root / folder
    real = os.path.realpath(home / path)
    if not any(_below(real, os.path.realpath(top)) for top in (home, root)):
        words = "is a link that leads out of the dataset's root: copy the file there, or link its whole folder"
        raise SkipItem("unsafe_path", f"{path!r} {words}")
    return home / path


def _climbs(path: str) -> bool:
    """Whether the path itself leads out of any folder, links apart."""
    return path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def existing(path: Path) -> Path:
    """``path`` itself; SkipItem where no file is."""
    try:
        there = path.is_file()
    except OSError:  # a name too long for the file system
        there = False
    if not there:
        raise SkipItem("missing_media", f"{path.name} is not there")
    return path
