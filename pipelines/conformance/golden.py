"""Goldens: what a small world becomes, as text that a person can read and has read.

Masks are told by their area, their box and a hash, tubes by their first and last boxes; a field that is empty is left
out. Words, times and reasons stand there whole.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from pipelines.conformance.fact_laws import facts_of
from pipelines.conformance.running import Outcome
from pipelines.conformance.world import Case
from shards import rle
from shards.record import Box, Clip, Masklet, Record, Sample, Tube, sample_dict
from shards.skips import Skipped

FIELDS: Final = (
    *("task", "query", "answer", "dialogue", "choices", "correct", "events"),
    *("window", "regions", "targets", "spans", "tubes", "tags", "source"),
)
SHOWN: Final = 3
"""Frames of a masklet or tube that are told one by one: the first, the middle and the last."""
WIDTH: Final = 118


def golden(case: Case, found: Outcome) -> str:
    """The records of the case and its skipped items, in the order of their keys."""
    records = sorted((record for _, record in facts_of(case)), key=lambda record: record.key)
    skipped = sorted(f"{skip.key}: {_why(case, skip)}" for skip in found.skipped)
    return _text({"records": [_record(record) for record in records], "skipped": skipped}, 0) + "\n"


def _why(case: Case, skip: Skipped) -> str:
    """Reason and detail; of broken media the reason alone, since the detail counts the bytes of an encoder."""
    if skip.reason == "bad_media":
        return skip.reason
    detail = skip.detail.replace(str(case.root), "<root>").encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{skip.reason}: {detail}"


def _text(value: Any, indent: int, before: int = 0) -> str:
    """JSON with everything on one line that fits there, behind ``before`` characters."""
    line = json.dumps(value, ensure_ascii=False)
    if before + len(line) <= WIDTH - 1 or not isinstance(value, dict | list) or not value:
        return line
    inner, pad = indent + 1, " " * (indent + 1)
    if isinstance(value, dict):
        names = {json.dumps(name, ensure_ascii=False): item for name, item in value.items()}
        parts = [f"{name}: {_text(item, inner, inner + len(name) + 2)}" for name, item in names.items()]
        return "{\n" + ",\n".join(pad + part for part in parts) + f"\n{' ' * indent}}}"
    return "[\n" + ",\n".join(pad + _text(item, inner, inner) for item in value) + f"\n{' ' * indent}]"


def _record(record: Record) -> dict[str, Any]:
    size = record.clip.height, record.clip.width
    out: dict[str, Any] = {"clip": _clip(record.clip)}
    if record.masklets:
        out["masklets"] = {masklet.id: list(_masklet(masklet, *size)) for masklet in record.masklets}
    if record.tubes:
        out["tubes"] = {tube.id: list(_tube(tube)) for tube in record.tubes}
    return out | {"samples": {sample.key: _sample(sample) for sample in record.samples}}


def _clip(clip: Clip) -> str:
    words = f"{clip.kind} {clip.source}, {clip.width}x{clip.height}, {clip.num_frames} frames"
    words += f", {clip.fps:g} fps, {clip.duration:.4f} s" if clip.fps and clip.duration else ""
    return words + (", at varying times" if clip.frame_times else "")


def _masklet(masklet: Masklet, height: int, width: int) -> Iterator[str]:
    frames = sorted(masklet.rles)
    yield f"{_frames(frames)}, #{_hash({frame: masklet.rles[frame] for frame in frames})}"
    for frame in _some(frames):
        yield f"{frame}: {_mask(masklet.rles[frame], height, width)}"


def _mask(counts: str, height: int, width: int) -> str:
    mask = rle.decode(counts, height, width)
    if not mask.any():
        return "not visible"
    xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return f"{int(mask.sum())} px in x {xs[0]}-{xs[-1]}, y {ys[0]}-{ys[-1]}"


def _tube(tube: Tube) -> Iterator[str]:
    frames = sorted(tube.boxes)
    seen = sum(box is not None for box in tube.boxes.values())
    yield f"{_frames(frames)}, visible on {seen}, #{_hash({frame: tube.boxes[frame] for frame in frames})}"
    for frame in _some(frames):
        yield f"{frame}: {_box(tube.boxes[frame])}"


def _box(box: Box | None) -> str:
    return "not visible" if box is None else " ".join(f"{side:g}" for side in box)


def _frames(frames: list[int]) -> str:
    if frames and frames == list(range(frames[0], frames[-1] + 1)) and len(frames) > SHOWN:
        return f"frames {frames[0]}-{frames[-1]}"
    return f"frames {' '.join(map(str, frames))}"


def _some(frames: list[int]) -> list[int]:
    return frames if len(frames) <= SHOWN else [frames[0], frames[len(frames) // 2], frames[-1]]


def _hash(values: Mapping[int, Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode("ascii")).hexdigest()[:8]


def _sample(sample: Sample) -> dict[str, Any]:
    out = sample_dict(sample) | {
        "regions": [f"masklet {region.masklet} on {_frames(list(region.frames))}" for region in sample.regions],
        "source": f"{sample.source.file}: {sample.source.id}",
    }
    return {name: _rounded(out[name]) for name in FIELDS if _says(name, out.get(name))}


def _says(name: str, value: Any) -> bool:
    """Null targets say that the sample is unlabelled; anything else that is empty says nothing."""
    return bool(value) or (name == "correct" and value == 0) or (name == "targets" and value is None)


def _rounded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
