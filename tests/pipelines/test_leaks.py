"""The leak report: what stands in a train split and in another one is found, by id and by content, and nothing else."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from converters.world import write_world
from pipelines.build import build
from pipelines.cli import main
from pipelines.leaks import Leaks, find_leaks
from pipelines.recipe import load_recipe
from pipelines.stats import own_leaks
from shards.frame_zip import frame_zip
from shards.index import RECORDS_FILE
from shards.keys import record_key
from shards.manifest import MANIFEST_FILE
from shards.mixture import Mixture
from shards.mixture import Source as Drawn
from shards.reader import Corpus
from shards.record import Record
from shards.stream import Stream
from shards.verify import verify
from shards.writer import Media, MediaFile
from tests.shards.small_corpus import (
    edit_manifest,
    frames_record,
    picture,
    sign_files,
    still_record,
    text_record,
    write_corpus,
)

# ------------------------------------------------------------------------------------- a world of five datasets

RECIPE = """
[[dataset]]
name = "train-google"
converter = "refcocog"
root = "raw/refer"
split = "train"
options = { split_by = "google" }

[[dataset]]
name = "val-google"
converter = "refcocog"
root = "raw/refer"
split = "val"
options = { split_by = "google" }

[[dataset]]
name = "val-unc"
converter = "refcoco"
root = "raw/refer"
split = "val"

[[dataset]]
name = "plus"
converter = "refcoco_plus"
root = "raw/refer"
split = "train"
"""


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """A world in which the google split of RefCOCOg has val stills in train, as the release has."""
    folder = tmp_path_factory.mktemp("leaky")
    return folder, write_world(folder / "raw", clips=4, seed=3, datasets=["refer"])


@pytest.fixture(scope="module")
def leaky(truth):
    folder, _ = truth
    (folder / "leaky.toml").write_text(RECIPE)
    return Corpus.open(build(load_recipe(folder / "leaky.toml"), folder / "leaky", workers=0).corpus)


def found_by_hand(truth) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(train entry, evaluation entry) → (train samples, evaluation clips, evaluation samples), from the truth."""
    entries = {
        "train-google": ("refcocog", "train", "google"),
        "plus": ("refcoco_plus", "train"),
        "val-google": ("refcocog", "val", "google"),
        "val-unc": ("refcoco", "val"),
    }
    clips = {name: Counter(s.clip.source for s in truth.samples[key].values()) for name, key in entries.items()}
    found = {}
    for train in ("train-google", "plus"):
        for other in ("val-google", "val-unc"):
            if both := clips[train].keys() & clips[other].keys():
                samples = [sum(clips[name][source] for source in both) for name in (train, other)]
                found[train, other] = (samples[0], len(both), samples[1])
    return found


def test_the_google_split_leaks_into_itself_and_into_refcoco_and_refcoco_plus_does_not(truth, leaky):
    expected = found_by_hand(truth[1])
    assert expected.keys() == {("train-google", "val-google"), ("train-google", "val-unc")}
    leaks = find_leaks([leaky], read_shards=True)
    pairs = {(leak.train.entry, leak.evaluation.entry): leak for leak in leaks.pairs}
    counted = {
        names: (leak.train.samples, leak.evaluation.records, leak.evaluation.samples) for names, leak in pairs.items()
    }
    assert counted == expected
    for leak in leaks.pairs:
        assert leak.by == {"id": leak.evaluation.records, "bytes": leak.evaluation.records, "frames": 0}
        assert all(example.by == ("id", "bytes") for example in leak.examples)
    example = pairs["train-google", "val-unc"].examples[0]
    assert example.train.removeprefix("train-google-") == example.evaluation.removeprefix("val-unc-")


def test_the_indexes_alone_find_the_same(leaky):
    assert own_leaks(leaky).pairs == find_leaks([leaky], read_shards=True).pairs


def test_the_unc_splits_do_not_leak(truth):
    folder, _ = truth
    entries = [
        f"[[dataset]]\nconverter = '{name}'\nroot = 'raw/refer'\nsplit = '{split}'"
        for name in ("refcoco", "refcoco_plus")
        for split in ("train", "val", "testA", "testB")
    ]
    (folder / "unc.toml").write_text("\n".join(entries))
    corpus = Corpus.open(build(load_recipe(folder / "unc.toml"), folder / "unc", workers=0).corpus)
    leaks = find_leaks([corpus], read_shards=True)
    assert leaks.pairs == ()
    assert leaks.entries == (2, 6)


def test_the_list_holds_the_train_samples_of_shared_clips_and_no_other(leaky, tmp_path, capsys):
    out = tmp_path / "leave-out.jsonl"
    assert main(["leaks", str(leaky.root), "--out", str(out)]) == 0
    assert f"are listed in {out}" in capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    held = {r.clip.source for r, _ in leaky if r.split != "train"}
    expected = {s.key for r, _ in leaky if r.split == "train" and r.clip.source in held for s in r.samples}
    assert {line["sample_key"] for line in lines} == expected
    assert len(lines) == len(expected)
    assert {line["record_key"] for line in lines} == {
        r.key for r, _ in leaky if r.split == "train" and r.clip.source in held
    }


def test_leaks_fail_only_where_that_was_asked_for(leaky, tmp_path, capsys):
    assert main(["leaks", str(leaky.root)]) == 0
    assert main(["leaks", str(leaky.root), "--fail"]) == 1
    clean = write_corpus(tmp_path / "clean", [still(tmp_path, "cup", "train"), still(tmp_path, "jug", "val", 90)])
    assert main(["leaks", str(clean), "--fail"]) == 0
    assert "no clip of a train split is in an evaluation split" in capsys.readouterr().out


def test_json_is_all_there_is_on_stdout(leaky, capsys):
    assert main(["leaks", str(leaky.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["pairs"]) == 2
    assert "split named train" in found["rule"]
    assert found["train"]["of_samples"] + found["evaluation"]["of_samples"] == leaky.samples.num_rows


def test_the_words_fit_a_terminal_of_80_columns(leaky, capsys):
    main(["leaks", str(leaky.root)])
    table = [line for line in capsys.readouterr().out.splitlines() if "google" in line and "=" not in line]
    assert table
    assert all(len(line) <= 80 and "…" not in line for line in table)


def test_a_corpus_is_compared_with_another_but_not_named_twice(leaky, tmp_path, capsys):
    shown = next(record.clip.source for record, _ in leaky if record.entry == "plus")
    number = shown.removesuffix(".jpg").rsplit("_", 1)[1]
    other = tmp_path / "other"
    write_corpus(other, [renamed(still(tmp_path, "mine", "val", 7), "pictures", "llava", f"val2017/{number}.jpg")])
    assert main(["leaks", str(leaky.root), str(other), "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    across = [pair for pair in pairs if pair["evaluation"]["corpus"] == str(other)]
    assert {pair["train"]["entry"] for pair in across} == {"train-google", "plus"}
    assert all(pair["train"]["corpus"] == str(leaky.root) for pair in across)
    assert all(pair["by"] == {"id": 1, "bytes": 0, "frames": 0} for pair in across)  # another copy of the picture
    assert main(["leaks", str(leaky.root), str(other)]) == 0
    assert "other: pictures" in capsys.readouterr().out
    assert main(["leaks", str(other), f"{other}/../other"]) == 2
    assert "named twice" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------- by content, by hand

Item = tuple[Record, Media | None]


def still(folder: Path, name: str, split: str, level: int = 200, content: bytes = b"") -> Item:
    """A still of an entry of its own for each split, from a file of its own; the same level gives the same bytes."""
    path = folder / f"{name}-{split}.jpg"
    path.write_bytes(content or picture(level))
    return in_split(still_record(name), split), MediaFile(path, ".jpg", path.stat().st_size)


def in_split(record: Record, split: str) -> Record:
    entry = f"{record.entry}-{split}"
    samples = tuple(replace(s, key=f"toy/{split}/{record.key}/{n}") for n, s in enumerate(record.samples))
    name = record.key.removeprefix(f"{record.entry}-")
    clip = replace(record.clip, source=f"{split}/{name}.jpg")
    return replace(record, entry=entry, key=record_key(entry, name), split=split, samples=samples, clip=clip)


def renamed(item: Item, entry: str, dataset: str, source: str) -> Item:
    record, media = item
    clip = replace(record.clip, source=source)
    return replace(record, entry=entry, key=record_key(entry, "x"), dataset=dataset, clip=clip), media


def leaks_of(folder: Path, *items: Item) -> Leaks:
    return find_leaks([Corpus.open(write_corpus(folder / "corpus", items))], read_shards=True)


def test_the_same_bytes_are_found_under_any_name(tmp_path):
    leaks = leaks_of(tmp_path, still(tmp_path, "cup", "train"), still(tmp_path, "mug", "val"))
    (leak,) = leaks.pairs
    assert leak.by == {"id": 0, "bytes": 1, "frames": 0}
    assert (leak.train.samples, leak.evaluation.samples) == (2, 2)
    assert leak.examples[0].by == ("bytes",)


def test_other_bytes_under_the_same_name_of_another_folder_are_no_leak(tmp_path):
    assert leaks_of(tmp_path, still(tmp_path, "cup", "train", 10), still(tmp_path, "cup", "val", 20)).pairs == ()


def test_copies_within_train_or_within_evaluation_are_no_leak(tmp_path):
    items = [still(tmp_path, "a", "train", 10), still(tmp_path, "b", "train", 10)]
    items += [still(tmp_path, "c", "val", 90), still(tmp_path, "d", "test", 90)]
    assert leaks_of(tmp_path, *items).pairs == ()


def test_bytes_of_one_size_and_checksum_are_told_apart_by_their_hash(tmp_path):
    one = picture(200) + bytes(16)
    twin = bytearray(one)
    for place, bits in enumerate(0x1DB710641.to_bytes(5, "little"), start=len(one) - 8):
        twin[place] ^= bits  # a multiple of CRC-32's polynomial changes no checksum
    items = [still(tmp_path, "cup", "train", content=one), still(tmp_path, "mug", "val", content=bytes(twin))]
    corpus = Corpus.open(write_corpus(tmp_path / "corpus", items))
    assert len(set(corpus.records.column("media_crc32").to_pylist())) == 1
    assert len(own_leaks(corpus).pairs) == 1
    assert find_leaks([corpus], read_shards=True).pairs == ()


def folder_of_frames(folder: Path, name: str, split: str, levels: list[int]) -> Item:
    record = in_split(frames_record(name), split)
    paths = []
    for place, level in enumerate(levels):
        paths.append(folder / f"{name}-{split}-{place}.jpg")
        paths[-1].write_bytes(picture(level))
    record = replace(record, clip=replace(record.clip, num_frames=len(levels)))
    return record, frame_zip(paths)


@pytest.mark.parametrize(
    ("train", "evaluation", "by"),
    [
        ([10, 20, 30, 40, 50, 60], [20, 40, 60, 200], {"frames": 1}),  # three of four
        ([10, 20, 30, 40], [20, 30, 210, 220], {"frames": 1}),  # half
        ([10, 20, 30, 40], [20, 200, 210, 220], None),  # one of four, e.g. a black one
        ([10, 20, 30, 40], [10, 20, 30, 40], {"bytes": 1, "frames": 1}),
        ([10, 20, 30, 40], [10, 20, 30, 40, 50, 60, 70, 80, 90], {"frames": 1}),  # a part of the longer one
    ],
)
def test_frame_folders_are_the_same_where_they_share_half_the_frames_of_the_shorter(tmp_path, train, evaluation, by):
    items = [folder_of_frames(tmp_path, "a", "train", train), folder_of_frames(tmp_path, "b", "val", evaluation)]
    leaks = leaks_of(tmp_path, *items)
    assert [leak.by for leak in leaks.pairs] == ([{"id": 0, "bytes": 0, "frames": 0} | by] if by else [])


def test_frames_and_lists_know_which_corpus_they_are_of(tmp_path, capsys):
    train = [folder_of_frames(tmp_path, f"t{n}", "train", [10 * n, 10 * n + 1]) for n in range(3)]
    first = write_corpus(tmp_path / "one", [still(tmp_path, "cup", "train"), train[0]])
    second = write_corpus(tmp_path / "two", [still(tmp_path, "jug", "train", 90), train[1], train[2]])
    third = write_corpus(tmp_path / "three", [folder_of_frames(tmp_path, "seen", "val", [20, 21, 22])])
    out = tmp_path / "out.jsonl"
    assert main(["leaks", *map(str, (first, second, third)), "--json", "--out", str(out)]) == 0
    (leak,) = json.loads(capsys.readouterr().out)["pairs"]
    assert leak["examples"] == [
        {"train": "folders-train-t2", "evaluation": "folders-val-seen", "source": "val/seen.jpg", "by": ["frames"]}
    ]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {(line["corpus"], line["record_key"]) for line in lines} == {(str(second), "folders-train-t2")}
    assert len(lines) == leak["train"]["samples"] == 3


def test_a_frame_that_very_many_clips_hold_connects_none(tmp_path):
    items = [folder_of_frames(tmp_path, f"n{n}", "train", [0]) for n in range(64)]
    items.append(folder_of_frames(tmp_path, "seen", "val", [0, 128]))
    assert leaks_of(tmp_path, *items).pairs == ()
    assert len(leaks_of(tmp_path / "less", *items[1:]).pairs) == 1


def test_records_without_media_never_meet(tmp_path):
    items: list[Item] = [(in_split(text_record(), split), None) for split in ("train", "val")]
    same = [(replace(record, clip=replace(record.clip, source="")), None) for record, _ in items]
    assert leaks_of(tmp_path, *same).pairs == ()


def test_where_there_is_nothing_to_compare_it_says_so(tmp_path, capsys):
    for name, items, words in (
        ("none", [], "no clips at all"),
        ("train", [still(tmp_path, "a", "train")], "only train splits"),
        ("val", [still(tmp_path, "a", "val")], "no train split"),
    ):
        (tmp_path / name).mkdir()
        corpus = write_corpus(tmp_path / name, items)
        assert main(["leaks", str(corpus), "--fail"]) == 0
        assert words in capsys.readouterr().out


# ---------------------------------------------------------------------------------------- corpora of older versions


@pytest.fixture
def old(truth, leaky, tmp_path) -> Path:
    """The leaky corpus as it was built before records.parquet had a source and the manifest a family."""
    folder = tmp_path / "old"
    folder.mkdir()
    for path in leaky.root.iterdir():
        if path.name == "shards":
            (folder / "shards").symlink_to(path)
        else:
            (folder / path.name).write_bytes(path.read_bytes())
    table = pq.read_table(folder / RECORDS_FILE)
    pq.write_table(table.drop_columns(["source"]), folder / RECORDS_FILE)
    edit_manifest(folder, lambda m: [entry.pop(name) for entry in m["entries"] for name in ("pictures", "adjusted")])
    sign_files(folder)
    return folder


def test_an_older_corpus_opens_verifies_and_streams(old):
    assert "pictures" not in (old / MANIFEST_FILE).read_text()
    corpus = Corpus.open(old)
    assert corpus.records.column("source").null_count == len(corpus)
    assert verify(old).faults == ()
    stream = Stream(Mixture((Drawn(old),)), seed=1, batch_size=8, epochs=1)
    assert sum(len(draws) for draws in stream) == corpus.samples.num_rows


def test_the_ids_of_an_older_corpus_come_from_its_records(old, leaky):
    pairs, now = (find_leaks([corpus], read_shards=True).pairs for corpus in (Corpus.open(old), leaky))
    assert [leak.by for leak in pairs] == [leak.by for leak in now]
    assert [leak.train.samples for leak in pairs] == [leak.train.samples for leak in now]


def test_the_stats_of_an_older_corpus_say_that_ids_were_not_compared(old, capsys):
    assert main(["stats", str(old)]) == 0
    assert "by content alone" in capsys.readouterr().out
    assert [leak.by["id"] for leak in own_leaks(Corpus.open(old)).pairs] == [0, 0]
