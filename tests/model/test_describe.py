"""``ufvideo describe``: sizes and costs against numbers from elsewhere, and one line for every mistake."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.cli import main
from model.config import PRESETS, ModelConfig, to_dict
from model.describe import (
    Description,
    Row,
    Sample,
    describe,
    meta_batch,
    meta_model,
    read_source,
)
from model.flops import ROWS, conv_backward, parameters_by_row
from model.tokenizer import CONTROL_TOKENS, Tokenizer
from model.ufvideo import PARTS, RELEASE_TRAINS, parts_of
from shards.tokens import SPECIAL_TOKENS

ROOT = Path(__file__).parents[2]
BACKWARD = {torch.ops.aten.convolution_backward: conv_backward}
TERA = 1e12


@pytest.fixture(scope="module")
def seven() -> Description:
    """As the reference's video question, with four mask frames of one object: 150 tokens of text, 60 learned."""
    return describe(ModelConfig(), sample=Sample(regions=1))


def row(about: Description, name: str) -> Row:
    return next(row for row in about.rows if row.name == name)


def tera(about: Description, *names: str, step: bool = False) -> float:
    return sum(getattr(row(about, name), "step" if step else "forward") for name in names) / TERA


STC = ("connector s1", "connector sampler", "connector s2", "connector readout")
REFERENCE = [
    # reference: torch FlopCounter on meta modules (shared/reference/trainer_performance.md, section 1)
    (("vision tower",), 33 * 0.642, 33 * 0.642),
    (("connector s1",), 4.59, None),
    (("connector sampler",), 0.56, None),
    (("connector s2",), 0.56, None),
    (("connector readout",), 0.14, None),
    (STC, 5.84, 17.1),
    (("language layers",), 2854 * 0.01305 + 1.63, 111.7 + 4.9),
    (("SAM2 image encoder",), 4 * 1.823, 4 * 1.823),
]


@pytest.mark.parametrize(("names", "forward", "step"), REFERENCE, ids=lambda value: str(value))
def test_the_7b_model_costs_what_the_reference_counts(seven, names, forward, step):
    assert tera(seven, *names) == pytest.approx(forward, rel=0.02)
    if step is not None:
        assert tera(seven, *names, step=True) == pytest.approx(step, rel=0.02)


def test_small_costs_agree_with_the_digits_that_the_reference_gives(seven):
    """The reference's 0.06 of the decoder's step is three times its forward; no gradient flows into the encoder."""
    head, decoder = row(seven, "embeddings and head"), row(seven, "mask decoder")
    assert (round(head.forward / TERA, 2), round(head.step / TERA, 1)) == (0.07, 0.2)
    assert round(decoder.forward / TERA, 2) == 0.02
    assert 2.4 * decoder.forward < decoder.step < 3 * decoder.forward
    assert head.step == 3 * head.forward == 3 * 60 * 2 * 3584 * 151748


def test_whole_samples_cost_what_the_reference_says(seven):
    """A video question, without masks; and one about an object shown on 16 frames."""
    masks = ("SAM2 image encoder", "mask decoder", "prompt MLP")
    assert seven.total.step / TERA - tera(seven, *masks, step=True) == pytest.approx(155.1, rel=0.02)
    shown = describe(ModelConfig(), sample=Sample(text_tokens=250, supervised=50, mask_frames=0, regions=16))
    assert shown.tokens == 2954
    assert shown.total.step / TERA == pytest.approx(169.3, rel=0.02)


def test_the_7b_model_has_the_sizes_of_the_release(seven):
    """The totals are those of test_shapes_7b.py."""
    by_part = {
        part: round(sum(row.parameters for row in seven.rows if ROWS[row.name][0] == part) / 1e6, 1)
        for part in parts_of(ModelConfig())
    }
    assert by_part == {
        "vision": 428.2,
        "connector": 376.9,
        "regions": 17.0,
        "language": 7613.4,
        "prompt": 13.8,
        "mask_decoder": 4.2,
        "mask_encoder": 212.7,
    }
    assert seven.total.parameters == sum(p.numel() for p in meta_model(ModelConfig(), ()).parameters())
    assert round(seven.trained_parameters / 1e9, 2) == 8.03
    assert {row.name for row in seven.rows if not row.trained} == {"vision tower", "SAM2 image encoder", "rest"}
    assert seven.bytes() == {
        "weights_fp32": 4 * seven.total.parameters,
        "weights_bf16": 2 * seven.total.parameters,
        "training_state": 16 * seven.trained_parameters,
    }


def test_the_small_preset_has_a_few_hundred_million_parameters():
    assert 200e6 < describe(PRESETS["small"]).total.parameters < 400e6


def test_memory_has_a_row_of_its_own(small_config):
    """Attention, encoder and pointers of SAM 2.1."""
    sizes = parameters_by_row(meta_model(ModelConfig(memory=True, sam2_version="2.1"), ()))
    assert round(sizes["SAM2 memory"] / 1e6, 1) == 7.5
    with_memory = replace(small_config, memory=True)
    once, often = (tera(describe(with_memory, sample=Sample(mask_frames=n)), "SAM2 memory") for n in (2, 4))
    assert 0 < 2.9 * once < often, "each of three frames looks at more than the one before"


WITHOUT = [(parts, False) for parts in (RELEASE_TRAINS, tuple(PARTS), ("regions",), ("mask_encoder",), ())]


@pytest.mark.parametrize(("parts", "memory"), [*WITHOUT, (tuple(PARTS), True)])
def test_the_rows_add_up_to_one_pass_of_the_whole_model(small_config, parts, memory):
    small_config = replace(small_config, memory=memory)
    sample = Sample(text_tokens=20, supervised=5, mask_frames=2, objects=2, regions=6)
    about = describe(small_config, parts, sample)
    model, batch = meta_model(small_config, parts), meta_batch(small_config, sample)
    with FlopCounterMode(display=False, custom_mapping=BACKWARD) as counter:
        with torch.device("meta"):
            output = model(batch)
        ends = [end for end in (output.logits_CW, output.mask_logits_MZZ) if end.requires_grad]
        forward = counter.get_total_flops()
        torch.autograd.backward(ends, [torch.empty_like(end) for end in ends])
        step = counter.get_total_flops()
    square = 2 * 2 * small_config.layers * small_config.width * about.tokens**2
    through_language = 3 if {"vision", "connector", "regions", "language"} & set(parts) else 1
    assert forward - about.total.forward == pytest.approx(square / 2, rel=0.01)
    assert step - about.total.step == pytest.approx(through_language * square / 2, rel=0.01)
    assert row(about, "rest").step == pytest.approx(row(about, "rest").forward, abs=2)


def test_no_gradient_is_counted_into_what_is_frozen(small_config):
    only_decoder = describe(small_config, ("mask_decoder",))
    assert all(row.step == row.forward for row in only_decoder.rows if row.name != "mask decoder")
    only_connector = describe(small_config, ("connector",))
    layers = row(only_connector, "language layers")  # frozen, but gradients pass through to the connector
    assert layers.forward * 1.9 < layers.step < layers.forward * 2.4
    assert not layers.trained


def test_a_depthwise_convolution_costs_as_much_for_each_gradient_as_forward():
    for groups, transposed in ((1, False), (8, False), (1, True)):
        conv = (nn.ConvTranspose2d if transposed else nn.Conv2d)(8, 8, 3, padding=1, groups=groups, device="meta")
        with FlopCounterMode(display=False, custom_mapping=BACKWARD) as counter:
            out = conv(torch.empty(2, 8, 5, 5, device="meta", requires_grad=True))
            forward = counter.get_total_flops()
            out.backward(torch.empty_like(out))
        assert forward == 2 * 2 * 25 * 9 * 8 * 8 // groups
        assert counter.get_total_flops() == 3 * forward


def test_regions_go_through_the_tower_and_masks_may_be_absent(small_config):
    plain = describe(small_config, sample=Sample(mask_frames=0))
    shown = describe(small_config, sample=Sample(mask_frames=0, regions=4))
    assert tera(shown, "vision tower") == pytest.approx(2 * tera(plain, "vision tower"))  # 4 frames and 4
    assert tera(plain, "region encoder") == tera(plain, "SAM2 image encoder") == tera(plain, "mask decoder") == 0
    assert tera(shown, "region encoder") > 0


def test_the_command_prints_a_table_and_json(capsys):
    assert main(["describe", "tiny", "--mask-frames", "2"]) == 0
    table = capsys.readouterr().out
    assert "SAM2 image encoder" in table
    assert "186 tokens: 36 of the clip, 150 of text" in table
    assert max(map(len, table.splitlines()[:-3])) <= 80
    assert main(["describe", "tiny", "--mask-frames", "0", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["model"], about["parts"]) == ("tiny", list(RELEASE_TRAINS))
    assert about["sample"]["tokens"] == 186
    assert about["total"]["step"] == sum(row["step"] for row in about["rows"])


def test_a_recipe_says_what_is_trained(clip_words: Tokenizer):
    source = read_source(str(ROOT / "recipes" / "train" / "tiny.toml"))
    assert source.parts == parts_of(source.config)
    assert source.config == replace(PRESETS["tiny"], vocab_size=1024 + len(CONTROL_TOKENS) + len(SPECIAL_TOKENS))
    assert len(clip_words) <= 300 + len(CONTROL_TOKENS) + len(SPECIAL_TOKENS)


def test_a_run_says_what_it_is(tmp_path, small_config):
    (tmp_path / "run.json").write_text(json.dumps({"model": to_dict(small_config), "train": {"parts": ["prompt"]}}))
    source = read_source(str(tmp_path))
    assert (source.config, source.parts) == (small_config, ("prompt",))


RUN = {"model": {}, "train": {"parts": ["connector"]}}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (None, "is no run's folder: it has no run.json"),
        ("{", "run.json is damaged (JSONDecodeError"),
        ("[]", "run.json is damaged (TypeError"),
        (json.dumps(RUN | {"model": {"wdth": 3}}), "run.json: `model`: a model has no `wdth`"),
        (json.dumps(RUN | {"train": {}}), "run.json is damaged (KeyError: 'parts')"),
        (json.dumps(RUN | {"train": {"parts": ["head"]}}), "run.json: `train.parts` has 'head'; there are vision"),
    ],
)
def test_a_wrong_run_is_one_line(tmp_path, capsys, written, words):
    if written is not None:
        (tmp_path / "run.json").write_text(written)
    assert main(["describe", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["7bb"], "7bb is no preset (tiny, small, 7b), recipe or run's folder; did you mean '7b'?; name one"),
        (["none.toml"], "none.toml does not exist"),
        (["tiny", "--supervised", "151"], "--supervised 151 is not in 1…150"),
    ],
)
def test_a_wrong_call_is_one_line(capsys, argv, words):
    assert main(["describe", *argv]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_tokenizer_that_is_not_there_is_named(tmp_path, capsys):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[model]\npreset = "7b"\ntokenizer = "gone"\n[[mixture]]\ncorpus = "c"\n')
    assert main(["describe", str(recipe)]) == 2
    assert "[model]: `tokenizer`:" in capsys.readouterr().err
