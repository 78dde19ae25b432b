"""spatio_temporal_grounding: when, and with the tag ``box_text`` also where, is what the words are about?

VidSTG (Zhang et al., CVPR 2020) asks in two forms: declarative ("a child in white rides a bicycle outdoors.") and
interrogative ("who rides the bicycle outdoors?"). By default the span alone is worded; the tube is an attachment.
"""

from collections.abc import Iterator
from typing import Final

from shards.record import Turns
from templates.boxes import box_slots
from templates.material import Material
from templates.phrase_order import walk_pairs
from templates.phrases import Bank, ListRule, load_bank, one
from templates.tasks.temporal_grounding import SPAN_ANSWERS
from templates.timing import span_slots, window_of

BOX_TAG: Final = "box_text"

RULES: Final = {
    "declarative": ListRule(12, required=(one("query"),)),
    "interrogative": ListRule(12, required=(one("query"),), line_end=frozenset({"query"})),
    "answers": SPAN_ANSWERS,
    "box_requests": ListRule(6),
    "box_answers": ListRule(6, required=(one("first"), one("middle"), one("last"))),
}
BANK: Final[Bank] = load_bank("spatio_temporal_grounding", RULES, ("video",))


def conversations(material: Material) -> Iterator[Turns]:
    """The words in one of the bank's questions for their form, the span and perhaps boxes in its answers."""
    window_of(material)
    sample = material.sample
    form = "interrogative" if sample.query.rstrip().endswith("?") else "declarative"
    questions, answers = material.phrases(BANK, form), material.phrases(BANK, "answers")
    requests, box_answers = material.phrases(BANK, "box_requests"), material.phrases(BANK, "box_answers")
    asked = {"query": material.query()}
    spans = span_slots(material) if sample.spans else None
    with_boxes = BOX_TAG in sample.tags
    boxes = box_slots(material) if with_boxes and spans else None
    for k, (question, answer) in enumerate(walk_pairs(questions, answers)):
        asked_text = question.fill(asked)
        if with_boxes:
            asked_text += f"\n{requests[k % len(requests)].text}"
        answer_text = answer.fill(spans) if spans else ""
        if boxes:
            answer_text += f" {box_answers[k % len(box_answers)].fill(boxes)}"
        yield material.conversation(asked_text, answer_text)
