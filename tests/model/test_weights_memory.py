"""SAM 2's memory among the weights: every tensor has its place where memory is on, and none is lost where it is off."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.cli import main
from model.config import ModelConfig, to_dict
from model.ufvideo import UFVideo
from model.weight_export import export_weights
from model.weight_files import TensorFiles, WeightsError
from model.weight_names import our_name, release_name, sam2_version_of
from model.weights import Origin, import_weights, inspect_weights, load_weights

SAM2 = "segmentation.sam2."
ONLY_2_1 = {f"{SAM2}{name}" for name in ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")}


@pytest.fixture(scope="module")
def remembering(small_config) -> ModelConfig:
    return replace(small_config, memory=True, memory_layers=1)


@pytest.fixture(scope="module")
def model_of(filled) -> Callable[[ModelConfig], UFVideo]:
    return lambda config: filled(UFVideo(config))


@pytest.fixture(scope="module")
def release(remembering, model_of, tmp_path_factory) -> Path:
    """A UFVideo folder with all of SAM 2.0's memory, without a tokenizer."""
    folder = tmp_path_factory.mktemp("release")
    state = model_of(remembering).state_dict()
    save_file({release_name(name): tensor.bfloat16() for name, tensor in state.items()}, folder / "model.safetensors")
    return folder


def sam2_file(model: UFVideo, folder: Path) -> Path:
    torch.save({"model": dict(model.segmentation.sam2.state_dict())}, folder / "sam2.pt")
    return folder / "sam2.pt"


def tensors(folder: Path) -> dict[str, Tensor]:
    files = TensorFiles(folder)
    return {name: files.read(name) for name in files.stored}


def test_with_memory_every_name_and_shape_of_a_7b_checkpoint_has_its_place(golden_json) -> None:
    release = {name: tuple(shape) for name, shape in golden_json("ufvideo7b_tensor_names").items()}
    with torch.device("meta"):
        state = UFVideo(ModelConfig(memory=True)).state_dict()
    ours = {release_name(name): tuple(tensor.shape) for name, tensor in state.items()}
    assert ours == release
    assert len(ours) == 1808
    assert {our_name(name) for name in release} == state.keys()


def test_sam_2_1_has_three_tensors_more(remembering) -> None:
    with torch.device("meta"):
        old = UFVideo(remembering).state_dict().keys()
        new = UFVideo(replace(remembering, sam2_version="2.1")).state_dict().keys()
    assert new - old == ONLY_2_1
    assert not old - new
    assert (sam2_version_of(old), sam2_version_of(new)) == ("2.0", "2.1")
    assert all(our_name(release_name(name)) == name for name in new)


def test_with_memory_a_release_folder_comes_in_whole_and_goes_out_again(release, remembering, tmp_path) -> None:
    report = import_weights([Origin("from", release)], tmp_path / "in", remembering)
    assert {told["status"] for told in report["model"].values()} == {"loaded"}
    assert report["sources"][0]["counts"] == {"used": len(report["model"])}
    assert not (tmp_path / "in" / "unused.safetensors").exists()
    export_weights(tmp_path / "in", tmp_path / "out")
    given, got = tensors(release), tensors(tmp_path / "out")
    assert given.keys() == got.keys()
    assert all(torch.equal(given[name], got[name]) for name in given)
    assert "model.mask_encoder.sam2_model.memory_encoder.fuser.layers.0.g_weight" in got
    load_weights(tmp_path / "in", UFVideo(remembering))


def test_memory_that_an_import_set_aside_can_be_taken_up_later(release, remembering, small_config, tmp_path) -> None:
    import_weights([Origin("from", release)], tmp_path / "without", small_config)
    assert (tmp_path / "without" / "unused.safetensors").is_file()
    report = import_weights([Origin("from", tmp_path / "without")], tmp_path / "with", remembering)
    assert {told["status"] for told in report["model"].values()} == {"loaded"}
    told = report["sources"][0]["tensors"]
    gone = {name: entry for name, entry in told.items() if entry["status"] != "used"}
    assert gone.keys() == {f"{SAM2}maskmem_tpos_enc"}
    assert "stands for a memory that was not built" in gone[f"{SAM2}maskmem_tpos_enc"]["why"]
    export_weights(tmp_path / "with", tmp_path / "out")
    given, got = tensors(release), tensors(tmp_path / "out")
    assert all(torch.equal(given[name], got[name]) for name in given)


def test_memory_that_no_source_holds_is_missing_and_not_drawn(small_config, remembering, model_of, tmp_path) -> None:
    state = model_of(small_config).state_dict()
    save_file(dict(state), tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=rf"missing {SAM2}maskmem_tpos_enc and \d+ more|missing .*memory_"):
        import_weights([Origin("from", tmp_path)], tmp_path / "in", remembering)
    report = json.loads((tmp_path / "in" / "report.json").read_text())
    missing = {name for name, told in report["model"].items() if told["status"] == "missing"}
    assert missing == UFVideo(remembering).state_dict().keys() - (state.keys() - {f"{SAM2}maskmem_tpos_enc"})


@pytest.mark.parametrize("memory", [True, False])
def test_the_other_version_of_sam_2_is_refused_in_one_line(
    release, remembering, model_of, tmp_path, capsys, memory
) -> None:
    newer = replace(remembering, sam2_version="2.1")
    file = sam2_file(model_of(newer), tmp_path)
    assert inspect_weights(file, newer)["kind"] == "SAM 2.1"
    (tmp_path / "config.json").write_text(json.dumps(to_dict(replace(remembering, memory=memory))))
    call = ["weights", "import", "--config", str(tmp_path / "config.json"), "--from", str(release)]
    call += ["--sam2", str(file), "--out", str(tmp_path / "in")]
    assert main(call) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "holds SAM 2.1, the model is described with 2.0: add --set sam2_version=2.1" in said
    assert main([*call, "--set", "sam2_version=2.1"]) == 0
    report = json.loads((tmp_path / "in" / "report.json").read_text())
    assert all(told["status"] == "loaded" or not memory for told in report["model"].values())
    told = next(source for source in report["sources"] if source["kind"] == "SAM 2.1")["counts"]
    assert ("no place" in told) == (not memory)
    assert "unexpected" not in told


def test_a_field_is_set_on_the_command_line(release, small_config, tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_text(json.dumps(to_dict(replace(small_config, memory_layers=1))))
    call = ["weights", "inspect", "--config", str(tmp_path / "config.json"), str(release), "--json"]
    assert main(call) == 0
    assert json.loads(capsys.readouterr().out)[0]["parts"]["sam2"]["no place"] > 0
    assert main([*call, "--set", "memory=true"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["parts"]["sam2"]["no place"] == 0
    assert main([*call, "--set", "memory=yes"]) == 1
    assert "`memory` is 'yes', not true or false" in capsys.readouterr().err
