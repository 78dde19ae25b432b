"""Streamed JSON is the JSON that a parser of whole files reads, wherever the reads cut it."""

import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import json_stream
from converters.json_stream import elements, members, parsed, rows

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@pytest.fixture(autouse=True)
def small_reads(monkeypatch):
    monkeypatch.setattr(json_stream, "BUFFER", 1)


def pieces(data: bytes, size: int = 1):
    """A ``read`` that gives at most ``size`` bytes at a time, as a slow file system may."""
    file = io.BytesIO(data)
    return lambda wanted: file.read(min(wanted, size) if wanted > 0 else wanted)


def spelled(value, indent, ascii_only) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


LAYOUTS = {"indent": st.sampled_from([None, 0, 2]), "ascii_only": st.booleans(), "size": st.integers(1, 40)}


@given(value=st.lists(VALUES, max_size=6), **LAYOUTS)
def test_the_elements_of_a_list_are_those_of_the_whole(value, indent, ascii_only, size):
    data = spelled(value, indent, ascii_only)
    assert list(elements(pieces(data, size))) == parsed(data)
    if ascii_only:  # else half a surrogate pair is three bytes that are not UTF-8
        assert parsed(data) == json.loads(data)


@given(value=st.dictionaries(st.text(), VALUES, max_size=6), **LAYOUTS)
def test_the_members_of_an_object_are_those_of_the_whole(value, indent, ascii_only, size):
    data = spelled(value, indent, ascii_only)
    assert dict(members(pieces(data, size))) == parsed(data)


@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4), VALUES, st.integers(1, 40))
def test_the_rows_of_the_tables_asked_for_are_given_and_no_others(images, annotations, other, size):
    data = json.dumps({"info": other, "images": images, "licenses": [other], "annotations": annotations}).encode()
    found = list(rows(pieces(data, size), ("annotations", "images")))
    assert found == [("images", row) for row in images] + [("annotations", row) for row in annotations]


@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_a_list_that_is_cut_anywhere_is_an_error(value, data):
    whole = json.dumps(value).encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError):
        list(elements(pieces(whole[:cut], 7)))


@given(st.binary(max_size=40), st.integers(1, 9))
def test_any_bytes_are_read_as_a_parser_of_whole_files_reads_them_or_refused(data, size):
    try:
        expected = parsed(data)
    except ValueError:
        expected = None
    try:
        found = list(elements(pieces(data, size)))
    except ValueError:
        found = None
    assert found == (expected if isinstance(expected, list) else None)


@given(st.text(alphabet='[]{}",:0123456789.-+eEnulltruefalsINf\\ \n', max_size=30), st.integers(1, 9))
def test_near_json_is_read_as_a_parser_of_whole_files_reads_it_or_refused(text, size):
    for stream, kind, bracket in ((elements, list, "[{}]"), (members, lambda found: dict(found), "{{{}}}")):
        data = bracket.format(text).encode()
        try:
            expected = parsed(data)
        except ValueError:
            with pytest.raises(ValueError):
                kind(stream(pieces(data, size)))
        else:
            assert repr(kind(stream(pieces(data, size)))) == repr(expected)  # NaN is not equal to itself


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}', "not a list"),
        ("", "not a list"),
        ("[1, 2", "missing"),
        ("[1 2]", "a ',' is missing at character 3"),
        ("[1,]", "Expecting value at character 3"),
        ("[1] 2", "'2' follows the end"),
        ('["a\nb"]', "Invalid control character at"),
        ('[{"a": 1, "a": 2}]', "the key 'a' stands twice"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_place(text, words):
    with pytest.raises(ValueError, match=words):
        list(elements(pieces(text.encode(), 3)))


def test_a_member_that_stands_twice_is_an_error():
    with pytest.raises(ValueError, match="the key 'a' stands twice"):
        list(members(pieces(b'{"a": 1, "b": 2, "a": 1}')))


def test_a_table_that_is_no_list_is_an_error():
    with pytest.raises(ValueError, match="not a list as 'images'"):
        list(rows(pieces(b'{"images": {}}'), ("images",)))


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_bytes_that_are_not_utf_8_spoil_only_the_text_they_stand_in(size):
    data = '["café", "crème"]'.encode().replace("è".encode(), b"\xe8")
    assert list(elements(pieces(data, size))) == ["café", "cr\udce8me"]


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert list(elements(pieces(b"\xef\xbb\xbf[1]"))) == parsed(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize("digits", [299, 300, 301, 5000])
def test_a_whole_number_of_more_than_300_digits_is_infinite(digits):
    number = "9" * digits
    data = f"[1, -{number}, {number}]".encode()
    expected = [1, -int(number), int(number)] if digits <= 300 else [1, float("-inf"), float("inf")]
    assert parsed(data) == list(elements(pieces(data, 64))) == expected


def test_memory_does_not_grow_with_the_list(monkeypatch):
    monkeypatch.setattr(json_stream, "BUFFER", 1 << 16)
    element = json.dumps({"id": 1, "counts": "x" * 2000}).encode()

    def peak(count: int) -> int:
        left = [b"[", *[element + b","] * (count - 1), element + b"]"]
        held = bytearray()

        def read(size: int) -> bytes:
            while left and len(held) < size:
                held.extend(left.pop(0))
            out = bytes(held[:size])
            del held[:size]
            return out

        tracemalloc.start()
        try:
            assert sum(1 for _ in elements(read)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(5000) < 1.2 * peak(500) < 2 << 20


def test_a_value_without_end_is_given_up_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_ELEMENT", 1 << 12)
    given = iter([b'["', *[b"x" * 1000] * 100])
    with pytest.raises(ValueError, match="characters begins at character 1"):
        list(elements(lambda size: next(given)))
