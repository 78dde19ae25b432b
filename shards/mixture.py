"""The mixture and its plan: which sample is drawn when, known before a byte of a shard is read.

A plan is a pure function of (sample indexes, mixture, seed, epoch, batch size, steps): no rank, worker, clock or
version of a random generator enters it. Every choice comes from a 64-bit hash of (seed, epoch, source number, row,
repetition), so the same indexes give the same plan on every machine and in every version of numpy. Each source
counts by itself: a sample that two sources select is drawn for both.
"""

import difflib
import hashlib
import heapq
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute

from shards.index import RECORDS_FILE, SAMPLES_FILE
from shards.keys import hash64

Choice = str | tuple[str, ...] | None
Array = np.ndarray[Any, Any]
pc: Any = pyarrow.compute  # its functions are made when it is imported, so type checkers do not know them

FILTERS: Final = ("entry", "task", "tag")
MOST_NAMES: Final = 30
"""Names that an error message lists; the rest is counted."""
ODD: Final = 0x9E3779B97F4A7C15
"""2^64 / golden ratio, made odd: the step of SplitMix64 (Steele, Lea, Flood: Fast splittable PRNGs, OOPSLA 2014)."""
MASK: Final = (1 << 64) - 1


class MixtureError(ValueError):
    """The mixture cannot be planned; the message names the source, the key and the remedy."""


@dataclass(frozen=True, slots=True)
class Source:
    """The samples of one corpus that pass all filters, and how often they are drawn.

    A filter is one name or several (any of them passes), None lets everything through. ``repeat``: each sample
    appears exactly that often in an epoch (1 where neither is given). ``weight``: the source's share of all draws,
    relative to the other sources' weights. ``take``: of what passes, only so many samples, those whose keys have the
    smallest hashes; for trying out. ``exclude``: the keys of samples that do not pass; it may name samples of other
    corpora too.
    """

    corpus: str | Path
    entry: Choice = None
    task: Choice = None
    tag: Choice = None
    repeat: int | None = None
    weight: float | None = None
    take: int | None = None
    exclude: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.take is not None and self.take < 1:
            raise MixtureError(f"{self}: `take` is {self.take}, not 1 or more; leave the source out instead")
        if self.repeat is not None and self.weight is not None:
            raise MixtureError(f"{self}: has both `repeat` and `weight`; keep one of them")
        if self.repeat is not None and self.repeat < 1:
            raise MixtureError(f"{self}: `repeat` is {self.repeat}, not 1 or more; leave the source out instead")
        if self.weight is not None and not (math.isfinite(self.weight) and self.weight > 0):
            raise MixtureError(f"{self}: `weight` is {self.weight}, not above 0; leave the source out instead")

    def __str__(self) -> str:
        chosen = [f"{name} {'|'.join(wanted)}" for name in FILTERS if (wanted := self.wanted(name)) is not None]
        return f"source {', '.join([str(self.corpus), *chosen])}"

    def wanted(self, name: str) -> tuple[str, ...] | None:
        """The names that the filter ``entry``, ``task`` or ``tag`` lets through; None = all."""
        value: Choice = getattr(self, name)
        return (value,) if isinstance(value, str) else None if value is None else tuple(value)


@dataclass(frozen=True, slots=True)
class Mixture:
    """The sources of a stream, either all by ``repeat`` or all by ``weight``."""

    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        if not self.sources:
            raise MixtureError("the mixture has no source; name at least one corpus")
        with_weight = [source for source in self.sources if source.weight is not None]
        without = [source for source in self.sources if source.weight is None]
        if with_weight and without:
            raise MixtureError(
                f"{with_weight[0]} has a `weight`, {without[0]} has none: repeats (an epoch) and weights (shares of a "
                "fixed number of steps) do not mix; give every source a weight, or none"
            )
        seen: dict[str, Source] = {}
        for source in self.sources:
            if str(source) in seen:
                raise MixtureError(f"{source} stands twice in the mixture; raise its `repeat` or `weight` instead")
            seen[str(source)] = source

    @property
    def weighted(self) -> bool:
        return self.sources[0].weight is not None


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """The draws of one epoch in their global order: draw i is sample ``row[i]`` of ``source[i]``'s index.

    ``repetition`` counts how often that source has drawn the sample before, over all epochs. Step k holds the draws
    k·batch_size … (k+1)·batch_size, whatever the number of ranks; the last step of an epoch may be short.
    """

    source: Array
    row: Array
    repetition: Array
    batch_size: int

    def __len__(self) -> int:
        return len(self.source)

    @property
    def num_steps(self) -> int:
        return -(-len(self) // self.batch_size)

    def positions(self, start: int, stop: int, rank: int = 0, world: int = 1) -> Array:
        """The positions of a rank's draws in the steps start ≤ k < stop.

        Rank r of w takes the contiguous part ⌊r·n/w⌋ … ⌊(r+1)·n/w⌋ of the n draws of a step: the ranks' parts one
        after the other are the step, and each part has the mixture's shares as nearly as its size allows.
        """
        at = np.arange(start * self.batch_size, min(stop * self.batch_size, len(self)), dtype=np.int64)
        step = at // self.batch_size
        size = np.minimum(self.batch_size, len(self) - step * self.batch_size)
        offset = at - step * self.batch_size
        return at[(size * rank // world <= offset) & (offset < size * (rank + 1) // world)]


def plan(
    samples: Sequence[pa.Table],
    mixture: Mixture,
    *,
    seed: int,
    batch_size: int,
    epoch: int = 0,
    steps: int | None = None,
) -> Plan:
    """The plan of an epoch; ``samples`` holds the sample index (SAMPLES_SCHEMA) of each source's corpus.

    By repeat: a global shuffle in which each sample of a source stands exactly ``repeat`` times, as the repetitions
    epoch·repeat + j. By weight: one epoch of ``steps`` full steps; at every prefix of the plan each source's draws
    are within one of its share, each source is walked through in permutations without replacement, and the
    repetition is the number of its full passes. The plan of fewer steps is the beginning of the plan of more.
    Raises MixtureError.
    """
    check_steps(mixture, batch_size=batch_size, steps=steps, epochs=epoch + 1)
    rows = [select(table, source) for table, source in zip(samples, mixture.sources, strict=True)]
    if steps is None:
        return Plan(*_repeated(rows, [source.repeat or 1 for source in mixture.sources], seed, epoch), batch_size)
    weights = [Fraction(repr(float(source.weight or 0))) for source in mixture.sources]
    return Plan(*_weighted(rows, weights, seed, steps * batch_size), batch_size)


def check_steps(mixture: Mixture, *, batch_size: int, steps: int | None, epochs: int) -> None:
    """Raise MixtureError unless the numbers go with the kind of the mixture."""
    if batch_size < 1:
        raise MixtureError(f"`batch_size` is {batch_size}, not 1 or more: it counts the draws of a step on all ranks")
    if epochs < 1:
        raise MixtureError(f"`epochs` is {epochs}, not 1 or more")
    if mixture.weighted and (steps is None or steps < 1):
        raise MixtureError(f"a mixture with weights needs a number of `steps`, 1 or more; found {steps or 'none'}")
    if mixture.weighted and epochs > 1:
        raise MixtureError("a mixture with weights has one epoch of `steps` steps; raise `steps` instead of `epochs`")
    if not mixture.weighted and steps is not None:
        raise MixtureError(
            f"`steps` is {steps}, but an epoch without weights ends when each sample was drawn `repeat` times; "
            "leave `steps` out, or give every source a `weight`"
        )


# --------------------------------------------------------------------------------------------- which samples


def select(samples: pa.Table, source: Source) -> Array:
    """The rows of a sample index that pass the source's filters, ascending, as int32.

    Raises MixtureError, with what there is, for a name that no sample has and for filters that leave nothing.
    """
    passed = np.ones(samples.num_rows, dtype=bool)
    for name in FILTERS:
        wanted = source.wanted(name)
        if wanted is not None:
            _check_names(samples, source, name, wanted)
            passed &= _having(samples, name, wanted)
    if source.exclude:
        excluded = pa.array(sorted(source.exclude), pa.string())
        passed &= ~pc.is_in(samples.column("sample_key"), value_set=excluded).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(passed).astype(np.int32)
    if not len(rows):
        raise MixtureError(f"{source}: no sample passes all its filters; {_what_there_is(samples, source)}")
    return rows if source.take is None else _taken(samples, rows, source.take)


def _taken(samples: pa.Table, rows: Array, most: int) -> Array:
    """Of ``rows`` the ``most`` whose sample keys have the smallest hashes, ascending."""
    keys = samples.column("sample_key").take(pa.array(rows)).to_pylist()
    order = sorted(range(len(rows)), key=lambda place: hash64(keys[place]))
    return np.sort(rows[order[:most]])


def _having(samples: pa.Table, name: str, wanted: Sequence[str]) -> Array:
    """Of each row, whether its entry or task, or any of its tags, is among ``wanted``."""
    names = pa.array(wanted, pa.string())
    if name != "tag":
        return pc.is_in(samples.column(name), value_set=names).to_numpy(zero_copy_only=False)
    tags = samples.column("tags").combine_chunks()
    found = pc.is_in(pc.list_flatten(tags), value_set=names)
    has = np.zeros(samples.num_rows, dtype=bool)
    has[pc.list_parent_indices(tags).filter(found).to_numpy(zero_copy_only=False)] = True
    return has


def _names(samples: pa.Table, name: str) -> list[str]:
    column = pc.list_flatten(samples.column("tags")) if name == "tag" else samples.column(name)
    return sorted(column.unique().to_pylist())


def _check_names(samples: pa.Table, source: Source, name: str, wanted: Sequence[str]) -> None:
    there = _names(samples, name)
    for word in wanted:
        if word not in there:
            close = difflib.get_close_matches(word, there, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise MixtureError(f"{source}: no sample has the {name} {word!r}; {hint}there are: {_listed(there)}")


def _what_there_is(samples: pa.Table, source: Source) -> str:
    """What each filter finds alone, for the message about filters that leave nothing together."""
    if not samples.num_rows:
        return "its sample index is empty"
    entry = source.wanted("entry")
    within = samples if entry is None else samples.filter(pa.array(_having(samples, "entry", entry)))
    where = "the corpus" if entry is None else f"entry {'|'.join(entry)}"
    return f"in {where}, tasks: {_listed(_names(within, 'task'))}; tags: {_listed(_names(within, 'tag'))}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (", ".join(names[:MOST_NAMES]) or "none") + more


# ------------------------------------------------------------------------------------------------- the order


def _repeated(rows: Sequence[Array], repeats: Sequence[int], seed: int, epoch: int) -> tuple[Array, Array, Array]:
    """(source, row, repetition) of an epoch by repeat, in the order of their hashes."""
    source = np.repeat(np.arange(len(rows), dtype=np.int32), [len(r) * k for r, k in zip(rows, repeats, strict=True)])
    row = np.concatenate([np.tile(r, k) for r, k in zip(rows, repeats, strict=True)])
    turn = np.concatenate([np.repeat(np.arange(k), len(r)) for r, k in zip(rows, repeats, strict=True)])
    order = np.argsort(_hash(f"repeat/{seed}/{epoch}", source, row, turn), kind="stable")
    source, row, turn = source[order], row[order], turn[order]
    return source, row, turn + epoch * np.array(repeats)[source]


def _weighted(rows: Sequence[Array], weights: Sequence[Fraction], seed: int, draws: int) -> tuple[Array, Array, Array]:
    """(source, row, repetition) of ``draws`` draws by weight."""
    ties = _hash(f"tie/{seed}", np.arange(draws))
    source = quota_order(weights, ties.tolist())
    row, repetition = np.empty(draws, np.int32), np.empty(draws, np.int64)
    for number, candidates in enumerate(rows):
        at = np.flatnonzero(source == number)
        row[at], repetition[at] = _walk(candidates, len(at), seed, number)
    return source, row, repetition


def _walk(rows: Array, draws: int, seed: int, source: int) -> tuple[Array, Array]:
    """(row, pass) of the first ``draws`` draws of a source: one permutation of its rows after the other."""
    passes = -(-draws // len(rows))
    number = np.repeat(np.arange(passes), len(rows))
    row = np.tile(rows, passes)
    order = np.lexsort((_hash(f"walk/{seed}", np.full(len(row), source), row, number), number))[:draws]
    return row[order], number[order]


def quota_order(weights: Sequence[Fraction], ties: Sequence[int]) -> Array:
    """The source of each of ``len(ties)`` draws, such that |draws of source i − its share of t| < 1 after any t draws.

    Draw j of a source with share s must come in the slots ⌊j/s⌋ ≤ t < ⌈(j+1)/s⌉: earlier it would be a whole draw
    ahead, later a whole one behind. The earliest deadline first always meets such windows (Baruah et al.,
    Proportionate progress, Algorithmica 15, 1996); equal deadlines are settled by ``ties``. Exact in integers.
    """
    scale = math.lcm(*(weight.denominator for weight in weights))
    parts = [int(weight * scale) for weight in weights]
    total = sum(parts)
    drawn = [0] * len(parts)
    order = np.empty(len(ties), dtype=np.int32)
    ready: list[tuple[int, int, int]] = []
    coming: defaultdict[int, list[int]] = defaultdict(list, {0: list(range(len(parts)))})
    for slot, tie in enumerate(ties):
        for source in coming.pop(slot, ()):
            deadline = -(-(drawn[source] + 1) * total // parts[source])
            heapq.heappush(ready, (deadline, tie ^ (source * ODD & MASK), source))
        source = heapq.heappop(ready)[2]
        order[slot] = source
        drawn[source] += 1
        coming[max(slot + 1, drawn[source] * total // parts[source])].append(source)
    return order


def _hash(text: str, *numbers: Array) -> Array:
    """64-bit hashes of (text, numbers…), elementwise: sha256 of the text, then SplitMix64's finalizer per number.

    Our own and not numpy's generators, whose streams may change between versions: a plan must outlive an upgrade.
    """
    start = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")
    mixed = np.full(len(numbers[0]), start, dtype=np.uint64)
    for number in numbers:
        mixed += (number.astype(np.uint64) + np.uint64(1)) * np.uint64(ODD)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


# ---------------------------------------------------------------------------------------------- the identity


def plan_identity(
    mixture: Mixture, manifests: Sequence[Mapping[str, Any]], *, seed: int, batch_size: int, steps: int | None
) -> dict[str, Any]:
    """What a plan depends on, as JSON; ``manifests`` holds the manifest of each source's corpus.

    A corpus is known by the hashes of its two indexes (which hold the checksums of all records), not by its path.
    """
    sources = [
        {
            "corpus": corpus_identity(manifest),
            **{name: sorted(wanted) if (wanted := source.wanted(name)) is not None else None for name in FILTERS},
            "repeat": None if mixture.weighted else source.repeat or 1,
            "weight": source.weight,
            **({} if source.take is None else {"take": source.take}),
            **({"exclude": _keys_digest(source.exclude)} if source.exclude else {}),
        }
        for source, manifest in zip(mixture.sources, manifests, strict=True)
    ]
    return {"seed": seed, "batch_size": batch_size, "steps": steps, "sources": sources}


def _keys_digest(keys: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode("utf-8")).hexdigest()[:16]


def corpus_identity(manifest: Mapping[str, Any]) -> str:
    """``<name>@<16 hex digits>``, from the sha256 of both indexes."""
    files = manifest["files"]
    return f"{manifest['name']}@{_digest([files[RECORDS_FILE], files[SAMPLES_FILE]])}"


def fingerprint(identity: Mapping[str, Any]) -> str:
    """16 hex digits that change when anything changes that the plan depends on."""
    return _digest(identity)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()[:16]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, one phrase each: of the corpora, the mixture, seed, batch size, steps."""
    found = [
        f"{name} was {before.get(name)}, is {now[name]}"
        for name in ("seed", "batch_size", "steps")
        if before.get(name) != now[name]
    ]
    old, new = before.get("sources", []), now["sources"]
    if len(old) != len(new):
        return [*found, f"the mixture had {len(old)} sources, has {len(new)}"]
    for number, (was, now_) in enumerate(zip(old, new, strict=True), 1):
        for key in [*now_, *(was.keys() - now_.keys())]:
            if was.get(key) != now_.get(key):
                what = "the corpus" if key == "corpus" else f"the mixture: `{key}`"
                found.append(f"{what} of source {number} was {was.get(key)}, is {now_.get(key)}")
    return found
