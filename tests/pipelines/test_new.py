"""``multigrain new``: what it writes passes its own tests and builds at once, and it never writes over anything."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from converters.table import CONVERTERS
from pipelines.cli import main
from pipelines.new import CHECKOUT, SCAFFOLD, TASKS, bundled_scaffold, own_scaffold, write
from shards.manifest import read_manifest
from shards.reader import Corpus
from shards.skips import REASONS
from shards.toml_table import RecipeError

HERE = Path(__file__).parents[2]


def python(*words: str, folder: Path, path: Path | str = HERE) -> str:
    """What the command printed; it must end well."""
    env = os.environ | {"PYTHONPATH": f".:{path}", "MULTIGRAIN_EXAMPLES": "2"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_a_scaffold_for_masks_for_times_for_descriptions_and_for_questions():
    assert TASKS == ("global_qa", "referring_description", "referring_segmentation", "temporal_grounding")
    for task in TASKS:
        assert len((SCAFFOLD / f"{task}.py").read_text().splitlines()) < 90
        assert len((SCAFFOLD / f"{task}_world.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("task", TASKS)
def test_a_scaffold_passes_its_own_tests_and_builds_as_it_is(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = f"my_{task}"  # a module is imported once in a process
    assert main(["new", name, "--task", task]) == 0
    assert f"next:\n  cd {name}\n  python -m pytest" in capsys.readouterr().out
    folder = tmp_path / name
    assert "23 passed" in python("-m", "pytest", "-q", f"--basetemp={tmp_path / 'tmp'}", folder=folder)
    monkeypatch.syspath_prepend(str(folder))
    importlib.import_module(f"{name}_world").write(folder / "raw", clips=2, seed=0)
    assert main(["build", f"{name}/{name}.toml", "--out", "corpus", "--workers", "0"]) == 0
    samples = [sample for record, _ in Corpus.open(tmp_path / "corpus") for sample in record.samples]
    assert len(samples) > 3
    assert {sample.task for sample in samples} == {task}
    (entry,) = read_manifest(tmp_path / "corpus")["entries"]
    assert entry["items"] == len(samples) + sum(entry["skipped"].values())
    assert "unexpected" not in (tmp_path / "corpus" / "skipped.jsonl").read_text()
    assert main(["show", "corpus", f"{name}/train/0"]) == 0


def test_nothing_of_the_pattern_shows_in_what_is_written(tmp_path):
    for task in TASKS:
        plan = own_scaffold("my_kitchen", task, tmp_path / task)
        for path, text in plan.files.items():
            assert "example" not in text.lower(), path
            assert "todo" not in text.lower(), path
        assert "class MyKitchen(Converter)" in plan.files["my_kitchen.py"]
        assert 'converter = "my_kitchen:MyKitchen"' in plan.files["my_kitchen.toml"]


def test_the_worlds_of_the_scaffolds_have_faults_of_the_vocabulary(tmp_path):
    for task in TASKS:
        plan = own_scaffold("my_kitchen", task, tmp_path / task)
        skipped = json.loads(plan.files["golden/my_kitchen-train.json"])["skipped"]
        assert {line.split(": ")[1] for line in skipped} <= set(REASONS)
        assert len(skipped) >= 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Kitchen"], "'Kitchen' is not 2 to 30 of a-z, 0-9 and _"),
        (["../kitchen"], "is not 2 to 30"),
        (["class"], "is not 2 to 30"),
        (["mevis"], "mevis is a bundled converter already"),
        (["json"], "a Python module json is installed already"),
        (["raw_clip"], "would make a class RawClip, which means something else here"),
        (["kitchen", "--bundled", "--out", "there"], "--bundled writes into the checkout: leave out --out"),
    ],
)
def test_a_name_that_cannot_be_is_a_wrong_call(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitchen").mkdir()
    (tmp_path / "kitchen" / "mine.txt").write_text("mine")
    assert main(["new", "kitchen"]) == 2
    assert "kitchen is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["kitchen", "mine.txt"]
    assert main(["new", "kitchen", "--out", "other"]) == 0
    assert main(["new", "kitchen", "--out", "other"]) == 2
    plan = own_scaffold("kitchen", "global_qa", tmp_path / "third")
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "kitchen.toml").write_text("mine")
    with pytest.raises(RecipeError, match="kitchen.toml is there already"):
        write(plan)
    assert [path.name for path in (tmp_path / "third").iterdir()] == ["kitchen.toml"]


@pytest.fixture
def checkout(tmp_path):
    """A copy of this one, as far as a converter needs it."""
    skip = shutil.ignore_patterns("__pycache__", "golden", ".hypothesis")
    for package in ("shards", "converters", "templates", "pipelines", "docs"):
        shutil.copytree(HERE / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE / "tests" / "converters", tmp_path / "tests" / "converters", ignore=skip)
    shutil.copyfile(HERE / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_a_bundled_scaffold_is_in_the_table_and_keeps_the_laws(checkout):
    said = python("-m", "pipelines.cli", "new", "kitchen", "--bundled", folder=checkout, path=checkout)
    assert f"wrote {checkout / 'converters/kitchen.py'}" in said
    tried = python("-m", "pytest", "-q", "tests/converters/test_kitchen.py", folder=checkout, path=checkout)
    assert "23 passed" in tried
    listed = json.loads(python("-m", "pipelines.cli", "list", "--json", folder=checkout, path=checkout))
    assert list(listed["converters"]) == [*CONVERTERS, "kitchen"]
    assert "## `kitchen`" in (checkout / "docs" / "datasets.md").read_text()
    python("-m", "converters.world.kitchen", "raw/kitchen", folder=checkout, path=checkout)
    assert (checkout / "raw" / "kitchen" / "train.json").is_file()


def test_a_bundled_scaffold_needs_a_checkout(tmp_path):
    with pytest.raises(RecipeError, match="is no checkout of multigrain"):
        bundled_scaffold("kitchen", "global_qa", tmp_path)
    assert CHECKOUT == HERE


@pytest.mark.parametrize(("name", "other"), [("ParkingLot", "parking_lot"), ("MeViS-2", "me_vi_s_2"), ("2cars", "")])
def test_a_name_that_cannot_be_is_answered_with_one_that_can(name, other, capsys):
    assert main(["new", name]) == 2
    said = capsys.readouterr().err
    assert "beginning with a letter" in said
    assert said.rstrip().endswith(f"; try {other}" if other else "a letter")
