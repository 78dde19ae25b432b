"""The part of a train recipe that the stream reads: ``[[mixture]]`` and ``[stream]``.

    [stream]
    seed = 17              # default 0
    batch_size = 64        # draws of a step, over all ranks; default 8
    epochs = 2             # default 1; for a mixture by repeat
    # or: steps = 10_000   # for a mixture by weight

    [[mixture]]
    corpus = "../corpora/five"
    entry = ["mevis-train", "vidstg-train"]
    repeat = 5             # times an epoch
    # take = 100           # only so many of the samples, always the same ones
    # exclude = "leaks.jsonl"    # samples to leave out: one JSON object with a "sample_key" on each line

Every other table belongs to the learner and is left alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shards.mixture import FILTERS, Mixture, MixtureError, Source, check_steps
from shards.stream import Stream
from shards.toml_table import RecipeError, Table, nearest, read_toml

MIXTURE_KEYS: Final = ("corpus", *FILTERS, "take", "exclude", "repeat", "weight")
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
    return stream_recipe(path, read_toml(path))


def stream_recipe(path: Path, raw: Mapping[str, Any]) -> StreamRecipe:
    """The same of a file that is parsed already; corpora are relative to the folder of ``path``. Raises RecipeError."""
    _check_tables(path, raw)
    tables = Table.several(path, raw, "mixture", "a train recipe names at least one corpus")
    stream = Table.one(path, raw, "stream")
    stream.known(STREAM_KEYS)
    numbers = {key: stream.whole(key, 0) for key in STREAM_KEYS if key in stream.raw}
    try:
        recipe = StreamRecipe(path, Mixture(tuple(_source(table) for table in tables)), **numbers)
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


def _source(table: Table) -> Source:
    table.known(MIXTURE_KEYS)
    corpus = table.text("corpus", "")
    if not corpus:
        raise table.wrong("corpus", "the path of a corpus")
    return Source(
        corpus if "://" in corpus else table.path.parent / corpus,
        *(table.names(key) for key in FILTERS),
        repeat=table.whole("repeat", None),
        weight=table.number("weight", None),
        take=table.whole("take", None),
        exclude=frozenset(key for name in _several(table.names("exclude")) for key in _listed_keys(table, name)),
    )


def _several(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names or ()


def _listed_keys(table: Table, name: str) -> Iterator[str]:
    """The sample keys of a list of samples, as ``multigrain leaks --out`` writes it; ``skipped.jsonl`` is not one."""
    path = table.path.parent / name
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise table.fail(f"`exclude` {path} cannot be read ({error}): write it with multigrain leaks --out") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _listed_key(table, f"{path}, line {number}", line)


def _listed_key(table: Table, where: str, line: str) -> str:
    try:
        key = json.loads(line)["sample_key"]
    except (ValueError, KeyError, TypeError):
        key = None
    if not isinstance(key, str):
        raise table.fail(f'`exclude` {where}: is not a JSON object with a "sample_key"')
    return key
