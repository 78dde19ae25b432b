"""Shards are a function of the set of records: little changes when little changes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.keys import hash64
from shards.partition import MAX_DEPTH, MEDIA_KINDS, partition, shard_number

LIMIT = 1000
record_sets = st.dictionaries(st.text("abcdef0123", min_size=1, max_size=6), st.integers(0, 1300), max_size=40)


def shards(records: dict[str, int], limit: int = LIMIT) -> dict[int, tuple[str, ...]]:
    """The keys in every shard, by its number."""
    keys = list(records)
    return {b.prefix: tuple(keys[i] for i in b.members) for b in partition(keys, list(records.values()), limit)}


@given(record_sets)
def test_every_record_stands_in_one_shard(records):
    found = shards(records)
    assert sorted(key for keys in found.values() for key in keys) == sorted(records)
    assert len(found) == len(partition(list(records), list(records.values()), LIMIT)), "a number stands twice"
    assert all(found.values())


@given(record_sets, st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter(records, rng):
    shuffled = list(records.items())
    rng.shuffle(shuffled)
    assert shards(dict(shuffled)) == shards(records)


@given(record_sets)
def test_numbers_ascend_and_records_stand_in_the_order_of_their_hash(records):
    found = shards(records)
    assert list(found) == sorted(found)
    assert all(0 <= prefix < 2**MAX_DEPTH for prefix in found)
    in_order = [key for keys in found.values() for key in keys]
    assert in_order == sorted(records, key=lambda key: (hash64(key), key))


@given(record_sets)
def test_a_shard_is_at_most_as_large_as_asked_unless_one_record_is_larger(records):
    for keys in shards(records).values():
        prefixes = {hash64(key) >> (64 - MAX_DEPTH) for key in keys}
        assert sum(records[key] for key in keys) <= LIMIT or len(prefixes) == 1  # one key, or keys no bit can part


@settings(max_examples=200)
@given(record_sets, st.text("abcdef0123", min_size=1, max_size=6), st.integers(0, 900))
def test_a_record_more_changes_one_shard_or_splits_it(records, key, size):
    records.pop(key, None)
    before, after = shards(records), shards(records | {key: size})
    gone = {number: keys for number, keys in before.items() if after.get(number) != keys}
    assert len(gone) <= 1
    changed = {k for number, keys in after.items() if before.get(number) != keys for k in keys}
    assert changed - {key} == {k for keys in gone.values() for k in keys}


def test_a_thousand_records_fill_their_shards():
    rng = random.Random(1)
    records = {str(i): rng.randrange(1, 20) for i in range(1000)}
    sizes = [sum(records[key] for key in keys) for keys in shards(records).values()]
    assert sum(size >= LIMIT / 4 for size in sizes) >= 0.9 * len(sizes)


@pytest.mark.parametrize("limit", [0, 1])
def test_records_larger_than_a_shard_have_one_each(limit):
    records = {str(i): 5 for i in range(50)}
    assert all(len(keys) == 1 for keys in shards(records, limit).values())


def test_no_records_make_no_shards():
    assert partition([], [], LIMIT) == []


def test_a_shard_is_known_by_its_prefix_and_its_kind_of_media():
    numbers = {shard_number(prefix, kind) for prefix in (0, 1, 2**MAX_DEPTH - 1) for kind in MEDIA_KINDS}
    assert len(numbers) == 3 * len(MEDIA_KINDS)
    assert min(numbers) == 0
    assert max(numbers) == 65_535
