"""What several tests of the model share: a small model, weights by formula, the golden cases beside the project."""

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from model.config import ModelConfig
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"

CHECKPOINT_PREFIXES = {
    "model.vision_tower.vision_tower.vision_model.": "vision.siglip.",
    "model.mm_projector.": "connector.",
    "model.region_encoder.": "regions.",
    "model.text_hidden_fcs.0.": "segmentation.project.",
    "model.mask_encoder.sam2_model.": "segmentation.sam2.",
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """At these sizes threads wait for each other: case d takes half a second with one, 15 with two on busy cores."""
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Case:
    """A golden case: its description, and its tensors by name."""

    about: dict[str, Any]
    tensors: dict[str, Tensor]

    def weights(self) -> dict[str, Tensor]:
        return {name.removeprefix("w."): tensor for name, tensor in self.tensors.items() if name.startswith("w.")}


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Case]:
    """Reads a case by its file's name; skips where the golden folder is not beside the project."""

    def read(name: str) -> Case:
        return Case(json.loads(golden_file(f"{name}.json").read_bytes()), load_file(golden_file(f"{name}.safetensors")))

    return read


@pytest.fixture(scope="session")
def golden_json() -> Callable[[str], Any]:
    return lambda name: json.loads(golden_file(f"{name}.json").read_bytes())


def golden_file(name: str) -> Path:
    if not (GOLDEN / name).is_file():
        pytest.skip(f"the official code's numbers are not here: {GOLDEN / name}")
    return GOLDEN / name


@pytest.fixture(scope="session")
def our_name() -> Callable[[str], str]:
    """A tensor's name in the release's checkpoints → its name in our model."""

    def rename(name: str) -> str:
        for theirs, ours in CHECKPOINT_PREFIXES.items():
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return f"language.{name}"

    return rename


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    return smallest_config()


def smallest_config() -> ModelConfig:
    """Every part in its smallest form: 5 x 5 patches (odd, so a row and a column drop out), masks of 64 pixels."""
    return ModelConfig(
        num_frames=4,
        image_size=70,
        vision_width=16,
        vision_layers=2,
        vision_heads=2,
        vision_mlp=32,
        connector_depth=1,
        width=32,
        layers=2,
        heads=4,
        kv_heads=2,
        mlp=48,
        vocab_size=64,
        mask_image_size=64,
        hiera_width=8,
        hiera_heads=1,
        hiera_stages=(1, 2, 1, 1),
        hiera_windows=(8, 4, 4, 2),
        hiera_global_blocks=(2,),
        mask_width=32,
    )


@pytest.fixture(scope="session")
def filled() -> Callable[[nn.Module], nn.Module]:
    """Gives a module weights by formula, the same on every version of torch."""
    return fill_by_formula


def fill_by_formula(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            noise = even_noise(tensor.numel(), zlib.crc32(name.encode())).view_as(tensor)
            if tensor.dim() > 1:
                tensor.copy_(noise * (3 / tensor[0].numel()) ** 0.5)
            else:  # a norm's scale, or a bias
                tensor.copy_(noise * 0.1 + name.endswith("weight"))
    return module


@pytest.fixture(scope="session")
def noise() -> Callable[..., Tensor]:
    """noise(2, 3, seed=1): a float32 tensor of that shape, in -1…1, without a random generator."""
    return lambda *shape, seed=0: even_noise(math.prod(shape), 7919 * seed + 1).reshape(shape).float()


def even_noise(size: int, seed: int) -> Tensor:
    """Numbers in -1…1 from a hash of their index, in whole numbers only; float64."""
    hashed = (torch.arange(size, dtype=torch.int64) * 2654435761 + seed) & 0xFFFFFFFF
    for shift in (15, 13):
        hashed = ((hashed ^ (hashed >> shift)) * 739982445) & 0xFFFFFFFF
    return (hashed ^ (hashed >> 16)).double() / 2**31 - 1


# ---------------------------------------------------------------------------------- painted clips (small_clips.py)


@pytest.fixture(scope="session")
def clip_words() -> Tokenizer:
    """A tokenizer of the bytes and a few words."""
    return Tokenizer.train(["Where is the dog, and what does it do? Here: it runs.\n"] * 3, 300)


@pytest.fixture(scope="session")
def clip_config(small_config: ModelConfig, clip_words: Tokenizer) -> ModelConfig:
    return replace(small_config, vocab_size=len(clip_words))


@pytest.fixture(scope="session")
def clip_model(clip_config: ModelConfig, filled: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The whole model with weights by formula; nobody may change them."""
    return filled(UFVideo(clip_config)).eval()
