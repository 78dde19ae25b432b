"""Faulty entries of VidSTG and VidOR, each with a video of its own, at the end of train."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.world.media import truncate
from converters.world.raw import JsonFile, write_json
from converters.world.truth import Ledger
from converters.world.vidstg_entries import Film, Json, entry_of, key_of, make_film, samples_of, vidor_of

Spoil = Callable[[Film, Json, Json], object]
"""Changes the film's entry and VidOR annotation, in this order."""


def write_faults(root: Path, entries: JsonFile, seed: int, ledger: Ledger) -> list[str]:
    """Adds the faulty entries and returns the ids of their videos."""
    vids: list[str] = []

    def film() -> Film:
        vids.append(f"9{len(vids):09}")
        return make_film(root, vids[-1], f"{seed}/vidstg/fault/{len(vids)}", 4 * len(vids))

    def fault(reason: str, spoil: Spoil, *, annotated: bool = True) -> None:
        made = film()
        entry: Json = entry_of(made, made.relations[0]) | {"questions": []}
        vidor = vidor_of(made)
        spoil(made, entry, vidor)
        entries.append(entry)
        if annotated:
            write_json(root / made.annotation_path("train"), vidor)
        for query in entry["captions"]:
            ledger.skip(("vidstg", "train"), key_of("train", entry, query), reason)

    fault("missing_media", lambda made, entry, vidor: (root / made.clip.source).unlink())
    fault("bad_media", lambda made, entry, vidor: truncate(root / made.clip.source))
    fault("bad_media", lambda made, entry, vidor: truncate(root / made.clip.source, 0))
    fault("missing_annotation", lambda made, entry, vidor: None, annotated=False)
    fault("unsafe_path", lambda made, entry, vidor: entry.update(vid="../../../../../../outside"))
    fault("empty_tube", _forget_target)
    fault("bad_span", _gt_outside_segment)
    fault("bad_span", _gt_reversed)
    fault("bad_box", lambda made, entry, vidor: _spoil_box(entry, vidor, _swap))
    fault("bad_box", lambda made, entry, vidor: _spoil_box(entry, vidor, _not_a_number))
    fault("size_mismatch", _double_size)
    fault("malformed", lambda made, entry, vidor: entry.pop("temporal_gt"))
    fault("malformed", lambda made, entry, vidor: entry.update(used_segment=None))
    fault("malformed", lambda made, entry, vidor: vidor.update(trajectories="none"))
    _write_conflict(root, entries, film(), ledger)
    return vids


def _write_conflict(root: Path, entries: JsonFile, film: Film, ledger: Ledger) -> None:
    """A good entry, and a twin of the same relation and caption with other times."""
    write_json(root / film.annotation_path("train"), vidor_of(film))
    entry: Json = entry_of(film, film.relations[0]) | {"questions": []}
    entries.append(entry)
    for sample in samples_of("train", film, entry):
        ledger.add(("vidstg", "train"), sample)
    gt = entry["temporal_gt"]
    later = {"begin_fid": gt["begin_fid"] + 1, "end_fid": gt["end_fid"]}
    part = {"begin_fid": gt["begin_fid"] + 1, "end_fid": gt["end_fid"] - 1}
    entries.append(entry | {"temporal_gt": later, "used_segment": part})
    for query in entry["captions"]:
        ledger.skip(("vidstg", "train"), key_of("train", entry, query), "key_conflict")


def _target_boxes(entry: Json, vidor: Json, frames: range) -> list[dict[str, Any]]:
    target = entry["captions"][0]["target_id"]
    return [box["bbox"] for frame in frames for box in vidor["trajectories"][frame] if box["tid"] == target]


def _span(entry: Json) -> range:
    return range(entry["temporal_gt"]["begin_fid"], entry["temporal_gt"]["end_fid"])


def _forget_target(film: Film, entry: Json, vidor: Json) -> None:
    """The target has no box in the whole span, though it is listed."""
    target = entry["captions"][0]["target_id"]
    for frame in _span(entry):
        kept = [box for box in vidor["trajectories"][frame] if box["tid"] != target]
        vidor["trajectories"][frame] = kept


def _gt_outside_segment(film: Film, entry: Json, vidor: Json) -> None:
    """The times end before the used segment begins."""
    entry["temporal_gt"] = {"begin_fid": 1, "end_fid": 4}
    entry["used_segment"] = {"begin_fid": 6, "end_fid": film.frame_count - 1}


def _gt_reversed(film: Film, entry: Json, vidor: Json) -> None:
    gt = entry["temporal_gt"]
    entry["temporal_gt"] = {"begin_fid": gt["end_fid"], "end_fid": gt["begin_fid"]}


def _spoil_box(entry: Json, vidor: Json, spoil: Callable[[dict[str, Any]], None]) -> None:
    spoil(_target_boxes(entry, vidor, _span(entry))[1])


def _swap(box: dict[str, Any]) -> None:
    box["xmin"], box["xmax"] = box["xmax"], box["xmin"]


def _not_a_number(box: dict[str, Any]) -> None:
    box["ymax"] = math.nan


def _double_size(film: Film, entry: Json, vidor: Json) -> None:
    for told in (entry, vidor):
        told["width"], told["height"] = told["width"] * 2, told["height"] * 2
