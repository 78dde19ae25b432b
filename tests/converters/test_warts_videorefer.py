"""VideoRefer-700K and VideoRefer-Bench: every wart that we know of, in a release of one video or folder of frames.

The video has 30 frames of 64x48. Object A is a box at the left that is 2 pixels wider every frame, B one at the right.
"""

from typing import Any

import numpy as np
import pytest

from shards.rle import encode
from shards.tokens import REF
from tests.converters.hand_written import (
    HEIGHT,
    WIDTH,
    Built,
    bitmap,
    box_mask,
    built,
    uncompressed,
    write_still,
    write_video,
    written,
)

Json = dict[str, Any]
SHORT = "VideoRefer-700K/videorefer-short-caption-500k.json"
DETAILED = "VideoRefer-700K/videorefer-detailed-caption-125k.json"
QA = "VideoRefer-700K/videorefer-qa-75k.json"
BENCH_D = "VideoRefer-Bench-D/VideoRefer-Bench-D.json"
BENCH_Q = "VideoRefer-Bench-Q/VideoRefer-Bench-Q.json"
FILES = {"short_caption": SHORT, "detailed_caption": DETAILED, "qa": QA}
MOVIE = "videos/bkTVdogBed0_0:00:00.000_0:00:05.000.mp4"


def mask_a(frame: int) -> np.ndarray:
    return box_mask(2, 4, 4 + 2 * frame, 20)


MASK_B = box_mask(40, 20, 60, 44)
NOTHING = box_mask(0, 0, 0, 0)


def rle(mask: np.ndarray) -> Json:
    return {"size": [HEIGHT, WIDTH], "counts": encode(mask)}


def on(*frames: int | str) -> Json:
    """Object A, annotated on these frames."""
    return {str(frame): {"segmentation": rle(mask_a(int(frame)))} for frame in frames}


def object_b(*frames: int) -> Json:
    return {str(frame): {"segmentation": rle(MASK_B)} for frame in frames}


def talk(*turns: str) -> list[Json]:
    return [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(turns)]


def item(id: Any, *objects: Any, turns: Any = None, **changes: Any) -> Json:
    asked = "<video>\nWhat is <region>?" + " And <region>?" * (len(objects) - 1)
    turns = talk(asked, "A box.") if turns is None else turns
    return {"id": id, "video": MOVIE, "conversations": turns, "annotation": list(objects)} | changes


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("movie") / "a.mp4").read_bytes()


@pytest.fixture
def release(tmp_path, movie):
    """A function: the items of one file of VideoRefer-700K → what is built of them."""

    def make(*items: Any, subset: str = "qa", options: str = "", bom: bytes = b"") -> Built:
        root = tmp_path / "raw"
        path = written(root / FILES[subset], list(items))
        path.write_bytes(bom + path.read_bytes())
        written(root / "VideoRefer-700K" / MOVIE, movie)
        return built(root, "videorefer", "train", f"subset = '{subset}'" + (f", {options}" if options else ""))

    return make


@pytest.fixture
def bench(tmp_path, movie):
    """A function: the split and the items of a bench → what is built of it."""

    def make(split: str, *items: Json, options: str = "") -> Built:
        root = tmp_path / "raw"
        written(root / (BENCH_D if split == "bench_d" else BENCH_Q), list(items))
        written(root / "VideoRefer-Bench-D/Panda-70M-part/a.mp4", movie)
        for frame in range(12):
            write_still(root / f"VideoRefer-Bench-Q/MeViS/valid_u/JPEGImages/f00d/{frame:05}.jpg")
        return built(root, "videorefer", split, options)

    return make


def shown(found: Built, ending: str) -> list[dict[int, np.ndarray]]:
    """The masks of each region on the frames that it is shown on."""
    record, sample = found._one(ending)
    return [
        {frame: bitmap(record.masklets[region.masklet].rles[frame], record) for frame in region.frames}
        for region in sample.regions
    ]


# -------------------------------------------------------------------------------------------------------- frames


def test_frame_keys_are_numbers_written_as_text(release):
    """As text "10" comes before "9"."""
    found = release(item(0, on("9", "10", "2")))
    (masks,) = shown(found, "qa/0")
    assert list(masks) == [2, 9, 10]
    assert all((mask == mask_a(frame)).all() for frame, mask in masks.items())
    assert found.sample("qa/0").key == "videorefer/train/qa/0"


@pytest.mark.parametrize("name", ["-1", "3.0", "1e1", "", " 3", "last", "30", "٣", "0x3", "9999999999"])
def test_a_key_that_is_no_frame_of_the_clip_is_a_bad_frame(release, name):
    (good,) = on(3).values()
    found = release(item(0, on(3) | {name: good}), item(1, on(3)))
    assert found.reasons == {"qa/0": "bad_frame"}


def test_the_last_frame_is_a_frame_and_a_frame_named_twice_is_a_bad_frame(release):
    found = release(item(0, on(29)), item(1, on(3) | {"03": {"segmentation": None}}))
    assert (list(shown(found, "qa/0")[0]), found.reasons) == ([29], {"qa/1": "bad_frame"})


def test_a_null_segmentation_says_not_visible_and_the_frame_is_shown_all_the_same(release):
    found = release(item(0, on(3) | {"5": {"segmentation": None}, "6": {"segmentation": rle(NOTHING)}, "7": None}))
    (masks,) = shown(found, "qa/0")
    assert {frame: bool(mask.any()) for frame, mask in masks.items()} == {3: True, 5: False, 6: False, 7: False}


def test_an_object_that_is_visible_nowhere_is_an_empty_region(release):
    nowhere = {"5": {"segmentation": None}, "6": {"segmentation": [[70, 60, 80, 60, 80, 70]]}}
    assert release(item(0, nowhere), item(1, on(3), nowhere)).reasons == dict.fromkeys(("qa/0", "qa/1"), "empty_region")


# --------------------------------------------------------------------------------------------------------- masks


def test_a_single_object_may_come_without_its_list(release):
    found = release(item(0, annotation=on(3, 4), turns=talk("<video>\nWhat is <region>?", "A box.")))
    assert list(shown(found, "qa/0")[0]) == [3, 4]


def test_masks_are_compressed_or_uncompressed_rles_or_polygons(release):
    a = mask_a(3)
    rows = [2.0, 4.0, 10.0, 4.0, 10.0, 20.0, 2.0, 20.0]
    parts = [[2, 4, 6, 4, 6, 20, 2, 20], [6, 4, 10, 4, 10, 20, 6, 20]]
    kinds = [rle(a), uncompressed(a), [rows], parts, {"counts": encode(a)}]
    found = release(*(item(n, {"3": {"segmentation": kind}}) for n, kind in enumerate(kinds)))
    assert found.reasons == {}
    for n in range(len(kinds)):
        assert (shown(found, f"qa/{n}")[0][3] == a).all(), n


def test_polygons_have_the_size_of_the_item_or_else_of_the_video(release):
    drawn = {"3": {"segmentation": [[2, 4, 10, 4, 10, 20, 2, 20]]}}
    found = release(
        item("none", drawn),
        item("same", drawn, height=HEIGHT, width=WIDTH),
        item("twice", drawn, height=2 * HEIGHT, width=2 * WIDTH),
        item("turned", drawn, height=WIDTH, width=HEIGHT),
        item("half", drawn, height=HEIGHT),
    )
    assert found.reasons == {"qa/twice": "size_mismatch", "qa/turned": "size_mismatch", "qa/half": "malformed"}


def test_an_rle_has_a_size_of_its_own_whatever_the_item_says(release):
    assert release(item(0, on(3), height=1, width=1)).reasons == {}


def test_masks_that_are_none_are_skips_with_their_reasons(release):
    good = rle(mask_a(3))
    faults = {
        "half": ({"size": [24, 32], "counts": encode(np.ones((24, 32), bool))}, "size_mismatch"),
        "turned": ({"size": [WIDTH, HEIGHT], "counts": encode(mask_a(3).T)}, "size_mismatch"),
        "cut": (good | {"counts": good["counts"][:-1]}, "bad_mask"),
        "blank": (good | {"counts": ""}, "bad_mask"),
        "null": (good | {"counts": None}, "bad_mask"),
        "long": (good | {"counts": [0, HEIGHT * WIDTH + 1]}, "bad_mask"),
        "no polygon": ([], "bad_mask"),
        "line": ([[1, 1, 5, 5]], "bad_mask"),
        "text": ("mask.png", "bad_mask"),
    }
    items = [item(name, {"3": {"segmentation": kind}}) for name, (kind, _) in faults.items()]
    found = release(*items, item("good", on(3)))
    assert found.reasons == {f"qa/{name}": reason for name, (_, reason) in faults.items()}


def test_annotations_of_other_shapes_are_malformed(release):
    odd = [
        None,
        [],
        {},
        "masks.json",
        [None],
        [[]],
        [{}],
        [{"3": {}}],
        [{"3": []}],
        [{"3": rle(mask_a(3))}],
        [{"3": 1}],
    ]
    found = release(*(item(n, annotation=value) for n, value in enumerate(odd)), item("good", on(3)))
    assert found.reasons == {f"qa/{n}": "malformed" for n in range(len(odd))}


# --------------------------------------------------------------------------------------------------------- words


def test_the_kth_region_of_all_questions_is_the_kth_object(release):
    turns = talk("<video>\nWhat is <object3><region>?", "<object3> is A.", "And <object4><region>?", "It is B.")
    found = release(item(0, on(3), object_b(3, 8), turns=turns))
    a, b = shown(found, "qa/0")
    assert (a[3] == mask_a(3)).all()
    assert (b[8] == MASK_B).all()
    sample = found.sample("qa/0")
    assert (sample.query, sample.answer) == ("What is <object3><region>?", "<object3> is A.")
    assert sample.dialogue == (("And <object4><region>?", "It is B."),)
    assert [turn.text.count(REF) for turn in sample.turns] == [1, 0, 1, 0]


def test_more_regions_than_objects_and_the_reverse_are_a_region_count(release):
    found = release(
        item("more", on(3), turns=talk("<video>\n<region> and <region>?", "A.")),
        item("fewer", on(3), object_b(3), turns=talk("<video>\n<region>?", "A.")),
        item("none", on(3), turns=talk("<video>\nWhat is it?", "A.")),
        item("answered", on(3), turns=talk("<video>\nWhat is it?", "<region> is A.")),
        item("good", on(3), turns=talk("<video>\n<region>?", "<region> is A.")),
    )
    assert found.reasons == {f"qa/{name}": "region_count" for name in ("more", "fewer", "none", "answered")}
    assert [turn.text.count(REF) for turn in found.sample("qa/good").turns] == [1, 0]


@pytest.mark.parametrize("asked", ["<video>\n{}", "{}\n<video>", "  <video> {}", "{}<video>  "])
def test_the_placeholder_of_the_video_stands_before_or_behind_the_first_question(release, asked):
    sample = release(item(0, on(3), turns=talk(asked.format("What is <region>?"), "A."))).sample("qa/0")
    assert sample.query == "What is <region>?"
    assert sample.turns[0].text == f"<video>\nWhat is {REF}?"


def test_a_placeholder_elsewhere_is_a_word(release):
    turns = talk("<video>\nIn <video>, what is <region>?", "In <video> it is [SEG] <Seg>.", "<video> again?", "Yes.")
    sample = release(item(0, on(3), turns=turns)).sample("qa/0")
    assert (sample.query, sample.answer) == ("In <video>, what is <region>?", "In <video> it is [SEG] <Seg>.")
    assert sample.dialogue == (("<video> again?", "Yes."),)
    text = "\n".join(turn.text for turn in sample.turns)
    assert (text.count("<video>"), text.count("&lt;video>"), text.count("&lt;Seg>")) == (1, 3, 1)


def test_words_stay_as_they_are_but_for_runs_of_white_space(release):
    turns = talk("<video>\nWhat\u00a0is \t<region>\r\n &amp; why?", "  It's\u3000<b>A</b> &lt; B.\n\nEnd ")
    sample = release(item(0, on(3), turns=turns)).sample("qa/0")
    assert (sample.query, sample.answer) == ("What is <region> &amp; why?", "It's <b>A</b> &lt; B. End")


def test_conversations_of_other_shapes_are_malformed(release):
    question, answer = talk("<video>\n<region>?", "A.")
    odd = [
        None,
        [],
        "text",
        [question],
        [answer, question],
        [question, question],
        [question, answer, question],
        [{"from": "system", "value": "x"}, question, answer],
        [question, {"from": "gpt"}],
        [question, {"from": "gpt", "value": "  "}],
        [question, {"from": "gpt", "value": 7}],
        [{"from": "human", "value": "<video>\n"}, answer],
        [{"role": "user", "content": "<region>?"}, answer],
    ]
    found = release(*(item(n, on(3)) | {"conversations": turns} for n, turns in enumerate(odd)), item("good", on(3)))
    assert found.reasons == {f"qa/{n}": "malformed" for n in range(len(odd))}


# ------------------------------------------------------------------------------------------------- items and files


def test_ids_begin_at_0_in_every_file_and_subsets_of_a_clip_make_one_record(release, tmp_path):
    for subset in FILES:
        release(item(0, on(3)), subset=subset)
    names = ", ".join(f"'{subset}'" for subset in FILES)
    found = built(tmp_path / "raw", "videorefer", options=f"subset = [{names}]")
    assert {key: (s.task, s.tags, s.source.file) for key, (_, s) in found.samples.items()} == {
        "videorefer/train/short_caption/0": ("referring_description", ("short_caption",), SHORT),
        "videorefer/train/detailed_caption/0": ("referring_description", ("detailed_caption",), DETAILED),
        "videorefer/train/qa/0": ("referring_qa", ("qa",), QA),
    }
    assert len({record.key for record, _ in found.samples.values()}) == 1


def test_items_without_a_usable_id_or_video_are_malformed_and_repeats_are_counted(release):
    lost = [None, [], {}, item(None, on(3)), item(1.5, on(3)), item(True, on(3)), item([1], on(3))]
    twice = item(8, on(3))
    found = release(*lost, item(7, on(3), video=None), twice, twice, item(8, on(4)), item("8", on(3)))
    counts: dict[str, int] = {}
    for line in (found.root / "skipped.jsonl").read_text().splitlines():
        reason = line.split('"reason":')[1].split('"')[1]
        counts[reason] = counts.get(reason, 0) + 1
    assert counts == {"malformed": 8, "duplicate": 1, "key_conflict": 2}
    assert list(found.samples) == ["videorefer/train/qa/8"]


def test_a_copy_may_lack_the_folder_videos_in_its_paths(release):
    found = release(item(0, on(3), video=MOVIE.removeprefix("videos/")))
    assert found.record("qa/0").clip.source == f"VideoRefer-700K/{MOVIE}"


def test_a_folder_of_frames_counts_its_files_in_order_of_their_names(release, tmp_path):
    """Hidden files, as an archive of a Mac leaves them, and other kinds of file are no frames."""
    folder = tmp_path / "raw/VideoRefer-700K/videos/mevis/ab12"
    for name in ("00020.jpg", "00005.jpg", "00010.jpg"):
        write_still(folder / name)
    written(folder / "._00005.jpg", b"Mac OS X")
    written(folder / "Thumbs.db", b"x")
    found = release(item(0, on(2), video="videos/mevis/ab12"), item(1, on(3), video="videos/mevis/ab12"))
    assert found.record("qa/0").clip.num_frames == 3
    assert found.reasons == {"qa/1": "bad_frame"}


def test_a_byte_order_mark_does_not_matter(release):
    assert len(release(item(0, on(3)), bom=b"\xef\xbb\xbf").samples) == 1


def test_the_option_frames_chooses_what_is_shown(release):
    """``single``: the frame on which most objects are visible, then the largest; ``multi``: items with several."""
    items = (item(0, on(3)), item(1, on(2, 9, 4)), item(2, on(2, 9), object_b(2)))
    single = release(*items, options="frames = 'single'")
    assert [[list(masks) for masks in shown(single, f"qa/{n}")] for n in range(3)] == [[[3]], [[9]], [[2], [2]]]
    multi = release(*items, options="frames = 'multi'")
    assert (set(multi.samples), multi.skips) == ({"videorefer/train/qa/1", "videorefer/train/qa/2"}, {})


@pytest.mark.parametrize("broken", [None, "x", [], {}, [None]])
def test_an_item_whose_frames_are_unknown_is_not_lost_among_those_with_one_frame(release, broken):
    found = release(item(0, on(3)), item(1, on(2, 9)), item(2) | {"annotation": broken}, options="frames = 'multi'")
    assert (set(found.samples), found.reasons) == ({"videorefer/train/qa/1"}, {"qa/2": "malformed"})


# ------------------------------------------------------------------------------------------------------- benches


def described(id: int, **changes: Any) -> Json:
    return {"id": id, "video": "a.mp4", "caption": "A box grows.", "frame_idx": "4", "annotation": [on(4)]} | changes


def asked(id: int, **changes: Any) -> Json:
    return {
        "id": id,
        "video": "MeViS/valid_u/JPEGImages/f00d",
        "Question": "What is <object1><region> doing?",
        "options": ["(A) Growing", "(B) Shrinking"],
        "Answer": "(B) Shrinking",
        "type": "Basic Questions",
        "frame_idx": "4",
        "annotation": [on(4, 9)],
    } | changes


def test_bench_d_has_a_caption_and_no_question(bench):
    sample = bench("bench_d", described(3)).sample("3")
    assert (sample.key, sample.query, sample.answer) == ("videorefer/bench_d/3", "", "A box grows.")
    assert sample.turns[0].text.count(REF) == 1


def test_bench_q_has_choices_and_says_which_is_right(bench):
    sample = bench("bench_q", asked(3)).sample("3")
    assert (sample.query, sample.answer) == ("What is <object1><region> doing?", "(B) Shrinking")
    assert (sample.choices, sample.correct) == (("(A) Growing", "(B) Shrinking"), 1)
    assert sample.tags == ("Basic Questions",)


def test_the_frame_of_a_bench_is_that_of_frame_idx(bench):
    found = bench("bench_d", described(0, annotation=[on(4, 9)]), options="frames = 'single'")
    assert list(shown(found, "0")[0]) == [4]
    found = bench("bench_d", described(0, frame_idx="5"), options="frames = 'single'")
    assert found.reasons == {"0": "bad_frame"}


def test_bench_items_of_other_shapes_are_skips_with_their_reasons(bench):
    assert bench("bench_d", described(0, caption=""), described(1, caption=None)).reasons == dict.fromkeys(
        ("0", "1"), "malformed"
    )
    faults = {
        0: asked(0, Answer="(C) Resting"),
        1: asked(1, options=[]),
        2: asked(2, options="(A) Growing"),
        3: asked(3, Question=" "),
        4: asked(4, options=["(A) Growing", ""]),
    }
    found = bench("bench_q", *faults.values(), asked(5, Question="What?"), asked(6, annotation=[on(12)]))
    assert found.reasons == {str(n): "malformed" for n in faults} | {"5": "region_count", "6": "bad_frame"}
