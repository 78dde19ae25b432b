"""Broken releases: one readable reason for every broken item, nothing lost, and no good item dragged down.

Each release is a generated one whose annotation file is changed; the whole way is walked, from the recipe to verify.
"""

import copy
import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.raw_files import DatasetError, RawFiles
from converters.table import UnknownConverter, find_converter
from converters.world import write_world
from pipelines.build import BuildFailed, build
from pipelines.cli import main
from pipelines.recipe import load_recipe
from shards.manifest import read_skipped
from shards.reader import Corpus
from shards.rle import MaskError, from_coco
from shards.toml_table import RecipeError
from shards.verify import verify

REFS = "refcoco/refs(unc).p"
INSTANCES = "refcoco/instances.json"
META = "train/meta_expressions.json"
QA = "VideoRefer-700K/videorefer-qa-75k.json"
BENCH_Q = "VideoRefer-Bench-Q/VideoRefer-Bench-Q.json"
VAL = "annotations/val_annotations.json"
LINES = "charades_sta_train.txt"
HUGE = 10**400
HALF = "\ud800"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root, clips=2, seed=4)
    return root


@pytest.fixture
def release(world, tmp_path):
    """A function: the name of a release → a copy of it to spoil."""
    return lambda name: Path(shutil.copytree(world / name, tmp_path / name))


def built(root: Path, converter: str, split: str = "train", *changes: str, options: str = ""):
    """({key: sample}, [(key, reason, detail)]) of a corpus that verifies and accounts for every item."""
    recipe = root.parent / "recipe.toml"
    recipe.write_text(
        "[corpus]\nmax_skip_share = 1.0\nmax_missing_share = 1.0\nwordings = 1\n"
        f"[[dataset]]\nconverter = '{converter}'\nroot = '{root}'\nsplit = '{split}'\noptions = {{ {options} }}\n"
    )
    corpus = build(load_recipe(recipe, changes), root.parent / "corpus", workers=0).corpus
    assert verify(corpus).faults == ()
    samples = {sample.key: sample for record, _ in Corpus.open(corpus) for sample in record.samples}
    lines = [(line["key"], line["reason"], line["detail"]) for line in read_skipped(corpus)]
    (entry,) = json.loads((corpus / "manifest.json").read_bytes())["entries"]
    assert entry["items"] == len(samples) + len(lines)
    assert all(detail for _, _, detail in lines)
    return samples, lines


def reasons(lines) -> dict[str, str]:
    return {key.split("/", 2)[2]: reason for key, reason, _ in lines}


def read(path: Path):
    return json.loads(path.read_bytes())


# ------------------------------------------------------------------------------------------------ raw files


def test_a_whole_number_beyond_all_floats_is_read_as_infinite(tmp_path):
    (tmp_path / "a.json").write_text(f"[1, -{'7' * 9000}, {'7' * 9000}, 0.5]")
    (tmp_path / "a.p").write_bytes(pickle.dumps([1, -(10**9000), 10**9000, 0.5], protocol=2))
    files = RawFiles(tmp_path)
    assert files.json("a.json") == files.pickle("a.p") == [1, -np.inf, np.inf, 0.5]


def test_a_latin_1_line_does_not_spoil_the_utf_8_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "café\n".encode() + "crème\n".encode("latin-1"))
    assert RawFiles(tmp_path).text("a.txt") == "café\ncrème\n"


@pytest.mark.parametrize("odd", [{1, 2}, frozenset({1}), bytearray(b"a"), 1j])
def test_a_pickle_of_more_than_plain_data_is_refused(tmp_path, odd):
    (tmp_path / "a.p").write_bytes(pickle.dumps([odd], protocol=4))
    with pytest.raises(DatasetError, match="is not a pickle of plain data"):
        RawFiles(tmp_path).pickle("a.p")


def test_the_keys_of_a_pickled_dict_become_text_as_in_json(tmp_path):
    (tmp_path / "a.p").write_bytes(pickle.dumps({1: "a", "b": "c", (2, 3): "d"}, protocol=2))
    assert RawFiles(tmp_path).pickle("a.p") == {"1": "a", "b": "c", "[2, 3]": "d"}


def test_a_run_beyond_64_bits_is_no_mask():
    for counts in ([-(10**30), 10**30], [10**30], [-5, 13]):
        with pytest.raises(MaskError):
            from_coco({"size": [2, 4], "counts": counts}, 2, 4)


# ---------------------------------------------------------------------------------------------- Charades-STA


def test_lines_of_another_shape_are_malformed_whether_the_video_is_there_or_not(release):
    root = release("charades_sta")
    good = (root / LINES).read_text().splitlines()[0]
    video = good.split()[0]
    bad = ["no such line", "##x", f"{video} 0.0 1.0 x", f"{video} 1_0 2##x", f"{video} ٣ 4##x", "gone 0 1##"]
    times = [f"{video} nan 1##x", f"{video} 0 1e400##x", f"{video} 2 1##x", f"{video} -1 1##x"]
    (root / LINES).write_text("\r\n".join([good, *bad, *times, "gone 0 1##x", f"{video}\0 0 1##x"]))
    samples, lines = built(root, "charades_sta")
    assert len(samples) == 1
    wanted = dict.fromkeys(bad, "malformed") | dict.fromkeys(times, "bad_span") | {"gone 0 1##x": "missing_media"}
    found = {key.rsplit("/", 1)[1]: reason for key, reason, _ in lines}
    digests = {hashlib.sha256(line.encode()).hexdigest()[:8]: reason for line, reason in wanted.items()}
    assert digests.items() <= found.items()
    assert sorted(found[digest] for digest in found.keys() - digests.keys()) == ["unsafe_path"]


# -------------------------------------------------------------------------------------------------- RefCOCO


def some_refs(root: Path):
    refs = [ref for ref in pickle.loads((root / REFS).read_bytes(), encoding="latin1") if ref["split"] == "train"]
    return next(ref for ref in refs if len(ref["sentences"]) > 1), refs[-1]


def write_refs(root: Path, *refs) -> None:
    (root / REFS).write_bytes(pickle.dumps(list(refs), protocol=4))


def test_a_sentence_that_is_no_object_leaves_the_other_sentences_of_its_ref_alone(release):
    root = release("refer")
    ref, other = some_refs(root)
    sentences = len(ref["sentences"]) + len(other["sentences"])
    ref["sentences"][0:0] = ["a text", None]
    write_refs(root, ref, other)
    samples, lines = built(root, "refcoco")
    assert len(samples) == sentences
    assert reasons(lines) == {"@0-0": "malformed", "@0-1": "malformed"}


def test_a_ref_without_id_is_one_skip_for_each_of_its_sentences(release):
    root = release("refer")
    ref, other = some_refs(root)
    write_refs(root, ref | {"ref_id": "7"}, other, ref | {"sentences": []}, None)
    samples, lines = built(root, "refcoco")
    assert len(samples) == len(other["sentences"])
    wanted = {f"@0-{number}" for number in range(len(ref["sentences"]))} | {"@2", "@3"}
    assert reasons(lines) == dict.fromkeys(wanted, "malformed")


@pytest.mark.parametrize("split", [["train"], {"a": 1}, None, HUGE])
def test_a_ref_of_no_known_split_is_a_skip(release, split):
    root = release("refer")
    ref, other = some_refs(root)
    write_refs(root, ref | {"split": split}, other)
    samples, lines = built(root, "refcoco")
    assert len(samples) == len(other["sentences"])
    assert reasons(lines) == {"@0": "malformed"}


def test_sentences_may_be_of_any_wrong_type(release):
    root = release("refer")
    ref, other = some_refs(root)
    odd = [{1: 2, "a": 3}, HUGE, b"\xff", (1, 2), float("nan"), HALF, " ", True]
    ref["sentences"] = [{"sent": sent, "sent_id": 900_000 + number} for number, sent in enumerate(odd)]
    write_refs(root, ref, other)
    samples, lines = built(root, "refcoco")
    assert len(samples) == 1 + len(other["sentences"])  # the byte string is Latin-1 text
    assert set(reasons(lines).values()) == {"malformed"}


def test_the_same_sentence_of_another_image_is_a_conflict(release):
    root = release("refer")
    ref, _ = some_refs(root)
    write_refs(root, ref, ref, ref | {"image_id": 1})
    _, lines = built(root, "refcoco")
    found = sorted(reason for _, reason, _ in lines)
    assert found == ["duplicate"] * len(ref["sentences"]) + ["key_conflict"] * len(ref["sentences"])


def test_a_size_that_is_no_number_is_malformed(release):
    root = release("refer")
    ref, _ = some_refs(root)
    write_refs(root, ref)
    instances = read(root / INSTANCES)
    for image in instances["images"]:
        image["width"] = str(image["width"])
    (root / INSTANCES).write_text(json.dumps(instances))
    _, lines = built(root, "refcoco")
    assert set(reasons(lines).values()) == {"malformed"}


def test_details_do_not_name_the_place_of_another_image_folder(release, tmp_path):
    root = release("refer")
    ref, _ = some_refs(root)
    write_refs(root, ref)
    images = tmp_path / "elsewhere"
    images.mkdir()
    for image in read(root / INSTANCES)["images"]:
        (images / image["file_name"]).write_bytes(b"")
    _, lines = built(root, "refcoco", options=f"images = '{images}'")
    assert {reason for _, reason, _ in lines} == {"bad_media"}
    assert not any(str(tmp_path) in detail for _, _, detail in lines)


# ---------------------------------------------------------------------------------------------------- MeViS


@pytest.mark.parametrize("frames", [None, [], {}, [1, 2], ["00000", None], "twice"])
def test_a_video_without_a_list_of_frames_is_one_skip_for_each_expression(release, frames):
    root = release("mevis")
    meta = read(root / META)
    video, entry = next(iter(meta["videos"].items()))
    whole = sum(len(entry["expressions"]) for entry in meta["videos"].values())
    entry["frames"] = [*entry["frames"], entry["frames"][0]] if frames == "twice" else frames
    (root / META).write_text(json.dumps(meta))
    samples, lines = built(root, "mevis")
    assert reasons(lines) == {f"{video}/{id}": "malformed" for id in entry["expressions"]}
    assert len(samples) == whole - len(lines)


def test_an_id_of_half_a_surrogate_pair_is_malformed_wherever_it_stands(release):
    root = release("mevis")
    meta, masks = read(root / META), read(root / "train/mask_dict.json")
    video, entry = next(iter(meta["videos"].items()))
    expressions = entry["expressions"]
    good = len(expressions)
    anno = expressions["0"]["anno_id"][0]
    masks[HALF] = masks[str(anno)]
    expressions["mask"] = {"exp": "x", "anno_id": [HALF]}
    expressions[HALF] = {"exp": "x", "anno_id": [anno]}
    expressions["words"] = {"exp": HALF, "anno_id": [anno]}
    meta["videos"] = {video: entry, f"{HALF}{video}": entry}
    (root / META).write_text(json.dumps(meta))
    (root / "train/mask_dict.json").write_text(json.dumps(masks))
    samples, lines = built(root, "mevis")
    assert len(samples) == good
    assert {reason for _, reason, _ in lines} == {"malformed"}
    assert all("surrogate" in detail for _, _, detail in lines)


# ----------------------------------------------------------------------------------------------- VideoRefer


def variants(root: Path, file: str, changes):
    """The file's first item once more for each of ``changes``, named by its key; the first item stays."""
    first = read(root / file)[0]
    items = [first]
    for name, change in changes.items():
        item = copy.deepcopy(first) | {"id": name}
        change(item)
        items.append(item)
    (root / file).write_text(json.dumps(items))
    return first


def test_places_that_are_no_video_are_skips(release):
    root = release("videorefer")
    videos = root / "VideoRefer-700K/videos"
    (videos / "loop").symlink_to(videos / "loop")
    (videos / "folders/00000.jpg").mkdir(parents=True)
    (videos / "empty").mkdir()
    places = {
        "long": ("videos/" + "x" * 400, "missing_media"),
        "deep": ("videos/" + "x/" * 3000, "missing_media"),
        "loop": ("videos/loop", "missing_media"),
        "folders": ("videos/folders", "missing_media"),
        "empty": ("videos/empty", "missing_media"),
        "blank": ("", "malformed"),
        "nul": ("videos/a\0b", "unsafe_path"),
        "half": (HALF, "malformed"),
        "out": ("videos/../../x", "unsafe_path"),
    }
    variants(root, QA, {name: lambda item, p=place: item.update(video=p) for name, (place, _) in places.items()})
    samples, lines = built(root, "videorefer", options="subset = 'qa'")
    assert len(samples) == 1
    assert reasons(lines) == {f"qa/{name}": reason for name, (_, reason) in places.items()}


def test_frames_that_are_no_index_are_bad(release):
    root = release("videorefer")
    names = {"long": "9" * 5000, "square": "²", "arabic": "٣", "double": "00", "late": "99999", "minus": "-1"}

    def on(name: str):
        def change(item) -> None:
            masks = item["annotation"][0]
            masks[name] = next(iter(masks.values()))

        return change

    variants(root, QA, {key: on(name) for key, name in names.items()})
    samples, lines = built(root, "videorefer", options="subset = 'qa'")
    assert len(samples) == 1
    assert {key: reason for key, reason in reasons(lines).items() if key != "qa/double"} == {
        f"qa/{key}": "bad_frame" for key in names if key != "double"
    }


@pytest.mark.parametrize("frame", ["²", "9" * 5000, None, -1, 1.5, [0]])
def test_a_frame_idx_that_is_no_index_is_bad(release, frame):
    root = release("videorefer")
    variants(root, BENCH_Q, {"odd": lambda item: item.update(frame_idx=frame)})
    samples, lines = built(root, "videorefer", "bench_q", options="frames = 'single'")
    assert len(samples) == 1
    assert reasons(lines) == {"odd": "bad_frame"}


def test_regions_in_the_choices_count_as_those_of_the_question(release):
    root = release("videorefer")

    def moved(item) -> None:
        regions = item["Question"].count("<region>")
        item["Question"] = item["Question"].replace("<region>", "it")
        item["options"][-1] += " like <region>" * regions
        item["Answer"] = item["options"][0]

    variants(root, BENCH_Q, {"moved": moved, "more": lambda item: item["options"].append("(Z) <region>")})
    samples, lines = built(root, "videorefer", "bench_q")
    assert len(samples) == 2
    assert reasons(lines) == {"more": "region_count"}


def test_half_a_size_is_malformed_and_none_is_the_videos(release):
    root = release("videorefer")

    def sized(**size):
        def change(item) -> None:
            for masks in item["annotation"]:
                for frame in masks:
                    masks[frame] = {"segmentation": [[1, 1, 20, 1, 20, 20]]}
            item.update(size)

        return change

    good = {"none": sized(width=None, height=None)}
    bad = {"half": sized(width=None, height=7), "text": sized(width="1", height="1"), "other": sized(width=7, height=7)}
    variants(root, QA, good | bad)
    samples, lines = built(root, "videorefer", options="subset = 'qa'")
    assert "videorefer/train/qa/none" in samples
    assert reasons(lines) == {"qa/half": "malformed", "qa/text": "malformed", "qa/other": "size_mismatch"}


# --------------------------------------------------------------------------------------------------- VidSTG


def test_every_number_of_vidstg_may_be_huge_or_no_number(release):
    root = release("vidstg")
    first = read(root / VAL)[0]
    entries, items = [first], len(first["captions"] + first["questions"])
    for field in ("used_segment", "temporal_gt"):
        for name in ("begin_fid", "end_fid"):
            for value in (HUGE, -HUGE, float("nan"), float("inf"), "1", True, [1], 0.5):
                entries.append(copy.deepcopy(first))
                entries[-1][field][name] = value
                entries[-1]["used_relation"]["predicate"] = f"p{len(entries)}"
    (root / VAL).write_text(json.dumps(entries))
    samples, lines = built(root, "vidstg", "val")
    assert len(samples) + len(lines) == items * len(entries)
    assert {reason for _, reason, _ in lines} == {"malformed", "bad_span"}
    assert not any("unexpected" in detail for _, _, detail in lines)


def test_a_huge_box_is_a_bad_box_and_a_frame_of_other_things_is_malformed(release):
    root = release("vidstg")
    first = read(root / VAL)[0]
    (root / VAL).write_text(json.dumps([first]))
    target = first["captions"][0]["target_id"]
    (path,) = root.glob(f"vidor/annotation/training/*/{first['vid']}.json")
    vidor = read(path)
    (box,) = (box for box in vidor["trajectories"][0] if box["tid"] == target)
    for value, reason in ((HUGE, "bad_box"), (None, "bad_box")):
        box["bbox"]["xmax"] = value
        path.write_text(json.dumps(vidor))
        assert reason in reasons(built(root, "vidstg", "val")[1]).values()
    vidor["trajectories"][0] = [None]
    path.write_text(json.dumps(vidor))
    assert set(reasons(built(root, "vidstg", "val")[1]).values()) == {"malformed"}


def test_a_type_of_half_a_surrogate_pair_is_malformed(release):
    root = release("vidstg")
    first = read(root / VAL)[0]
    first["captions"][0]["type"] = HALF
    (root / VAL).write_text(json.dumps([first]))
    samples, lines = built(root, "vidstg", "val")
    assert [reason for _, reason, _ in lines] == ["malformed"]
    assert len(samples) == len(first["captions"] + first["questions"]) - 1


# ------------------------------------------------------------------------ converters of others, and the build


CONVERTER = """
from converters.base import Converter, Item, RawClip, StillFile
from converters.raw_files import DatasetError
from dataclasses import replace
from shards.record import Sample, Source

class Theirs(Converter):
    name, title, citation, tasks, splits = "theirs", "t", "c", ("referring_segmentation",), ("all",)

    def scan(self):
        for raw in self.files.json("items.json"):
            yield RawClip("a.png", (Item(self.key(raw), raw),))

    def media(self, raw):
        return StillFile("", raw.id)

    def facts(self, raw, item, clip, table):
        sample = Sample(item.key, "referring_segmentation", Source("items.json", item.raw), "a dot", targets=((),))
        return {
            "good": lambda: sample,
            "key": lambda: {}["missing"],
            "none": lambda: None,
            "other": lambda: replace(sample, key="theirs/all/z"),
            "nan": lambda: replace(sample, spans=((0.0, float("nan")),)),
            "disk": lambda: open("/nonexistent/file"),
            "whole": lambda: self.files.json("more.json"),
        }[item.raw.rstrip("0123456789")]()

class Bare(Converter):
    pass

def broken(): pass
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A function: the items of a release whose converter lies in another folder → its root."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/their_module.py").write_text(CONVERTER)
    (tmp_path / "lib/their_syntax.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    root = tmp_path / "raw"
    root.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "a.png")

    def write(items: list[str]) -> Path:
        (root / "items.json").write_text(json.dumps(items))
        return root

    return write


def test_an_error_that_nobody_foresaw_costs_its_item_and_says_so(theirs, capsys):
    root = theirs(["good", "key", "none", "other", "nan"])
    samples, lines = built(root, "their_module:Theirs", "all")
    assert list(samples) == ["theirs/all/good"]
    assert reasons(lines) == dict.fromkeys(("key", "none", "other", "nan"), "malformed")
    assert all(detail.startswith("unexpected: ") for _, _, detail in lines)
    assert main(["build", str(root.parent / "recipe.toml"), "--out", str(root.parent / "c"), "--workers", "0"]) == 0
    assert "4 items were skipped for reasons that no converter foresaw" in capsys.readouterr().err


def test_an_error_that_nobody_foresaw_counts_towards_the_share(theirs):
    with pytest.raises(BuildFailed, match="1 of 2 items skipped"):
        built(theirs(["good", "key"]), "their_module:Theirs", "all", "max_skip_share=0.4")


@pytest.mark.parametrize(("item", "error"), [("disk", OSError), ("whole", DatasetError)])
def test_an_error_of_the_machine_or_of_the_release_stops_the_build(theirs, item, error):
    with pytest.raises(error):
        built(theirs(["good", item]), "their_module:Theirs", "all")


@pytest.mark.parametrize(
    "name", ["their_syntax:A", "their_module:Nobody", "their_module:broken", "their_module:Bare", ":A", ".a:B", "x.y:Z"]
)
def test_a_converter_that_cannot_be_used_is_one_error(theirs, name):
    theirs([])
    with pytest.raises(UnknownConverter, match=name.split(":")[-1]):
        find_converter(name)


def test_what_nobody_foresaw_is_one_line_and_no_traceback(theirs, capsys, monkeypatch):
    root = theirs(["good"])
    built(root, "their_module:Theirs", "all")
    monkeypatch.setattr("pipelines.build.make_plan", lambda *_: {}["lost"])
    words = ["build", str(root.parent / "recipe.toml"), "--out", str(root.parent / "c"), "--workers", "0"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "unexpected KeyError: 'lost'" in said
    assert "Traceback" not in said
    with pytest.raises(KeyError):
        main([*words, "--debug"])


def test_a_share_that_is_lost_exactly_is_allowed(theirs):
    """For a computer 0.29 * 100 is less than 29."""
    root = theirs([f"{'key' if number < 29 else 'good'}{number}" for number in range(100)])
    samples, lines = built(root, "their_module:Theirs", "all", "max_skip_share=0.29")
    assert (len(samples), len(lines)) == (71, 29)


def test_a_dataset_that_is_no_table_cannot_be_set(tmp_path):
    (tmp_path / "a.toml").write_text("dataset = [1]")
    with pytest.raises(RecipeError, match="no dataset '0'"):
        load_recipe(tmp_path / "a.toml", ["dataset.0.take=1"])


@pytest.mark.parametrize(("line", "words"), [("name = ''", "`name` ''"), (f"root = '{'x' * 400}'", "is not a folder")])
def test_an_empty_name_and_an_endless_root_are_wrong_recipes(theirs, tmp_path, line, words):
    root = theirs(["good"])
    lines = {"root": f"root = '{root}'", "name": "name = 'a'"} | {line.split()[0]: line}
    (tmp_path / "a.toml").write_text("[[dataset]]\nconverter = 'their_module:Theirs'\nsplit = 'all'\n")
    with (tmp_path / "a.toml").open("a") as file:
        file.write("\n".join(lines.values()))
    with pytest.raises(RecipeError, match=words):
        load_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("limit", "name", "converter"),
    [("MAX_FRAMES", "mevis", "mevis"), ("MAX_ZIP_BYTES", "mevis", "mevis"), ("MAX_MEMBER_BYTES", "refer", "refcoco")],
)
def test_media_that_a_plain_shard_cannot_hold_is_bad_media(release, monkeypatch, limit, name, converter):
    monkeypatch.setattr(f"converters.convert.{limit}", 3)
    samples, lines = built(release(name), converter)
    assert not samples
    assert {reason for _, reason, _ in lines} == {"bad_media"}
