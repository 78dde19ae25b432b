"""MeViS: every wart of the release that we know of, in a release of one or two videos whose facts stand in the test.

The video has four frames of 64x48. Annotation 5 is a bar at the left, 6 one that overlaps it, 7 a dot at the right.
"""

import json
from typing import Any

import numpy as np
import pytest

from shards.media import read_frames
from shards.reader import Corpus
from shards.rle import encode
from tests.converters.hand_written import (
    HEIGHT,
    WIDTH,
    Built,
    bitmap,
    box_mask,
    built,
    uncompressed,
    write_still,
    written,
)

Json = dict[str, Any]
NAMES = ["00000", "00001", "00002", "00003"]
LEFT, OVER, DOT = box_mask(4, 4, 20, 40), box_mask(12, 10, 30, 20), box_mask(50, 30, 56, 36)
NOTHING = box_mask(0, 0, 0, 0)


def rle(mask: np.ndarray) -> Json:
    """As the release stores a mask: compressed counts as text."""
    return {"size": [HEIGHT, WIDTH], "counts": encode(mask)}


MASKS = {str(id): [rle(mask)] * 4 for id, mask in ((5, LEFT), (6, OVER), (7, DOT))}


def video(expressions: Json, frames: Any = None, number: int = 0) -> Json:
    return {"expressions": expressions, "vid_id": number, "frames": NAMES if frames is None else frames}


def says(text: Any, *annos: Any, **changes: Any) -> Json:
    return {"exp": text, "obj_id": list(range(len(annos))), "anno_id": list(annos)} | changes


@pytest.fixture
def release(tmp_path):
    """A function: the videos of the meta file, and the masks → what is built of them."""

    def make(videos: Json, masks: Any = MASKS, split: str = "train", meta: bytes | None = None) -> Built:
        root = tmp_path / "raw"
        text = meta or json.dumps({"videos": videos}).encode()
        written(root / split / "meta_expressions.json", text)
        if masks is not None:
            written(root / split / "mask_dict.json", masks)
        for name, entry in videos.items():
            for frame in entry["frames"] if isinstance(entry["frames"], list) and ".." not in name else []:
                path = root / split / "JPEGImages" / name / f"{frame}.jpg"
                if not path.exists():
                    write_still(path)
        return built(root, "mevis", split)

    return make


def target(found: Built, ending: str) -> tuple[list[str], dict[int, np.ndarray]]:
    """The ids that the one target of a sample unites, and the union of its masks by frame."""
    record, sample = found._one(ending)
    assert sample.targets is not None
    (indices,) = sample.targets
    masklets = [record.masklets[index] for index in indices]
    frames = {frame for masklet in masklets for frame in masklet.rles}
    united = {f: np.any([bitmap(m.rles[f], record) for m in masklets], axis=0) for f in sorted(frames)}
    return [masklet.id for masklet in masklets], united


def test_a_target_is_the_union_of_its_annotations_overlaps_counted_once(release):
    found = release({"a1": video({"0": says("the  bars ", 5, 6), "1": says("The Dot", 7)})})
    ids, masks = target(found, "a1/0")
    assert ids == ["5", "6"]
    assert list(masks) == [0, 1, 2, 3]
    assert all((mask == (LEFT | OVER)).all() for mask in masks.values())
    assert found.sample("a1/0").key == "mevis/train/a1/0"
    assert [found.sample(f"a1/{n}").query for n in (0, 1)] == ["the bars", "The Dot"]
    assert found.sample("a1/0").task == "referring_segmentation"


def test_null_and_an_all_zero_mask_both_say_not_visible(release):
    masks = {"5": [rle(LEFT), None, rle(NOTHING), rle(LEFT)]}
    found = release({"a1": video({"0": says("it", 5)})}, masks)
    _, seen = target(found, "a1/0")
    assert {frame: int(mask.sum()) for frame, mask in seen.items()} == {0: LEFT.sum(), 1: 0, 2: 0, 3: LEFT.sum()}


def test_an_object_that_is_never_visible_is_still_the_target(release):
    found = release({"a1": video({"0": says("it", 5)})}, {"5": [None] * 4})
    ids, seen = target(found, "a1/0")
    assert (ids, sum(mask.sum() for mask in seen.values())) == (["5"], 0)


def test_an_expression_without_target_says_that_nothing_fits(release):
    sample = release({"a1": video({"0": says("the elephant")})}).sample("a1/0")
    assert sample.targets == ((),)
    assert sample.turns[1].text.count("<Seg>") == 1


def test_an_annotation_named_twice_is_united_once(release):
    found = release({"a1": video({"0": says("it", 5, 5)})})
    assert target(found, "a1/0")[0] == ["5"]


def test_the_mask_at_place_k_belongs_to_the_kth_frame_of_the_sorted_list(release, tmp_path):
    """The list is out of order and its numbers jump; places count, not the numbers in the names."""
    names = ["00030", "00005", "00020", "00010"]
    places = [box_mask(10 * k, 0, 10 * k + 10, 10) for k in range(4)]
    for name, place in zip(sorted(names), places, strict=True):
        picture = np.where(place[..., None], 220, 40).repeat(3, 2).astype(np.uint8)
        write_still(tmp_path / f"raw/train/JPEGImages/a1/{name}.jpg", picture)
    found = release({"a1": video({"0": says("it", 5)}, names)}, {"5": [rle(place) for place in places]})
    _, seen = target(found, "a1/0")
    ((record, media),) = Corpus.open(found.root)
    clip = record.clip
    assert (clip.kind, clip.num_frames, clip.fps, clip.duration) == ("frames", 4, None, None)
    assert media is not None
    for picture, mask, place in zip(read_frames(clip, media, range(4)), seen.values(), places, strict=True):
        assert (mask == place).all()
        assert picture[mask].mean() > 200


def test_frames_on_disk_that_the_list_does_not_name_are_no_frames_of_the_clip(release, tmp_path):
    write_still(tmp_path / "raw/train/JPEGImages/a1/00099.jpg")
    assert release({"a1": video({"0": says("it", 5)})}).record("a1/0").clip.num_frames == 4


def test_ids_are_numbers_in_one_file_and_text_in_the_other(release):
    found = release({"a1": video({"0": says("it", 5), "1": says("it", "5")})})
    assert target(found, "a1/0")[0] == target(found, "a1/1")[0] == ["5"]


def test_annotation_ids_are_global_so_videos_do_not_share_them(release):
    videos = {"a1": video({"0": says("it", 5)}), "b2": video({"0": says("it", 7)}, number=1)}
    found = release(videos)
    assert (target(found, "a1/0")[0], target(found, "b2/0")[0]) == (["5"], ["7"])


def test_valid_u_has_masks(release):
    found = release({"a1": video({"0": says("it", 5)})}, split="valid_u")
    assert found.sample("a1/0").key == "mevis/valid_u/a1/0"
    assert target(found, "a1/0")[1][0].sum() == LEFT.sum()


def test_valid_is_unlabelled_and_needs_no_masks(release):
    found = release({"a1": video({"0": {"exp": "it"}, "1": {"exp": "them"}})}, masks=None, split="valid")
    assert [found.sample(f"a1/{n}").targets for n in (0, 1)] == [None, None]
    assert [turn.role for turn in found.sample("a1/0").turns] == ["user"]


def test_masks_that_do_not_fit_are_skips_with_their_reasons(release):
    small = {"size": [HEIGHT // 2, WIDTH // 2], "counts": encode(np.ones((HEIGHT // 2, WIDTH // 2), bool))}
    turned = {"size": [WIDTH, HEIGHT], "counts": encode(LEFT.T)}
    whole = rle(LEFT)
    faults = {
        "short": ([whole] * 3, "bad_mask"),
        "long": ([whole] * 5, "bad_mask"),
        "none": (None, "missing_annotation"),
        "object": ({"0": whole}, "bad_mask"),
        "half": ([small] * 4, "size_mismatch"),
        "turned": ([turned] * 4, "size_mismatch"),
        "cut": ([whole | {"counts": whole["counts"][:-1]}] * 4, "bad_mask"),
        "blank": ([whole | {"counts": ""}] * 4, "bad_mask"),
        "null": ([whole | {"counts": None}] * 4, "bad_mask"),
        "bare": ([{"counts": whole["counts"]}] * 4, "bad_mask"),
        "polygon": ([[[1, 1, 5]]] * 4, "bad_mask"),
        "number": ([7] * 4, "bad_mask"),
    }
    masks = {str(100 + n): value for n, (value, _) in enumerate(faults.values()) if value is not None}
    expressions = {name: says("it", 100 + n) for n, name in enumerate(faults)}
    found = release({"a1": video(expressions | {"good": says("it", 5)})}, MASKS | masks)
    assert found.reasons == {f"a1/{name}": reason for name, (_, reason) in faults.items()}
    assert list(found.samples) == ["mevis/train/a1/good"]


def test_uncompressed_masks_with_runs_of_no_pixel_are_masks_all_the_same(release):
    runs = [0, 0, *uncompressed(LEFT)["counts"], 0]
    whole = uncompressed(LEFT)
    found = release({"a1": video({"0": says("it", 5)})}, {"5": [whole, whole | {"counts": runs}, None, whole]})
    _, seen = target(found, "a1/0")
    assert (seen[0] == LEFT).all()
    assert (seen[1] == LEFT).all()


def test_expressions_of_other_shapes_are_malformed(release):
    odd = {
        "text": "the dog",
        "none": says(None, 5),
        "blank": says(" \u00a0 ", 5),
        "number": says(7, 5),
        "float": says("it", 5.0),
        "true": says("it", True),
        "one": says("it") | {"anno_id": 5},
        "unlabelled": {"exp": "it"},
    }
    found = release({"a1": video(odd | {"good": says("it", 5)})})
    assert found.reasons == {f"a1/{name}": "malformed" for name in odd}


def test_a_frame_that_is_absent_costs_its_video_and_no_other(release, tmp_path):
    videos = {"a1": video({"0": says("it", 5)}), "b2": video({"0": says("it", 7)})}
    release(videos)
    folder = tmp_path / "raw/train/JPEGImages/a1"
    (folder / "00002.jpg").rename(folder / "2.jpg")
    assert built(tmp_path / "raw", "mevis").reasons == {"a1/0": "missing_media"}


def test_frames_of_different_sizes_are_bad_media(release, tmp_path):
    write_still(tmp_path / "raw/train/JPEGImages/a1/00002.jpg", np.zeros((40, 64, 3), np.uint8))
    assert release({"a1": video({"0": says("it", 5)})}).reasons == {"a1/0": "bad_media"}


def test_words_stay_as_they_are_but_for_runs_of_white_space(release):
    text = "Dog\u00a0\u3000 &lt;that <SEG> runs <Seg>\r\n<image> "
    sample = release({"a1": video({"0": says(text, 5)})}).sample("a1/0")
    assert sample.query == "Dog &lt;that <SEG> runs <Seg> <image>"
    assert sample.turns[0].text.count("<Seg>") == 0
    assert "Dog &lt;that <SEG> runs &lt;Seg> &lt;image>" in sample.turns[0].text


def test_a_byte_order_mark_does_not_matter(release):
    videos = {"a1": video({"0": says("it", 5)})}
    meta = b"\xef\xbb\xbf" + json.dumps({"videos": videos}).encode()
    assert len(release(videos, meta=meta).samples) == 1


def test_a_video_whose_name_climbs_out_is_unsafe(release):
    found = release({"../../a1": video({"0": says("it", 5)}), "a1": video({"0": says("it", 5)})})
    assert list(found.reasons.values()) == ["unsafe_path"]
    assert len(found.samples) == 1
