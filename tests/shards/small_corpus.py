"""A corpus small enough to break byte by byte: hand-made records of every kind of clip, written as a build writes."""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards import rle
from shards.frame_zip import frame_zip
from shards.index import (
    RECORDS_FILE,
    RECORDS_SCHEMA,
    SAMPLES_FILE,
    SAMPLES_SCHEMA,
    Row,
    record_row,
    sample_rows,
    write_index,
)
from shards.keys import record_key
from shards.manifest import MANIFEST_FILE, SKIPPED_FILE, sha256_of, write_manifest
from shards.partition import partition
from shards.record import (
    FORMAT_VERSION,
    Clip,
    ClipKind,
    Masklet,
    Record,
    Region,
    Sample,
    Source,
    Task,
    Tube,
    Turn,
    Turns,
    to_json,
)
from shards.writer import Media, MediaFile, record_size, write_shard

WIDTH, HEIGHT = 32, 24
SOURCE = Source("annotations.json", "0")
CLIPS: dict[ClipKind, Clip] = {
    "still": Clip("still", "cup.jpg", WIDTH, HEIGHT, 1, None, None),
    "frames": Clip("frames", "dogs", WIDTH, HEIGHT, 4, None, None),
    "video": Clip("video", "door.mp4", WIDTH, HEIGHT, 10, 10.0, 1.0),
    "none": Clip("none", "", 0, 0, 0, None, None),
}
ENTRIES: dict[ClipKind, str] = {"still": "pictures", "frames": "folders", "video": "videos", "none": "words"}

Item = tuple[Record, Media | None]


# ---------------------------------------------------------------------------------------------- records


def square(left: int) -> str:
    """The counts of a 6x6 mask whose left edge is at ``left``."""
    bitmap = np.zeros((HEIGHT, WIDTH), bool)
    bitmap[8:14, left : left + 6] = True
    return rle.encode(bitmap)


def talk(*texts: str) -> Turns:
    """``texts`` as turns of user and assistant by turns."""
    return tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))


def record(kind: ClipKind, name: str, samples: Iterable[Sample], **facts: Any) -> Record:
    entry = ENTRIES[kind]
    return Record(
        key=record_key(entry, name),
        entry=entry,
        dataset="toy",
        split="train",
        license="unknown",
        clip=CLIPS[kind],
        samples=tuple(replace(sample, key=f"toy/train/{entry}/{name}/{sample.key}") for sample in samples),
        **facts,
    )


def sample(key: str, task: Task, turns: Turns, **facts: Any) -> Sample:
    return Sample(key=key, task=task, source=SOURCE, turns=turns, **facts)


def still_record(name: str = "cup") -> Record:
    """One object to segment, and the same one to describe."""
    found = sample(
        "0",
        "referring_segmentation",
        talk("<image>\nWhere is the cup?", "Here: <Seg>."),
        query="the cup",
        targets=((0,),),
        wordings=(talk("<image>\nThe cup?", "<Seg>"), talk("<image>\nSegment the cup.", "It is <Seg>.")),
    )
    shown = sample(
        "1", "referring_description", talk("<image>\nWhat is <Ref>?", "A cup."), regions=(Region(0, (0,)),), tags=("a",)
    )
    return record("still", name, [found, shown], masklets=(Masklet("cup", {0: square(4)}),))


def frames_record(name: str = "dogs") -> Record:
    """Two objects over four frames, of which the first is not visible in frame 2 and the second not annotated in 0."""
    first = Masklet("left", {0: square(2), 1: square(4), 2: rle.empty(HEIGHT, WIDTH), 3: square(8)})
    second = Masklet("right", {1: square(20), 3: square(24)})
    both = sample(
        "0",
        "referring_segmentation",
        talk("<video>\nWhere are the dogs?", "<Seg>, no cat: <Seg>"),
        targets=((0, 1), ()),
    )
    shown = sample(
        "1",
        "referring_qa",
        talk("<video>\nIs <Ref> left of <Ref>?", "Yes.", "Why?", "It is."),
        dialogue=(("Why?", "It is."),),
        choices=("Yes", "No"),
        correct=0,
        regions=(Region(0, (0, 2)), Region(1, (1, 3))),
    )
    unlabelled = sample("2", "referring_segmentation", talk("<video>\nWhere is the dog?"), targets=None)
    return record("frames", name, [both, shown, unlabelled], masklets=(first, second))


def video_record(name: str = "door") -> Record:
    """Spans of every sort: plain, in a window with a tube, and a single time."""
    tube = Tube("hand", {5: (1.0, 2.0, 9.5, 8.0), 6: (2.0, 2.0, 10.0, 8.0), 7: None})
    samples = [
        sample("0", "temporal_grounding", talk("<video>\nWhen?", "From <Temp-10> to <Temp-50>."), spans=((0.1, 0.5),)),
        sample(
            "1",
            "spatio_temporal_grounding",
            talk("<video>\nWhere?", "<Temp-0><Temp-50>"),
            window=(0.5, 1.0),
            spans=((0.5, 0.75),),
            tubes=(0,),
        ),
        sample("2", "event_localization", talk("<video>\nWhich moment?", "<Temp-99>"), spans=((1.0, 1.0),)),
        sample(
            "3",
            "dense_captioning",
            talk("<video>\nAll?", "<Temp-0><Temp-50>: opens"),
            spans=((0.0, 0.5),),
            events=("opens",),
        ),
    ]
    return record("video", name, samples, tubes=(tube,))


def text_record(name: str = "sum") -> Record:
    return record("none", name, [sample("0", "global_qa", talk("1 + 1?", "2"), query="1 + 1?", answer="2")])


RECORDS: dict[ClipKind, Callable[[str], Record]] = {
    "still": still_record,
    "frames": frames_record,
    "video": video_record,
    "none": text_record,
}


# ---------------------------------------------------------------------------------------------- media


def picture(level: int, kind: str = "JPEG") -> bytes:
    """A picture whose left half has the grey ``level``."""
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    pixels[:, : WIDTH // 2] = level
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def still_media(folder: Path, level: int = 200) -> MediaFile:
    return _file(folder / f"still{level}.jpg", picture(level))


def frames_media(folder: Path, levels: Iterable[int] = (50, 100, 150, 200)) -> Media:
    return frame_zip([_file(folder / f"frame{level}.jpg", picture(level)).path for level in levels])


def video_media(folder: Path) -> MediaFile:
    """Ten frames at ten a second; frame i has the grey level 20 i."""
    av = pytest.importorskip("av")
    path = folder / "door.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(10):
            pixels = np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return MediaFile(path, ".mp4", path.stat().st_size)


def _file(path: Path, content: bytes) -> MediaFile:
    path.write_bytes(content)
    return MediaFile(path, path.suffix, len(content))


def small_items(folder: Path) -> list[Item]:
    """Two stills, and one clip of every other kind."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        (still_record("cup"), still_media(folder, 200)),
        (still_record("mug"), still_media(folder, 150)),
        (frames_record(), frames_media(folder)),
        (video_record(), video_media(folder)),
        (text_record(), None),
    ]


# ---------------------------------------------------------------------------------------------- corpora


def skipped_line(entry: str, key: str, reason: str = "bad_mask") -> dict[str, str]:
    return {"key": f"toy/train/{entry}/{key}", "entry": entry, "reason": reason, "detail": "made up"}


SKIPPED = (skipped_line("folders", "cat"), skipped_line("pictures", "fork"), skipped_line("pictures", "jug", "bad_box"))


def write_corpus(
    root: Path,
    items: Iterable[Item],
    skipped: Iterable[dict[str, str]] = (),
    shard_size: int = 1 << 20,
) -> Path:
    """Write ``items`` as they are, valid or not, as a finished corpus in ``root``."""
    by_entry: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_entry[item[0].entry].append(item)
    shards, records, samples = [], [], []
    for entry, found in sorted(by_entry.items()):
        for shard, record_rows, all_sample_rows in _shards(root, entry, found, shard_size):
            shards.append(shard)
            records += record_rows
            samples += all_sample_rows
    write_index(root / RECORDS_FILE, records, RECORDS_SCHEMA)
    write_index(root / SAMPLES_FILE, samples, SAMPLES_SCHEMA)
    skipped = list(skipped)
    write_lines(root / SKIPPED_FILE, skipped)
    entries = [_entry(entry, [record for record, _ in found], skipped) for entry, found in by_entry.items()]
    totals = {name: sum(entry[name] for entry in entries) for name in ("items", "records", "samples")}
    totals |= {"skipped": len(skipped), "shards": len(shards), "bytes": sum(shard["bytes"] for shard in shards)}
    manifest = {"format": FORMAT_VERSION, "name": "small", "seed": 1, "recipe": {}, "code": {}, "entries": entries}
    files = {name: sha256_of(root / name) for name in (RECORDS_FILE, SAMPLES_FILE, SKIPPED_FILE)}
    write_manifest(root, manifest | {"shards": shards, "files": files, "totals": totals})
    return root


def _shards(root: Path, entry: str, items: list[Item], shard_size: int) -> Iterable[tuple[Row, list[Row], list[Row]]]:
    texts = [to_json(record) for record, _ in items]
    sizes = [
        record_size(len(text), media.size if media else None) for text, (_, media) in zip(texts, items, strict=True)
    ]
    for bucket in partition([record.key for record, _ in items], sizes, shard_size):
        found = [items[i][0] for i in bucket.members]
        content = [(items[i][0].key, texts[i], items[i][1]) for i in bucket.members]
        shard = write_shard(root, entry, bucket.prefix, content, root / ".work")
        rows = [record_row(record, shard.path, placed) for record, placed in zip(found, shard.placed, strict=True)]
        sampled = [row for record in found for row in sample_rows(record)]
        stated = {"path": shard.path, "bytes": shard.bytes, "sha256": shard.sha256}
        yield stated | {"records": len(rows), "samples": len(sampled)}, rows, sampled
    (root / ".work").rmdir()


def _entry(name: str, records: list[Record], skipped: list[dict[str, str]]) -> Row:
    reasons = Counter(line["reason"] for line in skipped if line["entry"] == name)
    samples = sum(len(record.samples) for record in records)
    counts = {"items": samples + reasons.total(), "records": len(records), "samples": samples}
    facts = {"dataset": records[0].dataset, "split": records[0].split, "license": "unknown", "citation": ""}
    return {"entry": name, **facts, **counts, "skipped": dict(reasons), "inputs": []}


def write_lines(path: Path, lines: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def edit_manifest(corpus: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Let ``edit`` change the manifest in place."""
    manifest = json.loads((corpus / MANIFEST_FILE).read_bytes())
    edit(manifest)
    (corpus / MANIFEST_FILE).write_text(json.dumps(manifest))


def sign_files(corpus: Path) -> None:
    """Make the manifest state the hashes of indexes and skips as they now are, so that only their content is wrong."""
    edit_manifest(
        corpus, lambda manifest: manifest["files"].update({n: sha256_of(corpus / n) for n in manifest["files"]})
    )


def shard_of(corpus: Path, entry: str) -> Path:
    """The entry's first shard."""
    return min((corpus / "shards").glob(f"{entry}-*.tar"))
