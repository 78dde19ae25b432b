"""``multigrain draws``: what the stream of a train recipe will deliver, from the indexes alone."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from shards.mixture import MixtureError
from shards.stream_recipe import load_stream_recipe
from shards.toml_table import RecipeError

STEPS: Final = re.compile(r"(\d*):(\d*)")


def draws(
    train_toml: Path,
    epoch: int = 0,
    steps: str | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[dict[str, Any]]:
    """One dict per draw of a rank (by default of all), in the order of delivery.

    ``steps`` is ``"A:B"``, A ≤ step < B, either end open. ``sample_keys`` is a list: the samples that share the
    draw's clip. Raises RecipeError before the first draw for whatever the call or the recipe has wrong.
    """
    if epoch < 0:
        raise RecipeError(f"--epoch {epoch}: epochs count from 0")
    if not 0 <= rank < world:
        raise RecipeError(f"--rank {rank} --world {world}: ranks count from 0 to world - 1")
    start, stop = parse_steps(steps)
    stream = load_stream_recipe(train_toml).open(rank, world)
    if start >= stream.num_steps:
        raise RecipeError(f"--steps {steps}: an epoch has {stream.num_steps} steps, counted from 0")
    try:
        stream.plan(epoch)
    except MixtureError as error:
        raise RecipeError(f"--epoch {epoch}: {error}") from None
    return (
        {
            "epoch": draw.epoch,
            "step": draw.step,
            "entry": draw.entry,
            "record_key": draw.record_key,
            "sample_keys": list(draw.sample_keys),
            "repetition": draw.repetition,
        }
        for draw in stream.draws(epoch, start, stop)
    )


def parse_steps(text: str | None) -> tuple[int, int | None]:
    """(first step, step behind the last one or None) of ``A:B``, ``A:``, ``:B``; None means all."""
    if text is None:
        return 0, None
    found = STEPS.fullmatch(text)
    if found is None:
        raise RecipeError(f"--steps {text}: write it as A:B, for example 0:10 for the first ten steps")
    start, stop = int(found[1] or 0), int(found[2]) if found[2] else None
    if stop is not None and stop <= start:
        raise RecipeError(f"--steps {text}: holds no step; B must be above A")
    return start, stop


def print_draws(
    train_toml: Path,
    epoch: int = 0,
    steps: str | None = None,
    rank: int = 0,
    world: int = 1,
    as_json: bool = False,
) -> int:
    """Print one line per draw: step, record key, sample keys, repetition, parted by tabs; or a JSON object each."""
    for draw in draws(train_toml, epoch, steps, rank, world):
        sys.stdout.write((json.dumps(draw) if as_json else _line(draw)) + "\n")
    return 0


def _line(draw: dict[str, Any]) -> str:
    return "\t".join([str(draw["step"]), draw["record_key"], ",".join(draw["sample_keys"]), str(draw["repetition"])])
