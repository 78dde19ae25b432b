"""Weights come in from generated folders in the layouts of others, and go out again: nothing changes or gets lost."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from converters.world import write_world
from model import checkpoint
from model.cli import main
from model.config import ModelConfig, to_dict
from model.distributed import Ranks
from model.recipe import load_train_recipe
from model.run import open_run
from model.tokenizer import CONTROL_TOKENS, Tokenizer
from model.ufvideo import UFVideo
from model.weight_export import export_weights
from model.weight_files import Outgoing, TensorFiles, WeightsError, write_sharded
from model.weight_names import MEMORY_PLACES, NO_MEMORY, no_place, our_name, release_name
from model.weight_plan import drawn_rows
from model.weights import Origin, import_weights, inspect_weights, load_weights
from pipelines.build import build
from pipelines.recipe import load_recipe
from shards.tokens import CHECKPOINT_SPELLING, SPECIAL_TOKENS
from shards.toml_table import RecipeError

ROOT = Path(__file__).parents[2]
PADDING = 9
SAM2 = "model.mask_encoder.sam2_model."
MEMORY = {
    "maskmem_tpos_enc": (7, 1, 1, 16),  # ours has the width of the decoder, 32
    "memory_attention.norm.weight": (32,),
    "memory_encoder.fuser.layers.0.gamma": (32,),
    "memory_encoder.out_proj.weight": (16, 32, 1, 1),
}
THEIRS = {  # beginnings of our names → the release's, written down a second time
    "vision.siglip.": "model.vision_tower.vision_tower.vision_model.",
    "connector.": "model.mm_projector.",
    "regions.": "model.region_encoder.",
    "segmentation.project.": "model.text_hidden_fcs.0.",
    "segmentation.sam2.": SAM2,
    "language.": "",
}

Weights = dict[str, Tensor]


def theirs(name: str) -> str:
    ours = next(ours for ours in THEIRS if name.startswith(ours))
    return THEIRS[ours] + name.removeprefix(ours)


def memory(noise: Callable[..., Tensor]) -> Weights:
    return {name: noise(*shape, seed=n) for n, (name, shape) in enumerate(MEMORY.items())}


def write_shards(folder: Path, tensors: Mapping[str, Tensor], count: int = 3) -> Path:
    """A folder as transformers writes it, in several files."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"model-{n + 1:05d}-of-{count:05d}.safetensors" for n in range(count)]
    for n, name in enumerate(names):
        save_file({key: tensors[key].contiguous() for key in list(tensors)[n::count]}, folder / name)
    index = {"metadata": {}, "weight_map": {key: names[n % count] for n, key in enumerate(tensors)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def imported(folder: Path) -> Weights:
    files = TensorFiles(folder)
    return {name: files.read(name) for name in files.stored if not name.startswith("model.")}


def statuses(report: Mapping[str, Any], status: str) -> set[str]:
    return {name for name, told in report["model"].items() if told["status"] == status}


def from_(path: Path) -> list[Origin]:
    return [Origin("from", path)]


@pytest.fixture(scope="module")
def weights(clip_model) -> Weights:
    """The small model's own, in bfloat16."""
    return {name: tensor.bfloat16() for name, tensor in clip_model.state_dict().items()}


@pytest.fixture(scope="module")
def old_words(clip_words: Tokenizer) -> Qwen2Tokenizer:
    """The same words in a tokenizer as Qwen2's, before any token of ours is in it."""
    bpe = json.loads(clip_words.hf.backend_tokenizer.to_str())["model"]
    merges: Any = [tuple(pair) for pair in bpe["merges"]]
    hf = Qwen2Tokenizer(vocab=bpe["vocab"], merges=merges)
    hf.add_tokens(list(CONTROL_TOKENS), special_tokens=True)
    return hf


@pytest.fixture(scope="module")
def release(weights, clip_words, noise, tmp_path_factory) -> Path:
    """A UFVideo folder: all of the model, SAM 2's memory, the tokenizer with our tokens, a config.json."""
    tensors = {theirs(name): tensor for name, tensor in weights.items() if name != MEMORY_PLACES}
    tensors |= {SAM2 + name.replace("gamma", "g_weight"): tensor.half() for name, tensor in memory(noise).items()}
    folder = write_shards(tmp_path_factory.mktemp("release") / "UFVideo", tensors)
    clip_words.save(folder)
    told = {"model_type": "videorefer_qwen2", "vocab_size": 1, "mm_projector_type": "stc_connector_v35"}
    (folder / "config.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def videorefer(weights, old_words, tmp_path_factory) -> Path:
    """A VideoRefer folder: no masks, no vision tower, and a vocabulary that ends with <region>."""
    hf = Qwen2Tokenizer.from_pretrained(saved(old_words, tmp_path_factory.mktemp("words")))
    hf.add_tokens(["<region>"], special_tokens=True)
    tensors = {theirs(n): t for n, t in weights.items() if not n.startswith(("segmentation.", "vision."))}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][: len(hf)].contiguous()
    folder = write_shards(tmp_path_factory.mktemp("videorefer") / "VideoRefer", tensors, 2)
    hf.save_pretrained(folder)
    return folder


def saved(hf: Qwen2Tokenizer, folder: Path) -> Path:
    hf.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def parts(clip_config, old_words, clip_model, noise, filled, tmp_path_factory) -> dict[str, Path]:
    """The three parts, each as its authors' library writes it: Qwen2 with a padded vocabulary, SigLIP, SAM 2."""
    root, c = tmp_path_factory.mktemp("parts"), clip_config
    qwen2 = Qwen2Config(
        vocab_size=c.vocab_size + PADDING, hidden_size=c.width, intermediate_size=c.mlp, num_hidden_layers=c.layers,
        num_attention_heads=c.heads, num_key_value_heads=c.kv_heads, tie_word_embeddings=False,
    )  # fmt: skip
    filled(Qwen2ForCausalLM(qwen2)).half().save_pretrained(root / "qwen2", max_shard_size="30KB")
    old_words.save_pretrained(root / "qwen2")
    filled(SiglipVisionModel(siglip(c))).save_pretrained(root / "siglip")
    sam2 = dict(clip_model.segmentation.sam2.state_dict()) | memory(noise)
    torch.save({"model": sam2}, root / "sam2_hiera_tiny.pt")
    return {"language": root / "qwen2", "vision": root / "siglip", "sam2": root / "sam2_hiera_tiny.pt"}


def siglip(c: ModelConfig) -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=c.vision_width, intermediate_size=c.vision_mlp, num_hidden_layers=c.vision_layers,
        num_attention_heads=c.vision_heads, image_size=c.image_size, patch_size=c.patch_size,
    )  # fmt: skip


def origins(parts: Mapping[str, Path]) -> list[Origin]:
    return [Origin(role, path) for role, path in parts.items()]


# ---------------------------------------------------------------------------------------------------- names


def test_every_name_and_shape_of_a_7b_checkpoint_maps_one_to_one_in_both_directions(golden_json) -> None:
    release = {name: tuple(shape) for name, shape in golden_json("ufvideo7b_tensor_names").items()}
    with torch.device("meta"):
        ours = {name: tuple(tensor.shape) for name, tensor in UFVideo(ModelConfig()).state_dict().items()}
    forth = {name: our_name(name) for name in release}
    assert len(set(forth.values())) == len(forth) == 1808
    assert all(release_name(new) == name for name, new in forth.items() if new is not None)
    without = {name for name, new in forth.items() if new not in ours}
    assert len(without) == 146
    assert all(no_place(name) for name in without)
    assert not [name for name in release.keys() - without if no_place(name)]
    assert {release_name(name) for name in ours} == release.keys() - without
    assert [name for name in ours if release[release_name(name)] != ours[name]] == [MEMORY_PLACES]


def test_every_name_of_our_model_goes_to_the_release_and_comes_back(weights) -> None:
    there = {name: release_name(name) for name in weights}
    assert there == {name: theirs(name) for name in weights}
    assert {name: our_name(new) for name, new in there.items()} == {name: name for name in weights}
    assert all(our_name(name) == name and no_place(name) is None for name in weights)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("vision_model.embeddings.patch_embedding.bias", "vision.siglip.embeddings.patch_embedding.bias"),
        ("embeddings.patch_embedding.bias", "vision.siglip.embeddings.patch_embedding.bias"),
        ("model.vision_tower.vision_tower.head.probe", "vision.siglip.head.probe"),
        ("base_model.model.model.mm_projector.readout.0.bias", "connector.readout.0.bias"),
        ("base_model.model.lm_head.weight", "language.lm_head.weight"),
        ("memory_encoder.fuser.layers.1.gamma", "segmentation.sam2.memory_encoder.fuser.layers.1.gamma"),
        ("no_mem_embed", "segmentation.sam2.no_mem_embed"),
        ("model.audio_tower.weight", None),
    ],
)
def test_other_spellings_are_read(name, ours) -> None:
    assert our_name(name) == ours


def test_a_name_that_is_not_ours_has_none_in_the_release() -> None:
    with pytest.raises(ValueError, match=r"'model.norm.weight' is no name of our model.*language\."):
        release_name("model.norm.weight")


# ---------------------------------------------------------------------------------------------------- whole folders


def test_a_release_folder_comes_in_bit_for_bit(release, weights, clip_config, clip_words, tmp_path) -> None:
    report = import_weights(from_(release), tmp_path / "in", clip_config)
    there = imported(tmp_path / "in")
    assert there.keys() == weights.keys() == report["model"].keys()
    assert statuses(report, "initialised") == {MEMORY_PLACES}
    assert statuses(report, "loaded") == weights.keys() - {MEMORY_PLACES}
    for name in weights.keys() - {MEMORY_PLACES}:
        assert there[name].dtype == torch.bfloat16
        assert torch.equal(there[name], weights[name]), name
    assert len(Tokenizer.load(tmp_path / "in" / "tokenizer")) == len(clip_words)
    assert json.loads((tmp_path / "in" / "config.json").read_text()) == to_dict(clip_config)
    assert json.loads((tmp_path / "in" / "report.json").read_text()) == report


def test_what_has_no_place_is_kept_and_told(release, clip_config, noise, tmp_path) -> None:
    report = import_weights(from_(release), tmp_path / "in", clip_config)
    (source,) = report["sources"]
    assert source["kind"] == "UFVideo"
    told = {name: entry for name, entry in source["tensors"].items() if entry["status"] != "used"}
    expected = {SAM2 + name.replace("gamma", "g_weight"): t.half() for name, t in memory(noise).items()}
    assert told == {n: {"status": "no place", "why": NO_MEMORY, "kept": True} for n in expected}
    kept = load_file(tmp_path / "in" / "unused.safetensors")
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in expected.items())


def test_a_trained_segmentation_head_survives(release, weights, clip_config, tmp_path) -> None:
    """The release's second stage drops text_hidden_fcs and reads SAM 2 from its own file again."""
    trained = {name: t for name, t in weights.items() if name.startswith("segmentation.") and name != MEMORY_PLACES}
    import_weights(from_(release), tmp_path / "first", clip_config)
    model = UFVideo(clip_config)
    load_weights(tmp_path / "first", model)
    state = model.state_dict()
    assert len(trained) > 100
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in trained.items())


def test_import_and_export_give_the_same_bytes_again(release, clip_config, tmp_path) -> None:
    import_weights(from_(release), tmp_path / "in", clip_config)
    export_weights(tmp_path / "in", tmp_path / "out", shard_bytes=40_000)
    import_weights(from_(tmp_path / "out"), tmp_path / "in2")
    export_weights(tmp_path / "in2", tmp_path / "out2", shard_bytes=40_000)
    first, second = all_bytes(tmp_path / "out"), all_bytes(tmp_path / "out2")
    assert len([name for name in first if name.endswith(".safetensors")]) > 2
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    given, got = TensorFiles(release), TensorFiles(tmp_path / "out")
    assert given.stored.keys() == got.stored.keys()
    assert all(torch.equal(given.read(name), got.read(name)) for name in given.stored)
    assert {name: given.stored[name].dtype for name in given.stored} == {n: got.stored[n].dtype for n in got.stored}
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (told["mm_projector_type"], told["vocab_size"]) == ("stc_connector_v35", clip_config.vocab_size)


def test_an_exported_folder_is_read_by_transformers(release, clip_config, clip_model, tmp_path) -> None:
    (tmp_path / "bare").mkdir()
    for file in release.iterdir():
        if file.name != "config.json":
            (tmp_path / "bare" / file.name).symlink_to(file)
    import_weights(from_(tmp_path / "bare"), tmp_path / "in", clip_config)
    export_weights(tmp_path / "in", tmp_path / "out", dtype=torch.float32)
    read: Any = Qwen2ForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ours = UFVideo(clip_config)
    load_weights(tmp_path / "in", ours)
    head: Any = ours.language.eval()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(read(ids).logits, head(ids).logits)


def test_a_checkpoint_of_a_run_goes_out_with_what_its_import_kept(release, clip_config, clip_words, tmp_path) -> None:
    import_weights(from_(release), tmp_path / "in", clip_config)
    model = UFVideo(clip_config)
    load_weights(tmp_path / "in", model)
    with torch.no_grad():
        model.get_parameter("segmentation.project.0.bias").add_(1)
    step = checkpoint.save(tmp_path / "run", 7, model, torch.optim.AdamW(model.parameters()), {})
    (tmp_path / "run" / "run.json").write_text(json.dumps({"model": to_dict(clip_config)}))
    clip_words.save(tmp_path / "run" / "tokenizer")

    assert export_weights(step, tmp_path / "alone") == {"model": len(model.state_dict()) - 1, "unused": 0}
    counts = export_weights(step, tmp_path / "with", unused=tmp_path / "in", dtype=torch.bfloat16)
    assert counts["unused"] == len(MEMORY)
    given, got = TensorFiles(release), TensorFiles(tmp_path / "with")
    assert given.stored.keys() == got.stored.keys()
    changed = [name for name in given.stored if not torch.equal(given.read(name).bfloat16(), got.read(name))]
    assert changed == ["model.text_hidden_fcs.0.0.bias"]
    assert (tmp_path / "with" / "tokenizer.json").is_file()
    report = import_weights(from_(step), tmp_path / "again")
    assert statuses(report, "loaded") == model.state_dict().keys()


# ---------------------------------------------------------------------------------------------------- parts


def test_three_parts_make_a_model_and_the_rest_begins_anew(parts, clip_config, clip_words, tmp_path) -> None:
    report = import_weights(origins(parts), tmp_path / "in", clip_config)
    there = imported(tmp_path / "in")
    fresh = {n for n in there if n.startswith(("connector.", "regions.", "segmentation.project."))}
    assert statuses(report, "initialised") == fresh | {MEMORY_PLACES}
    assert statuses(report, "missing") == set()
    siglip = load_file(parts["vision"] / "model.safetensors")
    assert all(torch.equal(there[f"vision.siglip.{n.removeprefix('vision_model.')}"], t) for n, t in siglip.items())
    qwen2 = TensorFiles(parts["language"])
    for name in qwen2.stored:
        rows = clip_config.vocab_size if name in ("lm_head.weight", "model.embed_tokens.weight") else None
        assert torch.equal(there[f"language.{name}"], qwen2.read(name)[:rows]), name
        assert report["model"][f"language.{name}"]["dtype"] == "float16"
    assert report["model"]["language.lm_head.weight"]["rows"]["cut"] == PADDING
    sam2 = torch.load(parts["sam2"], weights_only=True)["model"]
    kept = load_file(tmp_path / "in" / "unused.safetensors")
    assert torch.equal(
        kept[f"{SAM2}memory_encoder.fuser.layers.0.g_weight"], sam2["memory_encoder.fuser.layers.0.gamma"]
    )
    assert all(torch.equal(there[f"segmentation.sam2.{n}"], t) for n, t in sam2.items() if n not in MEMORY)
    assert len(Tokenizer.load(tmp_path / "in" / "tokenizer")) == len(clip_words)


def test_new_parts_are_drawn_as_a_new_model_draws_them_and_by_the_seed(parts, clip_config, tmp_path) -> None:
    state = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        import_weights(origins(parts), tmp_path / name, clip_config, seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    a, b, c = (imported(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert {name.split(".")[0] for name in a if not torch.equal(a[name], c[name])} == {
        "connector",
        "regions",
        "segmentation",
    }
    assert torch.equal(a["connector.s1.b1.conv1.bn.weight"], torch.ones(clip_config.width))
    new = UFVideo(clip_config).state_dict()
    for name in ("connector.sampler.0.weight", "regions.feat_linear.0.weight", "segmentation.project.2.weight"):
        assert a[name].std() == pytest.approx(float(new[name].std()), rel=0.2), name


def test_a_vocabulary_without_our_tokens_gets_their_rows_in_order(
    videorefer, parts, weights, clip_config, tmp_path
) -> None:
    given = [*from_(videorefer), Origin("sam2", parts["sam2"]), Origin("vision", parts["vision"])]
    report = import_weights(given, tmp_path / "in", clip_config)
    tokenizer = Tokenizer.load(tmp_path / "in" / "tokenizer")
    new = SPECIAL_TOKENS[1:]  # <region> is VideoRefer's
    old = len(tokenizer) - len(new)
    assert len(new) == 101
    assert [tokenizer.id_of(token) for token in new] == list(range(old, len(tokenizer)))
    assert tokenizer.hf.convert_ids_to_tokens(old) == CHECKPOINT_SPELLING[new[0]] == "<TEMP-000>"
    for name in ("language.model.embed_tokens.weight", "language.lm_head.weight"):
        told, rows = report["model"][name], imported(tmp_path / "in")[name].float()
        assert told["status"] == "loaded"
        assert (told["rows"]["loaded"], told["rows"]["drawn"]) == (old, 101)
        assert torch.equal(rows[:old], weights[name][:old].float())
        assert torch.allclose(rows[old:], rows[:old].mean(0).expand(101, -1), atol=3e-3)
    assert {n.split(".")[1] for n in statuses(report, "initialised")} == {"project", "sam2"}


def test_drawn_rows_have_the_mean_and_a_share_of_the_covariance_of_the_old_ones(noise) -> None:
    old = (noise(3000, 6, seed=4) @ noise(6, 6, seed=5) + noise(6, seed=6)).double()
    new = drawn_rows(old, 20_000, seed=1).double() - old.mean(0)
    assert torch.allclose(new.T.cov() * 1e9, old.T.cov(), atol=0.1 * float(old.T.cov().diagonal().max()))
    assert torch.equal(drawn_rows(old, 5, 1), drawn_rows(old, 5, 1))
    assert not torch.equal(drawn_rows(old, 5, 1), drawn_rows(old, 5, 2))


def test_a_vocabulary_that_lacks_ordinary_words_is_refused(videorefer, parts, clip_config, tmp_path) -> None:
    tensors = {name: TensorFiles(videorefer).read(name) for name in TensorFiles(videorefer).stored}
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:50]
    broken = write_shards(tmp_path / "broken", tensors)
    for file in videorefer.glob("tokenizer*"):
        (broken / file.name).write_bytes(file.read_bytes())
    with pytest.raises(WeightsError, match=r"lm_head.weight has 50 rows and none for id 50.*different models"):
        import_weights([*from_(broken), *origins(parts)[1:]], tmp_path / "in", clip_config)


def test_a_source_named_for_its_part_comes_before_a_whole_folder(release, parts, clip_config, tmp_path) -> None:
    given = [*from_(release), Origin("sam2", parts["sam2"])]
    report = import_weights(given, tmp_path / "in", clip_config)
    sam2 = torch.load(parts["sam2"], weights_only=True)["model"]
    there = imported(tmp_path / "in")
    assert all(torch.equal(there[f"segmentation.sam2.{n}"], t) for n, t in sam2.items() if n not in MEMORY)
    whole = next(source for source in report["sources"] if source["kind"] == "UFVideo")
    overruled = {name for name, told in whole["tensors"].items() if told["status"] == "overruled"}
    assert overruled == {n for n in whole["tensors"] if n.startswith(SAM2) and n.removeprefix(SAM2) not in {
        name.replace("gamma", "g_weight") for name in MEMORY}}  # fmt: skip
    assert whole["tensors"][f"{SAM2}no_mem_embed"]["why"] == f"sam2 is taken from --sam2 {parts['sam2']}"


def test_a_tied_head_is_read_from_the_embedding(parts, clip_config, filled, old_words, tmp_path) -> None:
    c = clip_config
    config = Qwen2Config(
        vocab_size=c.vocab_size, hidden_size=c.width, intermediate_size=c.mlp, num_hidden_layers=c.layers,
        num_attention_heads=c.heads, num_key_value_heads=c.kv_heads, tie_word_embeddings=True,
    )  # fmt: skip
    filled(Qwen2ForCausalLM(config)).save_pretrained(tmp_path / "tied")
    old_words.save_pretrained(tmp_path / "tied")
    assert "lm_head.weight" not in TensorFiles(tmp_path / "tied").stored
    report = import_weights(origins({**parts, "language": tmp_path / "tied"}), tmp_path / "in", clip_config)
    there = imported(tmp_path / "in")
    assert torch.equal(there["language.lm_head.weight"], there["language.model.embed_tokens.weight"])
    assert report["model"]["language.lm_head.weight"]["name"] == "model.embed_tokens.weight"


def test_the_text_side_of_siglip_has_no_place(parts, clip_config, filled, tmp_path) -> None:
    text = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 9,
    }
    text |= {"bos_token_id": 1, "eos_token_id": 2}
    both = filled(SiglipModel(SiglipConfig(text_config=text, vision_config=siglip(clip_config).to_dict())))
    both.save_pretrained(tmp_path / "siglip")
    report = import_weights(origins({**parts, "vision": tmp_path / "siglip"}), tmp_path / "in", clip_config)
    told = next(source for source in report["sources"] if source["kind"] == "SigLIP")["tensors"]
    assert told["logit_scale"] == {"status": "no place", "why": "the text side of SigLIP", "kept": False}
    probe = both.state_dict()["vision_model.head.probe"]
    assert torch.equal(imported(tmp_path / "in")["vision.siglip.head.probe"], probe)


@pytest.mark.parametrize("suffix", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("prefix", ["", "base_model.model."])
def test_one_file_of_either_kind_is_read_with_or_without_the_prefix_of_peft(
    suffix, prefix, release, weights, clip_config, tmp_path
) -> None:
    files = TensorFiles(release)
    tensors = {prefix + name: files.read(name).half() for name in files.stored}
    tensors |= {f"{prefix}model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    (tmp_path / "given").mkdir()
    if suffix.endswith(".bin"):
        torch.save(tensors, tmp_path / "given" / suffix)
    else:
        save_file(tensors, tmp_path / "given" / suffix)
    report = import_weights(from_(tmp_path / "given"), tmp_path / "in", clip_config, dtype=torch.float32)
    there = imported(tmp_path / "in")
    name = "connector.sampler.0.weight"
    assert torch.equal(there[name], weights[name].half().float())
    assert {tensor.dtype for tensor in there.values()} == {torch.float32}
    assert (report["model"][name]["dtype"], report["model"][name]["cast"]) == ("float16", "float32")
    assert not (tmp_path / "in" / "tokenizer").exists()


# ---------------------------------------------------------------------------------------------------- refusals


def test_missing_tensors_are_an_error_with_every_name_in_the_report(parts, clip_config, tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_text(json.dumps(to_dict(clip_config)))
    out = tmp_path / "in"
    call = ["weights", "import", "--out", str(out), "--config", str(tmp_path / "config.json")]
    call += ["--language", str(parts["language"])]
    assert main([*call, "--vision", str(parts["vision"])]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "missing segmentation.sam2." in said
    assert "give --sam2" in said
    report = json.loads((out / "report.json").read_text())
    with torch.device("meta"):
        names = UFVideo(clip_config).state_dict()
    assert statuses(report, "missing") == {name for name in names if name.startswith("segmentation.sam2.")}
    assert [path.name for path in out.iterdir()] == ["report.json"]
    assert main([*call, "--vision", str(parts["vision"]), "--sam2", str(parts["sam2"])]) == 0
    assert "written" in capsys.readouterr().out


def test_a_part_with_a_hole_is_an_error_and_never_drawn_anew(release, clip_config, tmp_path) -> None:
    files = TensorFiles(release)
    lost = "model.text_hidden_fcs.0.2.weight"
    folder = write_shards(tmp_path / "given", {name: files.read(name) for name in files.stored if name != lost})
    with pytest.raises(WeightsError, match=r"missing segmentation.project.2.weight .*given lacks it.*whole copy"):
        import_weights(from_(folder), tmp_path / "in", clip_config)


def test_an_unexpected_tensor_is_an_error_unless_it_is_allowed(release, clip_config, tmp_path) -> None:
    files = TensorFiles(release)
    tensors = {name: files.read(name) for name in files.stored} | {"model.audio.weight": torch.ones(2)}
    folder = write_shards(tmp_path / "given", tensors)
    with pytest.raises(WeightsError, match=r"given: unexpected model.audio.weight \(no rule .*--allow-unexpected"):
        import_weights(from_(folder), tmp_path / "in", clip_config)
    report = import_weights(from_(folder), tmp_path / "in", clip_config, allow=("model.audio.",))
    assert report["sources"][0]["counts"]["allowed"] == 1
    assert report["sources"][0]["tensors"]["model.audio.weight"]["status"] == "allowed"


def test_every_tensor_of_every_source_has_one_of_the_statuses(release, parts, clip_config, tmp_path) -> None:
    given = [*from_(release), *origins(parts)]
    report = import_weights(given, tmp_path / "in", clip_config)
    for source in report["sources"]:
        stored = TensorFiles(Path(source["path"])).stored
        assert source["tensors"].keys() == stored.keys()
        assert sum(source["counts"].values()) == len(stored)
    used = [told["as"] for s in report["sources"] for told in s["tensors"].values() if told["status"] == "used"]
    assert sorted(used) == sorted(statuses(report, "loaded"))


def test_an_adapter_that_is_not_merged_is_told(release, clip_config, tmp_path) -> None:
    files = TensorFiles(release)
    tensors = {f"base_model.model.{name}": files.read(name) for name in files.stored}
    tensors |= {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(8, 32)}
    with pytest.raises(WeightsError, match=r"lora_A.weight \(a LoRA adapter: merge it"):
        import_weights(from_(write_shards(tmp_path / "given", tensors)), tmp_path / "in", clip_config)


def test_weights_of_another_size_are_refused_by_name(release, clip_config, tmp_path) -> None:
    with pytest.raises(WeightsError, match=r"embed_tokens.weight is \[\d+, 32\] there, \[\d+, 64\] .*--preset"):
        import_weights(from_(release), tmp_path / "in", replace(clip_config, width=64))
    assert not (tmp_path / "in").exists()


def test_a_folder_of_the_wrong_part_is_refused(parts, clip_config, tmp_path) -> None:
    wrong = {**parts, "vision": parts["sam2"]}
    with pytest.raises(WeightsError, match=r"--vision .* holds nothing of that part \(it looks like SAM 2\.0\)"):
        import_weights(origins(wrong), tmp_path / "in", clip_config)


def test_a_full_folder_is_never_written_to(release, clip_config, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(WeightsError, match="is not empty; name a new folder"):
        import_weights(from_(release), tmp_path, clip_config)


def spoilt(how: str, path: Path) -> Path:
    file = path / "model.safetensors"
    path.mkdir()
    tensor = torch.ones(4, 4)
    if how == "cut":
        save_file({"lm_head.weight": tensor}, file)
        file.write_bytes(file.read_bytes()[:-8])
    elif how == "pointer":
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    elif how == "shard":
        write_shards(path, {"lm_head.weight": tensor, "model.norm.weight": tensor}, 2)
        (path / "model-00002-of-00002.safetensors").unlink()
    elif how == "index":
        (path / "model.safetensors.index.json").write_text("{}")
    elif how == "dtype":
        save_file({"lm_head.weight": tensor.to(torch.float8_e4m3fn)}, file)
    elif how == "pickle":
        torch.save({"lm_head.weight": tensor, "trainer": Path}, path / "pytorch_model.bin")
    elif how == "value":
        torch.save({"lm_head.weight": tensor, "epoch": 3}, path / "pytorch_model.bin")
    return path


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", r"model.safetensors is no whole safetensors file .*copy it again"),
        ("pointer", r"model.safetensors is no whole safetensors file .*git-lfs"),
        ("shard", r"00002-of-00002.safetensors is missing, though model.safetensors.index.json names it"),
        ("index", r"index.json is no index: it has no `weight_map`"),
        ("dtype", r"lm_head.weight is F8_E4M3, which is not read; convert"),
        ("pickle", r"pytorch_model.bin cannot be read as tensors only .*safetensors"),
        ("value", r"epoch is a int and no tensor; save the state_dict alone"),
        ("empty", r"holds no weight file and no model.safetensors or pytorch_model.bin; name one file"),
    ],
)
def test_a_spoilt_file_is_told_in_one_line(how, words, tmp_path) -> None:
    with pytest.raises(WeightsError, match=words) as told:
        TensorFiles(spoilt(how, tmp_path / "given"))
    assert "\n" not in str(told.value)


def test_the_command_line_exports_and_tells_a_wrong_call_from_wrong_weights(
    release, clip_config, tmp_path, capsys
) -> None:
    import_weights(from_(release), tmp_path / "in", clip_config)
    assert main(["weights", "export", str(tmp_path / "in"), "--to", str(tmp_path / "out"), "--shard-gb", "0.0001"]) == 0
    assert f"{len(MEMORY)} without a place" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.safetensors.index.json").is_file()
    assert main(["weights", "export", str(release), "--to", str(tmp_path / "no")]) == 1
    assert "is neither an imported folder nor a run's checkpoint" in capsys.readouterr().err
    assert main(["weights", "import", "--out", str(tmp_path / "no")]) == 2
    assert "no source is named; give --from" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- files


def test_a_written_file_is_what_the_library_reads_whatever_its_dtypes(noise, tmp_path) -> None:
    tensors = {
        "flag": torch.tensor([True, False, True]),
        "half": noise(3, 5).half(),
        "turned": noise(4, 6).T,
        "one": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "brain": noise(7).bfloat16(),
    }

    def outgoing() -> list[Outgoing]:
        return [Outgoing(n, t.dtype, tuple(t.shape), lambda t=t: iter([t])) for n, t in tensors.items()]

    (tmp_path / "a").mkdir()
    sums = write_sharded(tmp_path / "a", outgoing(), 10**6)
    there = load_file(tmp_path / "a" / "model.safetensors")
    assert sums.keys() == {"model.safetensors"}
    files = TensorFiles(tmp_path / "a")
    for name, tensor in tensors.items():
        assert (there[name].dtype, there[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(there[name], tensor)
        assert torch.equal(files.read(name), tensor)


MEMORY_PROBE = """
import json, sys
from pathlib import Path
import torch
from model.config import from_dict
from model.weight_plan import skeleton
from model.weights import Origin, import_weights
config = from_dict(json.loads(Path(sys.argv[3]).read_text()))
skeleton(config)
def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024
open("/proc/self/clear_refs", "w").write("5")  # the highest mark counts from here
before = status("VmRSS")
import_weights([Origin("from", Path(sys.argv[1]))], Path(sys.argv[2]), config, dtype=getattr(torch, sys.argv[4]))
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read from Linux")
@pytest.mark.parametrize(("kind", "most"), [("model.safetensors", 0.5), ("pytorch_model.bin", 1.3)])
def test_an_import_never_holds_the_model(kind, most, small_config, tmp_path) -> None:
    """250 MB come in; of safetensors only a tensor at a time is held, a mapped .bin counts once."""
    config = replace(small_config, width=640, heads=8, kv_heads=8, mlp=2560, layers=8, vocab_size=5000)
    tensors = {release_name(n): t.detach() for n, t in UFVideo(config).state_dict().items() if n != MEMORY_PLACES}
    (tmp_path / "given").mkdir()
    if kind.endswith(".bin"):
        torch.save(tensors, tmp_path / "given" / kind)
    else:
        save_file(tensors, tmp_path / "given" / kind)
    del tensors
    size = (tmp_path / "given" / kind).stat().st_size
    assert size > 200e6
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    call = [
        sys.executable,
        "-c",
        MEMORY_PROBE,
        *(str(tmp_path / n) for n in ("given", "in", "config.json")),
        "bfloat16",
    ]
    ran = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    print(f"{kind}: {int(ran.stdout) / size:.2f} of {size / 1e6:.0f} MB")
    assert int(ran.stdout) < most * size


# ---------------------------------------------------------------------------------------------------- inspect


def test_what_a_folder_holds_is_told_part_by_part(release, parts, weights, clip_config, tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_text(json.dumps(to_dict(clip_config)))
    paths = [release, *parts.values()]
    call = ["weights", "inspect", "--config", str(tmp_path / "config.json"), *map(str, paths)]
    assert main([*call, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in told] == ["UFVideo", "Qwen2", "SigLIP", "SAM 2.0"]
    assert told[0]["names"]["no place"].keys() == {SAM2 + name.replace("gamma", "g_weight") for name in MEMORY}
    sam2 = told[0]["parts"]["sam2"]
    count = len([name for name in weights if name.startswith("segmentation.sam2.")]) - 1
    assert (sam2["place"], sam2["no place"], sam2["dtypes"]) == (count, 4, {"bfloat16": count, "float16": 4})
    assert sum(part["tensors"] for part in told[0]["parts"].values()) == len(TensorFiles(release).stored)
    stored = TensorFiles(parts["sam2"]).stored.values()
    assert told[3]["parts"]["sam2"]["bytes"] == sum(one.bytes for one in stored)
    assert main(call) == 0
    assert "UFVideo, 3 files" in " ".join(capsys.readouterr().out.split())


def test_our_own_folders_are_measured_by_their_own_configuration(release, clip_config, tmp_path) -> None:
    import_weights(from_(release), tmp_path / "in", clip_config)
    told = inspect_weights(tmp_path / "in")
    assert told["kind"] == "multigrain"
    assert not told["names"]["other shape"]
    assert not told["names"]["unexpected"]
    assert "other shape" in json.dumps(inspect_weights(release)["names"])


# ---------------------------------------------------------------------------------------------------- runs

CORPUS = """
[corpus]
name = "lesson"
[[dataset]]
converter = "charades_sta"
root = "raw/charades_sta"
split = "train"
take = 2
"""


@pytest.fixture
def recipe(tmp_path: Path, clip_config: ModelConfig) -> Callable[..., Path]:
    """Writes a train recipe for the small model that starts from the folder ``in``."""
    write_world(tmp_path / "raw", clips=1, seed=3, datasets=("charades_sta",))
    (tmp_path / "corpus.toml").write_text(CORPUS)
    build(load_recipe(tmp_path / "corpus.toml"), tmp_path / "corpus", workers=0)

    def write(**changes: Any) -> Path:
        fields = {name: value for name, value in to_dict(clip_config).items() if name != "vocab_size"} | changes
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
        text = f'[model]\npreset = "tiny"\nweights = "in"\n{lines}\n[show]\nsamples = 0\n[stream]\nbatch_size = 1\n'
        (tmp_path / "train.toml").write_text(f'{text}[[mixture]]\ncorpus = "corpus"\n')
        return tmp_path / "train.toml"

    return write


ALONE = Ranks(0, 1, torch.device("cpu"))


def test_a_run_starts_from_an_imported_folder_and_remembers_which(
    release, weights, clip_config, recipe, tmp_path
) -> None:
    import_weights(from_(release), tmp_path / "in", clip_config)
    run = open_run(load_train_recipe(recipe(num_frames=2)), tmp_path / "run", ALONE)
    state = run.model.state_dict()
    assert all(torch.equal(state[n], t.float()) for n, t in weights.items() if n != MEMORY_PLACES)
    assert len(run.tokenizer) == clip_config.vocab_size
    hashed = json.loads((tmp_path / "run" / "run.json").read_text())["weights"]
    assert len(hashed) == 64

    with torch.no_grad():
        run.model.language.lm_head.weight.zero_()
    run.save(1, run.stream.state_dict())
    run.close()
    again = open_run(load_train_recipe(recipe(num_frames=2)), tmp_path / "run", ALONE)
    assert not again.model.language.lm_head.weight.any()  # the checkpoint's, not the folder's
    again.close()

    import_weights(from_(release), tmp_path / "other", clip_config, dtype=torch.float32)
    (tmp_path / "in").rename(tmp_path / "old")
    (tmp_path / "other").rename(tmp_path / "in")
    with pytest.raises(RecipeError, match=f"holds another run: weights was {hashed}, is "):
        open_run(load_train_recipe(recipe(num_frames=2)), tmp_path / "run", ALONE)


def test_a_recipe_for_another_model_than_its_weights_is_refused(release, clip_config, recipe, tmp_path) -> None:
    with pytest.raises(RecipeError, match=r"train.toml: \[model\]: .*in has no tokenizer/"):
        open_run(load_train_recipe(recipe()), tmp_path / "run", ALONE)
    import_weights(from_(release), tmp_path / "in", clip_config)
    with pytest.raises(RecipeError, match=r"train.toml: \[model\]: `weights`: .*`layers` is 2 there and 3 in the rec"):
        open_run(load_train_recipe(recipe(layers=3)), tmp_path / "run", ALONE)
    file = tmp_path / "in" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RecipeError, match=r"model.safetensors has \d+ bytes and not \d+; import it again"):
        open_run(load_train_recipe(recipe()), tmp_path / "run", ALONE)
    assert not (tmp_path / "run").exists()
