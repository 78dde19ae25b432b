"""A sample with its conversations filled in, checked against its attachments."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from shards.record import Clip, Sample, Tube, Turn, Turns
from shards.tokens import IMAGE, REF, SEG, TIME_TOKENS, VIDEO, spellings_in, text_of
from templates.errors import CannotRender, UnknownTask
from templates.material import Material
from templates.tasks import TASKS_WITH_TEMPLATES
from templates.timing import taus

_PLACEHOLDER: Final = {"image": IMAGE, "video": VIDEO, "none": ""}


def render(sample: Sample, clip: Clip, *, seed: int, wordings: int = 0, tubes: Sequence[Tube] = ()) -> Sample:
    """The sample with ``turns`` and ``wordings`` filled in.

    Wording 0 is ``turns``, ``wordings`` further ones follow. They depend on (seed, sample key, number of the
    wording) and the sample's own facts alone, and differ from each other as long as the bank has unused phrases;
    after that they repeat in the same order. ``tubes`` are the record's: the sample's indices point there, and
    only a sample that is tagged ``box_text`` needs them.

    Raises UnknownTask where no template is written yet, and CannotRender where the facts cannot be said: a video
    task without a duration, more ``<region>`` than regions, an empty query.
    """
    conversations = TASKS_WITH_TEMPLATES.get(sample.task)
    if conversations is None:
        known = ", ".join(TASKS_WITH_TEMPLATES)
        raise UnknownTask(f"{sample.key}: there is no template for {sample.task} yet, only for {known}")
    material = Material(sample, clip, seed, tubes)
    distinct = list(islice(_distinct(conversations(material)), 1 + wordings))
    rendered = [_finished(material, distinct[k % len(distinct)]) for k in range(1 + wordings)]
    return replace(sample, turns=rendered[0], wordings=tuple(rendered[1:]))


def _distinct(conversations: Iterator[Turns]) -> Iterator[Turns]:
    seen: set[Turns] = set()
    for turns in conversations:
        if turns not in seen:
            seen.add(turns)
            yield turns


def _finished(material: Material, turns: Turns) -> Turns:
    placeholder = _PLACEHOLDER[material.medium]
    if placeholder:
        turns = (Turn("user", f"{placeholder}\n{turns[0].text}"), *turns[1:])
    _check_tokens(material, turns, placeholder)
    return turns


def _check_tokens(material: Material, turns: Turns, placeholder: str) -> None:
    """Raise CannotRender unless the special tokens of the turns are exactly those of the attachments."""
    sample = material.sample
    found = spellings_in(text_of(turns))
    for token, attached in ((REF, len(sample.regions)), (SEG, len(sample.targets or ()))):
        if found.count(token) != attached:
            what = "regions" if token == REF else "targets"
            raise CannotRender(sample.key, f"{attached} {what} for {found.count(token)} {token} in the words")
    times = [token for token in found if token in TIME_TOKENS]
    if times != [TIME_TOKENS[tau] for tau in taus(material)]:
        raise CannotRender(sample.key, f"the time tokens {times} are not those of the spans {sample.spans}")
    if len(found) != len(sample.regions) + len(sample.targets or ()) + len(times) + bool(placeholder):
        raise CannotRender(sample.key, f"the words spell tokens that nothing is attached to: {found}")
