"""VidSTG on VidOR: every wart of the release that we know of, in a release of one video whose facts stand in the test.

The video is 3.0 s long: 30 frames at 10 frames per second, 64x48. Object 7 moves one pixel a frame, object 9 stays.
"""

import copy
import hashlib
from typing import Any

import numpy as np
import pytest

from tests.converters.hand_written import HEIGHT, WIDTH, Built, built, write_video, written

FRAMES, RATE = 30, 10
VID = "2401075277"
ANNOTATIONS = "annotations/val_annotations.json"
VIDOR = f"vidor/annotation/training/1025/{VID}.json"
MOVIE = f"vidor/video/1025/{VID}.mp4"

Json = dict[str, Any]


def box(x1: float, y1: float, x2: float, y2: float) -> Json:
    return {"xmin": x1, "ymin": y1, "xmax": x2, "ymax": y2}


def trajectories(frames: int = FRAMES) -> list[list[Json]]:
    """Boxes by frame: object 7 at (f, 4)…(f + 10, 14), object 9 at (40, 20)…(60, 40)."""
    return [
        [
            {"tid": 7, "bbox": box(f, 4, f + 10, 14), "generated": 0, "tracker": "none"},
            {"tid": 9, "bbox": box(40, 20, 60, 40), "generated": 1, "tracker": "linear"},
        ]
        for f in range(frames)
    ]


def vidor(boxes: list[list[Json]] | None = None, **changes: Any) -> Json:
    return {
        "version": "VERSION 1.0",
        "video_id": VID,
        "video_path": f"1025/{VID}.mp4",
        "frame_count": FRAMES,
        "fps": RATE,
        "width": WIDTH,
        "height": HEIGHT,
        "subject/objects": [{"tid": 7, "category": "dog"}, {"tid": 9, "category": "sofa"}],
        "trajectories": trajectories() if boxes is None else boxes,
        "relation_instances": [],
    } | changes


def query(text: str, target: int = 7, kind: str = "object") -> Json:
    return {"description": text, "type": kind, "target_id": target}


def entry(
    span: tuple[Any, Any] = (5, 20), used: tuple[Any, Any] = (0, FRAMES - 1), predicate: str = "next_to", **changes: Any
) -> Json:
    """``span`` is half-open, the end of ``used`` inclusive: so the release has it."""
    begin, end = span
    return {
        "vid": VID,
        "frame_count": FRAMES,
        "fps": RATE,
        "width": WIDTH,
        "height": HEIGHT,
        "subject/objects": [{"tid": 7, "category": "dog"}, {"tid": 9, "category": "sofa"}],
        "used_segment": {"begin_fid": used[0], "end_fid": used[1]},
        "used_relation": {
            "subject_tid": 7,
            "object_tid": 9,
            "predicate": predicate,
            "begin_fid": begin,
            "end_fid": end,
        },
        "temporal_gt": {"begin_fid": begin, "end_fid": end},
        "captions": [query("a dog is next to a sofa.")],
        "questions": [],
    } | changes


def id_of(raw: Json, asked: Json) -> str:
    """FORMAT: the video and 8 hex digits of the sha256 of the relation and the query, joined by commas."""
    relation = raw["used_relation"]
    parts = [relation[name] for name in ("subject_tid", "predicate", "object_tid", "begin_fid", "end_fid")]
    text = ",".join(str(part) for part in (*parts, asked["type"], asked["target_id"], asked["description"]))
    return f"{VID}/{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("movie") / "a.mp4", FRAMES, RATE).read_bytes()


@pytest.fixture
def release(tmp_path, movie):
    """A function: entries of VidSTG, and VidOR's file → what is built of val."""

    def make(*entries: Any, tracks: Any = None, options: str = "", video: bytes = movie) -> Built:
        written(tmp_path / "raw" / ANNOTATIONS, list(entries))
        written(tmp_path / "raw" / VIDOR, vidor() if tracks is None else tracks)
        written(tmp_path / "raw" / MOVIE, video)
        return built(tmp_path / "raw", "vidstg", "val", options)

    return make


def only(found: Built):
    ((record, sample),) = found.samples.values()
    return record, sample


def tube(found: Built) -> dict[int, Any]:
    record, sample = only(found)
    return dict(record.tubes[sample.tubes[0]].boxes)


# --------------------------------------------------------------------------------------------------------- times


def test_temporal_gt_ends_before_its_end_and_the_used_segment_with_it(release):
    """temporal_gt [5, 20) is 0.5…2.0 s; used_segment 2…24 inclusive is 0.2…2.5 s."""
    raw = entry((5, 20), used=(2, 24))
    record, sample = only(release(raw))
    assert sample.key == f"vidstg/val/{id_of(raw, raw['captions'][0])}"
    assert (sample.spans, sample.window) == (((0.5, 2.0),), (0.2, 2.5))
    assert (sample.query, sample.task) == ("a dog is next to a sofa.", "spatio_temporal_grounding")
    assert sample.tags == ("declarative", "object")
    assert record.clip.source == MOVIE


def test_a_segment_that_is_the_whole_video_is_no_window_and_a_span_may_end_one_past_it(release):
    """744 of 3996 val entries: the exclusive end is one more than the segment's inclusive one."""
    _, sample = only(release(entry((5, 30), used=(0, 29))))
    assert (sample.spans, sample.window) == (((0.5, 3.0),), None)
    _, sample = only(release(entry((5, 25), used=(3, 24))))
    assert (sample.spans, sample.window) == (((0.5, 2.5),), (0.3, 2.5))


@pytest.mark.parametrize(("span", "used"), [((5, 26), (3, 24)), ((2, 20), (3, 24))])
def test_a_span_outside_its_segment_is_a_bad_span(release, span, used):
    assert list(release(entry(span, used)).reasons.values()) == ["bad_span"]


def test_a_frame_count_that_is_off_by_one_is_cut_to_what_decodes_and_counted(release):
    """frame_count says 31, 30 frames decode."""
    found = release(entry((5, 31), used=(0, 30), frame_count=31), tracks=vidor(trajectories(31), frame_count=31))
    record, sample = only(found)
    assert (sample.spans, sample.window, record.clip.num_frames) == (((0.5, 3.0),), None, 30)
    assert max(tube(found)) == 29
    assert found.adjusted == {"end_cut": 1, "window_cut": 1}


def test_the_clips_frame_rate_makes_seconds_and_not_the_one_that_is_stated(release):
    found = release(entry((5, 20), fps=29.97), tracks=vidor(fps=29.97))
    assert only(found)[1].spans == ((0.5, 2.0),)


def test_frames_may_be_written_as_floats_of_whole_numbers(release):
    raw = entry((5.0, 20.0), used=(0.0, 29.0))
    assert only(release(raw))[1].spans == ((0.5, 2.0),)


BAD_SPANS = ((20, 5), (5, 5), (-1, 5), (30, 31), (5.5, 20), (5, float("nan")), (5, float("inf")))


def test_frames_that_make_no_span_are_bad_spans(release):
    entries = [entry(span) for span in BAD_SPANS] + [entry(used=(20, 5), predicate="a"), entry(used=(-3, 29))]
    found = release(entry((1, 2), predicate="good"), *entries)
    assert set(found.reasons.values()) == {"bad_span"}
    assert len(found.reasons) == len(entries)
    assert only(found)[1].spans == ((0.1, 0.2),)


@pytest.mark.parametrize("value", ["5", None, True, [5], {}])
def test_frames_that_are_no_numbers_are_malformed(release, value):
    found = release(entry((value, 20)), entry(used=(value, 29), predicate="b"))
    assert list(found.reasons.values()) == ["malformed", "malformed"]


def test_frames_of_a_variable_rate_have_times_of_their_own(release, tmp_path):
    """The first ten frames take 0.3 s each, the others 0.05 s: frames 10 … 15 are 3.0 … 3.25 s."""
    times = np.cumsum([0, *[300] * 10, *[50] * 19]).tolist()
    film = write_video(tmp_path / "vary.mp4", FRAMES, RATE, times_ms=times).read_bytes()
    boxes = trajectories()
    for frame in range(10, 15):
        boxes[frame] = []  # nothing but the frames of the span: the tube is empty there
    raw, empty = entry((20, 40), used=(10, 45), frame_count=46), entry((10, 15))
    found = release(raw, empty, tracks=vidor(boxes), video=film)
    record, sample = only(found)
    assert sample.spans == ((pytest.approx(3.5, abs=1e-4), record.clip.duration),)
    assert sample.window == (pytest.approx(3.0, abs=1e-4), record.clip.duration)
    assert found.adjusted == {"end_cut": 1, "window_cut": 1}
    assert found.reasons == {id_of(empty, empty["captions"][0]): "empty_tube"}


# --------------------------------------------------------------------------------------------------------- boxes


def test_a_tube_is_the_whole_trajectory_of_the_target(release):
    found = release(entry())
    assert tube(found) == {f: (float(f), 4.0, f + 10.0, 14.0) for f in range(FRAMES)}
    assert only(found)[0].tubes[0].id == "7"


def test_a_trajectory_shorter_than_the_video_leaves_the_other_frames_unsaid(release):
    found = release(entry((5, 20)), tracks=vidor(trajectories(12)))
    assert sorted(tube(found)) == list(range(12))
    assert only(found)[1].spans == ((0.5, 2.0),)
    assert list(release(entry((12, 20)), tracks=vidor(trajectories(12))).reasons.values()) == ["empty_tube"]


def test_an_object_that_is_not_listed_in_a_frame_is_not_visible_there(release):
    boxes = trajectories()
    boxes[8] = boxes[8][1:]
    boxes[9] = []
    found = release(entry((5, 20)), tracks=vidor(boxes))
    assert [frame for frame, seen in tube(found).items() if seen is None] == [8, 9]


def test_a_box_is_cut_to_the_frame_counted_and_invisible_where_nothing_is_left(release):
    boxes = trajectories()
    boxes[6][0]["bbox"] = box(-5, -2, 10, 60)
    boxes[7][0]["bbox"] = box(70, 4, 90, 14)
    boxes[8][0]["bbox"] = box(-9, 4, 0, 14)
    found = release(entry(), tracks=vidor(boxes))
    assert [tube(found)[frame] for frame in (6, 7, 8)] == [(0.0, 0.0, 10.0, 48.0), None, None]
    assert found.adjusted == {"box_cut": 1}


def test_a_box_without_area_covers_nothing_so_it_is_not_visible(release):
    boxes = trajectories()
    boxes[6][0]["bbox"] = box(10, 4, 10, 14)
    found = release(entry(), tracks=vidor(boxes))
    assert tube(found)[6] is None
    assert found.adjusted == {}


BAD_BOXES = (box(20, 4, 10, 14), box(0, 0, float("nan"), 5), {"xmin": 1, "ymin": 1, "xmax": 9}, None, [1, 2, 3, 4])


@pytest.mark.parametrize("bad", BAD_BOXES, ids=["reversed", "nan", "three", "none", "list"])
def test_a_box_that_is_not_four_numbers_in_order_is_a_bad_box_for_its_own_object_alone(release, bad):
    boxes = trajectories()
    boxes[6][0]["bbox"] = bad
    asked = query("the sofa", target=9)
    found = release(entry(captions=[query("a dog"), asked]), tracks=vidor(boxes))
    assert only(found)[1].query == "the sofa"
    assert list(found.reasons.values()) == ["bad_box"]


def test_an_object_with_two_different_boxes_in_a_frame_is_malformed_and_with_the_same_twice_is_not(release):
    boxes = trajectories()
    boxes[6].append(copy.deepcopy(boxes[6][1]))
    boxes[7].append({"tid": 7, "bbox": box(0, 0, 5, 5)})
    found = release(entry(captions=[query("a dog"), query("the sofa", target=9)]), tracks=vidor(boxes))
    assert only(found)[1].query == "the sofa"
    assert list(found.reasons.values()) == ["malformed"]


def test_a_track_whose_id_is_true_or_text_is_not_object_one(release):
    boxes = [[{"tid": True, "bbox": box(0, 0, 5, 5)}, {"tid": "1", "bbox": box(0, 0, 5, 5)}]] * FRAMES
    found = release(entry(captions=[query("it", target=1)]), tracks=vidor(boxes))
    assert list(found.reasons.values()) == ["empty_tube"]


@pytest.mark.parametrize("target", ["7", None, 7.0, True, [7]])
def test_a_target_that_is_no_id_is_malformed(release, target):
    raw = entry(captions=[query("a dog") | {"target_id": target}])
    assert list(release(raw).reasons.values()) == ["malformed"]


def test_a_target_without_any_box_has_an_empty_tube(release):
    assert list(release(entry(captions=[query("a cat", target=11)])).reasons.values()) == ["empty_tube"]


@pytest.mark.parametrize(
    ("stated", "reason"),
    [({"width": 128, "height": 96}, "size_mismatch"), ({"width": 48, "height": 64}, "size_mismatch"),
     ({"width": None}, "malformed"), ({"height": "48"}, "malformed")],
)  # fmt: skip
def test_boxes_of_another_size_are_a_mismatch_whoever_states_it(release, stated, reason):
    assert list(release(entry(**stated)).reasons.values()) == [reason]
    assert list(release(entry(), tracks=vidor(**stated)).reasons.values()) == [reason]


# ------------------------------------------------------------------------------------------------------- queries


def test_an_entry_is_a_sample_for_each_caption_and_question_and_each_has_its_own_target(release):
    asked = [query("what is next to the dog?", 9), query("who is next to the sofa?", 7)]
    raw = entry(questions=asked)
    found = release(raw)
    samples = {sample.query: (record, sample) for record, sample in found.samples.values()}
    assert set(samples) == {"a dog is next to a sofa.", "what is next to the dog?", "who is next to the sofa?"}
    for text, (record, sample) in samples.items():
        assert record.tubes[sample.tubes[0]].id == ("9" if text.startswith("what") else "7")
        assert sample.tags[0] == ("interrogative" if text.endswith("?") else "declarative")
    assert len({record.key for record, _ in samples.values()}) == 1


def test_a_question_that_leaves_its_subject_unnamed_is_asked_as_it_stands(release):
    found = release(entry(captions=[], questions=[query("is  next to a sofa?")]), options="queries = 'interrogative'")
    _, sample = only(found)
    assert sample.query == "is next to a sofa?"
    assert "is next to a sofa?" in sample.turns[0].text


def test_relations_that_share_video_text_and_target_are_samples_of_their_own(release):
    """541 keys of val repeat (video, text, target): the same thing happens at several times."""
    first, second, other = entry((2, 8)), entry((12, 20)), entry((2, 8), predicate="watch")
    found = release(first, second, other)
    assert {sample.spans for _, sample in found.samples.values()} == {((0.2, 0.8),), ((1.2, 2.0),)}
    assert len(found.samples) == 3
    assert found.reasons == {}


def test_the_twin_of_an_entry_without_questions_is_a_duplicate_and_its_questions_are_not(release):
    asked = query("what is next to a sofa?")
    alone, twin = entry(), entry(questions=[asked])
    found = release(alone, twin)
    assert {sample.query for _, sample in found.samples.values()} == {"a dog is next to a sofa.", asked["description"]}
    assert found.reasons == {id_of(alone, alone["captions"][0]): "duplicate"}


def test_one_relation_with_two_segments_is_a_conflict(release):
    raw = entry((5, 20))
    assert list(release(raw, entry((5, 20), used=(3, 24))).reasons.values()) == ["key_conflict"]


def test_the_type_may_disagree_with_the_targets_category(release):
    assert only(release(entry(captions=[query("a dog", kind="person")])))[1].tags == ("declarative", "person")


def test_words_stay_as_they_are_but_for_runs_of_white_space_and_key_by_the_words_of_the_file(release):
    """Two captions of the real val file hold a non-breaking space, about eighty a double one."""
    text = "a  dog\u00a0with a <Temp-7>\t[SEG] &amp; ünd halmet "
    raw = entry(captions=[query(text)])
    found = release(raw)
    sample = found.sample(id_of(raw, query(text)))
    assert sample.query == "a dog with a <Temp-7> [SEG] &amp; ünd halmet"
    assert "a dog with a &lt;Temp-7> &#91;SEG] &amp; ünd halmet" in sample.turns[0].text


def test_queries_of_other_shapes_are_malformed_and_leave_the_others_alone(release):
    odd = [None, "a dog", {"type": "object", "target_id": 7}, query(" "), {**query("x"), "description": 3}]
    found = release(entry(captions=[query("a dog"), *odd]))
    assert only(found)[1].query == "a dog"
    assert sorted(found.reasons.values()) == ["malformed"] * len(odd)


def test_entries_of_other_shapes_are_malformed(release):
    entries = [entry(predicate=name) for name in ("vid", "used_relation", "temporal_gt", "used_segment")]
    for raw in entries:
        del raw[raw["used_relation"]["predicate"]]
    found = release(entry(), *entries, None, [], entry(predicate="number", vid=int(VID)), entry(captions=None))
    assert len(found.samples) == 1
    assert list(found.reasons.values()) == ["malformed"] * 8


def test_the_options_choose_the_form_and_leave_no_skips_of_the_other(release):
    raw = entry(questions=[query("who is it?"), None])
    declarative = release(raw, options="queries = 'declarative'")
    assert (len(declarative.samples), declarative.reasons) == (1, {})
    assert len(release(raw, options="queries = 'interrogative'").skips) == 1


# --------------------------------------------------------------------------------------------------------- files


def test_val_lies_in_vidors_training_and_test_in_its_validation(release, tmp_path):
    root = tmp_path / "raw"
    release(entry())
    for split, folder in (("train", "training"), ("test", "validation")):
        written(root / f"annotations/{split}_annotations.json", [entry()])
        if split == "test":
            assert list(built(root, "vidstg", split).reasons.values()) == ["missing_annotation"]
            written(root / f"vidor/annotation/{folder}/1025/{VID}.json", vidor())
        assert len(built(root, "vidstg", split).samples) == 1


def test_a_missing_video_or_trajectory_costs_the_queries_of_its_video_only(release):
    found = release(entry(), entry(vid="1111111111"))
    assert len(found.samples) == 1
    assert list(found.reasons.values()) == ["missing_media"]


@pytest.mark.parametrize("tracks", ["{", [], {}, vidor(trajectories=None), vidor(trajectories=[[None]])])
def test_a_trajectory_file_of_another_shape_is_malformed(release, tracks):
    assert list(release(entry(), tracks=tracks).reasons.values()) == ["malformed"]


def test_a_byte_order_mark_does_not_matter(release, tmp_path):
    release(entry())
    path = tmp_path / "raw" / ANNOTATIONS
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(built(tmp_path / "raw", "vidstg", "val").samples) == 1
