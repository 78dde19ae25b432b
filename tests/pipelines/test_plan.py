"""The plan: every item is decided about once, and every planned item is in exactly one chunk."""

import hashlib
from collections import Counter
from collections.abc import Iterator

import pytest

from converters.base import Converter, Item, RawClip
from converters.raw_files import DatasetError
from pipelines import plan as planning
from pipelines.plan import chunks_of, make_plan, raw_clips
from pipelines.recipe import Entry, Recipe
from shards.skips import Skipped


class Listed(Converter):
    """Yields what the test put into ``found``, by the name of the root's folder."""

    name = "listed"
    title = citation = ""
    tasks = ()
    splits = ("train",)
    found: dict[str, list[RawClip | Skipped]] = {}  # noqa: RUF012

    def scan(self) -> Iterator[RawClip | Skipped]:
        yield from self.found[self.root.name]

    def media(self, raw):
        raise NotImplementedError

    def facts(self, raw, item, clip, table):
        raise NotImplementedError


@pytest.fixture
def plan_of(tmp_path, monkeypatch):
    monkeypatch.setattr(Entry, "open", lambda self: Listed(self.root, self.split, {}))
    monkeypatch.setattr("pipelines.recipe.find_converter", lambda name: Listed)

    def plan_of(take: int | None = None, **found: list[RawClip | Skipped]):
        Listed.found = found
        entries = tuple(Entry(name, "listed", tmp_path / name, "train", {}, take) for name in found)
        recipe = Recipe("test", 7, 1 << 20, 0, 0.0, 0.0, entries)
        return make_plan(recipe, tmp_path / "spool"), recipe

    return plan_of


def clip(id: str, *keys: str, raw: object = 1, **shared: object) -> RawClip:
    return RawClip(id, tuple(Item(key, raw) for key in keys), shared)


def planned(plan, recipe) -> list[RawClip]:
    return [raw for chunk, _ in chunks_of(plan, recipe) for raw in raw_clips(chunk.payload)]


def test_items_of_a_clip_come_together_wherever_they_stood(plan_of):
    found = planned(*plan_of(a=[clip("x", "1", m="one"), clip("y", "2"), clip("x", "3", "4", n="two")]))
    assert [(raw.id, [item.key for item in raw.items]) for raw in found] == [("x", ["1", "3", "4"]), ("y", ["2"])]
    assert found[0].shared == {"m": "one", "n": "two"}


def test_chunks_hold_every_planned_item_once(plan_of, monkeypatch):
    monkeypatch.setattr(planning, "CHUNK_CLIPS", 3)
    plan, recipe = plan_of(a=[clip(f"clip {i % 10}", f"key {i}") for i in range(50)])
    chunks = list(chunks_of(plan, recipe))
    assert len(chunks) == 4
    keys = Counter(item.key for raw in planned(plan, recipe) for item in raw.items)
    assert keys == Counter(f"key {i}" for i in range(50))
    assert sum(count for _, count in chunks) == plan.planned == 50


def test_take_is_the_smallest_hashes_of_seed_and_key(plan_of):
    keys = [f"key/{i}" for i in range(40)]
    plan, recipe = plan_of(take=7, a=[clip(f"clip {i}", key) for i, key in enumerate(keys)])
    found = {item.key for raw in planned(plan, recipe) for item in raw.items}
    assert found == set(sorted(keys, key=lambda key: hashlib.sha256(f"7/{key}".encode()).hexdigest())[:7])
    assert (plan.entries[0].items, plan.entries[0].skipped) == (7, [])


def test_take_counts_items_that_are_skipped_and_does_not_refill(plan_of):
    broken = [Skipped(f"key/{i}", "malformed", "") for i in range(20)]
    plan, recipe = plan_of(take=10, a=[*broken, *(clip("x", f"key/{i}") for i in range(20, 40))])
    entry = plan.entries[0]
    assert entry.items == 10 == len(entry.skipped) + len([i for raw in planned(plan, recipe) for i in raw.items])
    assert 0 < len(entry.skipped) < 10


def test_a_take_larger_than_the_entry_takes_all(plan_of):
    assert plan_of(take=100, a=[clip("x", "1", "2")])[0].entries[0].items == 2


def test_the_first_of_equal_keys_stays_also_across_entries(plan_of):
    plan, recipe = plan_of(
        a=[clip("x", "same", "other"), clip("y", "same")], b=[clip("x", "same"), clip("x", "other", raw=2)]
    )
    assert [[(skip.key, skip.reason) for skip in entry.skipped] for entry in plan.entries] == [
        [("same", "duplicate")],
        [("same", "duplicate"), ("other", "key_conflict")],
    ]
    assert [item.key for raw in planned(plan, recipe) for item in raw.items] == ["same", "other"]


def test_what_one_entry_does_not_take_another_may(plan_of):
    keys = [f"key/{i}" for i in range(10)]
    plan, recipe = plan_of(take=4, a=[clip("x", *keys)], b=[clip("x", *reversed(keys))])
    assert [entry.items for entry in plan.entries] == [4, 4]
    assert {skip.reason for entry in plan.entries for skip in entry.skipped} == {"duplicate"}
    found = [item.key for raw in planned(plan, recipe) for item in raw.items]
    assert len(found) == len(set(found)) == 4


@pytest.mark.parametrize("first", [True, False])
def test_a_clip_without_items_adds_to_what_the_items_of_its_id_share(plan_of, first):
    pieces = [clip("x", "1", m="one"), clip("x", n="two"), clip("y", n="of no item")]
    found = planned(*plan_of(a=pieces if first else pieces[::-1]))
    assert [(raw.id, [item.key for item in raw.items], raw.shared) for raw in found] == [
        ("x", ["1"], {"m": "one", "n": "two"})
    ]


def test_a_clip_whose_items_were_not_taken_is_no_work(plan_of):
    plan, recipe = plan_of(take=0, a=[clip("x", "1"), clip("x", m="masks")])
    assert planned(plan, recipe) == []


def test_an_entry_without_any_item_is_an_error_of_the_data(plan_of):
    with pytest.raises(DatasetError, match=r"entry a: its files in .* hold no item: download them again"):
        plan_of(a=[])
