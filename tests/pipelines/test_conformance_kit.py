"""The conformance kit finds what it says it finds: converters that break one law each, and what it says of them."""

import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from converters.base import Item, RawClip
from converters.raw_files import DatasetError
from converters.world.expected import Expected, World
from pipelines.conformance import fact_laws, fault_laws, faults, scan_laws, sweep
from pipelines.conformance.annotation import Annotation, element_around, enlarged, load, shuffled
from pipelines.conformance.faults import Fault
from pipelines.conformance.golden import golden
from pipelines.conformance.running import outcome
from pipelines.conformance.suite import _against_golden
from pipelines.conformance.world import Case, Worlds
from pipelines.conformance.writers import writer_of
from pipelines.scaffold import referring_description_world, referring_segmentation_world, temporal_grounding_world
from pipelines.scaffold.referring_description import Example as Descriptions
from pipelines.scaffold.referring_segmentation import Example as Masks
from pipelines.scaffold.temporal_grounding import Example as Moments
from shards.record import Region
from shards.skips import SkipItem

HERE = Path(__file__).parents[2]
WRITERS = {
    Moments: temporal_grounding_world.write,
    Masks: referring_segmentation_world.write,
    Descriptions: referring_description_world.write,
}


def case_of(converter, folder: Path) -> Case:
    write = next(write for family, write in WRITERS.items() if issubclass(converter, family))
    (case,) = Worlds(f"{converter.__module__}:{converter.__qualname__}", write, folder).cases()
    return case


def scanned(found) -> list[RawClip]:
    return [clip for clip in found if isinstance(clip, RawClip)]


def complaint(problems) -> str:
    return "\n".join(problems)


# ------------------------------------------------------------------------------------------------- laws of scan


class KeysByPosition(Masks):
    def scan(self):
        for position, clip in enumerate(scanned(super().scan())):
            yield replace(clip, items=(Item(self.key(position), clip.items[0].raw),))


def test_keys_that_come_from_positions_are_found(tmp_path):
    case = case_of(KeysByPosition, tmp_path)
    assert "states something else: " in complaint(scan_laws.order_matters(case, 1, outcome(case)))


class KeysLost(Masks):
    def scan(self):
        yield from scanned(super().scan())[1:]


def test_a_key_that_vanishes_under_shuffling_is_named(tmp_path):
    case = case_of(KeysLost, tmp_path)
    clean = outcome(case)
    found = [complaint(scan_laws.order_matters(case, seed, clean)) for seed in range(4)]
    assert any("vanished: there is no such item" in words for words in found)


class OneKey(Masks):
    def scan(self):
        for clip in scanned(super().scan()):
            yield replace(clip, items=(Item("elsewhere/train/1", clip.items[0].raw),))


def test_a_key_of_several_items_and_of_another_dataset_is_found(tmp_path):
    found = complaint(scan_laws.bad_keys(case_of(OneKey, tmp_path)))
    assert "11 items have the key elsewhere/train/1" in found
    assert "does not begin with example/train/ and an id" in found


class Unsteady(Masks):
    clock = itertools.count()

    def scan(self):
        for clip in scanned(super().scan()):
            yield replace(clip, shared={"now": next(self.clock)})


def test_a_scan_that_yields_something_else_the_second_time_is_found(tmp_path):
    found = complaint(scan_laws.unsteady_scan(case_of(Unsteady, tmp_path)))
    assert "the same converter scans something else as number 0" in found
    assert "another instance scans something else as number 0" in found


class Curious(Masks):
    def scan(self):
        for clip in scanned(super().scan()):
            if (self.root / "images" / clip.id).exists():
                (self.root / "images" / clip.id).read_bytes()
            (self.root / "seen.txt").write_text("yes")
            list((self.root.parent / "outside").iterdir())
            yield clip


def test_a_scan_that_opens_media_or_writes_or_looks_outside_is_found(tmp_path):
    found = complaint(scan_laws.media_touched(case_of(Curious, tmp_path)))
    assert "scan opens release/images/0.jpg, which is media" in found
    assert "scan writes seen.txt into the release" in found
    assert "scan reads outside, which lies outside the root" in found


class NotJson(Masks):
    def scan(self):
        for clip in scanned(super().scan()):
            yield replace(clip, shared={"size": (4, 3), "places": {1: b"one"}})


def test_what_is_not_plain_json_is_found(tmp_path):
    found = complaint(scan_laws.not_plain_json(case_of(NotJson, tmp_path)))
    assert "0.jpg: shared['size'] is tuple, which is not plain JSON" in found
    assert "shared['places'] has the key 1, which is int, not text" in found


class EverythingInEveryItem(Descriptions):
    def scan(self):
        clips = scanned(super().scan())
        masks = [clip.items[0].raw["masks"] for clip in clips]
        for clip in clips:
            item = clip.items[0]
            yield replace(clip, items=(Item(item.key, item.raw | {"all": masks}),))


def test_masks_of_a_video_that_are_repeated_in_every_item_are_found(tmp_path):
    found = complaint(scan_laws.too_large(case_of(EverythingInEveryItem, tmp_path)))
    assert "put it into shared (example/train/0" in found
    assert "more than 4 x the" in found


class Hoarder(Moments):
    def scan(self):
        whole = (self.root / "train.json").read_text()
        held = [json.loads(whole) for _ in range(3)]
        yield from super().scan()
        held.clear()


def test_a_scan_that_holds_its_file_several_times_is_found(tmp_path):
    assert "of train.json holds" in complaint(scan_laws.memory_beyond(case_of(Hoarder, tmp_path / "much")))
    assert list(scan_laws.memory_beyond(case_of(Moments, tmp_path / "little"))) == []


def test_a_world_that_foresees_something_else_is_told_what_happened(tmp_path):
    case = case_of(Masks, tmp_path)
    entry = Expected("train", ["example/train/6", "example/train/77"], {"example/train/0": "bad_mask"})
    found = complaint(scan_laws.unexpected_outcome(replace(case, expected=entry), outcome(case)))
    assert "example/train/6 is no sample: it is skipped as malformed (the masks are not a list)" in found
    assert "example/train/77 is no sample: there is no such item" in found
    assert "example/train/0 should be skipped as bad_mask: it is a sample" in found
    assert "example/train/1 is a sample, which the world did not foresee" in found
    assert "example/train/7 is skipped as bad_mask (a polygon has" in found


# ------------------------------------------------------------------------------------------------ laws of facts


def facts(converter, folder: Path) -> list[fact_laws.Fact]:
    return list(fact_laws.facts_of(case_of(converter, folder)))


class Counting(Masks):
    count = itertools.count()

    def facts(self, raw, item, clip, table):
        return replace(super().facts(raw, item, clip, table), tags=(str(next(self.count)),))


class Local(Masks):
    def facts(self, raw, item, clip, table):
        return replace(super().facts(raw, item, clip, table), tags=(str(os.getpid()), self.root.as_posix()))


class Gossiping(Masks):
    def facts(self, raw, item, clip, table):
        return replace(super().facts(raw, item, clip, table), tags=(f"one of {len(raw.items)}",))


def test_facts_that_depend_on_the_past_are_found(tmp_path):
    found = complaint(fact_laws.impure(case_of(Counting, tmp_path)))
    assert "by the same converter again, in another order" in found
    assert "by another instance" in found


def test_facts_that_depend_on_the_place_are_found(tmp_path):
    found = complaint(fact_laws.impure(case_of(Local, tmp_path)))
    assert "clip 0.jpg becomes something else with the release in another folder" in found
    assert "clip 0.jpg becomes something else in another process" in found
    assert "again" not in found


def test_facts_that_depend_on_other_items_are_found(tmp_path):
    found = complaint(fact_laws.impure(case_of(Gossiping, tmp_path)))
    assert "example/train/0 states something else without the other items of its clip" in found
    assert "again" not in found


class TooLate(Moments):
    def facts(self, raw, item, clip, table):
        sample = super().facts(raw, item, clip, table)
        return replace(sample, spans=((0.0, (clip.duration or 0) + 1),), window=(1.0, 0.5))


def test_spans_outside_clip_and_window_are_found(tmp_path):
    found = complaint(fact_laws.bad_spans(facts(TooLate, tmp_path)))
    assert "the window (1.0, 0.5) does not lie in the clip" in found
    assert "does not lie in (1.0, 0.5)" in found


class Early(Moments):
    def facts(self, raw, item, clip, table):
        sample = super().facts(raw, item, clip, table)
        return replace(sample, spans=tuple((start, end - 1 / 30) for start, end in sample.spans))


def test_an_end_that_is_a_frame_too_early_is_found(tmp_path):
    case = case_of(Early, tmp_path)
    found = complaint(fact_laws.other_spans(case.expected.spans, list(fact_laws.facts_of(case))))
    assert re.search(r"example/train/0 has the spans \[.*\], filmed was \[", found)
    right = case_of(Moments, tmp_path / "right")
    assert complaint(fact_laws.other_spans(right.expected.spans, list(fact_laws.facts_of(right)))) == ""


def test_text_in_another_encoding_is_no_crash_of_the_kit(tmp_path):
    text = load("a.txt", "café ".encode("latin-1") * 1000)
    assert text.form == "bytes"
    assert list(scan_laws._large_parts(text.value)) == []


class BeyondTheFrame(Masks):
    def facts(self, raw, item, clip, table):
        table.tube(item.key, {0: (3.0, 0.0, clip.width + 1.0, 2.0)})
        return super().facts(raw, item, clip, table)


def test_boxes_beyond_the_frame_and_masks_of_another_size_are_found(tmp_path):
    known = facts(BeyondTheFrame, tmp_path)
    assert "box example/train/0 on frame 0 is (3.0, 0.0, 193.0, 2.0), the clip 192x144" in complaint(
        fact_laws.bad_masks(known)
    )
    wider = [(raw, replace(record, clip=replace(record.clip, width=500))) for raw, record in known]
    assert "has 27648 pixels, the clip is 500x144 with 1 frames" in complaint(fact_laws.bad_masks(wider))


class Listing(Masks):
    def facts(self, raw, item, clip, table):
        return replace(super().facts(raw, item, clip, table), tags=["a list"])


def test_facts_that_the_codec_changes_are_found(tmp_path):
    assert "is not the same after to_json and from_json" in complaint(
        fact_laws.lost_in_the_codec(facts(Listing, tmp_path))
    )


class TwoRegions(Descriptions):
    def facts(self, raw, item, clip, table):
        sample = super().facts(raw, item, clip, table)
        (region,) = sample.regions
        return replace(sample, query="What is <region>?", regions=(region, Region(region.masklet, region.frames)))


def test_more_regions_than_the_words_have_are_found(tmp_path):
    assert "example/train/0 cannot be worded: " in complaint(fact_laws.bad_placeholders(facts(TwoRegions, tmp_path)))


class Wordy(Moments):
    def facts(self, raw, item, clip, table):
        sample = super().facts(raw, item, clip, table)
        return replace(sample, query=f"When does it happen that {sample.query}?")


def test_words_that_no_annotator_said_are_found(tmp_path):
    found = complaint(fact_laws.worded(facts(Wordy, tmp_path)))
    assert "says 'When does it happen that the " in found
    assert "which does not stand in its raw item" in found


# ----------------------------------------------------------------------------------------------- laws of faults


def broken(case: Case, place, new) -> Fault:
    """The annotation with another value at ``place``."""
    annotation = load("train.json", (case.root / "train.json").read_bytes())
    without = annotation.removed(element_around(annotation.value, place)).bytes()
    return Fault(f"{place} → {new!r}", "train.json", annotation.replaced(place, new).bytes(), without)


def harm(converter, folder: Path, place, new) -> str:
    case = case_of(converter, folder)
    return complaint(fault_laws.harm(case, broken(case, place, new), outcome(case)))


class Trusting(Masks):
    def facts(self, raw, item, clip, table):
        tags = tuple(item.raw["text"].split()[:1])
        return replace(super().facts(raw, item, clip, table), tags=tags)


class Strict(Masks):
    def scan(self):
        for clip in scanned(super().scan()):
            if not isinstance(clip.items[0].raw["text"], str):
                raise DatasetError(f"{self.root}/train.json has an item without text")
            yield clip


class Careless(Masks):
    def scan(self):
        for clip in scanned(super().scan()):
            if not clip.items[0].raw["text"]:
                raise ValueError("no text")
            yield clip


class Following(Masks):
    def facts(self, raw, item, clip, table):
        sample = super().facts(raw, item, clip, table)
        if (self.root / sample.query).exists():
            (self.root / sample.query).read_bytes()
        return sample


class Telling(Masks):
    def facts(self, raw, item, clip, table):
        if item.raw["masks"] == []:
            raise SkipItem("malformed", f"no masks in {self.root}/train.json")
        return super().facts(raw, item, clip, table)


def test_an_error_that_was_not_foreseen_is_found(tmp_path):
    place = (0, "text")
    assert 'did not foresee: "unexpected: AttributeError: ' in harm(Trusting, tmp_path / "a", place, {"a": 1})
    assert harm(Masks, tmp_path / "b", place, {"a": 1}) == ""


def test_a_release_that_is_refused_for_one_item_is_found(tmp_path):
    assert "the whole release is refused (" in (found := harm(Strict, tmp_path, (0, "text"), None))
    assert "though 5 samples do not depend on the fault" in found


def test_an_error_that_is_not_of_the_release_is_found(tmp_path):
    assert "ends in ValueError: no text (test_conformance_kit.py, line " in harm(Careless, tmp_path, (0, "text"), "")


def test_a_file_outside_the_root_that_is_read_is_found(tmp_path):
    case = case_of(Following, tmp_path)
    (case.outside / "bait.jpg").write_bytes(b"secret")
    fault = broken(case, (0, "text"), "../outside/bait.jpg")
    assert "outside/bait.jpg is read, which lies outside the root" in complaint(
        fault_laws.harm(case, fault, outcome(case))
    )


def test_a_detail_that_names_a_folder_of_this_machine_is_found(tmp_path):
    assert "the detail names a folder of this machine" in harm(Telling, tmp_path, (0, "masks"), [])


class Meddling(Masks):
    """Takes the first item's id for all of them."""

    def scan(self):
        clips = scanned(super().scan())
        first = str(clips[0].items[0].raw["id"])
        for clip in clips:
            item = clip.items[0]
            yield replace(clip, items=(Item(item.key, item.raw | {"text": f"{item.raw['text']} {first}"}),))


def test_other_items_that_suffer_from_a_fault_are_found(tmp_path):
    case = case_of(Meddling, tmp_path)
    fault = replace(broken(case, (0, "id"), "y"), without=(case.root / "train.json").read_bytes())
    assert "example/train/1 does not depend on it, and states something else: query is " in complaint(
        fault_laws.harm(case, fault, outcome(case))
    )


def test_every_odd_value_of_every_field_is_tried_and_blamed_alone(tmp_path):
    case, known = case_of(Trusting, tmp_path), set()
    found = complaint(sweep.harm(case, ["train.json"], known))
    assert re.search(
        r"^train.json: \[\d+\]\['text'\] → None: .* did not foresee: .*AttributeError", found, re.MULTILINE
    )
    assert re.search(r"^train.json: \[\d+\]\['text'\] is gone: .*KeyError", found, re.MULTILINE)
    assert {("*",), ("*", "text"), ("*", "masks", "*", "size")} <= known
    assert list(sweep.harm(case, ["train.json"], known)) == []  # every shape is known now
    assert list(sweep.harm(case_of(Masks, tmp_path / "good"), ["train.json"], set())) == []


def test_a_batch_has_no_two_changes_in_one_element():
    rows = [{"id": i, "places": {str(i): [[1, 2]]}} for i in range(30)]
    waiting = list(sweep._changes({"a.json": Annotation("a.json", "json", rows)}, set()))
    wanted = {(options[0].shape, repr(options[0].new)) for options in waiting}
    batches = list(sweep._batches(waiting))
    assert len(batches) < len(waiting) / 2
    changes = [change for batch in batches for change in batch]
    assert {(change.shape, repr(change.new)) for change in changes} == wanted
    assert len(changes) == len(waiting)
    for batch in batches:
        assert len({change.element for change in batch}) == len(batch)


def test_what_a_release_can_lack_is_an_object_or_an_element():
    value = {"videos": {"a": {"frames": ["0", "1"], "size": {"width": 3}}}}
    assert element_around(value, ("videos", "a", "size", "width")) == ("videos", "a", "size")
    assert element_around(value, ("videos", "a", "frames", 1)) == ("videos", "a", "frames", 1)
    assert element_around(value, ("videos", "a", "frames")) == ("videos", "a")
    assert element_around(value, ("videos",)) == ("videos",)


def test_the_release_is_whole_again_after_every_fault(tmp_path):
    case = case_of(Masks, tmp_path)
    before = {path: path.read_bytes() for path in case.root.rglob("*") if path.is_file()}
    clean = outcome(case)
    for fault in (faults.link_out(case, case.root / "images" / "0.jpg"), Fault("is gone", "train.json", None)):
        assert list(fault_laws.harm(case, fault, clean)) == []
    with pytest.raises(ZeroDivisionError), faults.applied(case, "train.json", b"[]"):
        raise ZeroDivisionError
    assert {path: path.read_bytes() for path in case.root.rglob("*") if path.is_file()} == before


def test_a_frame_that_comes_back_is_noticed(tmp_path):
    """VideoRefer lists its folders: with a frame gone, every later mask lies on another frame."""
    cases = Worlds("videorefer", writer_of("videorefer"), tmp_path).cases()
    case = next(case for case in cases if case.expected.split == "bench_q")
    frame = next((case.root / "VideoRefer-Bench-Q").rglob("00000.jpg")).relative_to(case.root).as_posix()
    with faults.applied(case, frame, None):
        assert set(outcome(case).reasons().values()) == {"bad_frame"}
    assert outcome(case).skipped == []


# ------------------------------------------------------------------------------------------- the annotation files


def test_tables_are_shuffled_and_places_that_mean_something_are_kept():
    value = {"b": [1, 2, 3], "rows": [{"x": 1, "y": [3, 1, 2]}, {"x": 2}, {"x": 3}, {"x": 4}]}
    found = [shuffled(Annotation("a/b.json", "json", value), seed, ["a/*:b"]).value for seed in range(20)]
    assert all(one["b"] == [1, 2, 3] for one in found)
    assert any(one["rows"] != value["rows"] for one in found)
    assert all(sorted(row["x"] for row in one["rows"]) == [1, 2, 3, 4] for one in found)
    assert all(row["y"] == [3, 1, 2] for one in found for row in one["rows"] if row["x"] == 1)
    assert {tuple(one) for one in found} == {("b", "rows"), ("rows", "b")}


def test_lines_are_shuffled_below_their_header_and_stay_lines():
    table = load("a.csv", b"name,x\na,1\nb,2\nc,3")
    for seed in range(5):
        lines = shuffled(table, seed, ()).bytes().splitlines()
        assert lines[0] == b"name,x"
        assert sorted(lines[1:]) == [b"a,1", b"b,2", b"c,3"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.json", b'[{"id": 1, "text": "one"}]'),
        ("a.json", b'{"7": [null, 1], "8": [null, 2]}'),
        ("a.json", b'{"videos": {"a": {"x": 1}}}'),
        ("a.txt", b"one 1\ntwo 2\n"),
        ("a.jsonl", b'{"id": 1}\n'),
    ],
)
def test_an_enlarged_file_is_of_the_same_kind_and_has_the_size(file, content):
    order = ["a.json:*"] if content.startswith(b'{"7"') else []
    large = enlarged(load(file, content), 5000, order)
    assert 3000 < len(large.bytes()) < 12000
    assert load(file, large.bytes()).form == load(file, content).form != "bytes"


def test_a_file_that_does_not_hold_what_its_suffix_says_is_bytes():
    assert load("a.json", b"{").form == load("a.p", b"nothing").form == load("a.bin", b"{}").form == "bytes"


# ----------------------------------------------------------------------------------------------------- goldens


def test_a_golden_that_differs_is_told_by_its_first_line(tmp_path, monkeypatch):
    case = case_of(Masks, tmp_path)
    clean = outcome(case)
    assert "does not exist: MULTIGRAIN_GOLDENS=write writes it" in _against_golden(case, tmp_path, clean)
    monkeypatch.setenv("MULTIGRAIN_GOLDENS", "write")
    assert _against_golden(case, tmp_path, clean) == ""
    monkeypatch.delenv("MULTIGRAIN_GOLDENS")
    assert _against_golden(case, tmp_path, clean) == ""
    path = tmp_path / "example-train.json"
    path.write_text(path.read_text().replace("the purple dots", "some dots"))
    assert "the purple dots" in (found := _against_golden(case, tmp_path, clean))
    assert "was " in found
    assert "some dots" in found


def test_a_golden_is_short_json_that_says_where_a_mask_lies(tmp_path):
    case = case_of(Masks, tmp_path)
    text = golden(case, outcome(case))
    assert max(map(len, text.splitlines())) <= 120
    whole = json.loads(text)
    (record,) = whole["records"]
    assert record["masklets"]["0/0"][1] == "0: 180 px in x 33-61, y 104-120"
    assert "example/train/9: missing_media: gone.jpg is not there" in whole["skipped"]


# ----------------------------------------------------------------------------------------------------- by name


def test_a_writer_that_returns_no_world_is_refused(tmp_path):
    with pytest.raises(TypeError, match="returned None, not a World with entries"):
        Worlds("mevis", lambda root, clips, seed: None, tmp_path).cases()  # type: ignore
    assert World(Expected("train", ())).in_order == ()


@pytest.mark.parametrize(
    ("converter", "words"),
    [("nothing:Here", "cannot be imported"), ("converters.mevis:MeViS", "converters.mevis_world:write, to write")],
)
def test_a_converter_without_a_writer_is_refused_with_the_remedy(converter, words):
    with pytest.raises(Exception, match=words):
        writer_of(converter)


def kit(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": f"{HERE}:{folder}", "MULTIGRAIN_EXAMPLES": "2"}
    command = [sys.executable, "-m", "pipelines.conformance", *options, "-q", f"--basetemp={folder / 'tmp'}"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_a_converter_that_is_named_is_tried_and_told_what_it_breaks(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\nfrom converters.base import Item, RawClip\n"
        "from pipelines.scaffold.referring_segmentation import Example\n\n\nclass Mine(Example):\n"
        "    def scan(self):\n        for place, clip in enumerate(super().scan()):\n"
        "            if isinstance(clip, RawClip):\n"
        "                clip = replace(clip, items=(Item(self.key(place), clip.items[0].raw),))\n"
        "            yield clip\n"
    )
    done = kit("mine:Mine", "--world", "pipelines.scaffold.referring_segmentation_world:write", folder=tmp_path)
    assert done.returncode == 1, done.stdout
    assert (
        "law: keys, reasons and facts are stable under shuffling of the raw files (example-train of world"
        in done.stdout
    )
    assert "states something else: " in done.stdout
    assert "test_named.py::TestNamed::test_the_order_of_the_raw_files_does_not_matter" in done.stdout


def test_a_name_that_is_no_converter_is_told_once(tmp_path):
    done = kit("nothing:Here", folder=tmp_path)
    assert done.returncode == 4
    assert done.stderr.count("'nothing:Here' cannot be imported") == 1
    assert kit(folder=tmp_path).returncode == 2
