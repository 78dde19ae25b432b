"""`multigrain check`, on worlds that were renamed, packed, cut and moved; the commands that it prints are run."""

import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from converters.release import Needed
from converters.world import write_world
from pipelines import check, check_findings
from pipelines.check_files import Disk
from pipelines.check_remedies import move
from pipelines.check_search import tree_of
from pipelines.cli import main
from pipelines.demo import RECIPE

PAGE = "https://owners.example/data"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    write_world(folder / "raw", clips=2, seed=3)
    (folder / "world.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def world(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path / "world")
    return tmp_path / "world"


def checked(capsys, recipe: Path, *words: str) -> tuple[int, dict[str, dict]]:
    """The exit code, and the entries by name."""
    code = main(["check", str(recipe), "--json", *words])
    said = json.loads(capsys.readouterr().out)
    assert said["ready"] == (code == 0)
    return code, {entry["entry"]: entry for entry in said["entries"]}


def states(entry: dict) -> dict[str, str]:
    return {need["path"]: need["state"] for need in entry["needed"]}


def run_remedies(entries: dict[str, dict]) -> None:
    """Do what was printed, each command once, comments left out."""
    lines = dict.fromkeys(line for entry in entries.values() for need in entry["needed"] for line in need["remedy"])
    for line in lines:
        if not line.startswith("#"):
            subprocess.run(["bash", "-c", line], check=True)


def write_recipe(folder: Path, **keys: str) -> Path:
    (folder / "one.toml").write_text("[[dataset]]\n" + "".join(f'{key} = "{value}"\n' for key, value in keys.items()))
    return folder / "one.toml"


# --------------------------------------------------------------------------------------- whole releases


def test_a_world_is_ready_though_its_folders_hold_less_than_the_owners_publish(world, capsys):
    code, entries = checked(capsys, world / "world.toml")
    assert code == 0
    assert len(entries) == 7
    assert {state for entry in entries.values() for state in states(entry).values()} == {"present"}
    for entry in entries.values():
        assert entry["items"]["items"] > 0
        assert set(entry["items"]["lost"]) <= {"duplicate"}


def test_the_items_are_those_that_a_build_counts(world, capsys):
    shutil.rmtree(next((world / "raw/mevis/train/JPEGImages").iterdir()))
    next((world / "raw/vidstg/vidor/video").glob("*/*.mp4")).unlink()
    loose = ["--set", "max_missing_share=1", "--set", "max_skip_share=1"]
    _, entries = checked(capsys, world / "world.toml", *loose)
    assert main(["build", str(world / "world.toml"), "--out", str(world / "c"), "--workers", "0", *loose]) == 0
    manifest = json.loads((world / "c" / "manifest.json").read_text())
    for built in manifest["entries"]:
        items = entries[built["entry"]]["items"]
        assert items["items"] == built["items"]
        assert items["lost"] == {name: count for name, count in built["skipped"].items() if name in items["lost"]}
        for reason in ("missing_media", "duplicate"):
            assert items["lost"].get(reason, 0) == built["skipped"].get(reason, 0)


def test_take_counts_the_items_that_a_build_takes(world, capsys):
    shutil.rmtree(next((world / "raw/mevis/train/JPEGImages").iterdir()))
    change = ["--set", "dataset.3.take=6", "--set", "max_missing_share=1"]
    _, entries = checked(capsys, world / "world.toml", *change)
    assert main(["build", str(world / "world.toml"), "--out", str(world / "c"), "--workers", "0", *change]) == 0
    built = json.loads((world / "c" / "manifest.json").read_text())["entries"][3]
    assert entries["mevis-train"]["items"]["items"] == built["items"] == 6
    assert entries["mevis-train"]["items"]["lost"] == built["skipped"]


def test_a_root_that_does_not_exist_is_told_per_entry(tmp_path, capsys):
    recipe = write_recipe(tmp_path, converter="vidstg", root="absent/vidstg", split="val")
    code, entries = checked(capsys, recipe)
    (entry,) = entries.values()
    assert code == 1
    assert set(states(entry).values()) == {"missing"}
    assert entry["problems"] == [f"there is no folder {tmp_path}/absent/vidstg"]
    pages = [need["remedy"][0] for need in entry["needed"]]
    assert "train" not in pages[0]
    assert "val_annotations.json from https://github.com/Guaranteer/VidSTG-Dataset" in pages[0]
    assert "training-video-part*.zip from https://huggingface.co/datasets/shangxd/vidor" in pages[2]


def test_a_wrong_recipe_is_a_wrong_call(tmp_path, capsys):
    recipe = write_recipe(tmp_path, converter="vidstg", root="absent", split="training")
    assert main(["check", str(recipe)]) == 2
    assert "not one of train, val, test" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- what is not in its place


def test_renamed_moved_and_packed_things_are_put_right_by_the_printed_commands(world, capsys):
    raw = world / "raw"
    (raw / "refer/refcoco/refs(unc).p").rename(raw / "refer/refcoco/refs%28unc%29.p")
    (raw / "refer/refcoco+/instances.json").rename(raw / "refer/refcoco+/Instances (1).json")
    (raw / "refer/refcocog").rename(raw / "refer/refcocoG")
    (raw / "refer/images/mscoco/images/train2014").rename(raw / "refer/train2014")
    pack_gzip(raw / "mevis/train/mask_dict.json")
    pack_tar(raw / "mevis/train/JPEGImages")
    detailed = raw / "videorefer/VideoRefer-700K/videorefer-detailed-caption-125k.json"
    detailed.write_bytes(gzip.compress(detailed.read_bytes()))
    inner = raw / "charades_sta/inner"
    (raw / "charades_sta/Charades_v1_480").rename(inner)
    (raw / "charades_sta/Charades_v1_480").mkdir()
    inner.rename(raw / "charades_sta/Charades_v1_480/Charades_v1_480")
    part_the_videos(raw / "vidstg/vidor")
    (raw / "vidstg/annotations").rename(raw / "vidstg/vidor/VidSTG-Dataset")
    code, entries = checked(capsys, world / "world.toml")
    assert code == 1
    found = [need for entry in entries.values() for need in entry["needed"] if need["state"] != "present"]
    trajectories = [need for need in found if need["path"] == "vidor/annotation/training"]  # of too few videos, so far
    assert [need["state"] for need in trajectories] == ["incomplete"]
    assert {need["state"] for need in found if need not in trajectories} == {"misnamed"}
    assert len(found) == 14
    run_remedies(entries)
    assert checked(capsys, world / "world.toml")[0] == 0


@pytest.mark.parametrize("target", ["absent/b", "empty", "filled", "outer"])
def test_a_folder_comes_to_its_place_whatever_is_there(tmp_path, target):
    source = tmp_path / ("outer/inner" if target == "outer" else "a")
    source.mkdir(parents=True)
    (source / "1.mp4").write_bytes(b"1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "README").write_text("keep me")
    for line in move(source, tmp_path / target):
        subprocess.run(["bash", "-c", line], check=True)
    names = {path.name for path in (tmp_path / target).iterdir()}
    assert names == ({"1.mp4", "README"} if target == "filled" else {"1.mp4"})


def pack_gzip(path: Path) -> None:
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def pack_tar(folder: Path) -> None:
    with tarfile.open(f"{folder}.tar", "w") as file:
        file.add(folder, folder.name)
    shutil.rmtree(folder)


def pack_zip(folder: Path, archive: Path, inside: str) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, f"{inside}{path.relative_to(folder)}")
    shutil.rmtree(folder)


def part_the_videos(vidor: Path) -> None:
    for number, group in enumerate(sorted((vidor / "video").iterdir())):
        target = vidor / f"training-video-part{number % 2 + 1}" / "video"
        target.mkdir(parents=True, exist_ok=True)
        group.rename(target / group.name)
    (vidor / "video").rmdir()


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
@pytest.mark.parametrize("inside", ["train2014/", ""])
def test_an_archive_left_packed_is_unpacked_by_the_printed_commands(world, capsys, inside):
    refer = world / "raw/refer"
    pack_zip(refer / "images/mscoco/images/train2014", refer / "train2014.zip", inside)
    code, entries = checked(capsys, world / "world.toml")
    assert code == 1
    assert states(entries["refcocog-train"])["images/mscoco/images/train2014"] == "misnamed"
    run_remedies(entries)
    assert checked(capsys, world / "world.toml")[0] == 0


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_a_file_is_taken_out_of_a_release_that_is_one_archive(world, capsys):
    mevis = world / "raw/mevis"
    pack_zip(mevis / "train", mevis / "MeViS_release.zip", "MeViS_release/train/")
    _, entries = checked(capsys, world / "world.toml")
    assert set(states(entries["mevis-train"]).values()) == {"misnamed"}
    run_remedies(entries)  # the two files go where they belong, the frames come out one folder too deep
    _, entries = checked(capsys, world / "world.toml")
    assert states(entries["mevis-train"])["train/JPEGImages"] == "misnamed"
    run_remedies(entries)
    assert checked(capsys, world / "world.toml")[0] == 0


def test_parts_of_a_tar_are_joined_by_the_printed_command(tmp_path):
    videos = tmp_path / "root" / "videos"
    videos.mkdir(parents=True)
    (videos / "a.mp4").write_bytes(b"\0" * 5000)
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as file:
        file.add(videos / "a.mp4", "a.mp4")
    shutil.rmtree(videos)
    data = (tmp_path / "all.tar.gz").read_bytes()
    for number, start in enumerate(range(0, len(data), 50)):
        (tmp_path / "root" / f"split.tar.gz.{number:02}").write_bytes(data[start : start + 50])
    need = Needed("videos", "videos", PAGE, "split.tar.gz.*", holds="*.mp4")
    root = tmp_path / "root"
    finding = check_findings.look_at(root, need, tree_of(root), Disk())
    assert finding.state == "misnamed"
    for line in finding.remedy:
        subprocess.run(["bash", "-c", line], check=True)
    assert check_findings.look_at(root, need, tree_of(root), Disk()).state == "present"


def test_an_archive_that_was_cut_is_corrupt(world, capsys):
    refer = world / "raw/refer"
    pack_zip(refer / "images/mscoco/images/train2014", refer / "train2014.zip", "train2014/")
    data = (refer / "train2014.zip").read_bytes()
    (refer / "train2014.zip").write_bytes(data[: len(data) // 2])
    _, entries = checked(capsys, world / "world.toml")
    (images,) = [need for need in entries["refcoco-train"]["needed"] if need["path"].startswith("images")]
    assert images["state"] == "corrupt"
    assert "train2014.zip: cut" in images["remark"]


def test_the_masks_of_another_split_are_not_taken_for_ours(world, capsys):
    (world / "raw/mevis/train/mask_dict.json").unlink()
    assert (world / "raw/mevis/valid_u/mask_dict.json").exists()
    (world / "raw/refer/refcoco/instances.json").unlink()
    assert (world / "raw/refer/refcoco+/instances.json").exists()
    _, entries = checked(capsys, world / "world.toml")
    assert states(entries["mevis-train"])["train/mask_dict.json"] == "missing"
    assert states(entries["refcoco-train"])["refcoco/instances.json"] == "missing"


@pytest.mark.parametrize("place", ["Charades-STA", "charades_sta/inner"])
def test_a_root_that_points_beside_the_release_is_told_the_right_one(world, capsys, place):
    right = world / "raw" / place
    shutil.move(world / "raw/charades_sta", world / "moved")
    right.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(world / "moved", right)
    recipe = world / "world.toml"
    code, entries = checked(capsys, recipe)
    assert code == 1
    entry = entries["charades_sta-train"]
    assert str(right) in entry["problems"][0]
    option, change = entry["remedy"][1].split(" ")
    assert checked(capsys, recipe, option, change)[0] == 0


def test_an_image_folder_of_an_option_is_looked_for_where_it_is_named(world, capsys):
    recipe = write_recipe(world, converter="refcocog", root="raw/refer", split="train")
    (world / "raw/refer/images").rename(world / "pictures")
    images = f"{world}/pictures/mscoco/images/train2014"
    code, entries = checked(capsys, recipe, "--set", f"dataset.0.options.images={images}")
    assert (code, states(entries["refcocog-train"])[images]) == (0, "present")
    words = ["--set", f"dataset.0.options.images={images}", "--set", f"dataset.0.root={world}/raw"]
    _, entries = checked(capsys, recipe, *words)
    assert f"lies in {world.resolve()}/raw/refer," in entries["refcocog-train"]["problems"][0]


def test_a_root_one_level_too_deep_is_told_the_right_one(world, capsys):
    words = ["--set", f"dataset.mevis.root={world}/raw/mevis/train"]
    _, entries = checked(capsys, world / "world.toml", *words)
    assert f"the release lies in {world.resolve()}/raw/mevis," in entries["mevis-train"]["problems"][0]


# --------------------------------------------------------------------------------------------- broken files

BROKEN = {
    b"": "empty",
    b" \n": "empty",
    b'[{"id": 1}, {"id"': "cut",
    b"<!DOCTYPE html><html>quota exceeded</html>": "a web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n": "Git LFS pointer",
    b"just words": "not JSON",
}


@pytest.mark.parametrize("content", BROKEN, ids=BROKEN.values())
def test_a_broken_annotation_file_is_corrupt(world, capsys, content):
    (world / "raw/mevis/train/meta_expressions.json").write_bytes(content)
    code, entries = checked(capsys, world / "world.toml")
    (need,) = [need for need in entries["mevis-train"]["needed"] if need["path"].endswith("meta_expressions.json")]
    assert code == 1
    assert need["state"] == "corrupt"
    assert BROKEN[content] in need["remark"]
    assert entries["mevis-train"]["items"] is None


def test_a_cut_pickle_is_corrupt(world, capsys):
    path = world / "raw/refer/refcoco/refs(unc).p"
    path.write_bytes(path.read_bytes()[:-40])
    _, entries = checked(capsys, world / "world.toml")
    assert states(entries["refcoco-train"])["refcoco/refs(unc).p"] == "corrupt"


def test_a_file_that_is_broken_in_its_middle_is_found_by_the_scan(world, capsys):
    path = world / "raw/mevis/train/meta_expressions.json"
    path.write_bytes(path.read_bytes().replace(b": {", b": }", 1))
    _, entries = checked(capsys, world / "world.toml")
    assert "meta_expressions.json" in entries["mevis-train"]["problems"][0]
    assert not entries["mevis-train"]["ready"]


def test_a_link_that_leads_nowhere_is_missing(world, capsys):
    path = world / "raw/mevis/train/mask_dict.json"
    path.unlink()
    path.symlink_to(world / "gone.json")
    _, entries = checked(capsys, world / "world.toml")
    (need,) = [need for need in entries["mevis-train"]["needed"] if need["path"].endswith("mask_dict.json")]
    assert (need["state"], need["remark"]) == ("missing", "a link that leads nowhere")


def test_a_link_in_a_circle_is_looked_past(world, capsys):
    (world / "raw" / "vidstg" / "loop").symlink_to("loop")
    (world / "raw" / "vidstg" / "vidor" / "video").rename(world / "raw" / "vidstg" / "videos")
    _, entries = checked(capsys, world / "world.toml")
    assert states(entries["vidstg-train"])["vidor/video"] in ("missing", "misnamed")


def test_an_unfinished_download_and_a_redistribution_are_named(world, capsys):
    folder = world / "raw/videorefer/VideoRefer-700K"
    qa = folder / "videorefer-qa-75k.json"
    qa.rename(f"{qa}.part")
    short = folder / "videorefer-short-caption-500k.json"
    short.rename(folder / "videorefer-short-caption-500k-wo-masks.json")
    _, entries = checked(capsys, world / "world.toml")
    remarks = {need["path"].rpartition("/")[2]: need["remark"] for need in entries["videorefer-train"]["needed"]}
    assert "has not ended" in remarks["videorefer-qa-75k.json"]
    assert "masks lie in files of their own" in remarks["videorefer-short-caption-500k.json"]


def test_a_published_checksum_decides_about_a_file_of_full_size(tmp_path):
    data = b"[" + b"1" * 1000 + b"]"
    (tmp_path / "a.json").write_bytes(data)
    told: list[int] = []

    def finding(checksum: str, least: int = 100) -> check_findings.Finding:
        need = Needed("a.json", "items", PAGE, "a.zip", checksum=checksum, least_bytes=least)
        return check_findings.look_at(
            tmp_path, need, tree_of(tmp_path), Disk(lambda path, done, total: told.append(done))
        )

    right = hashlib.sha256(data).hexdigest()
    assert finding(f"sha256:{right}").state == "present"
    assert "as published" in finding(f"sha256:{right}").remark
    assert finding(f"md5:{hashlib.md5(data).hexdigest()}").state == "present"
    wrong = finding(f"sha256:{'0' * 64}")
    assert wrong.state == "corrupt"
    assert right in wrong.remark
    assert len(told) == 4
    assert finding(f"sha256:{'0' * 64}", least=2000).state == "present"  # an excerpt, as in a test
    assert len(told) == 4


# --------------------------------------------------------------------------------------- counts and shares


def folder_of(tmp_path: Path, count: int, size: int = 1) -> Needed:
    (tmp_path / "v").mkdir()
    for number in range(count):
        (tmp_path / "v" / f"{number}.mp4").write_bytes(b"x" * size)
    return Needed("v", "videos", PAGE, "v.zip", holds="*.mp4", media=True, count=10)


def test_a_folder_with_fewer_files_than_published_is_incomplete_unless_the_recipe_allows_it(tmp_path):
    need = folder_of(tmp_path, 8)
    tree = tree_of(tmp_path)
    assert check_findings.look_at(tmp_path, need, tree, Disk()).state == "incomplete"
    assert check_findings.look_at(tmp_path, need, tree, Disk(), allowed=0.2).state == "present"
    assert check_findings.look_at(tmp_path, need, tree, Disk(), allowed=0.19).state == "incomplete"


def test_a_folder_of_empty_files_is_corrupt(tmp_path):
    finding = check_findings.look_at(tmp_path, folder_of(tmp_path, 10, size=0), tree_of(tmp_path), Disk())
    assert finding.state == "corrupt"
    assert "10 of 10 looked at are empty" in finding.remark


def test_the_share_of_items_without_media_is_held_against_the_recipe(world, capsys):
    (world / "raw/charades_sta/charades_sta_train.txt").write_text(
        "here 0.0 1.0##a person sits\nhere 0.5 1.5##a person stands\ngone 0.0 1.0##a person eats\nno times at all\n"
    )
    for video in (world / "raw/charades_sta/Charades_v1_480").iterdir():
        video.rename(video.with_name("here.mp4"))
    recipe = write_recipe(world, converter="charades_sta", root="raw/charades_sta", split="train")
    code, entries = checked(capsys, recipe, "--set", "max_skip_share=0.25")
    (entry,) = entries.values()
    assert code == 1
    assert entry["items"]["items"] == 4
    assert entry["items"]["lost"] == {"missing_media": 1, "malformed": 1}
    assert "max_missing_share=0.25" in entry["problems"][0]
    assert checked(capsys, recipe, "--set", "max_skip_share=0.25", "--set", "max_missing_share=0.25")[0] == 0
    _, entries = checked(capsys, recipe, "--set", "max_missing_share=0.25")
    assert "--set max_skip_share=0.25" in entries["charades_sta-train"]["problems"][0]


def test_a_video_without_a_byte_is_bad_media(world, capsys):
    for video in (world / "raw/charades_sta/Charades_v1_480").iterdir():
        video.write_bytes(b"")
    code, entries = checked(capsys, world / "world.toml")
    entry = entries["charades_sta-train"]
    assert code == 1
    assert entry["items"]["lost"] == {"bad_media": entry["items"]["items"]}
    assert states(entry)["Charades_v1_480"] == "corrupt"


def test_absent_trajectories_count_as_a_build_counts_them(world, capsys):
    vid = json.loads((world / "raw/vidstg/annotations/train_annotations.json").read_text())[0]["vid"]
    next((world / "raw/vidstg/vidor/annotation/training").glob(f"*/{vid}.json")).unlink()
    code, entries = checked(capsys, world / "world.toml")
    assert code == 1
    assert entries["vidstg-train"]["items"]["lost"]["missing_annotation"] > 0


def test_items_are_looked_at_unasked_only_where_that_is_quick(world, capsys, monkeypatch):
    recipe = write_recipe(world, converter="mevis", root="raw/mevis", split="train")
    monkeypatch.setattr(check, "QUICK_BYTES", 10)
    code, entries = checked(capsys, recipe)
    assert (code, entries["mevis-train"]["items"]) == (1, None)  # by the count of folders
    assert checked(capsys, recipe, "--items")[0] == 0
    monkeypatch.undo()
    assert checked(capsys, recipe, "--no-items")[1]["mevis-train"]["items"] is None


PIECES = '''
from converters.base import Converter, FrameFolder, Item, RawClip

class Pieces(Converter):
    """Says of its clips first what is asked about them, then which frames they have."""
    name, title, citation, tasks, splits = "pieces", "Pieces", "none", ("global_qa",), ("train",)

    def scan(self):
        yield from (RawClip(clip, (Item(self.key(clip), clip),), {"asked": True}) for clip in "abcd")
        yield from (RawClip(clip, (), {"frames": ["1.jpg", "2.jpg"]}) for clip in "ab")
        yield RawClip("c", (), {"frames": []})

    def media(self, raw):
        assert raw.shared["asked"]
        return FrameFolder("frames", raw.id, tuple(raw.shared["frames"]))

    def facts(self, raw, item, clip, table):
        raise AssertionError("a check converts nothing")
'''


def test_what_a_clips_items_share_may_come_in_pieces(tmp_path, capsys, monkeypatch):
    (tmp_path / "pieces_check.py").write_text(PIECES)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg"):
        (tmp_path / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "frames" / name).write_bytes(b"x")
    recipe = write_recipe(tmp_path, converter="pieces_check:Pieces", root=".", split="train")
    _, entries = checked(capsys, recipe)
    items = entries["pieces-train"]["items"]
    assert (items["items"], items["with_media"]) == (4, 1)
    assert items["lost"] == {"missing_media": 2, "malformed": 1}  # b lacks a frame, c has none; d never says


LATER = """
from converters.base import Converter, Item, RawClip, VideoFile
from converters.release import Needed

class Later(Converter):
    name, title, citation, tasks, splits = "later", "", "", ("temporal_grounding",), ("train",)

    def scan(self):
        for clip in "abc":
            yield RawClip(clip, (Item(self.key(clip), clip),))
        yield RawClip("a", (), {"masks": "a.json"})
        yield RawClip("b", (), {"masks": None})

    def release(self):
        return (Needed(path="masks", what="masks", page="", holds="*.json", per_clip="masks"),)

    def media(self, raw):
        return VideoFile("videos", raw.id + ".mp4")

    def facts(self, raw, item, clip, table):
        raise NotImplementedError
"""


def test_a_file_of_a_clip_may_be_named_after_its_items_and_need_not_be(tmp_path, capsys, monkeypatch):
    (tmp_path / "later_check.py").write_text(LATER)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("videos/a.mp4", "videos/b.mp4", "videos/c.mp4", "masks/a.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    recipe = write_recipe(tmp_path, converter="later_check:Later", root=".", split="train")
    _, entries = checked(capsys, recipe, "--items")
    assert entries["later-train"]["items"]["lost"] == {"missing_annotation": 1}  # b says that it has none


KITCHEN = """
from converters.base import Converter, Item, RawClip, VideoFile

class Kitchen(Converter):
    name, title, citation, tasks, splits = "kitchen", "", "", ("temporal_grounding",), ("train",)

    def scan(self):
        for event in self.files.elements("events.json"):
            yield RawClip(event["clip"], (Item(self.key(event["id"]), event),))

    def media(self, raw):
        return VideoFile("videos", raw.id)

    def facts(self, raw, item, clip, table):
        raise NotImplementedError
"""


def test_a_third_partys_converter_is_scanned(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_kitchen_check.py").write_text(KITCHEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "kitchen/videos").mkdir(parents=True)
    (tmp_path / "kitchen/videos/a.mp4").write_bytes(b"x")
    events = [{"id": number, "clip": f"{name}.mp4"} for number, name in enumerate("aab")]
    (tmp_path / "kitchen/events.json").write_text(json.dumps(events))
    recipe = write_recipe(tmp_path, converter="my_kitchen_check:Kitchen", root="kitchen", split="train")
    code, entries = checked(capsys, recipe)
    assert code == 1
    assert entries["kitchen-train"]["items"]["lost"] == {"missing_media": 1}
    assert entries["kitchen-train"]["needed"] == []


# ---------------------------------------------------------------------------------------------- for people


def test_the_page_says_everything_once_and_machines_get_json_alone(world, capsys):
    shutil.rmtree(world / "raw/refer/images")
    assert main(["check", str(world / "world.toml")]) == 1
    said = capsys.readouterr()
    assert said.out.count("train2014.zip from https://cocodataset.org") == 1
    assert said.out.count("as above") == 2
    assert "4 of 7 entries are ready to be built" in said.out
    assert "looking at releases" in said.err
    main(["check", str(world / "world.toml"), "--json"])
    assert capsys.readouterr().out.count("\n") == 1
