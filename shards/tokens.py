"""The special tokens of the shards, their spelling in the released checkpoint, and the arithmetic of time tokens.

The one place that spells a token: the validator counts them here, templates write them from here, and the learner
maps them to a tokenizer's spelling from here. Shards use the paper's spelling (UFVideo, arXiv 2512.11336); the
released checkpoint has its own (``videorefer_arch.py: initialize_MM_tokenizer``). Ids never appear in code.
"""

import re
from collections.abc import Sequence
from typing import Final

from shards.record import Seconds, Span, Turns

NUM_TIME_TOKENS: Final = 100
REF: Final = "<Ref>"
SEG: Final = "<Seg>"
IMAGE: Final = "<image>"
VIDEO: Final = "<video>"
REGION: Final = "<region>"
"""How the annotators of VideoRefer write a region; becomes ``<Ref>`` in the turns."""


def time_token(tau: int) -> str:
    """``<Temp-τ>`` for τ in 0…99."""
    if not 0 <= tau < NUM_TIME_TOKENS:
        raise ValueError(f"time token {tau} is not in 0…{NUM_TIME_TOKENS - 1}")
    return f"<Temp-{tau}>"


TIME_TOKENS: Final = tuple(time_token(tau) for tau in range(NUM_TIME_TOKENS))
SPECIAL_TOKENS: Final = (REF, *TIME_TOKENS, SEG)
"""The learned tokens, in the order in which the release adds them to the tokenizer."""

CHECKPOINT_SPELLING: Final[dict[str, str]] = {
    REF: REGION,
    SEG: "[SEG]",
    **{token: f"<TEMP-{tau:03d}>" for tau, token in enumerate(TIME_TOKENS)},
}

ALL_SPELLINGS: Final = (*SPECIAL_TOKENS, *CHECKPOINT_SPELLING.values(), IMAGE, VIDEO)
_SPELLING: Final = re.compile(
    r"<(?:Temp-(?:0|[1-9][0-9]?)|TEMP-0[0-9][0-9]|Ref|Seg|region|image|video)>|\[SEG\]"
)  # the same as trying all 206 one after the other (tested), in a seventh of the time
_TIME_TOKEN: Final = re.compile(r"<Temp-(0|[1-9][0-9]?)>")
_ENTITY: Final = {"<": "&lt;", "[": "&#91;"}


def escape(words: str) -> str:
    """``words`` with the first character of every token's spelling replaced by its HTML entity.

    An annotator's words can never become a token: neither the paper's spelling, nor the checkpoint's, nor the
    media placeholders (FORMAT: a sample).
    """
    return _SPELLING.sub(lambda found: _ENTITY[found[0][0]] + found[0][1:], words)


def spellings_in(text: str) -> list[str]:
    """Every token spelling that occurs in ``text``, in order."""
    return _SPELLING.findall(text)


def taus_in(text: str) -> list[int]:
    """The τ of every time token in ``text``, in order."""
    return [int(tau) for tau in _TIME_TOKEN.findall(text)]


def tau_of(t: Seconds, window: Span) -> int:
    """τ = round(99 · (t - w₀) / (w₁ - w₀)), half to even, clamped to 0…99.

    The inverse, ``seconds_of``, is off by at most (w₁ - w₀) / 198 for times inside the window.
    Raises ValueError for a window without length.
    """
    start, end = window
    if not end > start:
        raise ValueError(f"the window {start}…{end} s has no length, so it has no time tokens")
    last = NUM_TIME_TOKENS - 1
    return min(max(round(last * (t - start) / (end - start)), 0), last)


def seconds_of(tau: int, window: Span) -> Seconds:
    """t = w₀ + τ · (w₁ - w₀) / 99 (official ``replace_and_normalize``, with a window)."""
    start, end = window
    return start + tau * (end - start) / (NUM_TIME_TOKENS - 1)


def taus_of(spans: Sequence[Span], window: Span) -> list[int]:
    """The time tokens that ``spans`` take in the turns: two a span, one for a single time [t, t]."""
    taus: list[int] = []
    for start, end in spans:
        taus.append(tau_of(start, window))
        if end != start:
            taus.append(tau_of(end, window))
    return taus


def text_of(turns: Turns) -> str:
    """All turns as one text, for counting tokens and bytes."""
    return "\n".join(turn.text for turn in turns)
