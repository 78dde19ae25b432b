"""Recipes: what is resolved, and that every mistake is answered with its key and a remedy."""

import pytest

from pipelines.recipe import load_recipe
from shards.toml_table import RecipeError

DATASET = '[[dataset]]\nconverter = "mevis"\nroot = "raw"\nsplit = "train"\n'


@pytest.fixture
def write(tmp_path):
    (tmp_path / "raw").mkdir()

    def write(text: str):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_are_those_of_the_format(write, tmp_path):
    recipe = load_recipe(write(DATASET))
    assert (recipe.name, recipe.seed, recipe.shard_size, recipe.wordings) == ("recipe", 0, 512 << 20, 0)
    assert (recipe.max_skip_share, recipe.max_missing_share) == (0.01, 0.0)
    assert recipe.entries[0].name == "mevis-train"
    assert recipe.entries[0].root == tmp_path / "raw"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("", "videorefer-train-short_caption"),
        ('options = { subset = "qa" }', "videorefer-train-qa"),
        ('options = { subset = ["qa", "short_caption"] }', "videorefer-train-short_caption-qa"),
    ],
)
def test_an_entry_is_named_by_converter_split_and_subset(write, options, name):
    recipe = load_recipe(write(f'[[dataset]]\nconverter = "videorefer"\nroot = "raw"\nsplit = "train"\n{options}\n'))
    assert recipe.entries[0].name == name


@pytest.mark.parametrize(("size", "wanted"), [('"1 MiB"', 1 << 20), ('"1.5 GB"', 1_500_000_000), ("4096", 4096)])
def test_shard_sizes_are_read_with_their_units(write, size, wanted):
    assert load_recipe(write(f"[corpus]\nshard_size = {size}\n{DATASET}")).shard_size == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = 3", "has no key `seed`"),
        ("[corpus]\nsede = 3\n" + DATASET, "did you mean 'seed'"),
        ("[corpus]\nseed = '3'\n" + DATASET, "`seed` is '3', not a whole number"),
        ("[corpus]\nwordings = -1\n" + DATASET, "`wordings` is -1"),
        ("[corpus]\nmax_skip_share = 2\n" + DATASET, "not a share between 0 and 1"),
        ("[corpus]\nshard_size = '512 parsecs'\n" + DATASET, "not a size such as"),
        ("[corpus]\nname = 'x'\n", "names at least one dataset"),
        (DATASET + "takes = 5\n", "did you mean 'take'"),
        (DATASET + "take = 1.5\n", "`take` is 1.5"),
        (DATASET + "options = { subset = 'qa' }\n", "has no key `subset`"),
        (DATASET + DATASET, "stands 2 times"),
        (DATASET + "name = 'a b'\n", "`name` 'a b' is not"),
        (DATASET.replace("mevis", "mevs"), "did you mean 'mevis'"),
        (DATASET.replace("mevis", "nowhere.at_all:Thing"), "cannot be imported"),
        (DATASET.replace("mevis", "converters.base:Item"), "not a subclass"),
        (DATASET.replace('"train"', '"trainn"'), "did you mean 'train'"),
        (DATASET.replace('"raw"', '"row"'), "is not a folder"),
        (DATASET.replace('"raw"', '"s3://bucket/raw"'), "is a URL"),
        (DATASET.replace('root = "raw"\n', ""), "lacks `root`"),
        ("dataset = 3", "names at least one dataset"),
        ("= nonsense", "is not TOML"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_the_remedy(write, text, words):
    path = write(text)
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert words in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value).removeprefix(f"{path} is not TOML")


def test_changes_of_the_command_line_reach_every_key(write):
    path = write("[corpus]\nseed = 1\n" + DATASET)
    changes = ["seed=5", "corpus.name=mine", "dataset.mevis.take=7", "dataset.0.name=other"]
    recipe = load_recipe(path, changes)
    assert (recipe.seed, recipe.name, recipe.entries[0].take, recipe.entries[0].name) == (5, "mine", 7, "other")


@pytest.mark.parametrize("change", ["seed", "dataset.nothing.take=3", "corpus.seed.deep.er=1", "colour=red"])
def test_a_wrong_change_is_refused(write, change):
    with pytest.raises(RecipeError):
        load_recipe(write("[corpus]\nseed = 1\n" + DATASET), [change])


def test_the_public_form_holds_no_path_of_this_machine(write, tmp_path):
    text = f'out = "{tmp_path}/corpus"\n'
    images = f'[[dataset]]\nconverter = "refcoco"\nroot = "raw"\nsplit = "val"\noptions = {{ images = "{tmp_path}" }}\n'
    recipe = load_recipe(write(f"[corpus]\n{text}{images}"))
    assert str(tmp_path) not in str(recipe.public())
    assert recipe.entries[0].options["images"] == str(tmp_path)


def test_a_dataset_is_set_by_the_name_that_it_has_by_default(write):
    text = (
        DATASET + '[[dataset]]\nconverter = "videorefer"\nroot = "raw"\nsplit = "train"\noptions = { subset = "qa" }\n'
    )
    recipe = load_recipe(write(text), ["dataset.videorefer-train-qa.take=3", "dataset.mevis-train.split=valid"])
    assert [(entry.split, entry.take) for entry in recipe.entries] == [("valid", None), ("train", 3)]


def test_a_dataset_that_is_not_there_is_answered_with_those_that_are(write):
    with pytest.raises(
        RecipeError, match=r"no dataset 'mevis-trian' in the recipe; did you mean 'mevis-train'\?; it has"
    ):
        load_recipe(write(DATASET), ["dataset.mevis-trian.take=3"])
