"""What the build makes of a release: its own plan and chunks, one chunk per clip, and no shards."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from converters.base import RawClip
from pipelines.chunk import ChunkResult, run_chunk
from pipelines.conformance.world import Case
from pipelines.plan import Chunk, EntryPlan, Plan, chunks_of, make_plan, payload_of, raw_clips
from shards.frame_zip import FrameZip
from shards.record import Record, Sample, from_json, sample_dict, to_dict
from shards.skips import Skipped
from shards.writer import Media, MediaFile

Json = Any
CODE = "laws"
"""Stands for the code in a chunk's name: it does not change while the kit runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every item of an entry: what became a sample and says what, what was skipped, and the media of each sample."""

    items: int
    stated: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    media: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    def reasons(self) -> dict[str, str]:
        return {skip.key: skip.reason for skip in self.skipped}


def outcome(case: Case) -> Outcome:
    """The outcome of the entry as it lies there now. A clip that has not changed since is not converted again."""
    plan = _planned(case)
    found = Outcome(plan.items, skipped=list(plan.skipped))
    for chunk in _chunks(case, plan):
        result = run_chunk(chunk, case.work / "chunks", chunk.digest(CODE))
        found.skipped.extend(result.skipped)
        for record, media in _records(result):
            for sample in record.samples:
                found.stated[sample.key] = statement(record, sample)
                found.media[sample.key] = media
    return found


def _planned(case: Case) -> EntryPlan:
    (plan,) = make_plan(case.recipe(), case.work / "plan").entries
    return plan


def _chunks(case: Case, plan: EntryPlan) -> Iterator[Chunk]:
    for chunk, _ in chunks_of(Plan([plan]), case.recipe()):
        for raw in raw_clips(chunk.payload):
            yield replace(chunk, payload=payload_of([raw]))


def clips_of(case: Case) -> list[RawClip]:
    """The clips of the entry as a worker gets them: merged, through JSON, without the items that the plan refused."""
    return [raw for chunk in _chunks(case, _planned(case)) for raw in raw_clips(chunk.payload)]


def _records(result: ChunkResult) -> Iterator[tuple[Record, tuple[Path, ...]]]:
    text = result.records_file.read_bytes()
    for written in result.records:
        yield from_json(text[written.offset : written.offset + written.size]), _paths(written.media)


def _paths(media: Media | None) -> tuple[Path, ...]:
    if isinstance(media, FrameZip):
        return media.paths
    return (media.path,) if isinstance(media, MediaFile) else ()


def statement(record: Record, sample: Sample) -> str:
    """All that the sample says, its masks and boxes by value: the same text wherever in a record it stands."""
    whole, out = to_dict(record), sample_dict(sample)
    masklets, tubes = whole["masklets"], whole["tubes"]
    out["regions"] = [[masklets[region.masklet], region.frames] for region in sample.regions]
    if sample.targets is not None:
        out["targets"] = [[masklets[index] for index in target] for target in sample.targets]
    out["tubes"] = [tubes[index] for index in sample.tubes]
    return json.dumps(out | {"clip": whole["clip"], "license": record.license}, sort_keys=True)
