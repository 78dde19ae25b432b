"""Every shard of a whole corpus opens in tar, webdataset and Hugging Face datasets, whatever its media."""

import subprocess

import pytest

from converters.world import write_world
from pipelines.build import build
from pipelines.demo import RECIPE
from pipelines.recipe import load_recipe
from shards.reader import Corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    write_world(folder / "raw", clips=4, seed=2)
    (folder / "five.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "five.toml", ["max_skip_share=0.5"])
    return Corpus.open(build(recipe, folder / "corpus", workers=0).corpus)


@pytest.fixture(scope="module")
def shards(corpus):
    return sorted(str(path) for path in (corpus.root / "shards").iterdir())


def test_videorefer_has_videos_and_frame_folders_in_shards_of_their_own(corpus, shards):
    rows = [row for row in corpus.records.to_pylist() if row["entry"] == "videorefer-train"]
    assert {row["kind"] for row in rows} == {"video", "frames"}
    assert len({(row["shard"], row["kind"]) for row in rows}) == len({row["shard"] for row in rows})


def test_tar_lists_two_members_per_record(corpus, shards):
    names = [
        name
        for shard in shards
        for name in subprocess.run(["tar", "tf", shard], check=True, capture_output=True, text=True).stdout.split()
    ]
    assert len(names) == 2 * len(corpus)
    assert names[::2] == [name.partition(".")[0] + ".json" for name in names[1::2]]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_opens_every_shard(corpus, shards):
    webdataset = pytest.importorskip("webdataset")
    keys = [sample["__key__"] for sample in webdataset.WebDataset(shards, shardshuffle=False)]
    assert keys == corpus.records.column("record_key").to_pylist()


def test_datasets_opens_every_shard(corpus, shards, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    keys = []
    for shard in shards:
        rows = datasets.load_dataset("webdataset", data_files=shard, split="train", cache_dir=str(tmp_path))
        keys += rows["__key__"]
    assert list(keys) == corpus.records.column("record_key").to_pylist()
