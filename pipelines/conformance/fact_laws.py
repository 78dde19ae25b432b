"""Laws of ``media`` and ``facts``, walked by ``convert_clip`` as a worker does."""

import functools
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from converters.base import Converter, RawClip
from converters.convert import Converted, convert_clip
from pipelines.conformance.running import clips_of, statement
from pipelines.conformance.scan_laws import difference
from pipelines.conformance.world import Case, linked_copy
from pipelines.plan import payload_of, raw_clips
from pipelines.recipe import Entry
from shards import rle
from shards.record import Record, Sample, Span, from_json, to_json
from shards.tokens import REF, SEG, taus_in, taus_of, text_of
from templates import TemplateError, render

Result = tuple[bytes, tuple[tuple[str, str, str], ...]]
"""A clip's record as JSON, and (key, reason, detail) of its skips."""


def impure(case: Case) -> Iterator[str]:
    """A clip becomes the same bytes: again, backwards, by another instance, in another process, in another folder."""
    clips = clips_of(case)
    entry = case.entry()
    one = entry.open()
    first = {raw.id: _result(convert_clip(one, raw, "laws")) for raw in clips}
    elsewhere = case.entry(linked_copy(case))
    ways: dict[str, Callable[[], dict[str, Result]]] = {
        "by the same converter again, in another order": lambda: _results(one, list(reversed(clips))),
        "by another instance": lambda: _results(entry.open(), clips),
        "with the release in another folder": lambda: _results(elsewhere.open(), clips),
        "in another process": lambda: _in_another_process(entry, clips),
    }
    for words, convert in ways.items():
        again = convert()
        yield from (f"clip {id} becomes something else {words}: {_how(first[id], again[id])}" for id in first
                    if first[id] != again[id])  # fmt: skip
    yield from _together_or_apart(case, entry.open(), first)


def _results(converter: Converter, clips: list[RawClip]) -> dict[str, Result]:
    return {raw.id: _result(convert_clip(converter, raw, "laws")) for raw in clips}


def _result(found: Converted) -> Result:
    text = b"" if found.record is None else to_json(found.record)
    return text, tuple((skip.key, skip.reason, skip.detail) for skip in found.skipped)


def _how(first: Result, again: Result) -> str:
    if first[1] != again[1]:
        return f"skips {again[1]!r:.200}, were {first[1]!r:.200}"
    return difference(first[0].decode() or "{}", again[0].decode() or "{}")


def _in_another_process(entry: Entry, clips: list[RawClip]) -> dict[str, Result]:
    return _pool().submit(converted_there, entry, payload_of(clips)).result()


def converted_there(entry: Entry, payload: bytes) -> dict[str, Result]:
    """What a worker makes of the clips: called in a fresh process, which knows nothing but its arguments."""
    return _results(entry.open(), list(raw_clips(payload)))


@functools.cache
def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _together_or_apart(case: Case, converter: Converter, together: dict[str, Result]) -> Iterator[str]:
    """An item states the same whether its clip's other items are there or not: a build may take some of them only.

    It travels with what was yielded with it, and with what was yielded for the clip without any items.
    """
    kept = {raw.id: {item.key for item in raw.items} for raw in clips_of(case)}
    scanned = [clip for clip in case.entry().open().scan() if isinstance(clip, RawClip)]
    for_all: dict[str, dict[str, Any]] = {}
    for clip in scanned:
        if not clip.items:
            for_all.setdefault(clip.id, {}).update(clip.shared)
    for clip in scanned:
        for item in clip.items:
            if item.key in kept.get(clip.id, ()):
                kept[clip.id].remove(item.key)  # a later item of this key is a repeat
                apart = RawClip(clip.id, (item,), for_all.get(clip.id, {}) | dict(clip.shared))
                (raw,) = raw_clips(payload_of([apart]))
                alone = _result(convert_clip(converter, raw, "laws"))
                yield from _differs_alone(item.key, alone, together[clip.id])


def _differs_alone(key: str, alone: Result, together: Result) -> Iterator[str]:
    one, all = _told(alone).get(key), _told(together).get(key)
    if one != all:
        yield f"{key} states something else without the other items of its clip: {one!r:.200}, was {all!r:.200}"


def _told(result: Result) -> dict[str, str]:
    told = {key: f"{reason}: {detail}" for key, reason, detail in result[1]}
    if result[0]:
        record = from_json(result[0])
        told |= {sample.key: statement(record, sample) for sample in record.samples}
    return told


# ------------------------------------------------------------------------------------------ what samples state

Fact = tuple[RawClip, Record]


def facts_of(case: Case) -> Iterator[Fact]:
    """Every clip of the entry with its record, as ``facts`` stated it: not rendered, not through the codec."""
    converter = case.entry().open()
    for raw in clips_of(case):
        record = convert_clip(converter, raw, "laws").record
        if record is not None:
            yield raw, record


def bad_spans(facts: list[Fact]) -> Iterator[str]:
    for _, record in facts:
        for sample in record.samples:
            if not sample.spans and sample.window is None:
                continue
            whole = (0.0, record.clip.duration or 0.0)
            window = sample.window or whole
            if not whole[0] <= window[0] < window[1] <= whole[1]:
                yield f"{sample.key}: the window {window} does not lie in the clip {whole}"
            for start, end in sample.spans:
                if not window[0] <= start <= end <= window[1]:
                    yield f"{sample.key}: the span {(start, end)} does not lie in {window}"


def other_spans(filmed: Mapping[str, Sequence[Span]], facts: list[Fact]) -> Iterator[str]:
    """The spans are those that the world states, within a millisecond."""
    for _, record in facts:
        for sample in record.samples:
            wanted = filmed.get(sample.key)
            if wanted is not None and not _near(sample.spans, wanted):
                yield f"{sample.key} has the spans {list(sample.spans)}, filmed was {list(map(tuple, wanted))}"


def _near(spans: Sequence[Span], others: Sequence[Span]) -> bool:
    times, wanted = ([t for span in each for t in span] for each in (spans, others))
    return len(times) == len(wanted) and all(abs(a - b) <= 1e-3 for a, b in zip(times, wanted, strict=True))


def bad_masks(facts: list[Fact]) -> Iterator[str]:
    """Masks of the clip's size on frames of the clip, boxes inside it."""
    for _, record in facts:
        clip = record.clip
        for masklet in record.masklets:
            for frame, counts in masklet.rles.items():
                pixels = int(rle.run_lengths(counts).sum())
                if not 0 <= frame < clip.num_frames or pixels != clip.height * clip.width:
                    size = f"{clip.width}x{clip.height} with {clip.num_frames} frames"
                    yield f"{record.key}: mask {masklet.id} on frame {frame} has {pixels} pixels, the clip is {size}"
        for tube in record.tubes:
            for frame, box in tube.boxes.items():
                inside = box is None or (0 <= box[0] < box[2] <= clip.width and 0 <= box[1] < box[3] <= clip.height)
                if not 0 <= frame < clip.num_frames or not inside:
                    yield f"{record.key}: box {tube.id} on frame {frame} is {box}, the clip {clip.width}x{clip.height}"


def lost_in_the_codec(facts: list[Fact]) -> Iterator[str]:
    for _, record in facts:
        if from_json(to_json(record)) != record:
            yield f"{record.key} is not the same after to_json and from_json"


def bad_placeholders(facts: list[Fact]) -> Iterator[str]:
    """Once a sample is worded, it has one ``<Ref>`` a region, one ``<Seg>`` a target, the time tokens of its spans."""
    for _, record in facts:
        for sample in record.samples:
            try:
                full = render(sample, record.clip, seed=0, wordings=3, tubes=record.tubes)
            except TemplateError as error:
                yield f"{sample.key} cannot be worded: {error}"
                continue
            for turns in full.renderings():
                text = text_of(turns)
                found = text.count(REF), text.count(SEG), taus_in(text)
                window = sample.window or (0.0, record.clip.duration or 0.0)
                taus = taus_of(sample.spans, window) if sample.spans else []
                if found != (wanted := (len(sample.regions), len(sample.targets or ()), taus)):
                    yield f"{sample.key}: {REF}, {SEG} and times are {found}, attached are {wanted}: {text!r:.200}"


def worded(facts: list[Fact]) -> Iterator[str]:
    """Facts have no turns, and no words but the annotator's: what a sample says stands in its item."""
    for raw, record in facts:
        items = {item.key: item for item in raw.items}
        for sample in record.samples:
            if sample.turns or sample.wordings:
                yield f"{sample.key} has turns: those are the templates' to write"
            said = [squeezed(text) for text in _texts([items[sample.key].raw, dict(raw.shared)])]
            for words in _words_of(sample):
                if words and not any(words in text for text in said):
                    yield f"{sample.key} says {words!r:.150}, which does not stand in its raw item"


def _words_of(sample: Sample) -> Iterator[str]:
    yield from (sample.query, sample.answer, *(sample.choices or ()), *(sample.events or ()))
    for pair in sample.dialogue:
        yield from pair


def squeezed(text: str) -> str:
    return " ".join(text.split())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def license_missing(case: Case, root: Path | None = None) -> Iterator[str]:
    """A corpus says whose work it is."""
    converter = case.entry(root).open()
    for name in ("title", "citation", "license"):
        if not str(getattr(converter, name, "")).strip():
            yield f"{converter.name} has no {name}"
