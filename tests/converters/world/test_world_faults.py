"""The faults: each is there, is told in the truth, and leaves the good items alone."""

import pytest

from converters.world import write_world
from shards.skips import REASONS


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    root = tmp_path_factory.mktemp("worlds")
    return write_world(root / "good", clips=4), write_world(root / "bad", clips=4, faults=True)


@pytest.mark.parametrize(
    ("entry", "reasons"),
    [
        (("refcoco", "train"), "bad_mask size_mismatch missing_annotation malformed key_conflict"),
        (("mevis", "train"), "bad_mask size_mismatch missing_annotation malformed"),
        (
            ("videorefer", "train"),
            "bad_mask size_mismatch empty_region region_count bad_frame malformed key_conflict duplicate",
        ),
        (("charades_sta", "train"), "bad_span malformed duplicate"),
        (("vidstg", "train"), "bad_span bad_box empty_tube size_mismatch missing_annotation malformed key_conflict"),
    ],
)
def test_a_faulty_world_has_every_fault_of_the_data_set(worlds, entry, reasons):
    _, bad = worlds
    expected = {*reasons.split(), "missing_media", "bad_media", "unsafe_path"}
    assert expected <= set(bad.skips[entry].values())


def test_every_reason_but_invalid_is_found_somewhere(worlds):
    _, bad = worlds
    assert {reason for found in bad.skips.values() for reason in found.values()} == set(REASONS) - {"invalid"}


def test_good_items_stay_as_they_are(worlds):
    good, bad = worlds
    for entry, samples in good.samples.items():
        for key, sample in samples.items():
            other = bad.samples[entry][key]
            assert (sample.query, sample.answer, sample.spans) == (other.query, other.answer, other.spans)
            assert sample.targets == other.targets
            assert sample.regions == other.regions


def test_files_of_good_clips_are_the_same_bytes(worlds):
    good, bad = worlds
    media = [path for path in good.root.rglob("*") if path.suffix in (".mp4", ".jpg")]
    assert len(media) > 100
    for path in media:
        assert path.read_bytes() == (bad.root / path.relative_to(good.root)).read_bytes()


def test_only_repeated_items_are_both_sample_and_skip(worlds):
    for world in worlds:
        for entry, skips in world.skips.items():
            both = {key: reason for key, reason in skips.items() if key in world.samples[entry]}
            assert set(both.values()) <= {"duplicate", "key_conflict"}
            assert len(both) == sum(reason in ("duplicate", "key_conflict") for reason in skips.values())


def test_no_fault_leaves_a_file_outside_the_root(worlds):
    _, bad = worlds
    assert sorted(path.name for path in bad.root.parent.iterdir()) == ["bad", "good"]
