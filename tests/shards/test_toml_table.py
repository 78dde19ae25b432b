"""The strict TOML reader: what it returns, and that each kind of wrong value names file, table and key."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.toml_table import RecipeError, Table, nearest, read_toml


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Table]:
    """``[train]`` of a file with these lines in it."""

    def table(lines: str) -> Table:
        path = tmp_path / "a.toml"
        path.write_text(f"[train]\n{lines}\n")
        return Table.one(path, read_toml(path), "train")

    return table


READ: dict[str, Callable[[Table], Any]] = {
    "known": lambda table: table.known(["key", "other"]),
    "required": lambda table: table.required(["key"]),
    "text": lambda table: table.text("key", None),
    "choice": lambda table: table.choice("key", None, ["adam", "sgd"]),
    "whole": lambda table: table.whole("key", None, least=1),
    "least": lambda table: table.number("key", None, least=2),
    "above": lambda table: table.number("key", None, above=0),
    "number": lambda table: table.number("key", None),
    "share": lambda table: table.share("key", None),
    "flag": lambda table: table.flag("key", None),
    "names": lambda table: table.names("key"),
}


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("text", "'a'", "a"),
        ("text", "''", ""),
        ("choice", "'sgd'", "sgd"),
        ("whole", "1", 1),
        ("number", "-1", -1.0),
        ("number", "1e-5", 1e-5),
        ("least", "2", 2.0),
        ("above", "0.1", 0.1),
        ("share", "0", 0.0),
        ("share", "1.0", 1.0),
        ("flag", "false", False),
        ("names", "'a'", "a"),
        ("names", "['a', 'b']", ("a", "b")),
    ],
)
def test_a_right_value_is_read_in_its_type(table, kind, value, found):
    read = READ[kind](table(f"key = {value}"))
    assert read == found
    assert type(read) is type(found)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("text", "3", "`key` is 3, not text"),
        ("text", "['a']", "`key` is ['a'], not text"),
        ("choice", "'adamm'", "`key` is 'adamm', not one of adam, sgd; did you mean 'adam'?"),
        ("choice", "3", "`key` is 3, not text"),
        ("whole", "1.0", "`key` is 1.0, not a whole number"),
        ("whole", "true", "`key` is True, not a whole number"),
        ("whole", "'1'", "`key` is '1', not a whole number"),
        ("whole", "0", "`key` is 0, not 1 or more"),
        ("number", "'1'", "`key` is '1', not a number"),
        ("number", "true", "`key` is True, not a number"),
        ("number", "inf", "`key` is inf, not a finite number"),
        ("number", "nan", "`key` is nan, not a finite number"),
        ("number", "1" + "0" * 400, "not a finite number"),
        ("least", "1.9", "`key` is 1.9, not 2 or more"),
        ("above", "0", "`key` is 0, not above 0"),
        ("share", "1.01", "`key` is 1.01, not a share between 0 and 1"),
        ("share", "-1", "`key` is -1, not a share between 0 and 1"),
        ("share", "'half'", "`key` is 'half', not a number"),
        ("flag", "1", "`key` is 1, not true or false"),
        ("flag", "'true'", "`key` is 'true', not true or false"),
        ("names", "3", "`key` is 3, not a name or a list of names"),
        ("names", "[]", "`key` is [], not a name or a list of names"),
        ("names", "['a', 1]", "`key` is ['a', 1], not a name or a list of names"),
    ],
)
def test_a_wrong_value_names_the_file_the_table_the_key_and_what_is_wanted(table, kind, value, words):
    wrong = table(f"key = {value}")
    with pytest.raises(RecipeError, match=re.escape(words)) as caught:
        READ[kind](wrong)
    assert str(caught.value).startswith(f"{wrong.path}: [train]: `key` is ")


def test_an_absent_key_is_its_default(table):
    empty = table("")
    assert (empty.text("key", "a"), empty.choice("key", "a", ["b"])) == ("a", "a")
    assert (empty.whole("key", 0, least=1), empty.number("key", None, above=0), empty.share("key", None)) == (
        0, None, None,
    )  # fmt: skip
    assert (empty.flag("key", True), empty.names("key")) == (True, None)


@pytest.mark.parametrize(
    ("kind", "lines", "words"),
    [
        ("known", "keey = 1", "[train] has no key `keey`; did you mean 'key'?"),
        ("known", "zzz = 1", "[train] has no key `zzz`; allowed: key, other"),
        ("required", "other = 1", "[train] lacks `key`"),
    ],
)
def test_keys_that_are_unknown_or_missing_are_errors(table, kind, lines, words):
    wrong = table(lines)
    with pytest.raises(RecipeError) as caught:
        READ[kind](wrong)
    assert str(caught.value) == f"{wrong.path}: {words}"
    READ[kind](table("key = 1"))


def test_tables_are_found_by_name():
    path = Path("a.toml")
    assert Table.one(path, {}, "train").raw == {}
    with pytest.raises(RecipeError, match=re.escape("a.toml: [train] is not a table")):
        Table.one(path, {"train": 3}, "train")
    first, second = Table.several(path, {"mixture": [{"a": 1}, {"a": 2}]}, "mixture", "name one")
    assert (first.where, second.where) == ("[[mixture]] number 1", "[[mixture]] number 2")
    assert (first.raw, second.raw) == ({"a": 1}, {"a": 2})


@pytest.mark.parametrize("raw", [{}, {"mixture": []}, {"mixture": {}}, {"mixture": [3]}])
def test_a_list_of_tables_has_at_least_one(raw):
    with pytest.raises(RecipeError, match=re.escape("a.toml: [[mixture]] is missing: name one")):
        Table.several(Path("a.toml"), raw, "mixture", "name one")


@pytest.mark.parametrize(
    ("content", "words"), [(None, "does not exist"), (b"= 3", "is not TOML"), (b"a = '\xff'", "cannot be read")]
)
def test_a_file_that_cannot_be_parsed_is_named(tmp_path, content, words):
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=words) as caught:
        read_toml(path)
    assert str(caught.value).startswith(str(path))


def test_the_nearest_word_is_offered_only_if_it_is_near():
    assert nearest("trains", ["train", "show"]) == "; did you mean 'train'?"
    assert nearest("zzz", ["train", "show"]) == ""
