"""What every bundled converter says that its release consists of, held against the generated world and the scans."""

from itertools import product
from pathlib import Path

import pytest

from converters.base import Converter, UnknownSplit
from converters.release import Needed
from converters.table import CONVERTERS, find_converter
from converters.world import write_world

ROOTS = {"refcoco": "refer", "refcoco_plus": "refer", "refcocog": "refer"}
SPLITS = [(name, split) for name in CONVERTERS for split in find_converter(name).splits]
"""Every split of every converter; the world has all that have masks, words or times of their own."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    write_world(folder, clips=2)
    return folder


def opened(root: Path, name: str, split: str, **options: object) -> Converter:
    found = find_converter(name)
    resolved = {key: option.resolve(key, options.get(key)) for key, option in found.options.items()}
    return found(root, split, resolved)


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_every_needed_thing_is_in_the_world(world, name, split):
    if name == "videorefer" and split == "bench_q":
        pytest.skip("the world has no DAVIS frames")
    root = world / ROOTS.get(name, name)
    for need in opened(root, name, split).release():
        place = root / need.path
        assert any(place.glob(need.holds)) if need.holds else place.is_file(), need.path


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_a_scan_reads_the_annotation_files_that_the_release_names(world, name, split):
    converter = opened(world / ROOTS.get(name, name), name, split)
    named = {need.path for need in converter.release() if not need.holds}
    try:
        list(converter.scan())
    except UnknownSplit:  # REFER's pickles hold the splits of one author; the other files are not asked for then
        assert {file.path for file in converter.files.inputs} < named
    else:
        assert {file.path for file in converter.files.inputs} == named


def test_options_decide_what_is_needed():
    paths = [need.path for need in opened(Path("r"), "refcocog", "train", split_by="google", images="/coco").release()]
    assert paths == ["refcocog/refs(google).p", "refcocog/instances.json", "/coco"]
    subsets = opened(Path("r"), "videorefer", "train", subset=["qa", "detailed_caption"]).release()
    assert [need.path.rpartition("/")[2] for need in subsets] == [
        "videorefer-detailed-caption-125k.json",
        "videorefer-qa-75k.json",
        "videos",
    ]
    assert not any("mask_dict" in need.path for need in opened(Path("r"), "mevis", "valid").release())


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_every_needed_thing_names_a_page_and_an_archive(name, split):
    for need in opened(Path("r"), name, split).release():
        assert need.page.startswith("https://")
        assert need.archive
        assert bool(need.holds) == (need.media or bool(need.per_clip))


def test_the_checksums_of_mevis_are_those_of_the_owners():
    sums = {split: opened(Path("r"), "mevis", split).release()[1].checksum for split in ("train", "valid_u")}
    assert {split: text[:15] for split, text in sums.items()} == {
        "train": "sha256:f9d9b01a",
        "valid_u": "sha256:6e711a3f",
    }


BAD: list[dict[str, object]] = [
    {"path": ""},
    {"path": "../elsewhere.json"},
    {"holds": "**/*.mp4"},
    {"checksum": "sha256:123"},
    {"checksum": "crc32:12345678"},
    {"checksum": "md5:" + "0" * 32, "holds": "*.mp4"},
    {"count": 0},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_a_needed_thing_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError):
        Needed(**({"path": "a.json", "what": "items", "page": "https://a.example"} | change))  # type: ignore[arg-type]


def test_the_order_of_options_never_hides_a_file():
    """All combinations of the declared choices give needed things with paths of their own."""
    for name in CONVERTERS:
        choices = {key: option.choices or (None,) for key, option in find_converter(name).options.items()}
        for values in product(*choices.values()):
            needs = opened(Path("r"), name, find_converter(name).splits[0], **dict(zip(choices, values, strict=True)))
            paths = [need.path for need in needs.release()]
            assert len(set(paths)) == len(paths) >= 2
