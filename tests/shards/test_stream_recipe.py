"""The stream's part of a train recipe: what is read, what is left to the learner, and how mistakes are answered."""

import re
from pathlib import Path

import pytest

from shards.stream_recipe import load_stream_recipe, stream_recipe
from shards.toml_table import RecipeError, read_toml

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


def written(folder: Path, text: str) -> Path:
    path = folder / "train.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_relative_to_its_folder(tmp_path):
    found = load_stream_recipe(written(tmp_path, RECIPE))
    assert (found.seed, found.batch_size, found.steps, found.epochs) == (17, 5, None, 2)
    assert [Path(s.corpus) for s in found.mixture.sources] == [tmp_path / "corpora/five"] * 2
    assert [s.entry for s in found.mixture.sources] == ["mevis-train", ("vidstg-train",)]


def test_a_mixture_is_enough_for_a_recipe(tmp_path):
    found = load_stream_recipe(written(tmp_path, '[[mixture]]\ncorpus = "s3://bucket/five"\n'))
    assert (found.seed, found.batch_size, found.steps, found.epochs) == (0, 8, None, 1)
    assert found.mixture.sources[0].corpus == "s3://bucket/five"


ONE = '[[mixture]]\ncorpus = "corpora/five"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "[[mixture]] is missing"),
        ("[[mixtures]]\n", "did you mean 'mixture'"),
        (ONE + "[streams]\n", "did you mean 'stream'"),
        ("[mixture]\n", "[[mixture]] is missing"),
        ("[[mixture]\n", "is not TOML"),
        ("[[mixture]]\nentry = 'a'\n", "[[mixture]] number 1: `corpus` is None"),
        (ONE + "[[mixture]]\ncorpus = 3\n", "number 2: `corpus` is 3"),
        (ONE + "entri = 'a'\n", "[[mixture]] number 1 has no key `entri`; did you mean 'entry'?"),
        (ONE + "zzz = 'a'\n", "allowed: corpus, entry, task, tag, take, exclude, repeat, weight"),
        (ONE + "entry = 3\n", "`entry` is 3, not a name"),
        (ONE + "tag = []\n", "`tag` is [], not a name"),
        (ONE + "repeat = 1.5\n", "`repeat` is 1.5, not a whole number"),
        (ONE + "repeat = 0\n", "`repeat` is 0, not 1 or more"),
        (ONE + "weight = true\n", "`weight` is True, not a number"),
        (ONE + "weight = 1\n", "needs a number of `steps`"),
        (ONE + "weight = 1\nrepeat = 1\n", "both `repeat` and `weight`"),
        (ONE + "[stream]\nsteps = 3\n", "leave `steps` out"),
        (ONE + "[stream]\nbatchsize = 3\n", "[stream] has no key `batchsize`; did you mean 'batch_size'?"),
        (ONE + "[stream]\nbatch_size = 0\n", "`batch_size` is 0"),
        (ONE + "[stream]\nseed = '3'\n", "[stream]: `seed` is '3', not a whole number"),
        (ONE + "[[stream]]\n", "[stream] is not a table"),
    ],
)
def test_a_wrong_recipe_names_its_file_the_key_and_the_remedy(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(RecipeError, match=re.escape(words)) as caught:
        load_stream_recipe(path)
    assert str(caught.value).startswith(str(path))


def test_tables_of_the_learner_are_left_alone(tmp_path):
    path = written(tmp_path, ONE + "[model]\nsize = 3\n[train]\nwhatever = true\n[show]\n")
    raw = read_toml(path)
    assert stream_recipe(path, raw) == load_stream_recipe(path)
    assert raw["train"] == {"whatever": True}


def test_a_recipe_opens_the_stream_of_a_rank(tmp_path, pristine):
    path = written(tmp_path, f"[[mixture]]\ncorpus = '{pristine}'\n[stream]\nbatch_size = 2\n")
    recipe = load_stream_recipe(path)
    first, second = ({draw.sample_keys for draw in recipe.open(rank, 2).draws(0)} for rank in (0, 1))
    everything = {draw.sample_keys for draw in recipe.open().draws(0)}
    assert first | second == everything
    assert len(first) + len(second) == len(everything)
    path = written(tmp_path, f"[[mixture]]\ncorpus = '{pristine}'\nentry = 'picture'\n")
    with pytest.raises(RecipeError, match=re.escape(str(path)) + ".*did you mean 'pictures'"):
        load_stream_recipe(path).open()


LISTED = RECIPE + 'exclude = ["leaks.jsonl", "more.jsonl"]\n'


def test_samples_to_leave_out_are_read_from_files_beside_the_recipe(tmp_path):
    (tmp_path / "leaks.jsonl").write_text('{"sample_key": "a/1", "entry": "x"}\n\n{"sample_key": "a/é"}\n')
    (tmp_path / "more.jsonl").write_text('{"sample_key": "b/1"}\n')
    found = load_stream_recipe(written(tmp_path, LISTED)).mixture.sources
    assert [source.exclude for source in found] == [frozenset(), {"a/1", "a/é", "b/1"}]


def test_one_file_of_samples_to_leave_out_needs_no_list(tmp_path):
    (tmp_path / "leaks.jsonl").write_text('{"sample_key": "a/1"}\n')
    found = load_stream_recipe(written(tmp_path, RECIPE + 'exclude = "leaks.jsonl"\n')).mixture.sources
    assert found[1].exclude == {"a/1"}


@pytest.mark.parametrize("line", ["a/1", '["a/1"]', '{"key": "a/1"}', '{"sample_key": 1}', "{"])
def test_a_list_of_other_things_is_refused_with_its_line(tmp_path, line):
    (tmp_path / "leaks.jsonl").write_text('{"sample_key": "a/1"}\n' + line)
    (tmp_path / "more.jsonl").write_text("")
    with pytest.raises(RecipeError, match=r'leaks\.jsonl, line 2: is not a JSON object with a "sample_key"'):
        load_stream_recipe(written(tmp_path, LISTED))


def test_a_list_that_is_not_there_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(RecipeError, match=r"leaks\.jsonl cannot be read .*multigrain leaks --out"):
        load_stream_recipe(written(tmp_path, LISTED))


def test_one_list_may_be_named_without_brackets(tmp_path):
    (tmp_path / "leaks.jsonl").write_text('{"sample_key": "a/1"}\n')
    found = load_stream_recipe(written(tmp_path, RECIPE + 'exclude = "leaks.jsonl"\n')).mixture.sources
    assert found[1].exclude == {"a/1"}
