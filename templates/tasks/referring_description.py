"""referring_description: say what a region shows, in a line or in detail.

The samples of VideoRefer say by tag which of the two they are (``short_caption``, ``detailed_caption``), so that a
one-line caption never answers a request for great detail. Untagged ones (VideoRefer-Bench-D) are detailed.
"""

from collections.abc import Iterator
from typing import Final

from shards.record import Turns
from shards.tokens import REF, REGION
from templates.asking import plain_first, said
from templates.material import Material, listed
from templates.phrases import MEDIUM, Bank, ListRule, load_bank, one

SHORT_TAG: Final = "short_caption"

RULES: Final = {
    "short": ListRule(12, required=(one("regions"),), optional=MEDIUM),
    "detailed": ListRule(12, required=(one("regions"),), optional=MEDIUM),
    "requests": ListRule(6, required=(one("query"),), optional=MEDIUM, line_end=frozenset({"query"})),
    "answers": ListRule(6, required=(one("answer"),), line_end=frozenset({"answer"})),
}
BANK: Final[Bank] = load_bank("referring_description", RULES, ("video", "image"))


def conversations(material: Material) -> Iterator[Turns]:
    """The annotator's request if there is one, else the bank's; then more of the bank.

    A request is replaced by the bank's own only if it is about exactly one region, does not give it a name that the
    answer may use (``<object0>``), and no dialogue follows: else it says what the bank cannot know, and is framed
    instead. In ``turns`` the answer always stands as it is.
    """
    sample = material.sample
    asked = bool(sample.query.strip())
    regions = [REF] * (len(sample.regions) - sum(question.count(REGION) for question, _ in sample.dialogue))
    if not asked and not regions:
        raise material.fail("there is neither a query nor a region to describe")
    is_plain = len(sample.regions) == 1 and not sample.dialogue and "<object" not in sample.query
    replaceable = is_plain or not asked
    own = "short" if SHORT_TAG in sample.tags else "detailed"
    first, *others = material.phrases(BANK, own if replaceable else "requests")
    slots = {"query": material.query() if asked else "", "regions": listed(regions), "medium": material.medium}
    pairs = plain_first([*others, first], material.phrases(BANK, "answers"), None if asked else first)
    for question, answer in pairs:
        yield material.conversation(question.fill(slots), said(answer, sample.answer))
