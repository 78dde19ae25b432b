"""referring_segmentation: the masks of what an expression refers to, one ``<Seg>`` per target.

An empty target ("no such object") has its ``<Seg>`` as well: the learner predicts an empty mask. So no answer may
claim that something was found, nor how many.
"""

from collections.abc import Iterator
from typing import Final

from shards.record import Turns
from shards.tokens import SEG
from templates.material import Material, listed
from templates.phrase_order import walk_pairs
from templates.phrases import MEDIUM, Bank, ListRule, load_bank, one

RULES: Final = {
    "questions": ListRule(12, required=(one("query"),), optional=MEDIUM),
    "answers": ListRule(6, required=(one("segs"),), optional=MEDIUM),
}
BANK: Final[Bank] = load_bank("referring_segmentation", RULES, ("video", "image"))


def conversations(material: Material) -> Iterator[Turns]:
    """The expression in one of the bank's requests, the tokens in one of its answers; unlabelled: the request."""
    targets = material.sample.targets
    if targets is not None and not targets:
        raise material.fail("there is no target; an unlabelled sample has targets = None")
    questions = material.phrases(BANK, "questions")
    asked = {"query": material.query(), "medium": material.medium}
    answers = material.phrases(BANK, "answers")
    segs = {"segs": listed([SEG] * len(targets)) if targets else "", "medium": material.medium}
    for question, answer in walk_pairs(questions, answers):
        yield material.conversation(question.fill(asked), answer.fill(segs) if targets else "")
