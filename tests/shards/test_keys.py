"""Record keys: letters that every tar and file system takes, and no two clips under one key."""

import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from shards.keys import MAX_ENTRY_CHARS, MAX_KEY_CHARS, RECORD_KEY, hash64, record_key

entries = st.from_regex(r"[A-Za-z0-9_-]{1,60}", fullmatch=True) | st.sampled_from(["a", "a-", "a-b", "-", "a_2d"])
near = st.text(st.sampled_from("ab-_/.2dh0é"), max_size=40)
clip_ids = near | st.text(max_size=100)


@given(entries, clip_ids, entries, clip_ids)
@example("a", "b-c", "a-b", "c")
@example("a", "b_2dc", "a", "b-c")
@example("a", "-", "a-", "")
@example("a", "é", "a", "_c3_a9")
@example("a", "x" * 200, "a", "x" * 201)
@example("a", "É", "a", unicodedata.normalize("NFD", "É"))
def test_two_clips_never_share_a_key(entry, clip_id, other_entry, other_id):
    same = (entry, clip_id) == (other_entry, other_id)
    assert (record_key(entry, clip_id) == record_key(other_entry, other_id)) == same


@given(clip_ids)
def test_an_id_never_equals_the_short_form_of_a_long_one(tail):
    shortened = record_key("a", "x" * 500)
    assert record_key("a", shortened.removeprefix("a-")) != shortened
    assert record_key("a", shortened.removeprefix("a-") + tail) != shortened


@given(entries, clip_ids)
@example("e" * MAX_ENTRY_CHARS, "é" * 1000)
@example("e" * MAX_ENTRY_CHARS, "")
def test_a_key_is_short_plain_and_begins_with_its_entry(entry, clip_id):
    key = record_key(entry, clip_id)
    assert RECORD_KEY.fullmatch(key)
    assert len(key) <= MAX_KEY_CHARS
    assert key.rpartition("-")[0] == entry


@given(st.text("abcXYZ019", min_size=1, max_size=60))
def test_a_plain_id_stays_readable(clip_id):
    assert record_key("train", clip_id) == f"train-{clip_id}"


def test_a_long_id_keeps_its_beginning():
    assert re.fullmatch(r"train-(vid){10,}v?i?_h[0-9a-f]{16}", record_key("train", "vid" * 50))


def test_the_hash_is_the_beginning_of_sha256():
    assert hash64("") == 0xE3B0C44298FC1C14
