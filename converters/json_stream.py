"""JSON files of any size, one element at a time: memory holds the element at hand and the rest of a buffer.

The elements are parsed by the standard library's own decoder at its own speed; only the outermost brackets and commas
are read here. Bytes that are not UTF-8 become lone surrogates, as with ``errors="surrogateescape"``: the one item that
holds them is noticed later (``converters.raw_files.utf8``), and the others of the file are not lost with it.
"""

import codecs
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

Json = Any
Read = Callable[[int], bytes]

BUFFER: Final = 4 << 20
MAX_ELEMENT: Final = 1 << 28
"""An element of more characters than this is taken for a file whose quotes or brackets do not match."""
NEAR_END: Final = 16
"""An error this close to the end of the buffer may come of a word or an escape that the buffer cuts."""
SURELY_NEXT: Final = tuple(" \t\n\r,:]}")
"""After one of these a value is whole; ``0`` before anything else may be the beginning of ``0.5``, or wrong."""
BLANK: Final = re.compile(r"[ \t\n\r]*")

MAX_DIGITS: Final = 300
"""A whole number of more digits is read as infinite, as Python's JSON reads ``1e400``: so every number that comes out
can become a float, and text."""


def parsed(data: bytes) -> Json:
    """The JSON in ``data``. ValueError for anything else, and for an object that has a key twice."""
    text = data.decode("utf-8-sig", "surrogateescape")
    decoder = _SLOW if _has_huge_number(data) else _QUICK
    value, end = decoder.raw_decode(text, _past_blanks(text, 0))
    if rest := text[end:].strip(" \t\n\r"):
        raise ValueError(f"{rest[:20]!r} follows the end of the JSON")
    return value


def elements(read: Read) -> Iterator[Json]:
    """The elements of the JSON list that ``read(size)`` gives piece by piece. ValueError where it is no such list."""
    buffer = _Buffer(read)
    buffer.begin("[", "a list")
    yield from _elements(buffer)
    buffer.finish()


def members(read: Read) -> Iterator[tuple[str, Json]]:
    """The members of a JSON object, in order. ValueError where it is none, or has a key twice."""
    buffer = _Buffer(read)
    buffer.begin("{", "an object")
    for key in _keys(buffer):
        yield key, buffer.value()
    buffer.finish()


def rows(read: Read, tables: tuple[str, ...]) -> Iterator[tuple[str, Json]]:
    """(name, row) for each row of the named tables: members of the outermost object that are lists, as in COCO's files.

    Other members are read over. ValueError where a table is not a list, or the file not such an object.
    """
    buffer = _Buffer(read)
    buffer.begin("{", "an object")
    for key in _keys(buffer):
        if key in tables:
            buffer.begin("[", f"a list as {key!r}")
            for row in _elements(buffer):
                yield key, row
        else:
            buffer.value()
    buffer.finish()


def _elements(buffer: "_Buffer") -> Iterator[Json]:
    """What stands between the bracket that was read and the one that closes it."""
    if buffer.take("]"):
        return
    while True:
        yield buffer.value()
        if buffer.take("]"):
            return
        buffer.expect(",")


def _keys(buffer: "_Buffer") -> Iterator[str]:
    """The keys of an object; whoever asks for the next one has taken the value."""
    if buffer.take("}"):
        return
    seen: set[str] = set()
    while True:
        key = buffer.value()
        if not isinstance(key, str):
            raise ValueError(f"{key!r} is no key of an object")
        if key in seen:
            raise ValueError(f"the key {key!r} stands twice in one object")
        seen.add(key)
        buffer.expect(":")
        yield key
        if buffer.take("}"):
            return
        buffer.expect(",")


class _Buffer:
    """The part of the file at hand, as text, and a place in it."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text, self._at, self._passed, self._ended = "", 0, 0, False
        self._json, self._last = _QUICK, b""

    def begin(self, bracket: str, what: str) -> None:
        if not self.take(bracket):
            raise ValueError(f"it is not {what}, which begins with {bracket}")

    def finish(self) -> None:
        if self._peek():
            raise ValueError(f"{self._text[self._at : self._at + 20]!r} follows the end of the JSON")

    def take(self, sign: str) -> bool:
        """Whether ``sign`` comes next; then it is read."""
        found = self._peek() == sign
        self._at += found
        return found

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            self._fail(f"a {sign!r} is missing")

    def value(self) -> Json:
        """The next value, whole."""
        if not self._peek():
            self._fail("it is cut off")
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error):
                    self._fail(error.msg, error.pos)
            else:
                if self._ended or self._text[end : end + 1] in SURELY_NEXT or end < len(self._text) - NEAR_END:
                    self._at = end
                    return value
            self._more()

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return not self._ended and (
            error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - NEAR_END
        )

    def _peek(self) -> str:
        """The next character that is not blank, or '' at the end."""
        while True:
            self._at = _past_blanks(self._text, self._at)
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def _more(self) -> None:
        """At least as much again as is left, so that a long element is not parsed over and over."""
        left = len(self._text) - self._at
        if left > MAX_ELEMENT:
            self._fail(f"a value of more than {MAX_ELEMENT >> 20} Mi characters begins")
        data = self._read(max(BUFFER, left))
        self._ended = not data
        if self._json is _QUICK and _has_huge_number(self._last + data):
            self._json = _SLOW
        self._last = (self._last + data)[-MAX_DIGITS:]
        self._text = self._text[self._at :] + self._decoder.decode(data, final=self._ended)
        self._passed, self._at = self._passed + self._at, 0

    def _fail(self, why: str, at: int | None = None) -> NoReturn:
        raise ValueError(f"{why} at character {self._passed + (self._at if at is None else at)}")


# ------------------------------------------------------------------------------------------------- one value


def _past_blanks(text: str, at: int) -> int:
    found = BLANK.match(text, at)
    return found.end() if found else at


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _int_or_inf(digits: str) -> int | float:
    if len(digits.lstrip("-")) <= MAX_DIGITS:
        return int(digits)
    return -math.inf if digits.startswith("-") else math.inf


AS_DIGITS: Final = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
MANY_DIGITS: Final = b"0" * MAX_DIGITS
_QUICK: Final = json.JSONDecoder(object_pairs_hook=_unique_keys)
_SLOW: Final = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_int=_int_or_inf)


def _has_huge_number(data: bytes) -> bool:
    """Whether there are ``MAX_DIGITS`` digits in a row; a pass of translate and find, thirty times as fast as re."""
    return MANY_DIGITS in data.translate(AS_DIGITS)
