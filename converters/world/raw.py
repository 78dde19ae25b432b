"""Writing annotation files the way the releases wrote them: streamed JSON, and pickles of Python 2."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class JsonFile:
    """A JSON list or object of any size, written entry by entry so that it never lies in memory as a whole."""

    def __init__(self, path: Path, brackets: str = "[]") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._open, self._close = brackets
        self.count = 0

    def __enter__(self) -> Self:
        self._file.write(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.write(self._close)
        self._file.close()

    def append(self, value: Any) -> int:
        """Adds one item to the list; returns its place."""
        self._write(json.dumps(value))
        return self.count - 1

    def put(self, name: str, value: Any) -> None:
        """Adds one name and its value to the object. A name that is given twice stays twice, as in a bad merge."""
        self._write(f"{json.dumps(name)}: {json.dumps(value)}")

    def _write(self, text: str) -> None:
        self._file.write(", " + text if self.count else text)
        self.count += 1


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def python2_pickle(value: Any) -> bytes:
    """The value as Python 2's ``pickle.dump(value, file, 0)`` wrote it: text as byte strings (``S'…'``).

    Takes lists, dicts, text, integers and None; the memo opcodes, which no reader needs here, are left out.
    """
    return _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, str):
        return b"S" + repr(value.encode("utf-8"))[1:].encode("ascii") + b"\n"
    if isinstance(value, int):
        # Python 2 on a 64-bit machine: what fits in 32 bits is an int for the unpickler of any machine.
        return f"I{value}\n".encode() if abs(value) < 1 << 31 else f"L{value}L\n".encode()
    if isinstance(value, list):
        return b"(l" + b"".join(_opcodes(item) + b"a" for item in value)
    if isinstance(value, dict):
        return b"(d" + b"".join(_opcodes(name) + _opcodes(item) + b"s" for name, item in value.items())
    raise TypeError(f"{type(value).__name__} is not in REFER's pickles")
