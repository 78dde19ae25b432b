"""The spellings of tokens are found wherever they stand, and nothing else is."""

import re

from hypothesis import given
from hypothesis import strategies as st

from shards.tokens import ALL_SPELLINGS, escape, spellings_in

ONE_AFTER_THE_OTHER = re.compile("|".join(re.escape(spelling) for spelling in ALL_SPELLINGS))
PIECES = st.sampled_from(
    [*ALL_SPELLINGS, "<Temp-", "<TEMP-0", "<Temp-100>", "<TEMP-100>", "<Temp-00>", "<seg>", "[SEG"]
)


def test_every_spelling_is_found_whole():
    for spelling in ALL_SPELLINGS:
        assert spellings_in(f"<{spelling}{spelling}>") == [spelling, spelling]


@given(st.lists(PIECES | st.text("<>[]TempEMP-0123456789SGRef ", max_size=8)))
def test_the_spellings_in_a_text_are_those_of_the_list_and_none_is_left_by_escape(pieces):
    text = "".join(pieces)
    assert spellings_in(text) == ONE_AFTER_THE_OTHER.findall(text)
    assert spellings_in(escape(text)) == []
