"""The description of the model: what it refuses, by name, and that JSON gives it back."""

import dataclasses
import json

import pytest
import torch

from model.config import FIELDS, PRESETS, TINY, ConfigError, ModelConfig, from_dict, to_dict
from model.ufvideo import UFVideo


@pytest.mark.parametrize("preset", PRESETS)
def test_a_description_comes_back_from_json(preset):
    config = PRESETS[preset]
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert tuple(to_dict(config)) == FIELDS


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_built(preset):
    with torch.device("meta"):
        UFVideo(PRESETS[preset])


def test_the_numbers_of_the_7b_model():
    config = ModelConfig()
    assert (config.grid, config.visual_tokens) == (27, 2704)


def test_fields_change_the_base_and_nothing_else():
    assert from_dict({"layers": 5, "hiera_windows": [8, 8, 8, 8]}, TINY) == dataclasses.replace(
        TINY, layers=5, hiera_windows=(8, 8, 8, 8)
    )
    assert from_dict({}) == ModelConfig()


def test_a_whole_number_is_a_number():
    theta = from_dict({"rope_theta": 10_000}).rope_theta
    assert theta == 10_000
    assert isinstance(theta, float)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layer", 5),
        ("layers", 5.0),
        ("layers", True),
        ("layers", "5"),
        ("layers", None),
        ("rope_theta", "1e6"),
        ("hiera_stages", 4),
        ("hiera_stages", [1, 2.0, 7, 2]),
        ("hiera_stages", "1271"),
    ],
)
def test_an_unknown_field_or_kind_is_named(field, value):
    with pytest.raises(ConfigError, match=f"`{field}`"):
        from_dict({field: value})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("width", 0, "is 0, not 1 or more"),
        ("num_frames", -2, "is -2, not 1 or more"),
        ("rope_theta", 0.0, "not above 0"),
        ("init_std", float("nan"), "not above 0"),
        ("hiera_windows", [8, 4, 0, 8], "not 1 or more"),
        ("num_frames", 31, "in pairs"),
        ("image_size", 27, "two patches of 14"),
        ("vision_width", 1150, "no multiple of `vision_heads` 16"),
        ("width", 3585, "no multiple of `heads` 28"),
        ("kv_heads", 5, "`heads` 28 is no multiple of `kv_heads` 5"),
        ("mask_image_size", 1000, "not a multiple of 32"),
        ("mask_width", 40, "not a multiple of 16"),
        ("hiera_stages", [2, 6, 36], "four numbers"),
        ("hiera_windows", [8, 4, 16, 8, 8], "four numbers"),
        ("hiera_global_blocks", [48], "holds 48"),
    ],
)
def test_a_model_that_cannot_be_is_refused_with_the_field_and_what_is_allowed(field, value, words):
    with pytest.raises(ConfigError, match=f"`{field}`") as refused:
        from_dict({field: value})
    assert words in str(refused.value)
