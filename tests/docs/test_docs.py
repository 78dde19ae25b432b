"""What the documents say is run as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from converters.world import write_world
from pipelines.cli import main
from pipelines.demo import RECIPE
from pipelines.recipe import load_recipe
from shards.manifest import read_manifest
from shards.reader import Corpus
from shards.rle import decode
from shards.skips import REASONS

HERE = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- tested: tests/docs/test_docs.py -->\n```(\w+)\n(.*?)```", re.DOTALL)


def blocks(name: str) -> list[str]:
    return [code for _, code in BLOCK.findall((HERE / "docs" / name).read_text())]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    write_world(folder / "raw", clips=2, datasets=["refer", "mevis"])
    two = RECIPE.partition('[[dataset]]\nname = "videorefer-train"')[0]
    (folder / "two.toml").write_text(two)
    assert main(["build", str(folder / "two.toml"), "--out", str(folder / "c"), "--workers", "0"]) == 0
    return folder / "c"


@pytest.mark.parametrize("entry", ["refcoco-train", "mevis-train"])
def test_the_script_of_the_format_page_draws_a_first_frame(corpus, tmp_path, entry):
    (script,) = blocks("format.md")
    assert len([line for line in script.splitlines() if line]) == 20
    (tmp_path / "draw.py").write_text(script)
    shard = next((corpus / "shards").glob(f"{entry}-*.tar"))
    picture = tmp_path / "first.png"
    # -I: neither the checkout nor anything of ours can be imported.
    subprocess.run([sys.executable, "-I", str(tmp_path / "draw.py"), str(shard), str(picture)], check=True)
    record = next(record for record, _ in Corpus.open(corpus) if record.entry == entry)
    clip = record.clip
    mask = decode(record.masklets[0].rles[0], clip.height, clip.width)
    read = Corpus.open(corpus)
    frame = read.frames(read.row(record.key), record, [0])[0]
    drawn = Image.open(picture)
    assert drawn.size == (clip.width, clip.height)
    for y, x in [(y, x) for y in range(0, clip.height, 7) for x in range(0, clip.width, 7)]:
        changed = drawn.getpixel((x, y)) != tuple(frame[y, x])
        assert changed == bool(mask[y, x]) or tuple(frame[y, x])[1:] == (0, 0)


def test_the_walk_of_the_page_is_walked_as_written(tmp_path):
    start, converter, world, laws, recipe, walk = blocks("add-a-dataset.md")
    assert len(converter.splitlines()) < 60
    env = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(HERE), "MULTIGRAIN_EXAMPLES": "2"}
    env["PYTEST_ADDOPTS"] = f"--basetemp={tmp_path / 'tmp'}"
    shell = 'set -e; python() { "$PYTHON" "$@"; }; multigrain() { python -m pipelines.cli "$@"; }\n'

    def run(commands: str, folder: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", shell + commands], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "23 passed" in run(start, tmp_path)
    folder = tmp_path / "kitchen"
    for name, text in (("kitchen.py", converter), ("kitchen_world.py", world), ("kitchen.toml", recipe)):
        (folder / name).write_text(text)
    assert run(laws, folder).count("23 passed") == 2
    golden = json.loads((folder / "golden" / "kitchen-train.json").read_text())
    assert golden["skipped"][2].startswith("kitchen/train/903: missing_media: ")
    said = run(walk.replace("PYTHONPATH=.", f"PYTHONPATH=.:{HERE}"), folder)
    assert "1 of 1 entries are ready to be built" in said
    assert (folder / "0.png").exists()
    assert (folder / "gallery" / "index.html").exists()
    entry = read_manifest(folder / "corpus")["entries"][0]
    assert entry["skipped"] == {"bad_span": 1, "malformed": 1, "missing_media": 1}
    assert entry["citation"] == "A. Cook, Kitchen Events, 2026"


def test_the_stream_of_the_readme_runs(tmp_path, monkeypatch):
    write_world(tmp_path / "raw", clips=2, datasets=["mevis", "charades_sta"])
    entries = [table for table in RECIPE.split("[[dataset]]") if "mevis" in table or "charades" in table]
    (tmp_path / "two.toml").write_text("".join(f"[[dataset]]{table}" for table in entries))
    monkeypatch.chdir(tmp_path)
    assert main(["build", "two.toml", "--out", "corpora/five", "--workers", "0"]) == 0
    readme = (HERE / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    seen: dict[str, Any] = {}
    exec(code, seen)
    assert seen["stream"].num_steps == seen["state"]["step"] or seen["state"]["epoch"] == 1
    assert seen["frames"][0].ndim == 3
    train = next(code for code in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if "[[mixture]]" in code)
    (tmp_path / "train.toml").write_text(train)
    assert main(["draws", "train.toml", "--steps", "0:1"]) == 0


def test_the_table_of_reasons_is_the_vocabulary():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (HERE / "docs/format.md").read_text(), re.MULTILINE)
    assert {name: words for name, words in rows if name in REASONS} == REASONS


def test_the_recipes_of_the_documents_are_recipes(tmp_path):
    text = (HERE / "docs/format.md").read_text()
    recipe = next(code for code in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "[[dataset]]" in code)
    (tmp_path / "raw" / "mevis").mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "doc.toml").write_text(recipe)
    assert load_recipe(tmp_path / "recipes" / "doc.toml").shard_size == 512 << 20


def test_the_bundled_recipe_is_a_recipe(tmp_path):
    for name in ("refer", "mevis", "videorefer", "charades_sta", "vidstg"):
        (tmp_path / "raw" / name).mkdir(parents=True)
    (tmp_path / "recipes" / "corpus").mkdir(parents=True)
    copy = tmp_path / "recipes" / "corpus" / "five.toml"
    copy.write_text((HERE / "recipes/corpus/five.toml").read_text())
    recipe = load_recipe(copy)
    assert [entry.converter for entry in recipe.entries][:4] == ["refcoco", "refcoco_plus", "refcocog", "mevis"]
    assert recipe.max_skip_share == 0.01


def test_the_list_of_defects_is_whole_and_names_tests_that_exist():
    page = (HERE / "docs/defects.md").read_text()
    assert re.findall(r"^\| (D\d+) \|", page, re.MULTILINE) == [f"D{number}" for number in range(1, 21)]
    written = {
        name for path in HERE.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", page + (HERE / "docs/parity.md").read_text()))
    assert len(named) > 40
    assert named - written == set()


def test_ci_runs_what_the_readme_names():
    readme, ci = (HERE / "README.md").read_text(), (HERE / ".ci/run").read_text()
    for command in ("make check", "make test"):
        assert command in readme
        assert re.search(rf"^{command}$", ci, re.MULTILINE)


def test_every_link_of_the_documents_leads_somewhere():
    for page in [*HERE.glob("*.md"), *HERE.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
