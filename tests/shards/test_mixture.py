"""The plan's laws: every sample as often as asked, shares at every prefix, the same plan everywhere."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.index import SAMPLES_SCHEMA
from shards.mixture import (
    Mixture,
    MixtureError,
    Plan,
    Source,
    changes,
    fingerprint,
    plan,
    plan_identity,
    quota_order,
    select,
)

CORPUS = "corpus"


def row(entry: str, number: int, task: str = "global_qa", tags: tuple[str, ...] = ()) -> dict:
    empty = {field.name: None if field.nullable else 0 for field in SAMPLES_SCHEMA}
    names = {"sample_key": f"{entry}/train/{number}", "record_key": f"{entry}-{number // 3}", "entry": entry}
    return empty | names | {"task": task, "tags": list(tags)}


def index(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, SAMPLES_SCHEMA)


def entries(*sizes: int) -> pa.Table:
    """A sample index whose entries e0, e1, … have the given numbers of samples, interleaved as tables of chunks."""
    return pa.concat_tables([index([row(f"e{e}", n) for n in range(size)]) for e, size in enumerate(sizes)])


def by_repeat(*repeats: int) -> Mixture:
    return Mixture(tuple(Source(CORPUS, entry=f"e{e}", repeat=k) for e, k in enumerate(repeats)))


def by_weight(*weights: float) -> Mixture:
    return Mixture(tuple(Source(CORPUS, entry=f"e{e}", weight=w) for e, w in enumerate(weights)))


def planned(table: pa.Table, mixture: Mixture, **numbers) -> Plan:
    return plan([table] * len(mixture.sources), mixture, **{"seed": 0, "batch_size": 4} | numbers)


def draws_of(plan: Plan) -> list[tuple[int, int, int]]:
    return list(zip(plan.source.tolist(), plan.row.tolist(), plan.repetition.tolist(), strict=True))


sized = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4)), min_size=1, max_size=4)
weighted = st.lists(st.tuples(st.integers(1, 12), st.floats(0.01, 100, allow_nan=False)), min_size=1, max_size=6)


# ------------------------------------------------------------------------------------------------- by repeat


@given(sized, st.integers(0, 3), st.integers())
def test_each_sample_comes_exactly_repeat_times_an_epoch_each_time_with_a_new_number(spec, epoch, seed):
    sizes, repeats = zip(*spec, strict=True)
    found = draws_of(planned(entries(*sizes), by_repeat(*repeats), epoch=epoch, seed=seed))
    starts = np.cumsum([0, *sizes])
    expected = [
        (source, int(starts[source]) + n, epoch * k + j)
        for source, (size, k) in enumerate(spec)
        for n in range(size)
        for j in range(k)
    ]
    assert sorted(found) == expected


def test_repeat_is_one_where_nothing_is_said():
    plan = planned(entries(3, 2), Mixture((Source(CORPUS),)))
    assert sorted(plan.row.tolist()) == [0, 1, 2, 3, 4]
    assert plan.repetition.tolist() == [0] * 5


def test_epochs_and_seeds_give_different_orders():
    orders = [
        tuple(planned(entries(30), by_repeat(1), epoch=epoch, seed=seed).row.tolist())
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    ]
    assert len(set(orders)) == 6


def test_the_shuffle_is_global_and_uniform():
    """Over many seeds every sample of a large and of a small source stands in the first quarter a quarter of times."""
    first = Counter()
    for seed in range(400):
        first.update(draws_of(planned(entries(36, 4), by_repeat(1, 1), seed=seed))[:10])
    assert len(first) == 40
    assert all(60 < count < 140 for count in first.values())


@given(st.integers(2, 20), st.integers())
def test_the_order_of_two_samples_does_not_depend_on_which_others_are_selected(size, seed):
    table = index([row("e0", n, tags=("even",) if n % 2 == 0 else ()) for n in range(size)])
    everything = planned(table, Mixture((Source(CORPUS),)), seed=seed).row.tolist()
    even = planned(table, Mixture((Source(CORPUS, tag="even"),)), seed=seed).row.tolist()
    assert even == [n for n in everything if n % 2 == 0]


# ------------------------------------------------------------------------------------------------- by weight


@given(weighted, st.integers(1, 60), st.integers())
def test_at_every_prefix_each_source_is_within_one_draw_of_its_share(spec, steps, seed):
    sizes, weights = zip(*spec, strict=True)
    plan = planned(entries(*sizes), by_weight(*weights), steps=steps, seed=seed)
    total = sum(Fraction(repr(w)) for w in weights)
    for source, weight in enumerate(weights):
        share = Fraction(repr(weight)) / total
        drawn = np.cumsum(plan.source == source).tolist()
        assert all(abs(count - share * t) < 1 for t, count in enumerate(drawn, 1))
    assert len(plan) == steps * 4


@given(weighted, st.integers(1, 60), st.integers())
def test_a_source_is_walked_through_in_whole_permutations_and_passes_are_counted(spec, steps, seed):
    sizes, weights = zip(*spec, strict=True)
    plan = planned(entries(*sizes), by_weight(*weights), steps=steps, seed=seed)
    for source, size in enumerate(sizes):
        of_source = plan.source == source
        rows, passes = plan.row[of_source], plan.repetition[of_source]
        assert passes.tolist() == [i // size for i in range(len(rows))]
        for number in range(-(-len(rows) // size)):
            taken = rows[number * size : (number + 1) * size].tolist()
            assert len(set(taken)) == len(taken)


def test_two_passes_take_different_orders():
    plan = planned(entries(20), by_weight(1.0), steps=10)
    assert plan.row[:20].tolist() != plan.row[20:].tolist()


@given(weighted, st.integers(1, 20), st.integers(1, 20), st.integers())
def test_the_plan_of_fewer_steps_is_the_beginning_of_the_plan_of_more(spec, few, further, seed):
    sizes, weights = zip(*spec, strict=True)
    short, long = (
        draws_of(planned(entries(*sizes), by_weight(*weights), steps=steps, seed=seed))
        for steps in (few, few + further)
    )
    assert long[: len(short)] == short


def test_equal_shares_do_not_alternate_in_lockstep():
    order = quota_order(
        [Fraction(1), Fraction(1)], np.random.default_rng(0).integers(2**64, size=400, dtype=np.uint64).tolist()
    )
    pairs = Counter(map(tuple, order.reshape(-1, 2).tolist()))
    assert set(pairs) == {(0, 1), (1, 0)}
    assert min(pairs.values()) > 60


def test_weights_are_taken_as_the_decimals_they_are_written_as():
    order = planned(entries(5, 5), by_weight(0.1, 0.2), steps=75).source
    assert Counter(order.tolist()) == {0: 100, 1: 200}


# ------------------------------------------------------------------------------------------------- the steps


@given(sized, st.integers(1, 9), st.integers(1, 7))
def test_the_parts_of_the_ranks_one_after_the_other_are_the_step(spec, batch_size, world):
    sizes, repeats = zip(*spec, strict=True)
    plan = planned(entries(*sizes), by_repeat(*repeats), batch_size=batch_size)
    whole = []
    for step in range(plan.num_steps):
        parts = [plan.positions(step, step + 1, rank, world).tolist() for rank in range(world)]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        whole += [position for part in parts for position in part]
    assert whole == list(range(len(plan)))


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 7), st.data())
def test_positions_of_several_steps_are_those_of_each(size, batch_size, world, data):
    plan = planned(entries(size), by_repeat(1), batch_size=batch_size)
    start = data.draw(st.integers(0, plan.num_steps))
    rank = data.draw(st.integers(0, world - 1))
    each = [plan.positions(k, k + 1, rank, world).tolist() for k in range(start, plan.num_steps)]
    assert plan.positions(start, plan.num_steps, rank, world).tolist() == [p for part in each for p in part]


def test_every_rank_gets_the_shares_of_the_mixture():
    plan = planned(entries(50, 50), by_weight(3.0, 1.0), steps=100, batch_size=32)
    for rank in range(4):
        mine = plan.source[plan.positions(0, 100, rank, 4)]
        assert abs((mine == 0).mean() - 0.75) < 0.03


# ---------------------------------------------------------------------------------------------- everywhere


def digest() -> str:
    numbers = []
    for mixture, more in ((by_repeat(1, 3), {"epoch": 2}), (by_weight(1.0, 0.3), {"steps": 40})):
        plan = planned(entries(40, 25), mixture, seed=17, **more)
        numbers += [plan.source, plan.row, plan.repetition]
    return hashlib.sha256(b"".join(n.astype("<i8").tobytes() for n in numbers)).hexdigest()[:16]


def test_another_process_makes_the_same_plan():
    script = f"import runpy; print(runpy.run_path({__file__!r})['digest']())"
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONHASHSEED": "5", "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == digest()


def test_the_order_is_the_one_that_was_published():
    """A change here makes every saved state resume into another order: raise STATE_VERSION with it."""
    assert planned(entries(6, 2), by_repeat(1, 2), seed=17).row.tolist() == [7, 4, 3, 7, 2, 5, 1, 6, 0, 6]
    assert planned(entries(6, 2), by_weight(2.0, 1.0), seed=17, steps=3).row.tolist() == [
        0,
        7,
        4,
        2,
        5,
        6,
        1,
        3,
        7,
        3,
        1,
        6,
    ]


# ----------------------------------------------------------------------------------------------- the filters

MIXED = index(
    [
        row("mevis-train", 0, "referring_segmentation"),
        row("mevis-train", 1, "global_qa", ("qa",)),
        row("vidstg-train", 0, "spatio_temporal_grounding", ("declarative", "long")),
        row("vidstg-train", 1, "spatio_temporal_grounding", ("interrogative",)),
        row("vidstg-val", 0, "spatio_temporal_grounding"),
    ]
)


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"entry": "mevis-train"}, [0, 1]),
        ({"entry": ("mevis-train", "vidstg-val")}, [0, 1, 4]),
        ({"task": "global_qa"}, [1]),
        ({"tag": "long"}, [2]),
        ({"tag": ("declarative", "long", "qa")}, [1, 2]),
        ({"entry": "vidstg-train", "task": "spatio_temporal_grounding", "tag": "interrogative"}, [3]),
    ],
)
@pytest.mark.parametrize("table", [MIXED, pa.concat_tables([MIXED.slice(0, 2), MIXED.slice(2)])])
def test_filters_take_the_samples_that_pass_all_of_them(table, filters, rows):
    assert select(table, Source(CORPUS, **filters)).tolist() == rows


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"entry": "mevis-trian"}, ["entry 'mevis-trian'", "did you mean 'mevis-train'", "vidstg-val"]),
        ({"entry": ("mevis-train", "nope")}, ["'nope'"]),
        ({"task": "pix_rqa"}, ["task 'pix_rqa'", "global_qa"]),
        ({"tag": "shorts"}, ["tag 'shorts'", "declarative"]),
        (
            {"entry": "mevis-train", "task": "spatio_temporal_grounding"},
            ["no sample passes", "in entry mevis-train", "tasks: global_qa, referring_segmentation", "tags: qa"],
        ),
    ],
)
def test_a_source_that_selects_nothing_is_an_error_that_says_what_there_is(filters, words):
    with pytest.raises(MixtureError) as caught:
        select(MIXED, Source(CORPUS, **filters))
    assert all(word in str(caught.value) for word in [CORPUS, *words])


def test_take_leaves_a_few_samples_that_do_not_depend_on_the_others():
    table = index([row("e0", n) for n in range(40)])
    taken = {table.column("sample_key")[i].as_py() for i in select(table, Source(CORPUS, take=5)).tolist()}
    more = index([row("e1", n) for n in range(7)] + [row("e0", n) for n in reversed(range(40))])
    rows = select(more, Source(CORPUS, entry="e0", take=5))
    assert len(taken) == 5
    assert {more.column("sample_key")[i].as_py() for i in rows.tolist()} == taken
    assert rows.tolist() == sorted(rows.tolist())
    assert len(select(table, Source(CORPUS, take=100))) == 40


def test_taking_fewer_samples_is_another_plan_and_taking_all_is_the_old_one():
    def identity(take: int | None) -> dict:
        manifest = {"name": "c", "files": {"records.parquet": "a", "samples.parquet": "b"}}
        return plan_identity(Mixture((Source(CORPUS, take=take),)), [manifest], seed=0, batch_size=1, steps=None)

    assert "take" not in identity(None)["sources"][0]
    assert changes(identity(None), identity(3)) == ["the mixture: `take` of source 1 was None, is 3"]
    assert changes(identity(3), identity(None)) == ["the mixture: `take` of source 1 was 3, is None"]


def test_excluded_samples_do_not_pass_and_those_of_other_corpora_do_no_harm():
    table = index([row("e0", n) for n in range(6)])
    left = select(table, Source(CORPUS, exclude=frozenset({"e0/train/1", "e0/train/4", "other/train/0"})))
    assert left.tolist() == [0, 2, 3, 5]
    with pytest.raises(MixtureError, match="no sample passes all its filters"):
        select(table, Source(CORPUS, exclude=frozenset(f"e0/train/{n}" for n in range(6))))


def test_an_empty_index_is_an_error():
    with pytest.raises(MixtureError, match="index is empty"):
        select(index([]), Source(CORPUS))


def test_a_message_does_not_list_names_without_end():
    with pytest.raises(MixtureError, match="and 70 more"):
        select(entries(*[1] * 100), Source(CORPUS, entry="x"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Source(CORPUS, repeat=2, weight=1.0), "both `repeat` and `weight`"),
        (lambda: Source(CORPUS, repeat=0), "`repeat` is 0"),
        (lambda: Source(CORPUS, weight=0.0), "`weight` is 0.0"),
        (lambda: Source(CORPUS, weight=float("inf")), "`weight` is inf"),
        (lambda: Mixture(()), "no source"),
        (lambda: Mixture((Source("a", weight=1.0), Source("b", repeat=2))), "give every source a weight, or none"),
        (lambda: Mixture((Source("a", weight=1.0), Source("b"))), "source b has none"),
        (lambda: Mixture((Source("a", repeat=1), Source("a", repeat=2))), "stands twice"),
        (lambda: planned(entries(3), by_weight(1.0)), "needs a number of `steps`"),
        (lambda: planned(entries(3), by_weight(1.0), steps=5, epoch=1), "one epoch"),
        (lambda: planned(entries(3), by_repeat(1), steps=5), "leave `steps` out"),
        (lambda: planned(entries(3), by_repeat(1), batch_size=0), "`batch_size` is 0"),
        (lambda: planned(entries(3), by_repeat(1), epoch=-1), "`epochs` is 0"),
    ],
)
def test_a_mixture_that_cannot_be_planned_is_refused_with_a_remedy(make, words):
    with pytest.raises(MixtureError, match=words):
        make()


# ---------------------------------------------------------------------------------------------- the identity

FILES = {"records.parquet": "aa", "samples.parquet": "bb", "skipped.jsonl": "cc"}
MANIFEST = {"name": "five", "files": FILES}
BASE = by_repeat(1, 2)


def identity(mixture: Mixture = BASE, manifest: dict | None = None, **numbers) -> dict:
    manifests = [MANIFEST if manifest is None else manifest] * len(mixture.sources)
    return plan_identity(mixture, manifests, **{"seed": 1, "batch_size": 8, "steps": None} | numbers)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (identity(seed=2), ["seed was 1, is 2"]),
        (identity(batch_size=16), ["batch_size was 8, is 16"]),
        (identity(steps=3), ["steps was None, is 3"]),
        (identity(by_repeat(1, 3)), ["the mixture: `repeat` of source 2 was 2, is 3"]),
        (identity(by_repeat(1)), ["the mixture had 2 sources, has 1"]),
        (identity(manifest=MANIFEST | {"files": FILES | {"records.parquet": "ab"}}), ["the corpus of source 1"]),
        (identity(manifest=MANIFEST | {"files": FILES | {"samples.parquet": "ab"}}), ["the corpus of source 2"]),
    ],
)
def test_whatever_changes_the_plan_changes_the_fingerprint_and_is_named(changed, words):
    assert fingerprint(changed) != fingerprint(identity())
    said = "; ".join(changes(identity(), changed))
    assert all(word in said for word in words)


def test_what_does_not_change_the_plan_does_not_change_the_fingerprint():
    moved = Mixture(tuple(Source(Path("/elsewhere"), entry=(s.entry,), repeat=s.repeat) for s in BASE.sources))  # type: ignore[arg-type]
    one = Mixture((Source(CORPUS),))
    assert fingerprint(identity(moved)) == fingerprint(identity())
    assert fingerprint(identity(one)) == fingerprint(identity(Mixture((Source(CORPUS, repeat=1),))))
    later = MANIFEST | {"files": FILES | {"skipped.jsonl": "other"}}
    assert fingerprint(identity(manifest=later)) == fingerprint(identity())
    assert changes(identity(), identity()) == []


def test_fingerprints_tell_apart_every_kind_of_filter():
    kinds = [{}, {"entry": "a"}, {"task": "a"}, {"tag": "a"}, {"weight": 1.0}, {"entry": ("a", "b")}]
    kinds += [{"exclude": frozenset(keys)} for keys in ("a", "b", "ab")]
    prints = [fingerprint(identity(Mixture((Source(CORPUS, **kind),)))) for kind in kinds]
    assert all(a != b for a, b in pairwise(sorted(prints)))
