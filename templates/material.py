"""What the template of a task has to work with: the sample's facts, and the annotator's words made safe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shards.record import Clip, Role, Sample, Tube, Turn, Turns
from shards.tokens import REF, REGION, escape
from templates.errors import CannotRender
from templates.phrase_order import shuffled
from templates.phrases import Bank, Medium, Phrase, medium_of


@dataclass(frozen=True, slots=True)
class Material:
    """One sample with all that its wording depends on; ``tubes`` are the record's, the sample has indices."""

    sample: Sample
    clip: Clip
    seed: int
    tubes: Sequence[Tube] = ()

    @property
    def medium(self) -> Medium:
        return medium_of(self.clip)

    @property
    def is_labelled(self) -> bool:
        """Whether there is something to learn: test splits have ``targets`` None and get no assistant turn."""
        return self.sample.targets is not None

    def fail(self, words: str) -> CannotRender:
        return CannotRender(self.sample.key, words)

    def phrases(self, bank: Bank, name: str) -> list[Phrase]:
        """The list ``name`` for this clip's medium, in this sample's own order."""
        if self.medium not in bank.media:
            media = " and ".join(bank.media)
            raise self.fail(f"{self.sample.task} is not for clips of kind {self.clip.kind!r}, only for {media}")
        return shuffled(bank.phrases(name, self.medium), self.seed, self.sample.key, name)

    def query(self) -> str:
        """The annotator's first question, ready for a user turn."""
        if not self.sample.query.strip():
            raise self.fail(f"{self.sample.task} needs a query")
        return self.asked(self.sample.query)

    def asked(self, words: str) -> str:
        """An annotator's words in a user turn: ``<region>`` becomes ``<Ref>``, other token spellings are escaped.

        Where the sample shows no region, ``<region>`` is a word like any other. ``render`` checks the number.
        """
        if not self.sample.regions:
            return escape(words)
        return REF.join(escape(part) for part in words.split(REGION))

    def conversation(self, question: str, answer: str) -> Turns:
        """The turns of this sample: ``question`` and ``answer``, then the dialogue's further pairs as they stand.

        An empty answer has no turn, which only the last one may be.
        """
        pairs = [(question, answer), *((self.asked(q), escape(a)) for q, a in self.sample.dialogue)]
        turns: list[Turn] = []
        for question_words, answer_words in pairs:
            if turns and turns[-1].role == _USER:
                raise self.fail("a question of the dialogue follows one that has no answer")
            if not question_words.strip():
                raise self.fail("a question of the dialogue is empty")
            turns.append(Turn(_USER, question_words))
            if answer_words.strip() and self.is_labelled:
                turns.append(Turn(_ASSISTANT, answer_words))
        return tuple(turns)


_USER: Final[Role] = "user"
_ASSISTANT: Final[Role] = "assistant"


def listed(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
