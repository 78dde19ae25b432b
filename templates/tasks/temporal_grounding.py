"""temporal_grounding: when does the video show what a sentence says?"""

from collections.abc import Iterator
from typing import Final

from shards.record import Turns
from templates.material import Material
from templates.phrase_order import walk_pairs
from templates.phrases import Bank, ListRule, load_bank, one
from templates.timing import span_slots, window_of

SPAN_ANSWERS: Final = ListRule(6, required=(one("spans", "times"),))
"""Answers say the spans inside a sentence ({spans}) or bare ({times})."""

RULES: Final = {"questions": ListRule(12, required=(one("query"),)), "answers": SPAN_ANSWERS}
BANK: Final[Bank] = load_bank("temporal_grounding", RULES, ("video",))


def conversations(material: Material) -> Iterator[Turns]:
    """The sentence in one of the bank's questions, its spans in one of the answers; no spans: no answer."""
    window_of(material)  # times are asked for, so the clip must have some even where none is given
    questions, answers = material.phrases(BANK, "questions"), material.phrases(BANK, "answers")
    asked = {"query": material.query()}
    spans = span_slots(material) if material.sample.spans else None
    for question, answer in walk_pairs(questions, answers):
        yield material.conversation(question.fill(asked), answer.fill(spans) if spans else "")
