"""Our weights as a folder in the release's names and layout; the way back from ``model.weights``."""

import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.config import ModelConfig, to_dict
from model.weight_files import SHARD_BYTES, UNUSED, Outgoing, TensorFiles, WeightsError, write_sharded
from model.weight_folders import (
    CONFIG,
    OURS,
    RELEASE_CONFIG,
    claim,
    config_at,
    json_at,
    new_folder,
    tokenizer_folder,
    write_json,
)
from model.weight_names import MEMORY_PLACES, our_name, release_name
from model.weight_plan import shapes_of, skeleton


def export_weights(
    folder: Path,
    to: Path,
    *,
    unused: Path | None = None,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, int]:
    """Write an imported folder or a run's checkpoint to ``to`` in the release's names and layout; counts of tensors.

    What our model has no place for comes from ``unused``, an imported folder, by default ``folder`` itself. Raises
    WeightsError where tensors of the model are missing or do not belong to it.
    """
    claim(to)
    config = config_at(folder)
    if config is None:
        raise WeightsError(f"{folder} is neither an imported folder nor a run's checkpoint; name one of these")
    files = TensorFiles(folder)
    extra = (
        TensorFiles(unused / UNUSED if unused else folder / UNUSED) if unused or (folder / UNUSED).is_file() else None
    )
    kept = _releasable(extra) if extra else {}
    tensors = [
        _outgoing(release_name(name), files, name, dtype)
        for name in _model_names(files, config)
        if name != MEMORY_PLACES or config.memory or (kept and release_name(name) not in kept)
    ]
    if extra is not None:
        tensors += [_outgoing(new, extra, old, dtype) for new, old in sorted(kept.items())]

    partial_to = new_folder(to.with_name(f"{to.name}.partial"))
    write_sharded(partial_to, tensors, shard_bytes)
    if (tokenizer := tokenizer_folder(folder)) is not None:
        shutil.copytree(tokenizer, partial_to, dirs_exist_ok=True)
    told = json_at((unused or folder) / RELEASE_CONFIG) or _qwen2_config(config)
    # What the release's file says of a tied head or of a dtype need not be so any more.
    told = {name: value for name, value in told.items() if name not in ("dtype", "torch_dtype")}
    ours = {"vocab_size": config.vocab_size, "tie_word_embeddings": False, OURS: to_dict(config)}
    write_json(partial_to / CONFIG, {**told, **ours})
    if to.exists():
        to.rmdir()
    partial_to.replace(to)
    return {"model": len(tensors) - len(kept), "unused": len(kept)}


def _model_names(files: TensorFiles, config: ModelConfig) -> list[str]:
    """The model's tensors in its own order; WeightsError where the files lack one or hold another shape."""
    shapes = shapes_of(skeleton(config))
    for name, shape in shapes.items():
        if (stored := files.stored.get(name)) is None:
            raise WeightsError(f"{files.path} lacks {name}; take an earlier checkpoint, or import again")
        if stored.shape != shape:
            raise WeightsError(
                f"{stored.file}: {name} is {list(stored.shape)}, {list(shape)} by its configuration; import it again"
            )
    return list(shapes)


def _releasable(extra: TensorFiles) -> dict[str, str]:
    found = {}
    for name in extra.stored:
        ours = our_name(name)
        if ours is None:
            raise WeightsError(f"{extra.path}: {name} has no name in the release; take the file that an import wrote")
        found[release_name(ours)] = name
    return found


def _outgoing(name: str, files: TensorFiles, stored_as: str, dtype: torch.dtype | None) -> Outgoing:
    stored = files.stored[stored_as]
    return Outgoing(name, dtype or stored.dtype, stored.shape, partial(_one, files, stored_as))


def _one(files: TensorFiles, name: str) -> Iterable[Tensor]:
    yield files.read(name)


def _qwen2_config(config: ModelConfig) -> dict[str, Any]:
    """What transformers needs to read the language model; the release's own keys are in its config.json alone."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": config.width,
        "intermediate_size": config.mlp,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": False,
    }
