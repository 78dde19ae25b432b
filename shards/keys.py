"""Names: of entries, of records, and the hash that places a record in a shard."""

import hashlib
import re
from typing import Final

ENTRY_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
RECORD_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
MAX_KEY_CHARS: Final = 90
"""With the longest suffix this stays below the 100 characters of a plain tar header, so that no record ever needs
an extension header between its two members."""
MAX_ENTRY_CHARS: Final = 60


def record_key(entry: str, clip_id: str) -> str:
    """``<entry>-<clip id>``, the id escaped injectively into letters, digits and ``_xx`` (hex of its UTF-8 bytes).

    ``-`` and ``_`` of the id are escaped too, so the last ``-`` of a key always parts entry and id. An id that is
    too long keeps its beginning and ends in ``_h`` and 16 hex digits of its sha256.
    """
    escaped = "".join(_escape(byte) for byte in clip_id.encode("utf-8"))
    room = MAX_KEY_CHARS - len(entry) - 1
    if len(escaped) > room:
        digest = hashlib.sha256(clip_id.encode("utf-8")).hexdigest()[:16]
        escaped = f"{escaped[: room - 18]}_h{digest}"
    return f"{entry}-{escaped}"


def _escape(byte: int) -> str:
    char = chr(byte)
    return char if char.isascii() and char.isalnum() else f"_{byte:02x}"


def hash64(text: str) -> int:
    """The first 64 bits of the sha256 of ``text``: places records, orders them within a shard."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")
