"""A run's folder: what is trained there, and where a stopped run goes on.

run/
  run.json          the model, the settings that decide what is learned, the plan of the stream
  tokenizer/        as transformers reads it
  checkpoints/      see model.checkpoint
  metrics.jsonl     a line per step; loss.png and tensorboard/ are drawn from the same numbers
  predictions/      what the model answered before and after; index.html shows it
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from model import checkpoint
from model.config import ModelConfig, to_dict
from model.distributed import Ranks
from model.recipe import TrainRecipe, learned_by
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from shards.stream import Stream
from shards.tokens import text_of
from shards.toml_table import RecipeError
from shards.writer import write_atomically

RUN_FILE: Final = "run.json"
TOKENIZER: Final = "tokenizer"
MOST_TEXTS: Final = 20_000
"""Samples that a tokenizer is trained on; more words change a small vocabulary little."""


@dataclass(slots=True)
class Run:
    """A run that is ready for its step number ``first``; steps count from 0, over all epochs."""

    folder: Path
    recipe: TrainRecipe
    config: ModelConfig
    tokenizer: Tokenizer
    stream: Stream
    model: UFVideo
    optimizer: torch.optim.AdamW
    first: int
    steps: int

    def save(self, step: int, stream_state: dict[str, Any]) -> None:
        """A checkpoint after ``step`` steps, and the oldest ones removed."""
        checkpoint.save(self.folder, step, self.model, self.optimizer, {"stream": stream_state})
        checkpoint.prune(self.folder, self.recipe.train.keep)


def open_run(recipe: TrainRecipe, folder: Path, ranks: Ranks) -> Run:
    """The run of a recipe in ``folder``: a new one, or where the last checkpoint stands.

    Raises RecipeError if the folder holds another run or something else, CorpusError for a corpus that cannot be
    read, CheckpointError for a damaged checkpoint.
    """
    stream = recipe.stream.open(ranks.rank, ranks.world)
    if ranks.rank == 0:
        _claim(folder)
        _prepare_tokenizer(recipe, folder, stream)
    ranks.barrier()
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    config = replace(recipe.config, vocab_size=len(tokenizer))
    if ranks.rank == 0:
        _agree(folder, {"model": to_dict(config), "train": learned_by(recipe), "stream": stream.identity})
    ranks.barrier()
    model = build_model(recipe, config, ranks.device)
    optimizer = build_optimizer(recipe, model)
    run = Run(folder, recipe, config, tokenizer, stream, model, optimizer, 0, stream.num_steps * stream.epochs)
    if (last := checkpoint.latest(folder)) is not None:
        state = checkpoint.load(last, model, optimizer)
        stream.load_state_dict(state["stream"])
        run.first = state["step"]
    return run


def build_model(recipe: TrainRecipe, config: ModelConfig, device: torch.device) -> UFVideo:
    """The model on its device, with weights from ``[train] seed``: the same on every rank of one kind of device."""
    torch.manual_seed(recipe.train.seed)
    with device:  # 8 ranks of the 7B model would need 256 GB of host memory
        model = UFVideo(config)
    model.train_parts(recipe.train.parts)
    if recipe.train.checkpoint_activations:
        model.language.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def build_optimizer(recipe: TrainRecipe, model: UFVideo) -> torch.optim.AdamW:
    """AdamW over what is trained (release: weight decay 0, one learning rate)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = recipe.train
    return torch.optim.AdamW(
        trained,
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=trained[0].is_cuda,
    )


def _claim(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / TOKENIZER).exists():
        raise RecipeError(f"--out {folder} is not empty and holds no run of ours; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)


def _prepare_tokenizer(recipe: TrainRecipe, folder: Path, stream: Stream) -> None:
    """Write ``tokenizer/``: the recipe's own, or one trained on the words of the mixture's first samples."""
    if (folder / TOKENIZER / "tokenizer.json").exists():
        return
    if recipe.tokenizer is not None:
        try:
            tokenizer = Tokenizer.load(recipe.tokenizer)
        except ValueError as error:
            raise RecipeError(f"{recipe.path}: [model]: `tokenizer`: {error}") from None
    else:
        tokenizer = Tokenizer.train(_texts(stream), recipe.tokenizer_size)
    tokenizer.save(folder / TOKENIZER)


def _texts(stream: Stream) -> Iterator[str]:
    """Every rendering of the mixture's first samples, each sample once, in the order of the first epoch's plan."""
    seen: set[str] = set()
    for draw in stream.peek(range(len(stream.plan(0)))):
        if draw.sample.key not in seen:
            seen.add(draw.sample.key)
            yield from (text_of(turns) for turns in draw.sample.renderings())
        if len(seen) == MOST_TEXTS:
            return


def _agree(folder: Path, wanted: dict[str, Any]) -> None:
    """Write ``run.json``, or see that the run there is the one that the recipe asks for."""
    path = folder / RUN_FILE
    if not path.exists():
        write_atomically(path, (json.dumps(wanted, indent=1) + "\n").encode("utf-8"))
        return
    there = json.loads(path.read_text("utf-8"))
    differing = list(_differences(there, json.loads(json.dumps(wanted)), ""))
    if differing:
        raise RecipeError(
            f"--out {folder} holds another run: {'; '.join(differing[:4])}. Name a new folder, or put the recipe back"
        )


def _differences(before: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            yield from _differences(before.get(name), now.get(name), f"{where}.{name}".lstrip("."))
    elif before != now:
        yield f"{where} was {before}, is {now}"
