"""A train recipe: TOML → frozen dataclasses. ``[stream]`` and ``[[mixture]]`` are read in ``shards.stream_recipe``.

    [model]
    preset = "tiny"                  # tiny, small or 7b; any field of ModelConfig may follow
    tokenizer = "checkpoints/Qwen2"  # a folder; absent: a small one is trained on the mixture's words
    weights = "imported/7b"          # a folder of `ufvideo weights import`, which has its own tokenizer

    [train]
    parts = ["connector", "language"]
    lr = 2e-5

    [show]
    samples = 8

``docs/train.md`` explains every key.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model.config import FIELDS, PRESETS, ConfigError, ModelConfig, from_dict
from model.example import MAX_TEXT_TOKENS
from model.schedule import FLOOR, PEAK, WARMUP
from model.ufvideo import PARTS, RELEASE_TRAINS, parts_of
from shards.stream_recipe import StreamRecipe, stream_recipe
from shards.toml_table import RecipeError, Table, nearest, read_toml

TABLES: Final = ("model", "train", "show", "stream", "mixture")
PRECISIONS: Final = ("auto", "fp32", "bf16")


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """``[train]``; lr, warmup, lr_floor, weight_decay, clip and max_text_tokens are the release's.

    (``train_1121v1.sh``, ``zero2.json``. It has micro-batches of 2, checkpoints activations, and reads with 2 workers.)
    """

    parts: tuple[str, ...] = RELEASE_TRAINS
    lr: float = PEAK
    warmup: float = WARMUP
    lr_floor: float = FLOOR
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    clip: float = 1.0
    object_score: float = 0.0
    micro_batch: int = 1
    precision: str = "auto"
    checkpoint_activations: bool = False
    max_text_tokens: int = MAX_TEXT_TOKENS
    seed: int = 0
    save_every: int = 100
    keep: int = 4
    workers: int = 4


HOUSEKEEPING: Final = ("save_every", "keep", "workers", "checkpoint_activations", "max_text_tokens")
"""Settings that change nothing in what is learned, so a run may be resumed with other values."""


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """A whole train recipe. ``config.vocab_size`` counts only once the tokenizer is known."""

    path: Path
    config: ModelConfig
    tokenizer: Path | None
    tokenizer_size: int
    train: TrainSettings
    show_samples: int
    stream: StreamRecipe
    weights: Path | None = None


def load_train_recipe(path: Path) -> TrainRecipe:
    """The train recipe at ``path``. Raises RecipeError naming the file, the table, the key and the remedy."""
    raw = read_toml(path)
    for name in raw:
        if name not in TABLES:
            hint = nearest(name, TABLES) or f"; there are {', '.join(TABLES)}"
            raise RecipeError(f"{path}: a train recipe has no table {name!r}{hint}")
    model = Table.one(path, raw, "model")
    config = _config(model)
    settings = _settings(Table.one(path, raw, "train"), config)
    if settings.object_score:  # a score that is trained is used
        config = dataclasses.replace(config, object_score=True)
    show = Table.one(path, raw, "show")
    show.known(("samples",))
    tokenizer, weights = model.text("tokenizer", None), model.text("weights", None)
    return TrainRecipe(
        path=path,
        config=config,
        tokenizer=None if tokenizer is None else path.parent / tokenizer,
        tokenizer_size=model.whole("tokenizer_size", 4096, least=256),
        train=settings,
        show_samples=show.whole("samples", 8, least=0),
        stream=stream_recipe(path, raw),
        weights=None if weights is None else path.parent / weights,
    )


def _config(table: Table) -> ModelConfig:
    allowed = ("preset", "tokenizer", "tokenizer_size", "weights", *(name for name in FIELDS if name != "vocab_size"))
    table.known(allowed)
    table.required(("preset",))
    preset = table.choice("preset", "7b", PRESETS)
    changes = {key: value for key, value in table.raw.items() if key in FIELDS}
    try:
        return from_dict(changes, PRESETS[preset])
    except ConfigError as error:
        raise RecipeError(f"{table.path}: {table.where}: {error}") from None


def _settings(table: Table, config: ModelConfig) -> TrainSettings:
    default = TrainSettings()
    table.known(field.name for field in dataclasses.fields(TrainSettings))
    return TrainSettings(
        parts=_parts(table, config),
        lr=table.number("lr", default.lr, above=0),
        warmup=table.share("warmup", default.warmup),
        lr_floor=table.share("lr_floor", default.lr_floor),
        weight_decay=table.number("weight_decay", default.weight_decay, least=0),
        beta1=_beta(table, "beta1", default.beta1),
        beta2=_beta(table, "beta2", default.beta2),
        clip=table.number("clip", default.clip, above=0),
        object_score=table.number("object_score", default.object_score, least=0),
        micro_batch=table.whole("micro_batch", default.micro_batch, least=1),
        precision=table.choice("precision", default.precision, PRECISIONS),
        checkpoint_activations=table.flag("checkpoint_activations", default.checkpoint_activations),
        max_text_tokens=table.whole("max_text_tokens", default.max_text_tokens, least=1),
        seed=table.whole("seed", default.seed),
        save_every=table.whole("save_every", default.save_every, least=1),
        keep=table.whole("keep", default.keep, least=1),
        workers=table.whole("workers", default.workers, least=1),
    )


def _beta(table: Table, key: str, default: float) -> float:
    """A share below 1, as AdamW wants it."""
    value = table.share(key, default)
    if value == 1:
        raise table.wrong(key, "below 1")
    return value


def _parts(table: Table, config: ModelConfig) -> tuple[str, ...]:
    names = table.names("parts")
    if names is None:
        return RELEASE_TRAINS
    names = (names,) if isinstance(names, str) else names
    if names == ("all",):
        return parts_of(config)
    if "memory" in names and not config.memory:
        raise table.wrong("parts", 'a list with "memory" unless [model] says `memory = true`')
    for name in names:
        if name not in PARTS:
            raise table.wrong("parts", f'"all" or a list of {", ".join(PARTS)}{nearest(name, PARTS)}')
    return names


def learned_by(settings: TrainSettings) -> dict[str, Any]:
    """The settings that decide what is learned, as JSON: a run is resumed only where they are the same."""
    told = dataclasses.asdict(settings)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in told.items() if name not in HOUSEKEEPING}
