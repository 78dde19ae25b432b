"""Questions and answers that are the annotator's own: they stand as they are first, then in frames of ours."""

from collections.abc import Iterator, Sequence
from typing import Final

from shards.record import Turns
from shards.tokens import escape
from templates.material import Material
from templates.multiple_choice import with_choices
from templates.phrase_order import walk_pairs
from templates.phrases import Bank, ListRule, Phrase, one

PLAIN_QUESTION: Final = Phrase.parse("{query}")
PLAIN_ANSWER: Final = Phrase.parse("{answer}")

FRAMES: Final = {
    "questions": ListRule(12, required=(one("query"),), line_end=frozenset({"query"})),
    "answers": ListRule(6, required=(one("answer"),), line_end=frozenset({"answer"})),
    "instructions": ListRule(6),
}
"""The lists of a bank that frames an annotator's question; ``instructions`` are for multiple choice."""


def framed(material: Material, bank: Bank) -> Iterator[Turns]:
    """The annotator's question and answer as they stand, then framed by the bank's questions and answers.

    Choices follow the question one per line, and one of the instructions ends the list.
    """
    instructions = material.phrases(bank, "instructions")
    questions, answers = material.phrases(bank, "questions"), material.phrases(bank, "answers")
    medium = {"medium": material.medium}
    for k, (question, answer) in enumerate(plain_first(questions, answers)):
        query, reply = with_choices(material, instructions[k % len(instructions)].fill(medium))
        yield material.conversation(question.fill(medium | {"query": query}), said(answer, reply))


def plain_first(
    questions: Sequence[Phrase], answers: Sequence[Phrase], first: Phrase | None = None
) -> Iterator[tuple[Phrase, Phrase]]:
    """The annotator's words as they stand (with ``first`` as the question, if given), then all pairs of phrases."""
    yield first or PLAIN_QUESTION, PLAIN_ANSWER
    yield from walk_pairs(questions, answers)


def said(phrase: Phrase, words: str) -> str:
    """An annotator's answer in an assistant turn, where ``<region>`` is no token; "" stays "" (unlabelled)."""
    return phrase.fill({"answer": escape(words)}) if words.strip() else ""
