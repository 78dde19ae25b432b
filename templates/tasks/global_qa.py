"""global_qa: a question about the whole clip, or about none at all."""

from collections.abc import Iterator
from typing import Final

from shards.record import Turns
from templates.asking import FRAMES, framed
from templates.material import Material
from templates.phrases import Bank, load_bank

# No {medium}: text-only records have none, so that no phrase may speak of one.
BANK: Final[Bank] = load_bank("global_qa", FRAMES, ("video", "image", "none"))


def conversations(material: Material) -> Iterator[Turns]:
    """The annotator's question and answer, first as they stand, then framed; see ``asking.framed``."""
    return framed(material, BANK)
