"""A run's folder: what is trained there, and where a stopped run goes on.

run/
  run.json          the model, the settings that decide what is learned, the plan of the stream
  tokenizer/        as transformers reads it
  checkpoints/      see model.checkpoint
  metrics.jsonl     a line per step; loss.png and tensorboard/ are drawn from the same numbers
  predictions/      what the model answered before and after; index.html shows it
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch

from model import checkpoint
from model.config import ModelConfig, to_dict
from model.distributed import Ranks
from model.recipe import TrainRecipe, TrainSettings, learned_by
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from model.weight_files import WeightsError
from model.weights import check_config, fingerprint, load_weights
from shards.stream import Stream
from shards.tokens import text_of
from shards.toml_table import RecipeError
from shards.writer import write_atomically

RUN_FILE: Final = "run.json"
LOCK_FILE: Final = ".lock"
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
    lock: BinaryIO | None
    """Held by rank 0 while the run is open, so that no second process writes into the folder."""

    def close(self) -> None:
        """Let another process have the folder."""
        if self.lock is not None:
            self.lock.close()

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
    if ranks.rank:
        ranks.barrier()
        return _open(recipe, folder, stream, ranks, None)
    # Whatever can be wrong with the recipe is found before anything is written.
    started, given = _started_from(recipe), _given_tokenizer(recipe)
    lock = _claim(folder)
    try:
        _prepare(recipe, folder, stream, given, started)
        ranks.barrier()
        return _open(recipe, folder, stream, ranks, lock)
    except BaseException:
        lock.close()
        raise


def _open(recipe: TrainRecipe, folder: Path, stream: Stream, ranks: Ranks, lock: BinaryIO | None) -> Run:
    """The run of a prepared folder."""
    tokenizer = _load_tokenizer(folder)
    config = replace(recipe.config, vocab_size=len(tokenizer))
    model = build_model(recipe, config, ranks.device)
    optimizer = build_optimizer(recipe, model)
    run = Run(folder, recipe, config, tokenizer, stream, model, optimizer, 0, _num_steps(stream), lock)
    if (last := checkpoint.latest(folder)) is not None:
        state = checkpoint.load(last, model, optimizer)
        stream.load_state_dict(state["stream"])
        run.first = state["step"]
    elif recipe.weights is not None:
        load_weights(recipe.weights, model)
    return run


def _num_steps(stream: Stream) -> int:
    """Of all epochs."""
    return stream.num_steps * stream.epochs


def build_model(recipe: TrainRecipe, config: ModelConfig, device: torch.device) -> UFVideo:
    """The model on its device, with weights from ``[train] seed``: the same on every rank of one kind of device."""
    torch.manual_seed(recipe.train.seed)
    with device:  # 8 ranks of the 7B model would need 256 GB of host memory
        model = UFVideo(config)
    model.train_parts(recipe.train.parts)
    if recipe.train.checkpoint_activations:
        # transformers 5.23 has a new name and warns of the old one; 5.17 has the old one alone.
        language: Any = model.language
        enable = getattr(language, "activation_checkpointing_enable", None) or language.gradient_checkpointing_enable
        enable({"use_reentrant": False})
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


def _started_from(recipe: TrainRecipe) -> dict[str, str]:
    """What ``run.json`` says of the imported weights: a hash of them; nothing where the run starts from none."""
    if recipe.weights is None:
        return {}
    if recipe.tokenizer is not None and (recipe.weights / TOKENIZER).is_dir():
        raise RecipeError(f"{recipe.path}: [model]: `weights` has a tokenizer of its own; leave out `tokenizer`")
    if recipe.tokenizer is None and not (recipe.weights / TOKENIZER).is_dir():
        raise RecipeError(f"{recipe.path}: [model]: {recipe.weights} has no {TOKENIZER}/; add `tokenizer`, a folder")
    try:
        check_config(recipe.weights, recipe.config)
        return {"weights": fingerprint(recipe.weights)}
    except WeightsError as error:
        raise RecipeError(f"{recipe.path}: [model]: `weights`: {error}") from None


def _prepare(
    recipe: TrainRecipe, folder: Path, stream: Stream, given: Tokenizer | None, started: dict[str, str]
) -> None:
    """Give the folder its tokenizer and ``run.json``, or see that those there are the recipe's. For rank 0 alone."""
    if not (folder / TOKENIZER).exists():
        tokenizer = given or Tokenizer.train(_texts(stream), recipe.tokenizer_size)
        partial = folder / f"{TOKENIZER}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        tokenizer.save(partial)
        partial.rename(folder / TOKENIZER)
    config = replace(recipe.config, vocab_size=len(_load_tokenizer(folder)))
    wanted = {
        "model": to_dict(config),
        "tokenizer": {"size": recipe.tokenizer_size} if given is None else {"sha256": given.digest()},
        "train": learned_by(recipe.train),
        "stream": stream.identity,
        "steps": _num_steps(stream),
        **started,
    }
    _agree(folder, wanted)


def _given_tokenizer(recipe: TrainRecipe) -> Tokenizer | None:
    """The recipe's tokenizer, or that of its weights; None where one is to be trained."""
    folder = recipe.tokenizer or (recipe.weights / TOKENIZER if recipe.weights else None)
    if folder is None:
        return None
    try:
        return Tokenizer.load(folder)
    except ValueError as error:
        raise RecipeError(f"{recipe.path}: [model]: `tokenizer`: {error}") from None


def _load_tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.load(folder / TOKENIZER)
    except ValueError as error:
        raise RecipeError(f"--out {folder}: its tokenizer is damaged ({error}); name a new folder") from None


def _claim(folder: Path) -> BinaryIO:
    """Take the folder for this process. Raises RecipeError if it holds something else, or another process has it."""
    if folder.exists() and not folder.is_dir():
        raise RecipeError(f"--out {folder} is a file; name a new folder")
    ours = (LOCK_FILE, RUN_FILE, TOKENIZER)  # a copied run may lack its hidden file
    if folder.exists() and any(folder.iterdir()) and not any((folder / name).exists() for name in ours):
        raise RecipeError(f"--out {folder} is not empty and holds no run of ours; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / LOCK_FILE).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RecipeError(f"--out {folder}: another process trains there; wait for it, or name a new folder") from None
    return lock


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
    there = read_run(folder)
    for name, defaults in (("model", to_dict(ModelConfig())), ("train", learned_by(TrainSettings()))):
        if isinstance(there.get(name), dict):  # of before a field was there: it stands for its default
            there[name] = defaults | there[name]
    differing = list(_differences(there, json.loads(json.dumps(wanted)), ""))
    if differing:
        raise RecipeError(
            f"--out {folder} holds another run: {'; '.join(differing[:4])}. Name a new folder, or put the recipe back"
        )


def read_run(folder: Path) -> dict[str, Any]:
    """What ``run.json`` says. Raises RecipeError for a damaged one."""
    try:
        told = json.loads((folder / RUN_FILE).read_text("utf-8"))
        if not isinstance(told, dict):
            raise ValueError("it holds no object")
    except ValueError as error:
        raise RecipeError(f"{folder / RUN_FILE} is damaged ({error}); copy it again, or name a new folder") from None
    return told


def _differences(before: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            yield from _differences(before.get(name), now.get(name), f"{where}.{name}".lstrip("."))
    elif before != now:
        yield f"{where} was {before}, is {now}"
