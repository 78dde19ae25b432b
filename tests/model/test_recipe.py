"""Train recipes: what they say is what is trained, and every mistake names file, table, key and remedy."""

from pathlib import Path

import pytest

from model.config import PRESETS
from model.recipe import TrainSettings, learned_by, load_train_recipe
from model.ufvideo import PARTS, RELEASE_TRAINS
from shards.toml_table import RecipeError

ROOT = Path(__file__).parents[2]
LEAST = '[model]\npreset = "tiny"\n[[mixture]]\ncorpus = "c"\n'


def read(tmp_path: Path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_train_recipe(path)


def test_a_recipe_that_says_little_trains_as_the_release_does(tmp_path) -> None:
    recipe = read(tmp_path, LEAST)
    assert recipe.config == PRESETS["tiny"]
    assert recipe.train == TrainSettings()
    assert recipe.train.parts == RELEASE_TRAINS
    assert (recipe.train.lr, recipe.train.warmup, recipe.train.lr_floor, recipe.train.clip) == (2e-5, 0.03, 0.03, 1.0)
    assert recipe.tokenizer is None


def test_every_table_is_read(tmp_path) -> None:
    text = """
[model]
preset = "7b"
tokenizer = "weights/qwen2"
num_frames = 16
hiera_stages = [1, 2, 7, 2]
hiera_global_blocks = [5]
[train]
parts = ["language", "prompt"]
lr = 1e-4
micro_batch = 3
checkpoint_activations = true
[show]
samples = 3
[stream]
seed = 5
batch_size = 6
[[mixture]]
corpus = "c"
"""
    recipe = read(tmp_path, text)
    assert (recipe.config.num_frames, recipe.config.hiera_stages) == (16, (1, 2, 7, 2))
    assert recipe.tokenizer == tmp_path / "weights/qwen2"
    assert (recipe.train.parts, recipe.train.lr, recipe.train.micro_batch) == (("language", "prompt"), 1e-4, 3)
    assert recipe.train.checkpoint_activations
    assert (recipe.show_samples, recipe.stream.seed, recipe.stream.batch_size) == (3, 5, 6)


def test_all_parts_can_be_named_at_once(tmp_path) -> None:
    without = tuple(part for part in PARTS if part != "memory")
    assert read(tmp_path, LEAST + '[train]\nparts = "all"\n').train.parts == without
    remembers = LEAST.replace('"tiny"', '"tiny"\nmemory = true')
    assert read(tmp_path, remembers + '[train]\nparts = "all"\n').train.parts == tuple(PARTS)


def test_an_object_score_that_is_trained_is_used(tmp_path) -> None:
    assert not read(tmp_path, LEAST).config.object_score
    recipe = read(tmp_path, LEAST + "[train]\nobject_score = 0.5\n")
    assert (recipe.train.object_score, recipe.config.object_score) == (0.5, True)
    assert read(tmp_path, LEAST.replace('"tiny"', '"tiny"\nobject_score = true')).config.object_score


def test_what_the_release_does_wrong_can_be_asked_for(tmp_path) -> None:
    text = LEAST.replace('"tiny"', '"tiny"\ncompat = ["object_order", "seg_state"]')
    assert read(tmp_path, text).config.compat == ("object_order", "seg_state")


def test_how_often_a_run_is_saved_is_no_part_of_what_it_learns(tmp_path) -> None:
    before = learned_by(read(tmp_path, LEAST).train)
    assert learned_by(read(tmp_path, LEAST + "[train]\nsave_every = 7\nworkers = 9\nkeep = 1\n").train) == before
    assert learned_by(read(tmp_path, LEAST + "[train]\nlr = 1e-3\n").train) != before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LEAST + "[traim]\n", "'traim'; did you mean 'train'?"),
        (LEAST.replace("tiny", "tyny"), "did you mean 'tiny'?"),
        (LEAST.replace('preset = "tiny"', "layers = 2"), "[model] lacks `preset`"),
        (LEAST.replace('"tiny"', '"tiny"\nlayer = 2'), "has no key `layer`; did you mean 'layers'?"),
        (LEAST.replace('"tiny"', '"tiny"\nlayers = "two"'), "`layers` is 'two', not a whole number"),
        (LEAST.replace('"tiny"', '"tiny"\nnum_frames = 7'), "make it even"),
        (LEAST.replace('"tiny"', '"tiny"\nvocab_size = 7'), "has no key `vocab_size`"),
        (LEAST + '[train]\nparts = ["connectr"]\n', "did you mean 'connector'?"),
        (LEAST + '[train]\nparts = ["memory"]\n', "unless [model] says `memory = true`"),
        (LEAST.replace('"tiny"', '"tiny"\ncompat = ["order"]'), "`compat` has 'order'; there are object_order, seg_st"),
        (LEAST + "[train]\nobject_score = -1\n", "`object_score` is -1"),
        (LEAST + "[train]\nlr = 0\n", "`lr` is 0, not above 0"),
        (LEAST + "[train]\nwarmup = 3\n", "`warmup` is 3, not a share between 0 and 1"),
        (LEAST + "[train]\nmicro_batch = 0\n", "`micro_batch` is 0, not 1 or more"),
        (LEAST + '[train]\nprecision = "fp8"\n', "`precision` is 'fp8', not one of auto, fp32, bf16"),
        (LEAST + "[show]\nsample = 1\n", "did you mean 'samples'?"),
        ('[model]\npreset = "tiny"\n', "names at least one corpus"),
    ],
)
def test_a_wrong_recipe_names_its_file_the_key_and_the_remedy(tmp_path, text, words) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "mine.toml"))
    assert words in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "train").glob("*.toml")), ids=lambda path: path.name)
def test_the_recipes_that_we_ship_can_be_read(path: Path) -> None:
    assert load_train_recipe(path).stream.mixture.sources
