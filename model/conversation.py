"""Turns to token ids: Qwen2's ChatML, which of its tokens are learned, and where clip, regions and targets stand.

    <|im_start|>system
    You are a helpful assistant.<|im_end|>
    <|im_start|>user
    [clip]
    What does <Ref> do?<|im_end|>
    <|im_start|>assistant
    It runs from <Temp-5> to <Temp-9>.<|im_end|>

Learned are the answer, the ``<|im_end|>`` after it and the line break that follows, in every assistant turn (UFVideo
release d1dbdd4, the labels of its training conversations).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from model.tokenizer import Tokenizer
from shards.record import ROLES, Turn, Turns
from shards.tokens import IMAGE, REF, SEG, VIDEO

SYSTEM_PROMPT: Final = "You are a helpful assistant."
"""Qwen2's default (Qwen2-7B-Instruct, chat template), which the release keeps."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation as L token ids; all positions count from 0 in ``ids``, before any clip is put in.

    ``learned`` [L] says which tokens have a loss. ``media_at`` is the one position that stands for the clip, where
    ``ids`` holds the pad id as a filler; None without a clip. ``refs`` are the regions, in the order of the sample's
    regions; ``segs`` the learned targets, in the order of its targets.
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    media_at: int | None
    refs: tuple[int, ...]
    segs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    ids: list[int]
    learned: bool = False
    is_media: bool = False


def encode_turns(turns: Turns, tokenizer: Tokenizer) -> Conversation:
    """The whole conversation, for learning.

    The ids are what the tokenizer gives for the ChatML string as a whole, with one exception: an answer that begins
    with an empty line keeps its line break apart from the one of the header, since generation starts between them.
    Raises ValueError for turns that are malformed (``prompt_for``) or do not end with an answer.
    """
    _check(turns)
    if turns[-1].role != "assistant":
        raise ValueError("the last turn has no answer (unlabelled: from a test split; filter it out of the mixture)")
    return _joined(_chat(turns, tokenizer), tokenizer)


def prompt_for(turns: Turns, answer: int, tokenizer: Tokenizer) -> Conversation:
    """The conversation up to where answer number ``answer`` (from 0) begins: the true history, for generation.

    A prefix of ``encode_turns`` in every field. The answer itself may be missing, as in a test split. Raises
    ValueError where there is no such answer to give, where turns do not alternate from the user on, where a user
    turn holds ``<Seg>``, and for a media placeholder anywhere but in front of the first user turn.
    """
    _check(turns)
    num_answers = (len(turns) + 1) // 2
    if not 0 <= answer < num_answers:
        raise ValueError(f"answer {answer} is not in 0…{num_answers - 1}, the answers of {len(turns)} turns")
    history = turns[: 2 * answer + 1]
    return _joined([*_chat(history, tokenizer), _Piece(_header("assistant", tokenizer))], tokenizer)


def _check(turns: Turns) -> None:
    if not turns:
        raise ValueError("a conversation has no turns; render the sample's templates first")
    for i, turn in enumerate(turns):
        if turn.role != ROLES[i % 2]:
            raise ValueError(f"turn {i} is of the {turn.role}; turns alternate, from the user on: merge or drop it")
        if turn.role == "user" and SEG in turn.text:
            raise ValueError(f"turn {i} of the user holds {SEG}, which has no mask to learn; write it in the answer")
        if turn.role == "assistant" and REF in turn.text:
            raise ValueError(
                f"turn {i} answers with {REF}, but only a user can show an object; write it in the question"
            )
        _check_media(i, turn)


def _check_media(i: int, turn: Turn) -> None:
    placeholder, words = _media_and_words(turn) if i == 0 else ("", turn.text)
    for found in (IMAGE, VIDEO):
        if found in words:
            where = f"a second time, after {placeholder}" if placeholder else "out of place"
            raise ValueError(f"turn {i} holds {found} {where}; begin the first turn with it and a line break")


def _media_and_words(turn: Turn) -> tuple[str, str]:
    """The media placeholder that ``turn`` begins with ("" without one), and the rest from its line break on."""
    for placeholder in (IMAGE, VIDEO):
        if turn.text.startswith(f"{placeholder}\n"):
            return placeholder, turn.text.removeprefix(placeholder)
    return "", turn.text


def _chat(turns: Turns, tokenizer: Tokenizer) -> Iterator[_Piece]:
    """All of ``turns`` after the system prompt.

    Text is cut at tokens only, or at the clip: Qwen2 joins line breaks to what stands before them, so other cuts
    would give other ids. The cut before an answer changes nothing but what ``encode_turns`` says.
    """
    end = [tokenizer.im_end, *tokenizer.encode("\n")]
    yield _Piece(_header("system", tokenizer, SYSTEM_PROMPT) + end)
    for i, turn in enumerate(turns):
        placeholder, words = _media_and_words(turn) if i == 0 else ("", turn.text)
        if turn.role == "assistant":
            yield _Piece(_header("assistant", tokenizer))
            yield _Piece(tokenizer.encode(words) + end, learned=True)
        elif placeholder:
            yield _Piece(_header("user", tokenizer))
            yield _Piece([tokenizer.pad], is_media=True)
            yield _Piece(tokenizer.encode(words) + end)
        else:
            yield _Piece(_header("user", tokenizer, words) + end)


def _header(role: str, tokenizer: Tokenizer, words: str = "") -> list[int]:
    return [tokenizer.im_start, *tokenizer.encode(f"{role}\n{words}")]


def _joined(pieces: Iterable[_Piece], tokenizer: Tokenizer) -> Conversation:
    ids: list[int] = []
    learned: list[bool] = []
    media_at = None
    for piece in pieces:
        if piece.is_media:
            media_at = len(ids)
        ids += piece.ids
        learned += [piece.learned] * len(piece.ids)
    return Conversation(
        ids=tuple(ids),
        learned=tuple(learned),
        media_at=media_at,
        refs=tuple(at for at, i in enumerate(ids) if i == tokenizer.ref),
        segs=tuple(at for at, i in enumerate(ids) if i == tokenizer.seg and learned[at]),
    )
