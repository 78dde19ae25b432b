"""referring_qa: a question about regions that are shown."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from shards.record import Turns
from templates.asking import FRAMES, framed
from templates.material import Material
from templates.phrases import MEDIUM, Bank, load_bank

RULES: Final = FRAMES | {
    "questions": replace(FRAMES["questions"], optional=MEDIUM),
    "instructions": replace(FRAMES["instructions"], optional=MEDIUM),
}
BANK: Final[Bank] = load_bank("referring_qa", RULES, ("video", "image"))


def conversations(material: Material) -> Iterator[Turns]:
    """The annotator's question and answer, first as they stand, then framed; see ``asking.framed``.

    Each ``<region>`` of the questions becomes a ``<Ref>``, in order over all user turns.
    """
    return framed(material, BANK)
