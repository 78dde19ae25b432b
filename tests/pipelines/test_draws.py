"""``multigrain draws``, over a corpus that has indexes but no shards."""

import json
from pathlib import Path

import pytest

from pipelines.draws import draws, parse_steps, print_draws
from shards.index import (
    RECORDS_FILE,
    RECORDS_SCHEMA,
    SAMPLES_FILE,
    SAMPLES_SCHEMA,
    record_row,
    sample_rows,
    write_index,
)
from shards.manifest import sha256_of, write_manifest
from shards.record import FORMAT_VERSION, Clip, Record, Sample, Source
from shards.toml_table import RecipeError
from shards.writer import Placed

ENTRIES = {"mevis-train": 6, "vidstg-train": 4}
CLIP = Clip("frames", "clip", 16, 12, 5, None, None)

RECIPE = """
[model]
size = "7b"

[stream]
seed = 17
batch_size = 5
epochs = 2

[[mixture]]
corpus = "corpora/five"
entry = "mevis-train"
repeat = 2

[[mixture]]
corpus = "corpora/five"
entry = ["vidstg-train"]
"""


def record(entry: str, number: int) -> Record:
    samples = tuple(Sample(f"{entry}/train/{number}/{n}", "global_qa", Source("a.json", str(n))) for n in range(2))
    return Record(f"{entry}-{number}", entry, entry, "train", "unknown", CLIP, samples=samples)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A train recipe beside ``corpora/five``, whose shards were never written."""
    corpus = tmp_path / "corpora" / "five"
    corpus.mkdir(parents=True)
    told = [record(entry, number) for entry, samples in ENTRIES.items() for number in range(samples // 2)]
    place = Placed("", 0, 0, 0, 0, 0, 0, [])
    write_index(corpus / RECORDS_FILE, [record_row(r, "shards/gone.tar", place) for r in told], RECORDS_SCHEMA)
    write_index(corpus / SAMPLES_FILE, [row for r in told for row in sample_rows(r)], SAMPLES_SCHEMA)
    files = {name: sha256_of(corpus / name) for name in (RECORDS_FILE, SAMPLES_FILE)}
    manifest = {"format": FORMAT_VERSION, "name": "five", "entries": [], "shards": [], "totals": {}, "files": files}
    write_manifest(corpus, manifest)
    return written(tmp_path, RECIPE)


def written(folder: Path, text: str) -> Path:
    path = folder / "train.toml"
    path.write_text(text)
    return path


def test_draws_tell_what_the_stream_will_deliver(recipe):
    found = list(draws(recipe))
    assert [draw["step"] for draw in found] == [0] * 5 + [1] * 5 + [2] * 5 + [3]
    assert found[0].keys() == {"epoch", "step", "entry", "record_key", "sample_keys", "repetition"}
    for draw in found:
        (key,) = draw["sample_keys"]
        entry, _, number, _ = key.split("/")
        assert (draw["entry"], draw["record_key"]) == (entry, f"{entry}-{number}")
    times = [draw["repetition"] for draw in found if draw["entry"] == "mevis-train"]
    assert sorted(times) == [0] * 6 + [1] * 6


def test_a_later_epoch_has_later_repetitions_in_another_order(recipe):
    first, second = (list(draws(recipe, epoch=epoch)) for epoch in (0, 1))
    assert {draw["epoch"] for draw in second} == {1}
    times = [draw["repetition"] for draw in second if draw["entry"] == "mevis-train"]
    assert sorted(times) == [2] * 6 + [3] * 6
    assert [draw["sample_keys"] for draw in first] != [draw["sample_keys"] for draw in second]


def test_steps_and_ranks_take_a_part_of_the_same_plan(recipe):
    everything = list(draws(recipe))
    assert list(draws(recipe, steps="1:3")) == everything[5:15]
    for step in range(4):
        parts = [list(draws(recipe, steps=f"{step}:{step + 1}", rank=rank, world=3)) for rank in range(3)]
        assert [draw for part in parts for draw in part] == [d for d in everything if d["step"] == step]


def test_lines_for_people_and_for_machines(recipe, capsys):
    assert print_draws(recipe, steps=":2", as_json=True) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == list(draws(recipe, steps=":2"))
    assert print_draws(recipe, steps=":2") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    expected = [
        [str(d["step"]), d["record_key"], *d["sample_keys"], str(d["repetition"])] for d in draws(recipe, steps=":2")
    ]
    assert lines == expected


@pytest.mark.parametrize(
    ("text", "steps"), [(None, (0, None)), (":", (0, None)), ("3:", (3, None)), (":7", (0, 7)), ("2:5", (2, 5))]
)
def test_a_range_of_steps_may_be_open(text, steps):
    assert parse_steps(text) == steps


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"steps": "3"}, "write it as A:B"),
        ({"steps": "-1:3"}, "write it as A:B"),
        ({"steps": "3:3"}, "holds no step"),
        ({"steps": "4:"}, "an epoch has 4 steps"),
        ({"epoch": -1}, "--epoch -1"),
        ({"rank": 2, "world": 2}, "--rank 2 --world 2"),
        ({"world": 0}, "--rank 0 --world 0"),
    ],
)
def test_a_wrong_call_is_refused_before_the_first_line(recipe, call, words):
    with pytest.raises(RecipeError, match=words):
        draws(recipe, **call)


def test_a_mixture_by_weight_has_one_epoch(recipe):
    text = RECIPE.replace("epochs = 2", "steps = 30").replace("repeat = 2", "weight = 0.8")
    written(recipe.parent, text + "weight = 0.2\n")
    found = [draw["entry"] for draw in draws(recipe)]
    assert found.count("mevis-train") == 120
    assert found.count("vidstg-train") == 30
    with pytest.raises(RecipeError, match="--epoch 1: .* one epoch"):
        draws(recipe, epoch=1)


def test_a_source_that_selects_nothing_is_a_wrong_recipe(recipe):
    written(recipe.parent, RECIPE.replace('["vidstg-train"]', '"mevis"'))
    with pytest.raises(RecipeError, match="did you mean 'mevis-train'") as caught:
        draws(recipe)
    assert str(caught.value).startswith(str(recipe))


def test_a_missing_recipe_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match="does not exist"):
        draws(tmp_path / "train.toml")
