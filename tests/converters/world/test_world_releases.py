"""The releases: every file loads with plain tools, and says what the truth says."""

import csv
import hashlib
import json
import pickle
from itertools import pairwise

import av
import numpy as np
import pytest
from PIL import Image

from converters.world import DATASETS, write_world
from converters.world.raw import JsonFile, python2_pickle
from converters.world.scene import COLOURS
from shards import rle

CLIPS = 8


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), clips=CLIPS)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def picture_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def fingerprint(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("faults", [False, True])
def test_the_same_arguments_give_the_same_bytes_and_truth(tmp_path, faults):
    one = write_world(tmp_path / "one", clips=2, seed=3, faults=faults)
    two = write_world(tmp_path / "two", clips=2, seed=3, faults=faults)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")
    assert {entry: list(found) for entry, found in one.samples.items()} == {
        entry: list(found) for entry, found in two.samples.items()
    }
    assert one.skips == two.skips


def test_another_seed_gives_another_world(tmp_path):
    write_world(tmp_path / "one", clips=1, seed=1, datasets=["mevis"])
    write_world(tmp_path / "two", clips=1, seed=2, datasets=["mevis"])
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "two")


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="imagenet"):
        write_world(tmp_path, datasets=["imagenet"])
    with pytest.raises(ValueError, match="clips"):
        write_world(tmp_path, clips=0)


def test_all_data_sets_and_splits_have_samples(world):
    assert sorted(path.name for path in world.root.iterdir()) == sorted(DATASETS)
    expected = {
        *(("refcoco", split) for split in ("train", "val", "testA", "testB")),
        *(("refcoco", split, "google") for split in ("train", "val", "test")),
        *(("refcoco_plus", split) for split in ("train", "val", "testA", "testB")),
        *(("refcocog", split) for split in ("train", "val", "test")),
        *(("refcocog", split, "google") for split in ("train", "val")),
        *(("mevis", split) for split in ("train", "valid_u", "valid")),
        *(("videorefer", split) for split in ("train", "bench_d", "bench_q")),
        *(("charades_sta", split) for split in ("train", "test")),
        *(("vidstg", split) for split in ("train", "val", "test")),
    }
    assert set(world.samples) == expected
    assert all(world.samples.values())
    assert {reason for skips in world.skips.values() for reason in skips.values()} == {"duplicate"}


def folder_of(entry):
    return "refer" if entry[0].startswith("refcoco") else entry[0]


def test_every_clip_is_on_disk_with_its_size_and_number_of_frames(world):
    clips = {folder_of(e) + "/" + s.clip.source: s.clip for e, found in world.samples.items() for s in found.values()}
    for source, clip in clips.items():
        path = world.root / source
        if clip.kind == "video":
            with av.open(str(path)) as container:
                frames = list(container.decode(video=0))
            size, count = (frames[0].width, frames[0].height), len(frames)
        else:
            stills = sorted(path.iterdir()) if clip.kind == "frames" else [path]
            size, count = picture_of(stills[0]).shape[1::-1], len(stills)
        assert (size, count) == ((clip.width, clip.height), clip.num_frames), source


def test_spans_windows_frames_and_boxes_lie_inside_their_clips(world):
    for sample in world:
        clip = sample.clip
        start, end = sample.window or (0.0, clip.duration)
        for span in sample.spans:
            assert start <= span[0] < span[1] <= end, sample.key
        for region in sample.regions:
            assert region.frames == tuple(sorted(region.frames))
            assert 0 <= region.frames[0] <= region.frames[-1] < clip.num_frames
            assert not all(rle.is_empty(counts) for counts in region.rles.values())
        for tube in sample.tubes:
            assert len(tube.boxes) == clip.num_frames
            assert any(sample.tube_boxes().values())
            for box in filter(None, tube.boxes.values()):
                assert 0 <= box[0] < box[2] <= clip.width
                assert 0 <= box[1] < box[3] <= clip.height


def test_masks_have_the_size_of_their_clips(world):
    for sample in world:
        shown = [*sample.regions, *(masklet for target in sample.targets or () for masklet in target)]
        for masklet in shown:
            for counts in masklet.rles.values():
                rle.check(counts, sample.clip.height, sample.clip.width)


# ---------------------------------------------------------------------------------------------- refer


def load_refs(path):
    return pickle.loads(path.read_bytes(), encoding="latin1")


def test_refs_are_pickles_of_python_2(world):
    content = (world.root / "refer/refcoco/refs(unc).p").read_bytes()
    assert content.startswith(b"(l(d")
    assert b"S'sent_ids'\n" in content
    refs = pickle.loads(content, encoding="latin1")
    assert set(refs[0]) == {
        *("sent_ids", "file_name", "ann_id", "ref_id"),
        *("image_id", "split", "sentences", "category_id"),
    }
    assert set(refs[0]["sentences"][0]) == {"tokens", "raw", "sent", "sent_id"}
    assert {ref["split"] for ref in refs} == {"train", "val", "testA", "testB"}


@pytest.mark.parametrize(
    "value", [None, 0, -7, 1 << 40, "it's", 'a "b" \\ c', "two\nlines", [], {}, [{"a": [1, "b"]}, None]]
)
def test_a_python_2_pickle_loads_to_what_it_was(value):
    assert pickle.loads(python2_pickle(value), encoding="latin1") == value


def test_a_python_2_pickle_holds_bytes_for_text():
    assert pickle.loads(python2_pickle("é"), encoding="bytes") == "é".encode()


@pytest.mark.parametrize(
    "name", ["refcoco/refs(unc)", "refcoco/refs(google)", "refcoco+/refs(unc)", "refcocog/refs(umd)"]
)
def test_refs_point_to_annotations_that_rasterise_to_the_truth(world, name):
    folder = world.root / "refer" / name.split("/")[0]
    instances = load(folder / "instances.json")
    images = {image["id"]: image for image in instances["images"]}
    annotations = {annotation["id"]: annotation for annotation in instances["annotations"]}
    entries = [
        entry for entry in world.samples if folder_of(entry) == "refer" and (len(entry) == 3) == ("google" in name)
    ]
    samples = {key: sample for entry in entries for key, sample in world.samples[entry].items()}
    converter = {"refcoco+": "refcoco_plus"}.get(folder.name, folder.name)
    for ref in load_refs(folder.parent / f"{name}.p"):
        image, annotation = images[ref["image_id"]], annotations[ref["ann_id"]]
        assert annotation["image_id"] == image["id"]
        counts = rle.from_coco(annotation["segmentation"], image["height"], image["width"])
        for sentence in ref["sentences"]:
            sample = samples[f"{converter}/{ref['split']}/{ref['ref_id']}-{sentence['sent_id']}"]
            assert sample.query == sentence["sent"]
            assert sample.targets[0][0].rles == {0: counts}
            assert sample.clip.source.endswith(image["file_name"])


def test_stills_hold_a_split_object_and_a_crowd(world):
    annotations = load(world.root / "refer/refcoco/instances.json")["annotations"]
    assert any(not a["iscrowd"] and len(a["segmentation"]) > 1 for a in annotations)
    assert any(a["iscrowd"] and isinstance(a["segmentation"]["counts"], list) for a in annotations)


def test_refcocog_google_shares_stills_between_train_and_val(world):
    refs = load_refs(world.root / "refer/refcocog/refs(google).p")
    stills = {split: {ref["image_id"] for ref in refs if ref["split"] == split} for split in ("train", "val")}
    assert stills["train"] & stills["val"]


# ---------------------------------------------------------------------------------------------- mevis


def test_mevis_masks_are_found_by_place_in_the_sorted_list(world):
    root = world.root / "mevis/train"
    masks, meta = load(root / "mask_dict.json"), load(root / "meta_expressions.json")["videos"]
    for video, facts in meta.items():
        names = sorted(facts["frames"])
        assert names == sorted(path.stem for path in (root / "JPEGImages" / video).iterdir())
        for place, raw in facts["expressions"].items():
            sample = world.samples["mevis", "train"][f"mevis/train/{video}/{place}"]
            assert sample.query == " ".join(raw["exp"].split())
            for frame, name in enumerate(names):
                found = [masks[str(anno_id)][frame] for anno_id in raw["anno_id"]]
                union = rle.union([m["counts"] for m in found if m], sample.clip.height, sample.clip.width)
                assert rle.encode(sample.target_bitmap(0, frame)) == union
                picture = picture_of(root / "JPEGImages" / video / f"{name}.jpg")
                assert_one_colour(picture, sample.target_bitmap(0, frame), sample, raw["obj_id"])


def assert_one_colour(picture, mask, sample, objects):
    if len(objects) == 1 and mask.sum() > 60:
        colour = COLOURS[sample.clip.scene.shapes[objects[0]].colour]
        assert picture[mask].mean(0) == pytest.approx(colour, abs=12)


def test_mevis_has_its_warts(world):
    root = world.root / "mevis"
    masks = [mask for found in load(root / "train/mask_dict.json").values() for mask in found]
    videos = load(root / "train/meta_expressions.json")["videos"].values()
    expressions = [raw for facts in videos for raw in facts["expressions"].values()]
    assert None in masks
    assert any(mask and rle.is_empty(mask["counts"]) for mask in masks)
    assert any(raw["anno_id"] == [] for raw in expressions)
    assert any(len(raw["anno_id"]) > 1 for raw in expressions)
    assert any(facts["frames"][0] == "00010" for facts in videos)
    assert any(facts["frames"] != sorted(facts["frames"]) for facts in videos)
    assert not (root / "valid/mask_dict.json").exists()
    assert all(sample.targets is None for sample in world.samples["mevis", "valid"].values())


# ---------------------------------------------------------------------------------------------- videorefer

SUBSETS = {
    "short_caption": "videorefer-short-caption-500k.json",
    "detailed_caption": "videorefer-detailed-caption-125k.json",
    "qa": "videorefer-qa-75k.json",
}


def train_items(world):
    for subset, name in SUBSETS.items():
        for item in load(world.root / "videorefer/VideoRefer-700K" / name):
            yield item, world.samples["videorefer", "train"][f"videorefer/train/{subset}/{item['id']}"]


def test_videorefer_items_have_a_region_per_object_and_masks_of_the_truth(world):
    for item, sample in train_items(world):
        humans = [turn["value"] for turn in item["conversations"] if turn["from"] == "human"]
        text = " ".join(humans)
        assert text.count("<video>") == 1
        assert text.count("<region>") == len(item["annotation"]) == len(sample.regions)
        assert (world.root / "videorefer/VideoRefer-700K" / item["video"]).exists()
        assert "<video>" not in sample.query
        assert len(sample.dialogue) == len(humans) - 1
        for raw, region in zip(item["annotation"], sample.regions, strict=True):
            assert sorted(map(int, raw)) == list(region.frames)
            for name, mask in raw.items():
                counts = region.rles[int(name)]
                if mask["segmentation"] is None:
                    assert rle.is_empty(counts)
                else:
                    assert rle.from_coco(mask["segmentation"], sample.clip.height, sample.clip.width) == counts


def test_videorefer_has_its_warts(world):
    items = [item for item, _ in train_items(world)]
    masks = [mask["segmentation"] for item in items for raw in item["annotation"] for mask in raw.values()]
    assert None in masks
    assert any(isinstance(mask, list) for mask in masks)
    assert any(isinstance(mask, dict) and isinstance(mask["counts"], list) for mask in masks)
    assert any("height" in item for item in items)
    assert any(":" in item["video"] for item in items)
    assert any(item["video"].startswith("videos/mevis/") for item in items)
    assert any(item["conversations"][0]["value"].endswith("\n<video>") for item in items)
    assert any(list(raw) != sorted(raw, key=int) for item in items for raw in item["annotation"])


def test_the_benches_name_their_frame_and_answer(world):
    described = load(world.root / "videorefer/VideoRefer-Bench-D/VideoRefer-Bench-D.json")
    asked = load(world.root / "videorefer/VideoRefer-Bench-Q/VideoRefer-Bench-Q.json")
    for item in described:
        sample = world.samples["videorefer", "bench_d"][f"videorefer/bench_d/{item['id']}"]
        assert sample.answer == item["caption"]
        assert str(sample.frame_idx) == item["frame_idx"]
        assert item["frame_idx"] in item["annotation"][0]
    for item in asked:
        sample = world.samples["videorefer", "bench_q"][f"videorefer/bench_q/{item['id']}"]
        assert sample.choices[sample.correct] == item["Answer"] == sample.answer
        assert item["Question"].count("<region>") == len(item["annotation"])
    assert {item["video"].split("/")[0] for item in asked} == {"MeViS", "DAVIS"}


# ---------------------------------------------------------------------------------------------- charades


def test_charades_lines_say_the_truth_cut_to_the_clip(world):
    root = world.root / "charades_sta"
    lines = (root / "charades_sta_train.txt").read_text().splitlines()
    with (root / "Charades_v1_train.csv").open(newline="") as table:
        lengths = {row["id"]: float(row["length"]) for row in csv.DictReader(table)}
    late = 0
    for line in lines:
        digest = hashlib.sha256(line.strip().encode()).hexdigest()[:8]
        video, start, end = line.split("##")[0].split()
        sample = world.samples["charades_sta", "train"][f"charades_sta/train/{video}/{digest}"]
        assert sample.spans == ((float(start), min(float(end), sample.clip.duration)),)
        assert lengths[video] == pytest.approx(sample.clip.duration, abs=0.01)
        late += float(end) > sample.clip.duration
    assert len(lines) == len(world.samples["charades_sta", "train"])
    assert late


def test_a_moment_is_when_the_shape_moves(world):
    for sample in world.samples["charades_sta", "train"].values():
        for shape in sample.clip.scene.shapes:
            if shape.act == "move" and sample.query.startswith(f"the {shape.name} moves"):
                start, end = sample.spans[0]
                assert start == pytest.approx(shape.begin / sample.clip.fps, abs=0.0501)
                assert end == pytest.approx(shape.end / sample.clip.fps, abs=0.0501)


# ---------------------------------------------------------------------------------------------- vidstg


def vidor(world, vid, split="training"):
    (path,) = (world.root / f"vidstg/vidor/annotation/{split}").glob(f"*/{vid}.json")
    return load(path)


@pytest.mark.parametrize(("split", "folder"), [("train", "training"), ("val", "training"), ("test", "validation")])
def test_vidstg_entries_point_to_vidor(world, split, folder):
    root = world.root / "vidstg"
    entries = load(root / f"annotations/{split}_annotations.json")
    assert {entry["vid"] for entry in entries} == set(load(root / f"annotations/{split}_files.json"))
    for entry in entries:
        annotation = vidor(world, entry["vid"], folder)
        assert (root / "vidor/video" / annotation["video_path"]).exists()
        assert len(annotation["trajectories"]) == annotation["frame_count"] == entry["frame_count"]
        assert entry["used_relation"] in annotation["relation_instances"]
        gt, segment = entry["temporal_gt"], entry["used_segment"]
        assert segment["begin_fid"] <= gt["begin_fid"] < gt["end_fid"] <= segment["end_fid"] + 1 <= entry["frame_count"]


def test_a_tube_is_the_boxes_of_the_target_cut_to_the_frame(world):
    overshoot = False
    for key, sample in world.samples["vidstg", "train"].items():
        trajectories = vidor(world, key.split("/")[2])["trajectories"]
        tid, clip = int(sample.tubes[0].id), sample.clip
        for frame, box in sample.tubes[0].boxes.items():
            raw = [found["bbox"] for found in trajectories[frame] if found["tid"] == tid]
            assert (box is None) == (not raw)
            if box:
                told = [raw[0][name] for name in ("xmin", "ymin", "xmax", "ymax")]
                limits = (clip.width, clip.height) * 2
                assert list(box) == [min(max(value, 0), limit) for value, limit in zip(told, limits, strict=True)]
                overshoot |= list(box) != told
    assert overshoot


def test_vidstg_has_its_warts(world):
    entries = load(world.root / "vidstg/annotations/train_annotations.json")
    samples = world.samples["vidstg", "train"].values()
    assert any(a["captions"] == b["captions"] and not b["questions"] for a, b in pairwise(entries))
    assert any(sample.window is None for sample in samples)
    assert any(sample.window is not None for sample in samples)
    assert any(entry["frame_count"] == sample.clip.num_frames + 1 for entry in entries for sample in samples)
    assert any(entry["fps"] == 29.97 for entry in load_all(world, "vidstg"))
    assert any("  " in query["description"] for entry in entries for query in entry["captions"])
    assert set(world.labelled(("vidstg", "train"), "declarative")) < set(world.samples["vidstg", "train"])


def load_all(world, dataset):
    for path in sorted((world.root / dataset / "annotations").glob("*_annotations.json")):
        yield from load(path)


def test_streamed_json_loads(tmp_path):
    with JsonFile(tmp_path / "list.json") as items:
        assert [items.append({"a": 1}), items.append(None)] == [0, 1]
    with JsonFile(tmp_path / "object.json", "{}") as names:
        names.put('b"', [1])
    with JsonFile(tmp_path / "empty.json"):
        pass
    assert load(tmp_path / "list.json") == [{"a": 1}, None]
    assert load(tmp_path / "object.json") == {'b"': [1]}
    assert load(tmp_path / "empty.json") == []
