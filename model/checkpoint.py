"""Checkpoints: a run goes on from one as if it had never stopped, and half a checkpoint is never taken for one.

``<run>/checkpoints/step-000100/`` was taken after 100 steps and holds

- ``model.safetensors``: every tensor of the model's ``state_dict``, in its own dtype;
- ``optimizer.pt``: the optimizer's ``state_dict``;
- ``rng.pt``: the random states of Python, torch and the current CUDA device;
- ``state.json``: the step, the names of the optimized parameters, and what the trainer wants kept;
- ``sha256.json``: size and checksum of each of these.

It is written to a ``.partial`` folder, synced and renamed; a kill leaves a ``.partial``, which the next save removes.
One process writes: model and optimizer are whole on it, and the random states are its own.
"""

import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

FORMAT: Final = 1
"""Raised when a file of a checkpoint changes its meaning."""
FOLDER: Final = "checkpoints"
MODEL, OPTIMIZER, RNG, STATE, SUMS = "model.safetensors", "optimizer.pt", "rng.pt", "state.json", "sha256.json"
STEP_NAME: Final = re.compile(r"step-(\d{6,})")
PARTIAL: Final = ".partial"
DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The safetensors names of the dtypes that a model's state has."""


class CheckpointError(ValueError):
    """A checkpoint is damaged or belongs to something else; the message says what, and what to do."""


# --------------------------------------------------------------------------------------------- writing


def save(run: Path, step: int, model: nn.Module, optimizer: Optimizer, state: Mapping[str, Any]) -> Path:
    """Write the checkpoint after ``step`` finished steps and return its folder.

    ``state`` is what the trainer wants back from ``load``, as JSON: epoch, the stream's ``state_dict``, the run's
    fingerprint. A checkpoint of the same step is replaced. Raises ValueError for a ``state`` that JSON would change,
    before anything is written.
    """
    rng = _rng_states()  # before anything else can draw
    text = _state_text(step, _optimized(model, optimizer), state)
    checkpoints = run / FOLDER
    checkpoints.mkdir(parents=True, exist_ok=True)
    _remove_partials(checkpoints)

    folder = checkpoints / f"step-{step:06d}"
    partial = checkpoints / (folder.name + PARTIAL)
    partial.mkdir()
    # Dense copies, since safetensors knows no strides; load copies into the model's own layout.
    save_file({name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}, partial / MODEL)
    torch.save(optimizer.state_dict(), partial / OPTIMIZER)
    torch.save(rng, partial / RNG)
    (partial / STATE).write_text(text, encoding="utf-8")
    (partial / SUMS).write_text(json.dumps(_sums(partial), indent=1), encoding="utf-8")
    _publish(partial, folder)
    return folder


def _state_text(step: int, optimized: list[list[str]], state: Mapping[str, Any]) -> str:
    if "step" in state:
        raise ValueError("the state contains `step`, which the checkpoint writes itself; leave it out")
    text = json.dumps({"format": FORMAT, "step": step, "optimized": optimized, "state": dict(state)}, allow_nan=False)
    if json.loads(text)["state"] != state:
        raise ValueError("the state would come back changed from JSON; use lists and string keys, no tuples")
    return text


def _optimized(model: nn.Module, optimizer: Optimizer) -> list[list[str]]:
    """The parameters' names by group, in the optimizer's order: its own file knows them only by number."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [[names.get(parameter, "?") for parameter in group["params"]] for group in optimizer.param_groups]


def _sums(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file in ``folder``; each is synced first, so that the sums are of what the disk has."""
    return {path.name: {"bytes": _sync(path), "sha256": _sha256(path)} for path in sorted(folder.iterdir())}


def _publish(partial: Path, folder: Path) -> None:
    """Give ``partial`` its final name; all that it holds is on the disk before, the name itself after."""
    _sync(partial / SUMS)
    _sync(partial)
    if folder.exists():  # a damaged one, or an older run's: a folder cannot be renamed onto another
        folder.rename(folder.with_name(f"{folder.name}.old{PARTIAL}"))
    partial.rename(folder)
    _sync(folder.parent)
    _remove_partials(folder.parent)


def _sync(path: Path) -> int:
    """Wait until the file or folder is on the disk; its size in bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --------------------------------------------------------------------------------------------- which ones there are


def latest(run: Path) -> Path | None:
    """The whole checkpoint with the highest step: all files there, in their sizes. None if the run has none."""
    return max(_whole(run), key=_step, default=None)


def prune(run: Path, keep: int) -> None:
    """Remove all whole checkpoints but the ``keep`` latest. A damaged one stays, for a person to look at."""
    if keep < 1:
        raise ValueError(f"keep is {keep}; a run keeps at least 1 checkpoint to go on from")
    _remove_partials(run / FOLDER)  # one of a killed save may stand where a folder is moved to
    for folder in sorted(_whole(run), key=_step)[:-keep]:
        folder.rename(folder.with_name(folder.name + PARTIAL))  # a kill must not leave half of it under its name
    _remove_partials(run / FOLDER)


def _whole(run: Path) -> list[Path]:
    folders = (run / FOLDER).iterdir() if (run / FOLDER).is_dir() else ()
    return [folder for folder in folders if STEP_NAME.fullmatch(folder.name) and not _damage(folder)]


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _remove_partials(checkpoints: Path) -> None:
    for leftover in checkpoints.glob(f"step-*{PARTIAL}"):
        shutil.rmtree(leftover)


def _damage(folder: Path) -> str:
    """What makes the folder no whole checkpoint, by names and sizes alone; empty for a whole one."""
    try:
        sums = json.loads((folder / SUMS).read_bytes())
        sizes = {name: entry["bytes"] for name, entry in sums.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return f"{SUMS} is missing or cannot be read"
    if absent := {MODEL, OPTIMIZER, RNG, STATE} - sizes.keys():
        return f"{SUMS} lacks {', '.join(sorted(absent))}"
    for name, size in sizes.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if (folder / name).stat().st_size != size:
            return f"{name} has {(folder / name).stat().st_size:,} bytes and not {size:,}"
    return ""


# --------------------------------------------------------------------------------------------- reading


def load(folder: Path, model: nn.Module, optimizer: Optimizer | None) -> dict[str, Any]:
    """Put the checkpoint into ``model``, ``optimizer`` and the random generators; ``save``'s state with its ``step``.

    Without an optimizer only the weights are read, as an evaluation wants it. Model and optimizer are built as they
    were for the run, on any device. Raises CheckpointError, before anything is changed, if a checksum is wrong, a
    tensor is missing or unexpected or has another shape or dtype, or the optimizer has other parameters.
    """
    _check_sums(folder)
    kept = json.loads((folder / STATE).read_bytes())
    if kept["format"] != FORMAT:
        raise CheckpointError(
            f"{folder}: format {kept['format']!r}, this version reads {FORMAT}: resume with the version that wrote it"
        )
    if optimizer is not None:
        _check_optimized(folder, kept["optimized"], _optimized(model, optimizer))
    _load_model(folder, model)
    if optimizer is not None:
        _load_optimizer(folder, optimizer)
        _restore_rng(torch.load(folder / RNG, map_location="cpu", weights_only=True))
    return {"step": kept["step"], **kept["state"]}


def _check_sums(folder: Path) -> None:
    remedy = "remove this folder, so that the one before it counts, or copy it again"
    if damage := _damage(folder):
        raise CheckpointError(f"{folder} is no whole checkpoint: {damage}; {remedy}")
    for name, entry in json.loads((folder / SUMS).read_bytes()).items():
        if _sha256(folder / name) != entry["sha256"]:
            raise CheckpointError(f"{folder / name}: the checksum is not that of {SUMS}; {remedy}")


def _load_model(folder: Path, model: nn.Module) -> None:
    """Copied tensor by tensor, so that the host never holds the model twice."""
    targets = model.state_dict()
    try:
        with safe_open(folder / MODEL, "pt") as file:
            _check_tensors(folder, file, targets)
            for name, target in targets.items():
                target.copy_(file.get_tensor(name))
    except SafetensorError as error:
        remedy = "remove this folder, so that the one before it counts"
        raise CheckpointError(f"{folder / MODEL}: {error}; {remedy}") from error


def _check_tensors(folder: Path, file: Any, targets: Mapping[str, Tensor]) -> None:
    stored = set(file.keys())
    remedy = "build the model with the run's own configuration"
    if missing := targets.keys() - stored:
        raise CheckpointError(f"{folder / MODEL} lacks {_some(missing)}; {remedy}")
    if unexpected := stored - targets.keys():
        raise CheckpointError(f"{folder / MODEL} holds {_some(unexpected)}, unknown to the model; {remedy}")
    for name, target in targets.items():
        piece = file.get_slice(name)
        stored_as = DTYPES.get(piece.get_dtype()), tuple(piece.get_shape())
        wanted = target.dtype, tuple(target.shape)
        if stored_as != wanted:
            raise CheckpointError(f"{folder / MODEL}: {name} is {stored_as}, in the model {wanted}; {remedy}")


def _some(names: Iterable[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def _check_optimized(folder: Path, stored: list[list[str]], given: list[list[str]]) -> None:
    for their, our in zip_longest(_places(stored), _places(given), fillvalue="nothing"):
        if their != our:
            raise CheckpointError(
                f"{folder / OPTIMIZER} has {their} where the optimizer has {our}; build the optimizer as the run did"
            )


def _places(groups: list[list[str]]) -> list[str]:
    return [f"{name} in group {number}" for number, names in enumerate(groups) for name in names]


def _load_optimizer(folder: Path, optimizer: Optimizer) -> None:
    """``load_state_dict``, with moments in the dtype that they were saved in: torch casts them to the parameter's."""
    # Mapped, not read: 8 ranks of the 7B model would otherwise hold 512 GB of moments on the host at once.
    stored = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True, mmap=True)
    optimizer.load_state_dict(stored)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, moments in stored["state"].items():
        own = optimizer.state[parameters[number]]
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and own[name].dtype != moment.dtype:
                own[name] = moment.to(own[name].device)


# --------------------------------------------------------------------------------------------- random states


def _rng_states() -> dict[str, Any]:
    """Of this process. CUDA's generator counts too: dropout draws from it; None where there is no GPU."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def _restore_rng(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
