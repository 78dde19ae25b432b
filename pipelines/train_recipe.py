"""The part of a train recipe that the stream reads: ``[[mixture]]`` and ``[stream]``.

    [stream]
    seed = 17              # default 0
    batch_size = 64        # draws of a step, over all ranks; default 8
    epochs = 2             # default 1; for a mixture by repeat
    # or: steps = 10_000   # for a mixture by weight

    [[mixture]]
    corpus = "../corpora/five"
    entry = ["mevis-train", "vidstg-train"]
    repeat = 5

Every other table belongs to the learner and is left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.recipe import RecipeError, nearest, read_toml
from shards.mixture import FILTERS, Mixture, MixtureError, Source, check_steps
from shards.stream import Stream

MIXTURE_KEYS: Final = ("corpus", *FILTERS, "repeat", "weight")
STREAM_KEYS: Final = ("seed", "batch_size", "steps", "epochs")


@dataclass(frozen=True, slots=True)
class StreamRecipe:
    """What a train recipe says about its stream; ``batch_size`` in draws of a step over all ranks."""

    path: Path
    mixture: Mixture
    seed: int = 0
    batch_size: int = 8
    steps: int | None = None
    epochs: int = 1

    def open(self, rank: int = 0, world: int = 1) -> Stream:
        """The stream of one rank. Raises CorpusError, and RecipeError for sources that select nothing."""
        try:
            return Stream(
                self.mixture, seed=self.seed, batch_size=self.batch_size, rank=rank, world=world,
                steps=self.steps, epochs=self.epochs,
            )  # fmt: skip
        except MixtureError as error:
            raise RecipeError(f"{self.path}: {error}") from None


def load_stream_recipe(path: Path) -> StreamRecipe:
    """The stream of the train recipe at ``path``. Raises RecipeError naming the file, the key and the remedy."""
    raw = read_toml(path)
    _check_tables(path, raw)
    tables, stream = raw.get("mixture"), raw.get("stream", {})
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise RecipeError(f"{path}: [[mixture]] is missing: a train recipe names at least one corpus")
    if not isinstance(stream, dict):
        raise RecipeError(f"{path}: [stream] is not a table")
    _check_keys(path, "[stream]", stream, STREAM_KEYS)
    numbers = {key: _whole(path, "[stream]", stream, key) for key in STREAM_KEYS if key in stream}
    try:
        sources = [_source(path, f"[[mixture]] number {i}", table) for i, table in enumerate(tables, 1)]
        recipe = StreamRecipe(path, Mixture(tuple(sources)), **numbers)
        check_steps(recipe.mixture, batch_size=recipe.batch_size, steps=recipe.steps, epochs=recipe.epochs)
    except MixtureError as error:
        raise RecipeError(f"{path}: {error}") from None
    return recipe


def _check_tables(path: Path, raw: Mapping[str, Any]) -> None:
    """Refuse ``[streams]`` and ``[[mixtures]]``, which would pass for tables of the learner."""
    for name in raw:
        for ours in {"mixture", "stream"} - raw.keys():
            if hint := nearest(name, (ours,)):
                raise RecipeError(f"{path}: {ours!r} is missing, but there is {name!r}{hint}")


def _source(path: Path, where: str, table: Mapping[str, Any]) -> Source:
    _check_keys(path, where, table, MIXTURE_KEYS)
    corpus = table.get("corpus")
    if not isinstance(corpus, str) or not corpus:
        raise RecipeError(f"{path}: {where}: `corpus` is {corpus!r}, not the path of a corpus")
    return Source(
        corpus if "://" in corpus else path.parent / corpus,
        *(_names(path, where, table, key) for key in FILTERS),
        repeat=_whole(path, where, table, "repeat") if "repeat" in table else None,
        weight=_weight(path, where, table),
    )


def _check_keys(path: Path, where: str, table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in table:
        if key not in allowed:
            hint = nearest(key, allowed) or f"; allowed: {', '.join(allowed)}"
            raise RecipeError(f"{path}: {where} has no key `{key}`{hint}")


def _names(path: Path, where: str, table: Mapping[str, Any], key: str) -> str | tuple[str, ...] | None:
    """A filter: one name, or a list of names of which any passes; None where it is absent."""
    value = table.get(key)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise RecipeError(f"{path}: {where}: `{key}` is {value!r}, not a name or a list of names")


def _whole(path: Path, where: str, table: Mapping[str, Any], key: str) -> int:
    value = table[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecipeError(f"{path}: {where}: `{key}` is {value!r}, not a whole number")
    return value


def _weight(path: Path, where: str, table: Mapping[str, Any]) -> float | None:
    value = table.get("weight")
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise RecipeError(f"{path}: {where}: `weight` is {value!r}, not a number")
    return None if value is None else float(value)
