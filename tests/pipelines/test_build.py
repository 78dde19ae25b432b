"""The build: the same bytes whatever the workers and the kills, and never a half-finished corpus."""

import filecmp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from converters.convert import convert_clip
from converters.world import write_world
from pipelines.build import BuildFailed, build
from pipelines.demo import RECIPE
from pipelines.place import WORK, lock
from pipelines.recipe import load_recipe
from shards.manifest import read_manifest, read_skipped
from shards.reader import Corpus
from shards.toml_table import RecipeError
from shards.verify import verify

HERE = Path(__file__).parents[2]
FOR_PEOPLE = ["report.html", "build.json"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a raw world and the demo's recipe for it."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder / "raw", clips=5, seed=3)
    (folder / "five.toml").write_text(RECIPE.replace("max_skip_share = 0.01", "max_skip_share = 0.0"))
    return folder


@pytest.fixture(scope="module")
def built(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "corpus"
    return build(load_recipe(world / "five.toml"), out, workers=0)


def assert_same_corpus(one: Path, other: Path) -> None:
    found = filecmp.dircmp(one, other, ignore=FOR_PEOPLE)
    assert not found.left_only
    assert not found.right_only
    names = [path.relative_to(one) for path in one.rglob("*") if path.is_file() and path.name not in FOR_PEOPLE]
    assert len(names) > 5
    differing = [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]
    assert not differing


def command(world: Path, out: Path, *more: str) -> list[str]:
    recipe = str(world / "five.toml")
    return [sys.executable, "-m", "pipelines.cli", "build", recipe, "--out", str(out), *more]


def test_a_build_verifies_and_accounts_for_every_item(built):
    assert verify(built.corpus).faults == ()
    manifest = read_manifest(built.corpus)
    lines = read_skipped(built.corpus)
    for entry in manifest["entries"]:
        assert entry["items"] == entry["samples"] + sum(entry["skipped"].values())
        assert sum(entry["skipped"].values()) == sum(line["entry"] == entry["entry"] for line in lines)
    assert manifest["totals"]["samples"] == Corpus.open(built.corpus).samples.num_rows > 100
    assert {line["reason"] for line in lines} == {"duplicate"}


def test_nothing_of_this_machine_is_in_the_manifest(built, world):
    text = (built.corpus / "manifest.json").read_text()
    assert str(world) not in text
    assert "/" + str(HERE).strip("/") not in text


def test_a_second_build_into_the_same_place_gives_the_same_bytes(built, world, tmp_path):
    recipe = load_recipe(world / "five.toml")
    build(recipe, tmp_path / "corpus", workers=0)
    build(recipe, tmp_path / "corpus", workers=0)
    assert_same_corpus(built.corpus, tmp_path / "corpus")
    assert not (tmp_path / "corpus" / WORK).exists()


def test_the_size_of_shards_changes_their_number_only(built, world, tmp_path):
    recipe = load_recipe(world / "five.toml", ["shard_size=20 KB"])
    small = build(recipe, tmp_path / "corpus", workers=0)
    assert len(small.manifest["shards"]) > len(built.manifest["shards"])
    assert verify(small.corpus).faults == ()
    keys = [Corpus.open(path).samples.column("sample_key").to_pylist() for path in (built.corpus, small.corpus)]
    assert sorted(keys[0]) == sorted(keys[1])


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_builds_on_ray_equal_the_build_in_process(built, world, tmp_path, workers):
    subprocess.run(command(world, tmp_path / "corpus", "--workers", workers), cwd=HERE, check=True, capture_output=True)
    assert_same_corpus(built.corpus, tmp_path / "corpus")


@pytest.mark.parametrize("after", ["plan/*.spool", "chunks/*.json", "shards/*.json"])
def test_a_build_that_was_killed_and_run_again_equals_a_clean_one(built, world, tmp_path, after):
    out = tmp_path / "corpus"
    process = subprocess.Popen(
        command(world, out, "--workers", "0", "--set", "shard_size=1 MiB"),
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list((out / WORK).glob(after)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists(), "killed too late to show anything"
    subprocess.run(command(world, out, "--workers", "0"), cwd=HERE, check=True, capture_output=True)
    assert_same_corpus(built.corpus, out)


def test_finished_chunks_are_not_converted_again(world, tmp_path, monkeypatch):
    recipe = load_recipe(world / "five.toml")
    out = tmp_path / "corpus"

    def stop(*_: object) -> None:
        raise RuntimeError("stopped before the shards")

    monkeypatch.setattr("pipelines.build._write_shards", stop)
    with pytest.raises(RuntimeError):
        build(recipe, out, workers=0)
    monkeypatch.undo()
    monkeypatch.setattr("pipelines.chunk.convert_clip", stop)
    assert build(recipe, out, workers=0).manifest["totals"]["samples"] > 100


def test_a_chunk_whose_media_changed_is_converted_again(world, tmp_path, monkeypatch):
    recipe = load_recipe(world / "five.toml")
    out = tmp_path / "corpus"
    monkeypatch.setattr("pipelines.build._write_shards", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(recipe, out, workers=0)
    monkeypatch.undo()
    for video in (world / "raw/charades_sta/Charades_v1_480").glob("*.mp4"):
        os.utime(video, ns=(1, 1))
    converted = []

    def spy(converter, raw, entry):
        converted.append(entry)
        return convert_clip(converter, raw, entry)

    monkeypatch.setattr("pipelines.chunk.convert_clip", spy)
    build(recipe, out, workers=0)
    assert set(converted) == {"charades_sta-train"}


def test_a_removed_dataset_disappears_and_the_other_shards_stay(built, world, tmp_path):
    out = tmp_path / "corpus"
    recipe = load_recipe(world / "five.toml")
    build(recipe, out, workers=0)
    before = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    text = (world / "five.toml").read_text()
    (world / "four.toml").write_text(text.partition('\n[[dataset]]\nconverter = "vidstg"')[0])
    build(load_recipe(world / "four.toml"), out, workers=0)
    names = {path.name for path in (out / "shards").iterdir()}
    assert names == {name for name in before if not name.startswith("vidstg")}
    assert verify(out).faults == ()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    truth = write_world(folder / "raw", clips=4, seed=1, faults=True)
    (folder / "five.toml").write_text(RECIPE)
    return folder, truth


def test_more_skips_than_allowed_fail_the_build_and_leave_no_manifest(faulty, tmp_path):
    folder, _ = faulty
    with pytest.raises(BuildFailed, match="max_skip_share is 0.01") as failure:
        build(load_recipe(folder / "five.toml"), tmp_path / "corpus", workers=0)
    assert not (tmp_path / "corpus" / "manifest.json").exists()
    assert failure.value.skipped_file.read_text().count("\n") > 10


def test_missing_media_has_its_own_share(faulty, tmp_path):
    folder, _ = faulty
    recipe = load_recipe(folder / "five.toml", ["max_skip_share=1.0"])
    with pytest.raises(BuildFailed, match=r"the media of \d+ of \d+ items is missing"):
        build(recipe, tmp_path / "corpus", workers=0)


def test_a_failed_build_leaves_the_last_good_corpus_as_it_was(faulty, tmp_path):
    folder, _ = faulty
    out = tmp_path / "corpus"
    allowed = ["max_skip_share=1.0", "max_missing_share=1.0"]
    build(load_recipe(folder / "five.toml", allowed), out, workers=0)
    with pytest.raises(BuildFailed):
        build(load_recipe(folder / "five.toml"), out, workers=0)
    assert verify(out).faults == ()


def test_a_folder_with_other_things_is_refused(world, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RecipeError, match="is not empty and holds no corpus"):
        build(load_recipe(world / "five.toml"), tmp_path, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_build_at_the_same_time_is_refused(world, tmp_path):
    out = tmp_path / "corpus"
    out.mkdir()
    with lock(out), pytest.raises(RecipeError, match="another build is at work"):
        build(load_recipe(world / "five.toml"), out, workers=0)
    build(load_recipe(world / "five.toml"), out, workers=0)
