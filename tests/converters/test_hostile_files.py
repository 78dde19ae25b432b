"""Releases made to harm: links, bytes of another encoding, rows that contradict each other, files that change.

The whole way is walked, from the recipe to verify; the fuzzed parsers are in ``test_raw_files`` and
``test_json_stream``.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from converters.raw_files import DatasetError
from converters.world import write_world
from pipelines import build as building
from pipelines.build import BuildFailed, build
from pipelines.recipe import load_recipe
from shards.frame_zip import MediaChanged
from shards.manifest import read_skipped
from shards.reader import Corpus
from shards.verify import verify


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root, clips=3, seed=6, datasets=["refer", "mevis", "charades_sta", "videorefer", "vidstg"])
    return root


@pytest.fixture
def release(world, tmp_path):
    """A function: the name of a release → a copy of it to spoil."""
    return lambda name: Path(shutil.copytree(world / name, tmp_path / name))


def recipe_of(root: Path, converter: str) -> Path:
    path = root.parent / "recipe.toml"
    path.write_text(
        "[corpus]\nmax_skip_share = 1.0\nmax_missing_share = 1.0\n"
        f"[[dataset]]\nconverter = '{converter}'\nroot = '{root}'\nsplit = 'train'\n"
    )
    return path


def built(root: Path, converter: str):
    """({key: sample}, {key: reason}) of a corpus that verifies."""
    corpus = build(load_recipe(recipe_of(root, converter)), root.parent / "corpus", workers=0).corpus
    assert verify(corpus).faults == ()
    samples = {sample.key: sample for record, _ in Corpus.open(corpus) for sample in record.samples}
    return samples, {line["key"]: line["reason"] for line in read_skipped(corpus)}


def move_out(path: Path, root: Path) -> None:
    """Move the file or folder out of the release and leave a link."""
    away = root.parent / "outside" / path.name
    away.parent.mkdir(exist_ok=True)
    path.symlink_to(path.rename(away))


@pytest.mark.parametrize(
    ("name", "converter", "pattern"),
    [
        ("charades_sta", "charades_sta", "Charades_v1_480/*.mp4"),
        ("mevis", "mevis", "train/JPEGImages/*"),
        ("mevis", "mevis", "train/JPEGImages/*/*.jpg"),
        ("videorefer", "videorefer", "VideoRefer-700K/videos/*"),
        ("vidstg", "vidstg", "vidor/annotation/training/*/*.json"),
    ],
)
def test_media_that_is_a_link_out_of_the_root_is_unsafe_and_only_that(release, name, converter, pattern):
    root = release(name)
    before, _ = built(root, converter)
    move_out(sorted(root.glob(pattern))[-1], root)
    after, skipped = built(root, converter)
    lost = set(before) - set(after)
    assert lost
    assert {skipped[key] for key in lost} == {"unsafe_path"}
    assert all(after[key] == before[key] for key in after)


def test_a_layout_folder_that_the_user_links_is_read(release):
    root = release("charades_sta")
    before, _ = built(root, "charades_sta")
    folder = root / "Charades_v1_480"
    folder.symlink_to(folder.rename(root.parent / "videos-on-another-disk"))
    assert built(root, "charades_sta")[0] == before


def test_an_expression_in_another_encoding_is_one_skip(release):
    root = release("mevis")
    path = root / "train" / "meta_expressions.json"
    before, _ = built(root, "mevis")
    text = path.read_bytes()
    at = text.index(b'"exp": "') + len(b'"exp": "')
    path.write_bytes(text[:at] + b"\xe9t\xe9 " + text[at:])
    after, skipped = built(root, "mevis")
    (lost,) = set(before) - set(after)
    assert skipped == {lost: "malformed"}


@pytest.mark.parametrize("depth", [900, 985, 990])
def test_an_item_that_nests_deep_is_no_crash(release, depth):
    root = release("mevis")
    path = root / "train" / "meta_expressions.json"
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"exp": "', b'"deep": %s%s, "exp": "' % (b"[" * depth, b"]" * depth), 1))
    try:
        samples, _ = built(root, "mevis")
    except DatasetError as error:  # too deep to read at all
        assert "meta_expressions.json" in str(error)  # noqa: PT017
    else:
        assert samples


@pytest.mark.parametrize("table", ["images", "annotations"])
def test_rows_that_contradict_each_other_are_malformed_and_repeated_ones_are_fine(release, table):
    root = release("refer")
    path = root / "refcoco" / "instances.json"
    before, _ = built(root, "refcoco")
    instances = json.loads(path.read_bytes())
    used = {sample.source.id for sample in before.values()}
    assert used
    path.write_text(json.dumps(instances | {table: instances[table] * 2}))
    assert built(root, "refcoco")[0] == before
    other = {"images": {"width": 7}, "annotations": {"segmentation": [[0, 0, 4, 0, 4, 4]]}}[table]
    path.write_text(json.dumps(instances | {table: instances[table] + [row | other for row in instances[table]]}))
    after, skipped = built(root, "refcoco")
    assert after == {}
    assert set(skipped.values()) == {"malformed"}


@pytest.mark.parametrize("spoil", ["a link out", "another size"])
def test_media_that_is_put_right_after_a_failed_build_is_looked_at_again(release, spoil):
    root = release("refer")
    whole, _ = built(root, "refcoco")
    shutil.rmtree(root.parent / "corpus")
    stills = sorted(root.glob("images/mscoco/images/train2014/*.jpg"))
    data = [path.read_bytes() for path in stills]
    for path in stills:
        if spoil == "a link out":
            move_out(path, root)
        else:
            Image.new("RGB", (8, 8)).save(path)
    recipe = load_recipe(recipe_of(root, "refcoco"), ["max_skip_share=0.0"])
    with pytest.raises(BuildFailed):
        build(recipe, root.parent / "corpus", workers=0)
    for path, content in zip(stills, data, strict=True):
        path.unlink()
        path.write_bytes(content)
    assert built(root, "refcoco")[0] == whole


@pytest.mark.parametrize(("name", "converter"), [("charades_sta", "charades_sta"), ("mevis", "mevis")])
def test_media_that_changes_between_probe_and_copy_stops_the_build(release, monkeypatch, name, converter):
    root = release(name)
    media = sorted(path for path in root.rglob("*") if path.suffix in (".mp4", ".jpg") and "train" not in path.name)
    write = building.run_shard

    def touched(task):
        for path in media:
            os.utime(path, ns=(1, 1))
        return write(task)

    monkeypatch.setattr(building, "run_shard", touched)
    with pytest.raises(MediaChanged, match="changed while the corpus was built; build again"):
        build(load_recipe(recipe_of(root, converter)), root.parent / "corpus", workers=0)
    monkeypatch.setattr(building, "run_shard", write)
    assert built(root, converter)[0]
