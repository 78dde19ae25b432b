"""The command line as a user meets it: exit codes, one-line errors, output for machines on stdout alone."""

import importlib.util
import json
import shutil

import pytest

from converters.world import write_world
from pipelines.cli import main
from pipelines.demo import RECIPE


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A small corpus, built through the command line."""
    folder = tmp_path_factory.mktemp("cli")
    write_world(folder / "raw", clips=2, seed=5)
    (folder / "five.toml").write_text(RECIPE)
    changes = ["--set", "max_skip_share=0.5"]
    assert main(["build", str(folder / "five.toml"), "--out", str(folder / "c"), "--workers", "0", *changes]) == 0
    return folder / "c"


def run(capsys, *words: object) -> tuple[int, str, str]:
    try:
        code = main([str(word) for word in words])
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def any_key(corpus, task: str) -> str:
    stats = json.loads((corpus / "build.json").read_text())["stats"]
    assert task in stats["tasks"]
    from shards.reader import Corpus

    samples = Corpus.open(corpus).samples.to_pylist()
    return next(row["sample_key"] for row in samples if row["task"] == task)


def test_a_build_ends_with_a_table_and_leaves_a_report(corpus, capsys):
    code, out, err = run(capsys, "build", corpus.parent / "five.toml", "--out", corpus, "--workers", "0")
    assert code == 0
    assert "holds a finished corpus, which this build replaces" in err
    assert "mevis-train" in out
    assert "report" in out
    page = (corpus / "report.html").read_text()
    assert "mevis-train" in page
    assert "<script" not in page


def test_verify_says_all_right(corpus, capsys):
    code, out, _ = run(capsys, "verify", corpus)
    assert code == 0
    assert "all right" in out
    code, out, _ = run(capsys, "verify", corpus, "--json")
    assert code == 0
    assert json.loads(out)["faults"] == []


def test_verify_finds_a_flipped_byte_and_names_the_record(corpus, tmp_path, capsys):
    shutil.copytree(corpus, tmp_path / "c")
    shard = sorted((tmp_path / "c" / "shards").iterdir())[0]
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    code, _, err = run(capsys, "verify", tmp_path / "c")
    assert code == 1
    assert shard.name in err
    assert "Traceback" not in err


def test_stats_for_machines_are_json_alone(corpus, capsys):
    code, out, _ = run(capsys, "stats", corpus, "--json")
    assert code == 0
    stats = json.loads(out)
    assert sum(stats["tasks"].values()) == stats["totals"]["samples"]
    assert run(capsys, "stats", corpus)[0] == 0


@pytest.mark.parametrize(
    "task",
    [
        "referring_segmentation",
        "referring_description",
        "referring_qa",
        "temporal_grounding",
        "spatio_temporal_grounding",
    ],
)
def test_show_prints_and_draws_a_sample_of_every_task(corpus, tmp_path, capsys, task):
    key = any_key(corpus, task)
    code, out, _ = run(capsys, "show", corpus, key, "--png", tmp_path / "sample.png")
    assert code == 0
    assert key in out
    assert "assistant" in out
    assert (tmp_path / "sample.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = run(capsys, "show", corpus, key, "--json")
    assert json.loads(out)["key"] == key


def test_show_names_near_keys_for_a_wrong_one(corpus, capsys):
    key = any_key(corpus, "temporal_grounding")
    code, _, err = run(capsys, "show", corpus, key[:-1])
    assert code == 2
    assert key in err


def test_preview_draws_samples_of_every_entry(corpus, tmp_path, capsys):
    code, out, _ = run(capsys, "preview", corpus, "--out", tmp_path / "gallery", "--samples", 14)
    assert code == 0
    page = (tmp_path / "gallery" / "index.html").read_text()
    assert str(tmp_path / "gallery" / "index.html") in out
    assert page.count("<figure") == 14 == len(list((tmp_path / "gallery" / "pictures").iterdir()))
    assert page.count('data-entry="vidstg-train"') >= 1


def test_list_names_converters_tasks_and_recipes(capsys):
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    there = json.loads(out)
    assert there["converters"]["refcocog"]["options"]["split_by"]["values"] == ["umd", "google"]
    assert there["tasks"]["referring_qa"] is True
    assert "recipes/corpus/five.toml" in there["recipes"]
    assert run(capsys, "list")[0] == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["build", "nothing.toml"], 2),
        (["build"], 2),
        (["frobnicate"], 2),
        (["verify", "nothing"], 2),
        (["show", "nothing", "key"], 2),
        (["build", "nothing.toml", "--workers", "-1"], 2),
        (["demo", "--clips", "0", "--out", "never_made"], 2),
    ],
)
def test_a_wrong_call_exits_with_2_and_one_line(capsys, words, code):
    found, out, err = run(capsys, *words)
    assert found == code
    assert out == ""
    assert err.strip()
    assert "Traceback" not in err


def test_a_folder_that_is_no_corpus_is_a_failure_with_a_remedy(tmp_path, capsys):
    code, _, err = run(capsys, "verify", tmp_path)
    assert code == 1
    assert "not a finished corpus" in err


def test_an_annotation_file_that_everything_needs_is_named(corpus, tmp_path, capsys):
    shutil.copytree(corpus.parent / "raw", tmp_path / "raw")
    (tmp_path / "five.toml").write_text(RECIPE)
    (tmp_path / "raw/mevis/train/mask_dict.json").write_text('{"0": [')
    words = ["build", tmp_path / "five.toml", "--out", tmp_path / "c", "--workers", "0"]
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "mevis/train/mask_dict.json is not JSON" in err
    (tmp_path / "raw/mevis/train/mask_dict.json").unlink()
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "mevis/train/mask_dict.json does not exist" in err
    assert "Traceback" not in err
    assert not (tmp_path / "c/manifest.json").exists()


def test_too_many_skips_end_in_a_table_of_reasons_and_exit_1(tmp_path, capsys):
    write_world(tmp_path / "raw", clips=2, seed=5, faults=True)
    (tmp_path / "five.toml").write_text(RECIPE)
    code, _, err = run(capsys, "build", tmp_path / "five.toml", "--out", tmp_path / "c", "--workers", "0")
    assert code == 1
    assert "bad_span" in err
    assert "max_skip_share is 0.01" in err
    assert not (tmp_path / "c/manifest.json").exists()


@pytest.mark.parametrize(("missing", "words"), [("av", ["--workers", "0"]), ("pycocotools", []), ("ray", [])])
def test_a_build_without_a_library_says_so_and_skips_nothing(corpus, tmp_path, capsys, monkeypatch, missing, words):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == missing else find(name, *more))
    code, _, err = run(capsys, "build", corpus.parent / "five.toml", "--out", tmp_path / "c", *words)
    assert code == 1
    assert f"{missing} not installed: in the checkout, pip install" in err
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_a_cluster_that_does_not_answer_is_named(corpus, tmp_path, capsys, monkeypatch):
    def init(**_):
        raise ConnectionError("no GCS\nand much more")

    monkeypatch.setattr("ray.init", init)
    words = ["build", corpus.parent / "five.toml", "--out", tmp_path / "c", "--address", "head:6379"]
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "no Ray cluster answers at --address head:6379 (no GCS): start one" in err


def test_help_teaches(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "a first walk" in out
    assert run(capsys, "build", "--help")[0] == 0


@pytest.mark.slow
def test_the_demo_runs_from_nothing_to_a_gallery(tmp_path, capsys):
    code, out, _ = run(capsys, "demo", "--out", tmp_path / "demo", "--clips", 2, "--workers", 0)
    assert code == 0
    assert "gallery" in out
    assert (tmp_path / "demo/gallery/index.html").exists()
    code, _, err = run(capsys, "demo", "--out", tmp_path, "--clips", 2)
    assert code == 2
    assert "not made by" in err
