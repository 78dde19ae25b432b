"""The account of a build: every raw item is a sample or a counted reason, and every place that says so agrees."""

import json
import re
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from converters.table import find_converter
from converters.world import write_world
from pipelines.cli import main
from pipelines.counts import Counts, count_tables, share, stated_counts, total
from pipelines.demo import RECIPE
from shards.manifest import read_manifest, read_skipped
from shards.skips import ADJUSTMENTS, REASONS
from shards.verify import verify
from tests.shards.small_corpus import edit_manifest, sign_files, write_lines

HERE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus of a world with every fault, built through the command line."""
    folder = tmp_path_factory.mktemp("accounts")
    write_world(folder / "raw", clips=3, seed=4, faults=True)
    (folder / "five.toml").write_text(RECIPE)
    changes = ["--set", "max_skip_share=0.9", "--set", "max_missing_share=0.9"]
    assert main(["build", str(folder / "five.toml"), "--out", str(folder / "c"), "--workers", "0", *changes]) == 0
    return folder / "c"


@pytest.fixture(scope="module")
def lines(corpus):
    found = read_skipped(corpus)
    assert len({line["reason"] for line in found}) > 8  # the world has faults of many kinds
    return found


def html_rows(page: str, title: str) -> list[list[str]]:
    """The cells of the first table below a title of the report, without its head."""
    section = page.split(f"<h2>{title}</h2>")[1].split("<h2>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)]
    return [[unescape(cell) for cell in row] for row in rows if row]


def stats_of(corpus, capsys):
    capsys.readouterr()
    assert main(["stats", str(corpus), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_report_and_skipped_lines_agree_in_counts_and_keys(corpus, lines):
    rows = html_rows((corpus / "report.html").read_text(), "Skipped items")
    counted = {(entry, reason): int(items.replace(",", "")) for entry, reason, items, *_ in rows}
    assert counted == Counter((line["entry"], line["reason"]) for line in lines)
    for entry, reason, _, _, meaning, first in rows:
        assert meaning == REASONS[reason]
        said = [
            f"{line['key']}: {line['detail']}" for line in lines if (line["entry"], line["reason"]) == (entry, reason)
        ]
        assert first == " · ".join(said[:3])


def test_manifest_stats_and_skipped_lines_agree(corpus, lines, capsys):
    stats = stats_of(corpus, capsys)
    entries = read_manifest(corpus)["entries"]
    for entry, stated in zip(stats["entries"], entries, strict=True):
        counted = Counter(line["reason"] for line in lines if line["entry"] == entry["entry"])
        assert entry["skipped"] == stated["skipped"] == counted
        assert {reason: found["items"] for reason, found in entry["reasons"].items()} == counted
        assert entry["items"] == entry["samples"] + counted.total()
        assert sum(found["share"] for found in entry["reasons"].values()) + entry["kept"] == pytest.approx(1)
        assert (entry["license"], entry["citation"]) == (stated["license"], stated["citation"])
    everything = stats["totals"]
    assert {reason: found["items"] for reason, found in everything["reasons"].items()} == Counter(
        line["reason"] for line in lines
    )
    assert everything["kept"] == everything["samples"] / everything["items"]
    assert everything["skipped"] == len(lines)


def test_the_report_states_every_entry_and_their_total(corpus):
    entries = read_manifest(corpus)["entries"]
    rows = html_rows((corpus / "report.html").read_text(), "Entries")
    assert [row[0] for row in rows] == [*(entry["entry"] for entry in entries), "total"]
    for row, entry in zip(rows, entries, strict=False):
        items, kept, share_, skipped, clips = row[1:]
        assert [int(n) for n in (items, kept, clips)] == [entry[name] for name in ("items", "samples", "records")]
        assert int(skipped) == sum(entry["skipped"].values())
        assert share_ == share(entry["samples"], entry["items"])
    assert int(rows[-1][1]) == sum(entry["items"] for entry in entries)


def test_licence_and_citation_stand_in_manifest_report_and_stats(corpus, capsys):
    entries = read_manifest(corpus)["entries"]
    rows = html_rows((corpus / "report.html").read_text(), "Licences and citations")
    assert rows == [[entry["entry"], entry["license"], entry["citation"]] for entry in entries]
    for entry in entries:
        converter = find_converter(entry["dataset"])
        assert (entry["license"], entry["citation"]) == (converter.license, converter.citation)
    assert main(["stats", str(corpus)]) == 0
    said = capsys.readouterr().out
    assert "CC BY-NC-SA 4.0" in said
    assert "Ding et al., ICCV 2023" in said


def test_verify_notices_when_a_line_is_lost_or_gets_another_reason(corpus, tmp_path, lines):
    for name, changed in (("lost", lines[1:]), ("other", [{**lines[0], "reason": "invalid"}, *lines[1:]])):
        copy = tmp_path / name
        copy.mkdir()
        for path in corpus.iterdir():
            if path.name == "shards":
                (copy / "shards").symlink_to(path)
            else:
                (copy / path.name).write_bytes(path.read_bytes())
        write_lines(copy / "skipped.jsonl", changed)
        sign_files(copy)
        assert any(fault.startswith(f"entry {lines[0]['entry']}: skipped is") for fault in verify(copy).faults)


def test_stats_fit_80_columns_and_name_every_reason_with_its_meaning(corpus, lines, capsys):
    assert main(["stats", str(corpus)]) == 0
    *tables, leaks = capsys.readouterr().out.splitlines()
    assert leaks.startswith("leaks: ")
    assert max(map(len, tables)) <= 80
    said = " ".join(tables)
    assert "…" not in said
    for reason in {line["reason"] for line in lines}:
        assert reason in said
        assert REASONS[reason].split()[0] in said


# ---------------------------------------------------------------------------------------------- adjustments


def test_report_and_manifest_agree_about_adjustments(corpus):
    stated = {
        (entry["entry"], kind): count
        for entry in read_manifest(corpus)["entries"]
        for kind, count in entry["adjusted"].items()
    }
    assert stated  # Charades-STA says ends beyond the video
    rows = html_rows((corpus / "report.html").read_text(), "Adjusted samples")
    assert {(entry, kind): int(samples) for entry, kind, samples, *_ in rows} == stated
    assert all(row[-1] == ADJUSTMENTS[row[1]] for row in rows)


def adjusted_entry(corpus) -> str:
    return next(e["entry"] for e in read_manifest(corpus)["entries"] if e["samples"] > 1)


@pytest.fixture
def adjusted(corpus, tmp_path):
    """The manifest and indexes alone, with one entry whose samples were adjusted and others that say nothing."""
    copy = tmp_path / "adjusted"
    copy.mkdir()
    for path in corpus.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    name = adjusted_entry(corpus)

    def edit(manifest):
        for entry in manifest["entries"]:
            entry.pop("adjusted", None)
            if entry["entry"] == name:
                entry["adjusted"] = {"end_cut": 1}

    edit_manifest(copy, edit)
    return copy, name


def test_adjustments_are_shown_where_the_manifest_states_any(adjusted, capsys):
    copy, name = adjusted
    stats = stats_of(copy, capsys)
    by_entry = {entry["entry"]: entry for entry in stats["entries"]}
    expected = {"samples": 1, "share": 1 / by_entry[name]["samples"]}
    assert {entry: e["adjusted"] for entry, e in by_entry.items() if e["adjusted"]} == {name: {"end_cut": expected}}
    assert stats["totals"]["adjusted"]["end_cut"]["samples"] == 1
    assert main(["stats", str(copy)]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "end_cut" in said
    assert ADJUSTMENTS["end_cut"].split(",")[0][:20] in said


# ------------------------------------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 0, "-"),
        (0, 7, "0.0%"),
        (7, 7, "100.0%"),
        (1, 100_000, "<0.1%"),
        (99_999, 100_000, ">99.9%"),
        (9_994, 10_000, "99.9%"),
        (1, 3, "33.3%"),
    ],
)
def test_a_share_says_all_only_of_all_and_none_only_of_none(part, whole, words):
    assert share(part, whole) == words


def test_a_total_adds_entries_and_reasons():
    one = Counts("a", 5, 2, 3, {"bad_mask": 1, "invalid": 1}, {"end_cut": 2})
    other = Counts("b", 4, 1, 3, {"bad_mask": 1}, {})
    assert total([one, other]) == Counts("total", 9, 3, 6, {"bad_mask": 2, "invalid": 1}, {"end_cut": 2})


def test_a_reason_of_a_later_version_is_shown_too():
    console = Console(width=80)
    with console.capture() as said:
        for table in count_tables([Counts("a", 2, 1, 1, {"bad_smell": 1})]):
            console.print(table)
    assert said.get().count("bad_smell") == 2
    assert "of a later version" in said.get()


def test_an_older_manifest_has_no_adjustments():
    entry = {"entry": "a", "items": 1, "records": 1, "samples": 1, "skipped": {}}
    assert stated_counts(entry).adjusted == {}


def test_the_format_page_leads_to_every_reason_and_adjustment():
    format_page, datasets = ((HERE / "docs" / name).read_text() for name in ("format.md", "datasets.md"))
    assert "(datasets.md#why-items-are-skipped)" in format_page
    section = datasets.split("\n## Why items are skipped\n")[1]
    for name, words in (REASONS | ADJUSTMENTS).items():
        assert f"| `{name}` | {words} |" in section
