"""One picture has one id, whichever dataset, split or folder its file lies in."""

import pyarrow as pa
import pytest

from converters.base import Converter
from converters.table import CONVERTERS, find_converter
from pipelines.pictures import picture_ids


def picture(source: str | None, dataset: str = "toy", declared: str | None = "") -> str | None:
    (found,) = picture_ids(pa.array([source], pa.string()), dataset, declared).to_pylist()
    return found


@pytest.mark.parametrize(
    "source",
    [
        "images/mscoco/images/train2014/COCO_train2014_000000123456.jpg",
        "val2014/COCO_val2014_000000123456.jpg",
        "coco/train2017/000000123456.jpg",
        "MSCOCO/123456.png",
    ],
)
def test_a_coco_image_has_one_number_in_every_year_and_split(source):
    assert picture(source) == "coco:123456"


def test_a_name_is_an_id_where_the_converter_says_whose_pictures_they_are():
    assert picture("COCO_train2014_000000000009.jpg", "refcoco", "coco") == "coco:9"
    assert picture("elsewhere/0F7LW.mp4", "sta", "charades") == "charades:0F7LW"
    assert picture("videos/a.b.mkv", "mine", "movies") == "movies:a.b"


def test_a_video_and_its_folder_of_frames_have_one_id():
    name = "bkTVdogBed0_0:00:00.000_0:00:05.005"
    assert picture(f"clips/{name}.mp4", "a", "panda") == picture(f"frames/{name}", "b", "panda") == f"panda:{name}"


@pytest.mark.parametrize(
    ("source", "id"),
    [
        ("VideoRefer-Bench-Q/MeViS/valid_u/JPEGImages/ba11f00d2024", "mevis:ba11f00d2024"),
        ("VideoRefer-Bench-Q/DAVIS/JPEGImages/480p/bmx-trees", "davis:bmx-trees"),
        ("vidor/video/1111/4240545211.mp4", "vidor:4240545211"),
        ("Charades_v1_480/0F7LW.mp4", "charades:0F7LW"),
    ],
)
def test_a_folder_of_the_path_says_more_than_the_converter(source, id):
    assert picture(source, "videorefer", "panda") == id


def test_only_a_folder_names_a_family():
    assert picture("train/JPEGImages/davis", "mevis", "mevis") == "mevis:davis"
    assert picture("clips/mycoco/1.jpg", "toy") == "toy:clips/mycoco/1.jpg"


@pytest.mark.parametrize("declared", ["", None])
def test_without_a_family_the_whole_path_is_the_id_within_its_dataset(declared):
    assert picture("train/0001.mp4", "toy", declared) == "toy:train/0001.mp4"
    assert picture("test/0001.mp4", "toy", declared) != picture("train/0001.mp4", "toy", declared)
    assert picture("train/0001.mp4", "toy", declared) != picture("train/0001.mp4", "other", declared)


def test_a_clip_without_a_source_has_no_id():
    assert picture("") is None
    assert picture(None, "refcoco", "coco") is None


def test_every_bundled_converter_says_whose_pictures_it_shows_and_others_need_not():
    assert all(find_converter(name).pictures for name in CONVERTERS)
    assert Converter.pictures == ""
