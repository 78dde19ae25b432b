"""The plain scripts: one short function per dataset, as a competent researcher writes it for good data.

They read whole files with ``json.load`` and ``pickle.load``, look things up in dicts, rasterise with pycocotools, and
write a JSON line per clip with the same facts as ours (keys, words, spans, masks, boxes) and a phrase drawn at random.

Each mask is read once by pycocotools, for its area, as whoever drops empty ones must.

They do not: read in bounded memory, hash their inputs, refuse pickles that run code or paths that climb out, look
whether media is whole or an RLE fills its frame, notice duplicates or conflicts of keys, skip a bad item and account
for it, vary and check the words, escape tokens, say time in tokens, state provenance, or resume. The first bad item
ends them, or goes through unnoticed.
"""

import hashlib
import json
import pickle
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco

from bench.convert.media import probe, probe_folder
from shards.media import Probe

Json = Any
Plain = Callable[[Path, str, Path], int]
"""(root, split, output) → number of samples."""

ASK_MASK: Final = ("Segment {} in this {}.", "Where is {}? Mark it in the {}.", "Please outline {} ({}).")
ASK_SPAN: Final = ("When does this happen: {}", "Give the time of: {}", "During which seconds: {}")
ASK_WORDS: Final = ("Describe it.", "What do you see there?", "Tell me about the region.")


def plain_refcoco(root: Path, split: str, out: Path) -> int:
    return _refer(root / "refcoco", "refs(unc).p", "refcoco", split, out)


def plain_refcocog(root: Path, split: str, out: Path) -> int:
    return _refer(root / "refcocog", "refs(umd).p", "refcocog", split, out)


def _refer(folder: Path, refs_file: str, name: str, split: str, out: Path) -> int:
    with (folder / refs_file).open("rb") as file:
        refs = pickle.load(file, encoding="latin1")
    with (folder / "instances.json").open(encoding="utf-8") as file:
        instances = json.load(file)
    images = {image["id"]: image for image in instances["images"]}
    annotations = {annotation["id"]: annotation for annotation in instances["annotations"]}
    by_image: dict[int, list[Json]] = defaultdict(list)
    for ref in refs:
        if ref["split"] == split:
            by_image[ref["image_id"]].append(ref)
    count = 0
    with out.open("w", encoding="utf-8") as file:
        for image_id, its_refs in by_image.items():
            source = f"images/mscoco/images/train2014/{images[image_id]['file_name']}"
            clip, masks, samples = probe(f"{folder.parent}/{source}"), {}, []
            for ref in its_refs:
                ann_id = ref["ann_id"]
                if str(ann_id) not in masks:
                    rasterise: Any = coco.frPyObjects
                    parts = rasterise(annotations[ann_id]["segmentation"], clip.height, clip.width)
                    merged: Any = coco.merge(parts)
                    masks[str(ann_id)] = {0: merged["counts"].decode("ascii")}
                for sentence in ref["sentences"]:
                    key, query = f"{name}/{split}/{ref['ref_id']}-{sentence['sent_id']}", sentence["sent"]
                    turns = _turns(f"<image>\n{random.choice(ASK_MASK).format(query, 'image')}", "Sure, <Seg>.")
                    samples.append({"key": key, "query": query, "targets": [[str(ann_id)]], "turns": turns})
            count += _write(file, source, clip, samples, masks=masks)
    return count


def plain_mevis(root: Path, split: str, out: Path) -> int:
    with (root / split / "meta_expressions.json").open(encoding="utf-8") as file:
        videos = json.load(file)["videos"]
    with (root / split / "mask_dict.json").open(encoding="utf-8") as file:
        mask_dict = json.load(file)
    count, nothing = 0, {}
    with out.open("w", encoding="utf-8") as file:
        for video, entry in videos.items():
            source = f"{split}/JPEGImages/{video}"
            frames = [f"{root}/{source}/{name}.jpg" for name in sorted(entry["frames"])]
            clip = probe_folder(frames)
            size, masks, samples = [clip.height, clip.width], {}, []
            if tuple(size) not in nothing:
                empty: Any = coco.encode(np.zeros(size, np.uint8, order="F"))
                nothing[tuple(size)] = empty["counts"].decode("ascii")
            for id, expression in entry["expressions"].items():
                for anno in map(str, expression["anno_id"]):
                    if anno not in masks:
                        masks[anno] = {
                            k: _counts(mask, size) if mask else nothing[tuple(size)]
                            for k, mask in enumerate(mask_dict[anno])
                        }
                query = " ".join(expression["exp"].split())
                turns = _turns(f"<video>\n{random.choice(ASK_MASK).format(query, 'video')}", "Sure, <Seg>.")
                targets = [[str(anno) for anno in expression["anno_id"]]]
                samples.append(
                    {"key": f"mevis/{split}/{video}/{id}", "query": query, "targets": targets, "turns": turns}
                )
            count += _write(file, source, clip, samples, masks=masks)
    return count


def plain_videorefer(subset: str, name: str) -> Plain:
    """The script for the file ``name`` of VideoRefer-700K."""

    def plain(root: Path, split: str, out: Path) -> int:
        with (root / "VideoRefer-700K" / name).open(encoding="utf-8") as file:
            items = json.load(file)
        by_video: dict[str, list[Json]] = defaultdict(list)
        for item in items:
            by_video[item["video"]].append(item)
        count = 0
        with out.open("w", encoding="utf-8") as file:
            for video, its_items in by_video.items():
                source = f"VideoRefer-700K/{video}"
                clip, masks, samples = probe(f"{root}/{source}"), {}, []
                for item in its_items:
                    shown = []
                    for k, by_frame in enumerate(item["annotation"]):
                        masks[f"{subset}/{item['id']}/{k}"] = own = {}
                        for frame in sorted(by_frame, key=int):
                            own[int(frame)] = _counts(by_frame[frame]["segmentation"], [clip.height, clip.width])
                        shown.append({"masklet": f"{subset}/{item['id']}/{k}", "frames": list(own)})
                    said = [" ".join(turn["value"].split()) for turn in item["conversations"]]
                    query = said[0].removeprefix("<video>").strip()
                    turns = [
                        {"role": turn["from"], "text": text.replace("<region>", "<Ref>")}
                        for turn, text in zip(item["conversations"], said, strict=True)
                    ]
                    turns[0]["text"] += " " + random.choice(ASK_WORDS)
                    key = f"videorefer/{split}/{subset}/{item['id']}"
                    samples.append({"key": key, "query": query, "answer": said[1], "regions": shown, "turns": turns})
                count += _write(file, source, clip, samples, masks=masks)
        return count

    return plain


def plain_charades(root: Path, split: str, out: Path) -> int:
    by_video: dict[str, list[str]] = defaultdict(list)
    with (root / f"charades_sta_{split}.txt").open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                by_video[line.split()[0]].append(line.strip())
    count = 0
    with out.open("w", encoding="utf-8") as file:
        for video, lines in by_video.items():
            source, samples = f"Charades_v1_480/{video}.mp4", []
            clip = probe(f"{root}/{source}")
            for line in lines:
                times, sentence = line.split("##")
                query = " ".join(sentence.split())
                start, end = (float(number) for number in times.split()[1:])
                end = min(end, clip.duration or 0.0)
                key = f"charades_sta/{split}/{video}/{hashlib.sha256(line.encode()).hexdigest()[:8]}"
                answer = f"From {start:.1f} to {end:.1f} seconds."
                turns = _turns(f"<video>\n{random.choice(ASK_SPAN).format(query)}", answer)
                samples.append({"key": key, "query": query, "spans": [[start, end]], "turns": turns})
            count += _write(file, source, clip, samples)
    return count


def plain_vidstg(root: Path, split: str, out: Path) -> int:
    with (root / f"annotations/{split}_annotations.json").open(encoding="utf-8") as file:
        entries = json.load(file)
    part = "validation" if split == "test" else "training"
    videos = {path.stem: path for path in (root / "vidor/video").glob("*/*.mp4")}
    tracks = {path.stem: path for path in (root / f"vidor/annotation/{part}").glob("*/*.json")}
    by_video: dict[str, list[Json]] = defaultdict(list)
    for entry in entries:
        by_video[entry["vid"]].append(entry)
    count = 0
    with out.open("w", encoding="utf-8") as file:
        for vid, its_entries in by_video.items():
            with tracks[vid].open(encoding="utf-8") as annotation:
                trajectories = json.load(annotation)["trajectories"]
            clip, tubes, samples = probe(str(videos[vid])), {}, []
            trajectories = trajectories[: clip.num_frames]
            for entry in its_entries:
                fps, truth, segment = clip.fps or 0.0, entry["temporal_gt"], entry["used_segment"]
                end_of_clip = clip.duration or 0.0
                span = [truth["begin_fid"] / fps, min(truth["end_fid"] / fps, end_of_clip)]
                window = [segment["begin_fid"] / fps, min((segment["end_fid"] + 1) / fps, end_of_clip)]
                for query in entry["captions"] + entry["questions"]:
                    target = query["target_id"]
                    if str(target) not in tubes:
                        tubes[str(target)] = {
                            frame: next((list(box["bbox"].values()) for box in boxes if box["tid"] == target), None)
                            for frame, boxes in enumerate(trajectories)
                        }
                    key, text = _vidstg_key(split, entry, query), " ".join(query["description"].split())
                    answer = f"From {span[0] - window[0]:.1f} to {span[1] - window[0]:.1f} seconds."
                    turns = _turns(f"<video>\n{random.choice(ASK_SPAN).format(text)}", answer)
                    sample = {"key": key, "query": text, "spans": [span], "tubes": [str(target)], "turns": turns}
                    samples.append(sample | {"window": window})
            source = str(videos[vid].relative_to(root))
            count += _write(file, source, clip, samples, tubes=tubes)
    return count


def _vidstg_key(split: str, entry: Json, query: Json) -> str:
    relation = entry["used_relation"]
    parts = [relation[name] for name in ("subject_tid", "predicate", "object_tid", "begin_fid", "end_fid")]
    parts += [query[name] for name in ("type", "target_id", "description")]
    return f"vidstg/{split}/{entry['vid']}/{hashlib.sha256(','.join(map(str, parts)).encode()).hexdigest()[:8]}"


def _counts(mask: Json, size: list[int]) -> str:
    """The counts of an RLE of the right size; its area is computed, as whoever drops empty masks must."""
    if mask["size"] != size or coco.area(mask) == 0:
        raise ValueError(f"an empty mask, or one of {mask['size']}")
    return mask["counts"]


def _turns(question: str, answer: str) -> list[Json]:
    return [{"role": "user", "text": question}, {"role": "assistant", "text": answer}]


def _write(file: Any, source: str, clip: Probe, samples: list[Json], **tables: Json) -> int:
    facts = {"source": source, "width": clip.width, "height": clip.height, "num_frames": clip.num_frames}
    times = {"fps": clip.fps, "duration": clip.duration}
    file.write(json.dumps(facts | times | tables | {"samples": samples}) + "\n")
    return len(samples)
