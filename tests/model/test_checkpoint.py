"""Checkpoints give back every bit, and nothing half-written counts."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model import checkpoint
from model.checkpoint import CheckpointError, latest, load, prune, save

STATE = {"epoch": 1, "stream": {"version": 1, "step": 7}, "fingerprint": "ab12"}


def mlp(width: int = 8, bf16: bool = False) -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.5), nn.ReLU(), nn.Linear(width, 2))
    return layers.to(torch.bfloat16) if bf16 else layers


def adamw(model: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Draws from both generators: dropout from torch's, the scale of the batch from Python's."""
    dtype = next(model.parameters()).dtype
    for _ in range(steps):
        loss = model(torch.randn(3, 4, dtype=dtype) * random.random()).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def trained(steps: int, seed: int = 0, **shape: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    random.seed(seed)
    model = mlp(**shape)
    optimizer = adamw(model)
    train(model, optimizer, steps)
    return model, optimizer


def saved(run: Path, step: int) -> Path:
    return save(run, step, *trained(1), STATE)


def bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[torch.dtype, bytes]]:
    moments = {
        f"{number}.{name}": moment
        for number, entry in optimizer.state_dict()["state"].items()
        for name, moment in entry.items()
    }
    tensors = model.state_dict() | moments
    return {name: (one.dtype, one.flatten().view(torch.uint8).numpy().tobytes()) for name, one in tensors.items()}


# --------------------------------------------------------------------------------------------- the round trip


@pytest.mark.parametrize("bf16", [False, True])
def test_a_stopped_and_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path, bf16):
    whole = trained(5, bf16=bf16)
    train(*whole, steps=5)

    folder = save(tmp_path, 5, *trained(5, bf16=bf16), STATE)
    resumed = trained(2, seed=9, bf16=bf16)
    load(folder, *resumed)
    train(*resumed, steps=5)

    assert bits(*resumed) == bits(*whole)
    assert bits(*resumed) != bits(*trained(5, bf16=bf16))


def test_without_its_random_states_a_resumed_run_would_differ(tmp_path, monkeypatch):
    whole = trained(5)
    train(*whole, steps=5)
    folder = save(tmp_path, 5, *trained(5), STATE)
    monkeypatch.setattr(checkpoint, "_restore_rng", lambda states: None)
    resumed = trained(2, seed=9)
    load(folder, *resumed)
    train(*resumed, steps=5)
    assert bits(*resumed) != bits(*whole)


def test_saving_does_not_disturb_the_run(tmp_path):
    whole = trained(5)
    train(*whole, steps=5)
    watched = trained(5)
    save(tmp_path, 5, *watched, STATE)
    train(*watched, steps=5)
    assert bits(*watched) == bits(*whole)


def test_parameters_moments_and_counters_return_into_a_fresh_optimizer(tmp_path):
    model, optimizer = trained(3)
    folder = save(tmp_path, 3, model, optimizer, STATE)
    fresh = mlp()
    other = adamw(fresh)
    load(folder, fresh, other)
    assert bits(fresh, other) == bits(model, optimizer)
    assert other.state_dict()["state"][0]["step"] == 3


def test_moments_keep_a_dtype_that_is_not_the_parameters(tmp_path):
    model, optimizer = trained(3)
    for entry in optimizer.state.values():
        entry["exp_avg"] = entry["exp_avg"].bfloat16()
    folder = save(tmp_path, 3, model, optimizer, STATE)
    resumed = trained(1, seed=9)
    load(folder, *resumed)
    assert bits(*resumed) == bits(model, optimizer)


def test_a_weight_in_another_memory_layout_keeps_its_values_and_its_layout(tmp_path):
    def convolution() -> nn.Module:
        return nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    model, other = convolution(), convolution()
    load(save(tmp_path, 1, model, adamw(model), STATE), other, None)
    weight = other.state_dict()["weight"]
    assert torch.equal(weight, model.state_dict()["weight"])
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_the_state_returns_with_its_step(tmp_path):
    folder = save(tmp_path, 100, *trained(1), STATE)
    assert folder == tmp_path / "checkpoints" / "step-000100"
    assert load(folder, *trained(1)) == STATE | {"step": 100}


def test_without_an_optimizer_only_the_weights_are_read(tmp_path):
    model, optimizer = trained(3)
    folder = save(tmp_path, 3, model, optimizer, STATE)
    fresh, before = mlp(), torch.get_rng_state()
    load(folder, fresh, None)
    assert all(torch.equal(fresh.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("state", [{"a": (1, 2)}, {"a": {1: 2}}, {"a": float("nan")}, {"step": 3}])
def test_a_state_that_would_not_return_as_it_is_is_refused_before_anything_is_written(tmp_path, state):
    with pytest.raises(ValueError):
        save(tmp_path, 1, *trained(1), state)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------- what counts


class Killed(BaseException):
    """Stands for kill -9: nobody catches it, nothing is cleaned up."""


def dies(*_: Any, **__: Any) -> None:
    raise Killed


DEATHS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the weights": lambda patch: patch.setattr(checkpoint, "save_file", dies),
    "before the optimizer": lambda patch: patch.setattr(torch, "save", dies),
    "before the checksums": lambda patch: patch.setattr(checkpoint, "_sums", dies),
    "before the rename": lambda patch: patch.setattr(checkpoint, "_publish", dies),
    "at the rename": lambda patch: patch.setattr(Path, "rename", dies),
}


@pytest.mark.parametrize("moment", DEATHS)
def test_a_kill_while_saving_leaves_the_checkpoint_before_as_the_latest(tmp_path, monkeypatch, moment):
    before = saved(tmp_path, 10)
    with monkeypatch.context() as patch:
        DEATHS[moment](patch)
        with pytest.raises(Killed):
            saved(tmp_path, 20)
    assert latest(tmp_path) == before
    assert (tmp_path / "checkpoints" / "step-000020.partial").exists()

    after = saved(tmp_path, 30)
    assert sorted((tmp_path / "checkpoints").iterdir()) == [before, after]


def test_every_file_is_on_the_disk_before_the_folder_gets_its_name(tmp_path, monkeypatch):
    events: list[str] = []
    sync, rename = checkpoint._sync, Path.rename
    monkeypatch.setattr(checkpoint, "_sync", lambda path: events.append(f"sync {path.name}") or sync(path))
    monkeypatch.setattr(Path, "rename", lambda path, to: events.append(f"rename {path.name}") or rename(path, to))
    folder = saved(tmp_path, 1)
    at = events.index("rename step-000001.partial")
    assert {event.removeprefix("sync ") for event in events[:at]} == {
        *(path.name for path in folder.iterdir()),
        "step-000001.partial",
    }
    assert events[at + 1 :] == ["sync checkpoints"]


FILES = ["model.safetensors", "optimizer.pt", "rng.pt", "state.json", "sha256.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("missing", [False, True])
def test_a_folder_with_a_cut_or_missing_file_does_not_count_and_does_not_load(tmp_path, name, missing):
    before, damaged = saved(tmp_path, 10), saved(tmp_path, 20)
    file = damaged / name
    whole = file.read_bytes()
    file.unlink()
    if not missing:
        file.write_bytes(whole[:-1])
    assert latest(tmp_path) == before
    with pytest.raises(CheckpointError, match=name):
        load(damaged, *trained(1))


def test_the_latest_is_the_highest_step_and_not_the_last_name(tmp_path):
    assert latest(tmp_path) is None
    saved(tmp_path, 999_999)
    highest = saved(tmp_path, 1_000_000)
    (tmp_path / "checkpoints" / "step-best").mkdir()
    assert latest(tmp_path) == highest


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    (saved(tmp_path, 10) / "rng.pt").unlink()
    model, optimizer = trained(4)
    folder = save(tmp_path, 10, model, optimizer, STATE)
    resumed = trained(1)
    load(folder, *resumed)
    assert bits(*resumed) == bits(model, optimizer)
    assert list((tmp_path / "checkpoints").iterdir()) == [folder]


def test_pruning_keeps_the_latest_and_whatever_is_damaged(tmp_path):
    folders = [saved(tmp_path, step) for step in (10, 20, 30, 40)]
    (folders[1] / "rng.pt").unlink()
    (tmp_path / "checkpoints" / "step-000010.partial").mkdir()
    prune(tmp_path, keep=2)
    assert sorted((tmp_path / "checkpoints").iterdir()) == folders[1:]
    with pytest.raises(ValueError, match="at least 1"):
        prune(tmp_path, keep=0)


def test_a_kill_while_pruning_leaves_no_half_checkpoint_under_its_name(tmp_path, monkeypatch):
    old, new = saved(tmp_path, 10), saved(tmp_path, 20)
    monkeypatch.setattr(shutil, "rmtree", dies)
    with pytest.raises(Killed):
        prune(tmp_path, keep=1)
    assert not old.exists()
    assert latest(tmp_path) == new


# --------------------------------------------------------------------------------------------- what does not fit


def changed_by_failing(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, words: str) -> bool:
    before, rng = bits(model, optimizer), torch.get_rng_state()
    with pytest.raises(CheckpointError, match=words) as raised:
        load(folder, model, optimizer)
    assert "\n" not in str(raised.value)
    return bits(model, optimizer) != before or not torch.equal(torch.get_rng_state(), rng)


def test_a_flipped_bit_is_found_by_its_checksum(tmp_path):
    folder = saved(tmp_path, 10)
    whole = bytearray((folder / "model.safetensors").read_bytes())
    whole[-1] ^= 1
    (folder / "model.safetensors").write_bytes(whole)
    assert latest(tmp_path) == folder
    assert not changed_by_failing(folder, *trained(1), "checksum")


def test_a_tensor_of_another_shape_or_dtype_is_named(tmp_path):
    folder = saved(tmp_path, 10)
    assert not changed_by_failing(folder, *trained(1, width=9), r"0\.(weight|bias) is \(torch\.float32, \(8,")
    assert not changed_by_failing(folder, *trained(1, bf16=True), r"in the model \(torch\.bfloat16")


def test_a_missing_and_an_unexpected_tensor_are_named(tmp_path):
    folder = saved(tmp_path, 10)
    larger, smaller = mlp(), mlp()
    larger.register_buffer("scale", torch.ones(1))
    del smaller[3]
    with pytest.raises(CheckpointError, match="lacks scale; build"):
        load(folder, larger, None)
    with pytest.raises(CheckpointError, match=r"holds 3\.bias and 1 more, unknown"):
        load(folder, smaller, None)


def test_an_optimizer_with_its_parameters_in_another_order_is_refused(tmp_path):
    folder = saved(tmp_path, 10)
    model = mlp()
    backwards = torch.optim.AdamW(reversed(list(model.parameters())))
    assert not changed_by_failing(folder, model, backwards, r"has 0\.weight in group 0 where the optimizer has 3\.bias")
    fewer = torch.optim.AdamW(list(model.parameters())[:-1])
    assert not changed_by_failing(folder, model, fewer, r"has 3\.bias in group 0 where the optimizer has nothing")


def test_a_checkpoint_of_another_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 2)
        folder = saved(tmp_path, 10)
    assert json.loads((folder / "state.json").read_text())["format"] == 2
    assert not changed_by_failing(folder, *trained(1), "format 2")
