"""RefCOCO, RefCOCO+ and RefCOCOg: every wart of the release that we know of, in a release of two or three images.

The images are 64x48. Object 11 of image 1 is a box given as two polygons, 12 a crowd, 21 a box in image 2.
"""

import pickle
import pickletools
from typing import Any

import numpy as np
import pytest

from converters.base import UnknownSplit
from converters.world.raw import python2_pickle
from pipelines.build import build
from pipelines.recipe import load_recipe
from shards.reader import Corpus
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
FOLDERS = {"refcoco": "refcoco", "refcoco_plus": "refcoco+", "refcocog": "refcocog"}
IMAGES = "images/mscoco/images/train2014"
LEFT, RIGHT, CROWD = box_mask(4, 4, 14, 20), box_mask(30, 10, 50, 40), box_mask(20, 0, 25, 48)


def polygon(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def annotation(id: int, image: int, segmentation: Any, **changes: Any) -> Json:
    crowd = int(isinstance(segmentation, dict))
    extra = {"category_id": 1, "iscrowd": crowd, "bbox": [0, 0, 1, 1], "area": 1.0}
    return {"id": id, "image_id": image, "segmentation": segmentation} | extra | changes


TWO_PARTS = [polygon(4, 4, 14, 20), polygon(30, 10, 50, 40)]
ANNOTATIONS = [
    annotation(11, 1, TWO_PARTS),
    annotation(12, 1, uncompressed(CROWD)),
    annotation(21, 2, [polygon(4, 4, 14, 20)]),
]


def image(id: int, **changes: Any) -> Json:
    name = f"COCO_train2014_{id:012}.jpg"
    return {"id": id, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 1, "coco_url": ""} | changes


def said(number: int, text: Any, raw: str = "AS TYPED") -> Json:
    return {"tokens": str(text).split(), "raw": raw, "sent": text, "sent_id": number}


def ref(id: int, ann: int, *sentences: Json, split: str = "train", **changes: Any) -> Json:
    return {
        "ref_id": id,
        "ann_id": ann,
        "image_id": ann // 10,
        "category_id": 1,
        "split": split,
        "file_name": f"COCO_train2014_{ann // 10:012}_{ann}.jpg",
        "sent_ids": [sentence.get("sent_id") for sentence in sentences],
        "sentences": list(sentences),
    } | changes


@pytest.fixture
def release(tmp_path):
    """A function: refs, and the tables of instances.json → what is built of them."""

    def make(
        *refs: Any,
        annotations: Any = ANNOTATIONS,
        images: Any = None,
        converter: str = "refcoco",
        split: str = "train",
        split_by: str = "",
        pickled: bytes | None = None,
    ) -> Built:
        root, folder = tmp_path / "raw", FOLDERS[converter]
        by = split_by or ("umd" if converter == "refcocog" else "unc")
        written(root / folder / f"refs({by}).p", pickled or python2_pickle(list(refs)))
        tables = {
            "info": {},
            "images": [image(1), image(2)] if images is None else images,
            "annotations": list(annotations),
            "categories": [],
        }
        written(root / folder / "instances.json", tables)
        for id in (1, 2, 3):
            write_still(root / IMAGES / f"COCO_train2014_{id:012}.jpg")
        return built(root, converter, split, f"split_by = '{split_by}'" if split_by else "")

    return make


def mask(found: Built, ending: str) -> np.ndarray:
    record, sample = found._one(ending)
    assert sample.targets is not None
    ((index,),) = sample.targets
    assert list(record.masklets[index].rles) == [0]
    return bitmap(record.masklets[index].rles[0], record)


# --------------------------------------------------------------------------------------------------------- masks


def test_several_polygons_are_one_object(release):
    found = release(ref(5, 11, said(8, "the bars")))
    assert (mask(found, "5-8") == (LEFT | RIGHT)).all()
    sample = found.sample("5-8")
    assert (sample.key, sample.query, sample.task) == ("refcoco/train/5-8", "the bars", "referring_segmentation")


def test_polygons_that_overlap_are_united(release):
    parts = [polygon(4, 4, 14, 20), polygon(8, 4, 20, 20)]
    found = release(ref(5, 11, said(8, "it")), annotations=[annotation(11, 1, parts)])
    assert (mask(found, "5-8") == box_mask(4, 4, 20, 20)).all()


def test_a_crowd_is_an_uncompressed_rle_whatever_its_flag_says(release):
    for flag in (1, 0):
        annotations = [annotation(12, 1, uncompressed(CROWD), iscrowd=flag)]
        assert (mask(release(ref(5, 12, said(8, "them")), annotations=annotations), "5-8") == CROWD).all()


def test_an_rle_may_have_runs_of_no_pixel(release):
    odd = uncompressed(CROWD)
    odd["counts"] = [odd["counts"][0], 0, 0, *odd["counts"][1:], 0]
    found = release(ref(5, 12, said(8, "them")), annotations=[annotation(12, 1, odd)])
    assert (mask(found, "5-8") == CROWD).all()


def test_a_polygon_that_leaves_the_image_covers_what_is_inside(release):
    parts = [polygon(-5.5, -3, 14, 20), polygon(50, 40, 64.4, 48.4)]
    found = release(ref(5, 11, said(8, "it")), annotations=[annotation(11, 1, parts)])
    assert (mask(found, "5-8") == (box_mask(0, 0, 14, 20) | box_mask(50, 40, 64, 48))).all()


def test_segmentations_that_are_no_mask_of_the_image_are_skips_with_their_reasons(release):
    small = np.ones((HEIGHT // 2, WIDTH // 2), bool)
    good, area = uncompressed(CROWD), WIDTH * HEIGHT
    faults = {
        "line": ([[1, 1, 9, 9, 20, 20]], "bad_mask"),
        "point": ([[5, 5] * 4], "bad_mask"),
        "outside": ([polygon(70, 50, 80, 60)], "bad_mask"),
        "nothing": (uncompressed(box_mask(0, 0, 0, 0)), "bad_mask"),
        "two points": ([[1, 1, 9, 9]], "bad_mask"),
        "odd": ([[1, 1, 9, 9, 20]], "bad_mask"),
        "no part": ([], "bad_mask"),
        "nested": ([[[1, 1], [9, 1], [9, 9]]], "bad_mask"),
        "words": ([["1", "1", "9", "1", "9", "9"]], "bad_mask"),
        "no number": ([[1, 1, 9, 1, 9, float("nan")]], "bad_mask"),
        "far": ([polygon(0, 0, 9e9, 9)], "bad_mask"),
        "short": (good | {"counts": [area - 1]}, "bad_mask"),
        "long": (good | {"counts": [5, area]}, "bad_mask"),
        "negative": (good | {"counts": [-5, area + 5]}, "bad_mask"),
        "float": (good | {"counts": [1.5, area - 1.5]}, "bad_mask"),
        "empty": (good | {"counts": []}, "bad_mask"),
        "unsized": ({"counts": good["counts"]}, "bad_mask"),
        "floating size": (good | {"size": [48.0, 64.0]}, "bad_mask"),
        "huge": ({"size": [1_000_000, 1_000_000], "counts": [10**12]}, "size_mismatch"),
        "half": (uncompressed(small), "size_mismatch"),
        "turned": (uncompressed(CROWD.T), "size_mismatch"),
        "null": (None, "missing_annotation"),
    }
    annotations = [annotation(100 + n, 10, value) for n, (value, _) in enumerate(faults.values())]
    refs = [ref(n, 100 + n, said(n, name), image_id=10) for n, name in enumerate(faults)]
    images = [image(10, file_name="COCO_train2014_000000000001.jpg")]
    found = release(*refs, annotations=annotations, images=images)
    assert found.reasons == {f"{n}-{n}": reason for n, (_, reason) in enumerate(faults.values())}


def test_the_size_in_instances_must_be_the_images(release):
    images = [image(1, width=128, height=96), image(2, width=HEIGHT, height=WIDTH), image(3)]
    annotations = [*ANNOTATIONS, annotation(31, 3, TWO_PARTS)]
    refs = (ref(1, 11, said(1, "a")), ref(2, 21, said(2, "b")), ref(3, 31, said(3, "c")))
    found = release(*refs, images=images, annotations=annotations)
    assert found.reasons == {"1-1": "size_mismatch", "2-2": "size_mismatch"}


# --------------------------------------------------------------------------------------------------------- words


def test_every_sentence_of_a_ref_is_a_sample_with_the_same_target_keyed_by_its_sent_id(release):
    """``sent_id`` need not ascend, and ``sent_ids`` is not asked."""
    found = release(ref(5, 11, said(30, "right bar"), said(4, "bar"), said(17, "RIGHT"), sent_ids=[1, 2]))
    assert {key.split("/")[-1]: s.query for key, (_, s) in found.samples.items()} == {
        "5-30": "right bar",
        "5-4": "bar",
        "5-17": "RIGHT",
    }
    assert len(found.record("5-4").masklets) == 1


def test_the_cleaned_sentence_is_taken_and_not_the_raw_one(release):
    found = release(ref(5, 11, said(8, "lady with back to us", raw="lady w back to us")))
    assert found.sample("5-8").query == "lady with back to us"


def test_words_stay_as_they_are_but_for_runs_of_white_space(release):
    text = "the\u00a0man  &amp;\this <Seg> [SEG] <Ref> <image>\n"
    sample = release(ref(5, 11, said(8, text))).sample("5-8")
    assert sample.query == "the man &amp; his <Seg> [SEG] <Ref> <image>"
    for turns in sample.renderings():
        assert turns[0].text.startswith("<image>\n")
        assert "the man &amp; his &lt;Seg> &#91;SEG] &lt;Ref> &lt;image>" in turns[0].text


def test_sentences_that_are_no_words_or_have_no_id_are_malformed(release):
    odd = [
        said(1, ""),
        said(2, " \u00a0"),
        said(3, None),
        said(4, 7),
        {"sent": "no id"},
        said(5, "x") | {"sent_id": "5"},
    ]
    found = release(ref(5, 11, *odd, said(9, "good")))
    assert list(found.reasons.values()) == ["malformed"] * len(odd)
    assert [sample.query for _, sample in found.samples.values()] == ["good"]


# --------------------------------------------------------------------------------------------------------- files


def test_the_file_name_of_a_ref_is_no_file_and_the_image_is_found_by_its_id(release):
    """COCO_train2014_000000000001_11.jpg; the number behind it is that of the annotation."""
    found = release(ref(5, 11, said(8, "it"), file_name="COCO_train2014_000000000099_11.jpg"))
    assert found.record("5-8").clip.source == f"{IMAGES}/COCO_train2014_000000000001.jpg"


def test_pickles_of_any_protocol_and_of_python_2_say_the_same(release):
    """Byte strings of Python 3 need a function at protocol 2 and below, so no release can hold those."""
    refs = [ref(5, 11, said(8, "café"))]
    pickles = [python2_pickle(refs), *(pickle.dumps(refs, protocol) for protocol in range(6))]
    pickles += [pickle.dumps(_bytes(refs), protocol) for protocol in (3, 4)] + [_python2_binary(refs)]
    for pickled in pickles:
        assert release(pickled=pickled).sample("5-8").query == "café"


def _bytes(value: Any) -> Any:
    """As Python 2 wrote it: all text as byte strings."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {_bytes(key): _bytes(item) for key, item in value.items()}
    return [_bytes(item) for item in value] if isinstance(value, list) else value


def _python2_binary(value: Any) -> bytes:
    """As Python 2 wrote it at protocol 2: that of protocol 3, but for the codes that begin a short byte string."""
    out = bytearray(pickle.dumps(_bytes(value), 3))
    places = [(code.name, place) for code, _, place in pickletools.genops(bytes(out)) if place is not None]
    for name, place in places:
        if name == "SHORT_BINBYTES":
            out[place : place + 1] = pickle.SHORT_BINSTRING
    out[1] = 2
    return bytes(out)


def test_latin_1_of_python_2_is_read_as_that(release):
    refs = [ref(5, 11, said(8, b"cr\xe8me"))]
    assert release(pickled=pickle.dumps(refs, 3)).sample("5-8").query == "crème"


def test_refs_that_lead_nowhere_are_missing_annotations(release):
    refs = (ref(1, 19, said(1, "no annotation")), ref(2, 31, said(2, "no image")), ref(3, 21, said(3, "b")))
    found = release(*refs, annotations=[*ANNOTATIONS, annotation(31, 3, TWO_PARTS)])
    assert found.reasons == {"1-1": "missing_annotation", "2-2": "missing_annotation"}


def test_ids_of_a_ref_may_be_text_but_its_own(release):
    found = release(ref(5, 11, said(8, "it"), ann_id="11", image_id="1"), ref(6, 11, said(9, "it"), ref_id="6"))
    assert (mask(found, "5-8") == (LEFT | RIGHT)).all()
    assert list(found.reasons.values()) == ["malformed"]


def test_an_annotation_of_another_image_is_malformed(release):
    assert release(ref(5, 21, said(8, "it"), image_id=1)).reasons == {"5-8": "malformed"}


def test_rows_that_stand_twice_are_one_if_they_say_the_same_and_none_if_they_do_not(release):
    again = [annotation(11, 1, [polygon(0, 0, 5, 5)]), ANNOTATIONS[2]]
    found = release(ref(5, 11, said(8, "it")), ref(6, 21, said(9, "it")), annotations=[*ANNOTATIONS, *again])
    assert found.reasons == {"5-8": "malformed"}
    assert list(found.samples) == ["refcoco/train/6-9"]


def test_an_image_that_is_absent_costs_its_own_refs(release):
    images = [image(1), image(2, file_name="COCO_train2014_000000000077.jpg")]
    found = release(ref(5, 11, said(8, "it")), ref(6, 21, said(9, "it")), images=images)
    assert found.reasons == {"6-9": "missing_media"}


# -------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    ("converter", "split_by", "splits"),
    [
        ("refcoco", "unc", ("train", "val", "testA", "testB")),
        ("refcoco", "google", ("train", "val", "test")),
        ("refcoco_plus", "unc", ("train", "val", "testA", "testB")),
        ("refcocog", "umd", ("train", "val", "test")),
        ("refcocog", "google", ("train", "val")),
    ],
)
def test_each_convention_has_its_own_splits(release, tmp_path, converter, split_by, splits):
    refs = [ref(n, 11, said(n, split), split=split) for n, split in enumerate(splits)]
    for n, split in enumerate(splits):
        found = release(*refs, converter=converter, split=split, split_by=split_by)
        assert list(found.samples) == [f"{converter}/{split}/{n}-{n}"]
        assert (found.skips, found.sample(f"{n}-{n}").source.file) == ({}, f"{FOLDERS[converter]}/refs({split_by}).p")
    for other in {"train", "val", "testA", "testB", "test"} - set(splits):
        with pytest.raises(UnknownSplit, match=f"has no split '{other}'"):
            release(*refs, converter=converter, split=other, split_by=split_by)


def test_the_google_split_of_refcocog_has_an_image_in_both_train_and_val(release):
    refs = (ref(1, 11, said(1, "bars")), ref(2, 12, said(2, "crowd"), split="val"))
    train = release(*refs, converter="refcocog", split_by="google")
    val = release(*refs, converter="refcocog", split="val", split_by="google")
    assert train.record("1-1").clip.source == val.record("2-2").clip.source
    assert (list(train.samples), list(val.samples)) == (["refcocog/train/1-1"], ["refcocog/val/2-2"])


def test_an_image_that_the_three_share_is_a_record_in_each_with_samples_of_its_own(release, tmp_path):
    for converter in FOLDERS:
        release(ref(5, 11, said(8, converter)), converter=converter)
    tables = [f"[[dataset]]\nconverter = '{name}'\nroot = 'raw'\nsplit = 'train'\n" for name in FOLDERS]
    recipe = written(tmp_path / "all.toml", "\n".join(tables))
    corpus = Corpus.open(build(load_recipe(recipe), tmp_path / "all", workers=0).corpus)
    records = [record for record, _ in corpus]
    assert {sample.key for record in records for sample in record.samples} == {f"{n}/train/5-8" for n in FOLDERS}
    assert len({record.key for record in records}) == 3
    assert len({record.clip.source for record in records}) == 1
