"""The stream: a plan delivered step by step, to any number of ranks, stopped and resumed anywhere.

The unit is the global step. Which draws it holds is settled by the plan; ranks only divide it. So the position of a
stream is two numbers, the epoch and the next step, and a state taken on 8 ranks goes on on 3. Every draw is
delivered exactly once: the last step of an epoch may be short, a rank may get an empty list in it, and every rank
gets the same number of steps. A record that cannot be read stops the stream; nothing takes its place.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute

from shards.manifest import CorpusError
from shards.media import MediaError
from shards.mixture import Array, Mixture, Plan, changes, check_steps, fingerprint, plan, plan_identity
from shards.reader import Corpus, Image
from shards.record import FormatError, Record, Sample, Turns

T = TypeVar("T")
pc: Any = pyarrow.compute  # its functions are made when it is imported, so type checkers do not know them

STATE_VERSION: Final = 1
"""Raised when the layout of a state changes, or the order of the plan for the same inputs."""
KEYS_AT_ONCE: Final = 4096


class StateError(ValueError):
    """A state does not belong to this stream; the message says what changed and what to do."""


@dataclass(frozen=True, slots=True)
class DrawKey:
    """One planned draw by its keys. ``source`` counts the mixture's sources from 0.

    ``sample_keys`` are those that share this draw's clip: one now, more once samples are packed by prefix.
    """

    epoch: int
    step: int
    source: int
    repetition: int
    entry: str
    record_key: str
    sample_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw with its record read; frames and media are read when asked for. ``row`` is the record's."""

    epoch: int
    step: int
    source: int
    repetition: int
    record: Record
    sample: Sample
    corpus: Corpus
    row: int

    @property
    def turns(self) -> Turns:
        """The rendering of this repetition: wordings follow one another and begin again."""
        renderings = self.sample.renderings()
        return renderings[self.repetition % len(renderings)]

    def frames(self, indices: Sequence[int]) -> list[Image]:
        """Decoded frames [height, width, 3], RGB, by source frame index.

        Raises CorpusError naming record and shard if they cannot be read, ValueError for an index that is not stored.
        """
        clip = self.record.clip
        stored = range(clip.num_frames) if clip.stored_frames is None else frozenset(clip.stored_frames)
        if missing := [index for index in indices if index not in stored]:
            raise ValueError(f"{self.record.key}: frame {missing[0]} is not one of the {len(stored)} stored frames")
        return _named(self.corpus, self.row, lambda: self.corpus.frames(self.row, self.record, indices))

    def media(self) -> bytes | None:
        """The clip's bytes as stored; None for a record without media. Raises CorpusError as ``frames`` does."""
        return _named(self.corpus, self.row, lambda: self.corpus.media(self.row))


class Stream:
    """This rank's part of every global step, in order: ``for draws in stream`` yields one ``list[Draw]`` per step.

    ``batch_size`` counts the draws of a step over all ranks. A mixture by repeat runs for ``epochs`` epochs; one by
    weight needs ``steps`` and has one epoch. The stream is its own iterator: a second loop goes on where the first
    stopped. Its position moves only when a step is handed out, so a state taken after step k resumes at k + 1.
    Raises MixtureError for numbers that do not fit, CorpusError for a corpus that cannot be read.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        steps: int | None = None,
        epochs: int = 1,
        open_corpus: Callable[[str | Path], Corpus] = Corpus.open,
    ) -> None:
        check_steps(mixture, batch_size=batch_size, steps=steps, epochs=epochs)
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}: ranks count from 0 to world - 1")
        self.mixture, self.seed, self.batch_size, self.steps = mixture, seed, batch_size, steps
        self.rank, self.world, self.epochs = rank, world, epochs
        self.epoch, self.step = 0, 0
        opened: dict[str, _Indexed] = {}
        for source in mixture.sources:
            if str(source.corpus) not in opened:
                opened[str(source.corpus)] = _Indexed(open_corpus(source.corpus))
        self._indexed = [opened[str(source.corpus)] for source in mixture.sources]
        self._planned = 0, self._plan_of(0)

    # --------------------------------------------------------------------------------------------- the plan

    @property
    def num_steps(self) -> int:
        """Global steps of an epoch; the same in every epoch."""
        return self._planned[1].num_steps

    def plan(self, epoch: int) -> Plan:
        """The plan of an epoch, for all ranks; the one used last is kept."""
        if self._planned[0] != epoch:
            self._planned = epoch, self._plan_of(epoch)
        return self._planned[1]

    def _plan_of(self, epoch: int) -> Plan:
        tables = [indexed.corpus.samples for indexed in self._indexed]
        return plan(tables, self.mixture, seed=self.seed, batch_size=self.batch_size, epoch=epoch, steps=self.steps)

    def draws(self, epoch: int = 0, start: int = 0, stop: int | None = None) -> Iterator[DrawKey]:
        """The keys of this rank's draws in the steps start ≤ k < stop of an epoch; no shard is read."""
        plan = self.plan(epoch)
        stop = plan.num_steps if stop is None else min(stop, plan.num_steps)
        steps_at_once = max(KEYS_AT_ONCE // self.batch_size, 1)
        for first in range(start, stop, steps_at_once):
            positions = plan.positions(first, min(first + steps_at_once, stop), self.rank, self.world)
            yield from self._keys(plan, epoch, positions)

    def _keys(self, plan: Plan, epoch: int, positions: Array) -> list[DrawKey]:
        sources, rows = plan.source[positions], plan.row[positions]
        names: list[dict[str, str]] = [{}] * len(positions)
        for source in np.unique(sources):
            at = np.flatnonzero(sources == source)
            for i, found in zip(at.tolist(), self._indexed[source].names(rows[at]), strict=True):
                names[i] = found
        planned = zip(positions.tolist(), sources.tolist(), plan.repetition[positions].tolist(), names, strict=True)
        return [
            DrawKey(epoch, at // self.batch_size, source, repetition, n["entry"], n["record_key"], (n["sample_key"],))
            for at, source, repetition, n in planned
        ]

    # ------------------------------------------------------------------------------------------ the delivery

    def __iter__(self) -> Iterator[list[Draw]]:
        return self

    def __next__(self) -> list[Draw]:
        if self.epoch >= self.epochs:
            raise StopIteration
        plan = self.plan(self.epoch)
        positions = plan.positions(self.step, self.step + 1, self.rank, self.world)
        draws = [self._read(plan, self.epoch, position) for position in positions.tolist()]
        self.step += 1
        if self.step == plan.num_steps:
            self.epoch, self.step = self.epoch + 1, 0
        return draws

    def peek(self, positions: Iterable[int], epoch: int = 0) -> Iterator[Draw]:
        """The draws at these places of an epoch's plan, of any rank; the stream's own position does not move."""
        plan = self.plan(epoch)
        return (self._read(plan, epoch, position) for position in positions)

    def _read(self, plan: Plan, epoch: int, position: int) -> Draw:
        source, row = int(plan.source[position]), int(plan.row[position])
        indexed = self._indexed[source]
        record_row, record, sample = indexed.read(row)
        repetition = int(plan.repetition[position])
        return Draw(epoch, position // plan.batch_size, source, repetition, record, sample, indexed.corpus, record_row)

    # --------------------------------------------------------------------------------------------- the state

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the plan depends on: corpora, mixture, seed, batch size, steps; not the ranks, nor the epochs."""
        manifests = [indexed.corpus.manifest for indexed in self._indexed]
        return plan_identity(self.mixture, manifests, seed=self.seed, batch_size=self.batch_size, steps=self.steps)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.identity)

    def state_dict(self) -> dict[str, Any]:
        """The next step to be handed out, as JSON: the same on all ranks, valid for any number of them."""
        return {
            "version": STATE_VERSION,
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "step": self.step,
            "plan": self.identity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at the state's step, without reading what came before. Raises StateError if the plan is another."""
        if missing := {"version", "fingerprint", "epoch", "step"} - state.keys():
            raise StateError(f"this is not the state of a stream: it lacks {', '.join(sorted(missing))}")
        if state["version"] != STATE_VERSION:
            raise StateError(
                f"the state has version {state['version']!r}, this version reads {STATE_VERSION}: resume with the "
                "version that wrote it, or start a new run"
            )
        if state["fingerprint"] != self.fingerprint:
            differing = "; ".join(changes(state.get("plan", {}), self.identity)) or "its fingerprint differs"
            raise StateError(
                f"the state belongs to another plan, so going on would lose or double samples: {differing}. Restore "
                "what it was made with, or start a new run without this state"
            )
        epoch, step = state["epoch"], state["step"]
        if not (isinstance(epoch, int) and isinstance(step, int) and epoch >= 0 and 0 <= step < self.num_steps):
            raise StateError(f"the state is at epoch {epoch!r}, step {step!r}; an epoch has {self.num_steps} steps")
        self.epoch, self.step = epoch, step


class _Indexed:
    """A corpus with its sample index tied to its record index."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.keys: pa.Table = corpus.samples.select(["sample_key", "record_key", "entry"]).combine_chunks()

    @cached_property
    def record_rows(self) -> Array:
        """The record's row of every sample's row."""
        records = self.corpus.records.column("record_key").combine_chunks()
        found = pc.index_in(self.keys.column("record_key"), value_set=records)
        if found.null_count:
            lost = self.keys.column("sample_key").filter(pc.is_null(found))[0].as_py()
            raise CorpusError(f"{self.corpus.root}: {lost} is of a record that is not indexed; build the corpus again")
        return found.to_numpy()

    def names(self, rows: Array) -> list[dict[str, str]]:
        return self.keys.take(pa.array(rows)).to_pylist()

    def read(self, sample_row: int) -> tuple[int, Record, Sample]:
        """(record's row, record, sample). Raises CorpusError naming record and shard."""
        row = int(self.record_rows[sample_row])
        record = _named(self.corpus, row, lambda: self.corpus.record(row))
        key = self.keys.column("sample_key")[sample_row].as_py()
        for sample in record.samples:
            if sample.key == key:
                return row, record, sample
        raise CorpusError(f"{_where(self.corpus, row)} does not hold the sample {key}; build the corpus again")


def _where(corpus: Corpus, row: int) -> str:
    shard, key = (corpus.records.column(name)[row].as_py() for name in ("shard", "record_key"))
    return f"{corpus.root / shard}: record {key}"


def _named(corpus: Corpus, row: int, read: Callable[[], T]) -> T:
    """What ``read`` returns; its failure as a CorpusError that names the record and its shard."""
    try:
        return read()
    except (CorpusError, FormatError, MediaError) as error:
        raise CorpusError(
            f"{_where(corpus, row)} cannot be delivered: {error}. Run `multigrain verify {corpus.root}`"
        ) from error
