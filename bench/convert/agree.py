"""Do the plain scripts and ours state the same facts? Keys and spans of all samples, masks and boxes of some."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from shards.rle import area

Json = Any
LOOKED_AT: Final = 200
"""Every n-th sample's masks and boxes are compared, so that about this many are."""


def check(ours: Iterable[bytes], plain: Iterable[Path], skipped: int) -> int:
    """Raise ValueError where the facts differ; returns the number of samples that agree.

    ``skipped``: of what ours refused, plain may have anything; so its keys may only be more if that is not 0.
    """
    mine = {key: found for record in ours for key, found in _ours(json.loads(record))}
    theirs = {key: found for path in plain for key, found in _lines(path)}
    extra = theirs.keys() - mine.keys()
    if mine.keys() - theirs.keys() or (extra and not skipped):
        raise ValueError(f"keys differ: {sorted(mine.keys() ^ theirs.keys())[:3]} …; correct bench/convert/plain.py")
    every = max(len(mine) // LOOKED_AT, 1)
    for number, (key, (sample, tables)) in enumerate(mine.items()):
        other, its_tables = theirs[key]
        same = all(sample[name] == other[name] for name in ("query", "spans"))
        if not same or (number % every == 0 and _looked_at(sample, tables) != _looked_at(other, its_tables)):
            raise ValueError(f"{key} differs between ours and plain; correct bench/convert/plain.py")
    return len(mine)


def _ours(record: Json) -> Iterable[tuple[str, tuple[Json, Json]]]:
    """(key, (sample with ids for indices, tables by id))."""
    masks = [masklet["id"] for masklet in record["masklets"]]
    tubes = [tube["id"] for tube in record["tubes"]]
    tables = {
        "masks": {masklet["id"]: masklet["rles"] for masklet in record["masklets"]},
        "tubes": {tube["id"]: tube["boxes"] for tube in record["tubes"]},
    }
    for sample in record["samples"]:
        named = {
            "query": sample["query"],
            "spans": sample["spans"],
            "regions": [[masks[region["masklet"]], region["frames"]] for region in sample["regions"]],
            "targets": [[masks[index] for index in target] for target in sample["targets"] or ()],
            "tubes": [tubes[index] for index in sample["tubes"]],
        }
        yield sample["key"], (named, tables)


def _lines(path: Path) -> Iterable[tuple[str, tuple[Json, Json]]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            clip = json.loads(line)
            tables = {"masks": clip.get("masks", {}), "tubes": clip.get("tubes", {})}
            for sample in clip["samples"]:
                named = {
                    "query": sample["query"],
                    "spans": sample.get("spans", []),
                    "regions": [[region["masklet"], region["frames"]] for region in sample.get("regions", ())],
                    "targets": sample.get("targets", []),
                    "tubes": sample.get("tubes", []),
                }
                yield sample["key"], (named, tables)


def _looked_at(sample: Json, tables: Json) -> Json:
    """Areas of all masks by frame, and boxes."""
    ids = [id for id, _ in sample["regions"]] + [id for target in sample["targets"] for id in target]
    areas = {id: {frame: area(counts) for frame, counts in tables["masks"][id].items()} for id in ids}
    boxes = {
        id: {frame: box and [float(side) for side in box] for frame, box in tables["tubes"][id].items()}
        for id in sample["tubes"]
    }
    return sample["regions"], sample["targets"], areas, boxes
