"""docs/datasets.md holds what the code says, and a section that people wrote for every converter."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from converters.base import RawClip
from converters.table import CONVERTERS, find_converter
from converters.world import write_world
from pipelines import dataset_page
from pipelines.dataset_page import PAGE, all_needed, section, tree, updated
from shards.skips import ADJUSTMENTS, REASONS

TEXT = PAGE.read_text("utf-8")
REMEDY = "docs/datasets.md is not what the code says: run python -m pipelines.dataset_page"


def section_of(name: str) -> str:
    return TEXT.split(f"\n## `{name}`\n")[1].split("\n## ")[0]


def test_the_page_is_what_the_code_says():
    assert updated(TEXT) == TEXT, REMEDY


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_converter_has_a_section_that_people_wrote(name):
    by_hand = re.sub(r"<!-- begin.*?<!-- end.*?-->", "", section_of(name), flags=re.DOTALL)
    assert f"Sample keys: `{name}/" in by_hand
    assert len(by_hand.split()) > 15


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_sample_keys_of_the_page_are_those_of_a_scan(name, tmp_path):
    root = "refer" if name.startswith("refcoco") else name
    write_world(tmp_path, clips=1, datasets=[root])
    found = find_converter(name)
    options = {key: option.resolve(key, None) for key, option in found.options.items()}
    scan = found(tmp_path / root, "train", options).scan()
    raw = next(clip for clip in scan if isinstance(clip, RawClip) and clip.items)
    pattern = re.findall(rf"`({name}/[^`]+)`", section_of(name))[0]
    wanted = re.escape(pattern).replace("<split>", "train")
    assert re.fullmatch(re.sub(r"<[^>]*>", "[^/]+", wanted.replace("\\ ", " ")), raw.items[0].key)


def test_every_reason_and_every_change_is_explained():
    part = TEXT.split("<!-- begin: skip reasons -->")[1]
    assert dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", part, re.MULTILINE)) == {**REASONS, **ADJUSTMENTS}


def test_a_new_converter_gets_a_section_before_the_reasons(monkeypatch):
    monkeypatch.setitem(dataset_page.CONVERTERS, "another", CONVERTERS["mevis"])
    page = updated(TEXT)
    assert page.index("## `vidstg`") < page.index("## `another`") < page.index("## Why items are skipped")
    assert section(find_converter("mevis")) in page.split("## `another`")[1]
    assert updated(page) == page
    assert page.replace(page[page.index("\n## `another`") : page.index("\n## Why items")], "") == TEXT


def test_a_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="has no part"):
        updated(TEXT.replace("<!-- end: mevis -->", ""))


def test_the_tree_names_every_needed_path():
    for name in CONVERTERS:
        needs = all_needed(find_converter(name))
        lines = tree(needs).splitlines()
        assert all(any(need.path.rpartition("/")[2] in line for line in lines) for need in needs)


def test_the_command_of_the_page_leaves_a_current_page_as_it_is():
    (command,) = set(re.findall(r"`(python -m [\w.]+)`", TEXT))
    before = PAGE.read_bytes()
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=Path(__file__).parents[2], check=True)
    assert PAGE.read_bytes() == before
