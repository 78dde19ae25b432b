"""Multiple choice: the choices with their letters, and the answer among them."""

import re
import string
from collections.abc import Sequence
from typing import Final

from templates.material import Material

_LETTER: Final = re.compile(r"\(?([A-Z])[).:](?=\s|$)")


def with_choices(material: Material, instruction: str) -> tuple[str, str]:
    """The question as it is asked, and the answer.

    Where there are choices they follow the question, one per line, and ``instruction`` stands below; the answer is
    the annotator's text, or else the labelled correct choice.
    """
    sample = material.sample
    query = material.query()
    if not sample.choices:
        return query, sample.answer
    labelled = labelled_choices(sample.choices)
    if labelled is None:
        raise material.fail(f"{len(sample.choices)} choices are more than there are letters")
    answer = sample.answer
    if not answer.strip() and sample.correct is not None:
        if not 0 <= sample.correct < len(labelled):
            raise material.fail(f"correct is {sample.correct} of {len(labelled)} choices")
        answer = labelled[sample.correct]
    return "\n".join([query, *(material.asked(choice) for choice in labelled), instruction]), answer


def labelled_choices(choices: Sequence[str]) -> list[str] | None:
    """The choices, each with its letter: as it stands if all have theirs ("(A) ", "A. ", "A) "), else "(A) " added.

    None where there are more than 26.
    """
    if len(choices) > len(string.ascii_uppercase):
        return None
    lettered = list(zip(string.ascii_uppercase, choices, strict=False))
    if all((found := _LETTER.match(choice)) and found[1] == letter for letter, choice in lettered):
        return list(choices)
    return [f"({letter}) {choice}" for letter, choice in lettered]
