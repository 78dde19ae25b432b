"""Phrases with slots, and the banks that hold them.

A bank is one TOML file per task. Its tables say for which medium a phrase is right: ``[any]`` for every clip,
``[video]`` for videos and frame folders alone, ``[image]`` for stills alone; in each table stand lists of phrases.
Every rule that a machine can check is checked on loading, so that a linguist who edits a bank learns at once what
is wrong and where.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, Literal

from shards.record import Clip
from shards.tokens import spellings_in
from templates.errors import BankError

Medium = Literal["video", "image", "none"]
"""What a phrase may call the clip; "none" has no name."""

_SLOT: Final = re.compile(r"\{([a-z]+)\}")
_VIDEO_WORDS: Final = r"videos?|clips?|footage|films?|frames?|moments?|seconds?|throughout|watch|while"
_IMAGE_WORDS: Final = r"images?|pictures?|photos?|photographs?"
_WRONG_WORDS: Final = {
    "any": re.compile(rf"\b({_VIDEO_WORDS}|{_IMAGE_WORDS})\b", re.IGNORECASE),
    "video": re.compile(rf"\b({_IMAGE_WORDS})\b", re.IGNORECASE),
    "image": re.compile(rf"\b({_VIDEO_WORDS})\b", re.IGNORECASE),
}
"""Words that a table must not spell out, because they are wrong for some of its clips; ``{medium}`` never is."""

_CLOSING_QUOTES: Final = "\"'”’)"


def medium_of(clip: Clip) -> Medium:
    """The medium that phrases speak of: a frame folder is a video."""
    if clip.kind == "none":
        return "none"
    return "image" if clip.kind == "still" else "video"


# -------------------------------------------------------------------------------------------- one phrase


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence of ours with slots: ``pieces`` are the texts around them, one more than there are ``slots``."""

    text: str
    pieces: tuple[str, ...]
    slots: tuple[str, ...]
    encoded: bytes
    """The text in UTF-8, which the order of phrases is made from."""

    @classmethod
    def parse(cls, text: str) -> "Phrase":
        parts = _SLOT.split(text)
        return cls(text, tuple(parts[::2]), tuple(parts[1::2]), text.encode())

    def fill(self, words: Mapping[str, str]) -> str:
        """The phrase with ``words`` in its slots, in one pass: what stands inside the words is never looked at.

        Only the seams are tidied, see ``_seam``.
        """
        out = [self.pieces[0]]
        for slot, piece in zip(self.slots, self.pieces[1:], strict=True):
            out += _seam(words[slot], piece)
        return "".join(out)


def _seam(words: str, following: str) -> tuple[str, str]:
    """``words`` and our text after them, without doubled punctuation.

    Where our sentence goes on in the same line, the final period of the words gives way to it (an ellipsis stays);
    where the words end in "?" or "!", that mark ends our sentence too. Nothing else of the words changes.
    """
    if not following or following[0] == "\n":
        return words, following
    if words.endswith(".") and not words.endswith("..") and len(words) > 1:
        return words[:-1], following
    bare = following.lstrip(_CLOSING_QUOTES)
    if words.endswith(("?", "!")) and bare[:1] in (".", "?"):
        return words, following[: len(following) - len(bare)] + bare[1:]
    return words, following


# ---------------------------------------------------------------------------------------- the rules of a bank


@dataclass(frozen=True, slots=True)
class ListRule:
    """What a list of phrases must be.

    ``required``: of each group of slots exactly one occurs, once. ``optional`` slots may occur. ``line_end`` slots
    take whole paragraphs of an annotator, so that nothing of ours may follow in their line. ``least`` is the
    smallest number of phrases that any clip of the task may choose from.
    """

    least: int
    required: tuple[frozenset[str], ...] = ()
    optional: frozenset[str] = frozenset()
    line_end: frozenset[str] = frozenset()


def one(*names: str) -> frozenset[str]:
    """A group of slots of which a phrase has exactly one."""
    return frozenset(names)


MEDIUM: Final = frozenset({"medium"})


@dataclass(frozen=True, slots=True)
class Bank:
    """The phrases of one task, right for the media that it is written for."""

    file: str
    media: tuple[Medium, ...]
    _lists: Mapping[tuple[Medium, str], tuple[Phrase, ...]] = field(repr=False)

    def phrases(self, name: str, medium: Medium) -> tuple[Phrase, ...]:
        """The list ``name`` as far as it is right for ``medium``, which must be one of ``media``."""
        return self._lists[medium, name]


def load_bank(task: str, rules: Mapping[str, ListRule], media: tuple[Medium, ...]) -> Bank:
    """The bank ``banks/<task>.toml``; raises BankError where it breaks ``rules``."""
    file = resources.files("templates.banks") / f"{task}.toml"
    return parse_bank(file.read_text(encoding="utf-8"), f"templates/banks/{task}.toml", rules, media)


def parse_bank(text: str, file: str, rules: Mapping[str, ListRule], media: tuple[Medium, ...]) -> Bank:
    """The bank that ``text`` holds; ``file`` is its name in messages."""
    tables = _tables(text, file)
    parsed: dict[tuple[str, str], list[Phrase]] = {}
    for table, lists in tables.items():
        for name, phrases in lists.items():
            if name not in rules:
                raise BankError(f"{file}: [{table}] has the list {name!r}, not one of {', '.join(rules)}")
            place = f"{file}: [{table}] {name}"
            parsed[table, name] = [_phrase(item, place, table, rules[name]) for item in phrases]
    for table in tables:
        if table != "any" and table not in media:
            raise BankError(f"{file}: [{table}] is for a medium that this task does not have: {', '.join(media)}")
    return Bank(file, media, dict(_by_medium(parsed, file, rules, media)))


def _tables(text: str, file: str) -> dict[str, dict[str, list[Any]]]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BankError(f"{file}: not valid TOML: {error}") from None
    for table, lists in tables.items():
        if table not in _WRONG_WORDS or not isinstance(lists, dict):
            raise BankError(f"{file}: {table!r} is not one of the tables [any], [video], [image]")
        for name, phrases in lists.items():
            if not isinstance(phrases, list):
                raise BankError(f"{file}: [{table}] {name} is not a list of phrases")
    return tables


def _by_medium(
    parsed: Mapping[tuple[str, str], list[Phrase]],
    file: str,
    rules: Mapping[str, ListRule],
    media: tuple[Medium, ...],
) -> Iterator[tuple[tuple[Medium, str], tuple[Phrase, ...]]]:
    for medium in media:
        for name, rule in rules.items():
            phrases = (*parsed.get(("any", name), ()), *parsed.get((medium, name), ()))
            _check_list(phrases, f"{file}: {name} for {medium}", rule)
            yield (medium, name), phrases


def _check_list(phrases: tuple[Phrase, ...], place: str, rule: ListRule) -> None:
    if len(phrases) < rule.least:
        raise BankError(f"{place}: {len(phrases)} phrases, at least {rule.least} are needed")
    seen: dict[str, str] = {}
    for phrase in phrases:
        folded = re.sub(r"[^\w{}]+", " ", phrase.text.casefold()).strip()
        if folded in seen:
            raise BankError(f"{place}: {phrase.text!r} is a duplicate of {seen[folded]!r}")
        seen[folded] = phrase.text


def _phrase(item: Any, place: str, table: str, rule: ListRule) -> Phrase:
    if not isinstance(item, str):
        raise BankError(f"{place}: {item!r} is not text")
    phrase = Phrase.parse(item)
    for complaint in (_text_complaint(phrase, rule), _slots_complaint(phrase, rule), _word_complaint(item, table)):
        if complaint:
            raise BankError(f"{place}: {item!r} {complaint}")
    return phrase


def _slots_complaint(phrase: Phrase, rule: ListRule) -> str | None:
    allowed = frozenset[str]().union(rule.optional, *rule.required)
    if unknown := [slot for slot in phrase.slots if slot not in allowed]:
        return f"has the unknown slot {{{unknown[0]}}}, allowed are {sorted(allowed)}"
    for group in rule.required:
        if sum(slot in group for slot in phrase.slots) != 1:
            return f"must have {' or '.join(f'{{{slot}}}' for slot in sorted(group))} exactly once"
    return None


def _text_complaint(phrase: Phrase, rule: ListRule) -> str | None:
    ours = "\0".join(phrase.pieces)
    if not phrase.text.strip() or phrase.text != phrase.text.strip():
        return "is blank or begins or ends with white space"
    if re.search(r"[{}<>]", ours) or spellings_in(ours):
        return "has a brace that is no slot, or an angle bracket: tokens come from slots only"
    if re.search(r"\[\0|\0\]", ours):
        return "has a square bracket next to a slot, which could spell a token"
    for slot, following in zip(phrase.slots, phrase.pieces[1:], strict=True):
        if slot in rule.line_end and following[:1] not in ("", "\n"):
            return f"goes on after {{{slot}}} in the same line"
        if slot not in MEDIUM and re.match(r"\s+[A-Z]", following) and following[0] != "\n":
            return f"begins a sentence after {{{slot}}}, which may lack its period: use a new line"
    return None


def _word_complaint(text: str, table: str) -> str | None:
    found = _WRONG_WORDS[table].search(_SLOT.sub(" ", text))
    if found is None:
        return None
    return f"says {found[0]!r} in [{table}], which is wrong for some clips: use {{medium}}, or another table"
