"""Charades-STA: every wart of the release that we know of, in a release of a few lines whose facts stand in the test.

The video is 3.0 s long: 30 frames at 10 frames per second.
"""

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.converters.hand_written import Built, built, write_video, written

FRAMES, RATE = 30, 10


@pytest.fixture
def release(tmp_path):
    """A function: the content of ``charades_sta_train.txt`` → what is built of it; the video VID01 is there."""
    write_video(tmp_path / "raw/Charades_v1_480/VID01.mp4", FRAMES, RATE)

    def make(text: str | bytes) -> Built:
        written(tmp_path / "raw/charades_sta_train.txt", text)
        return built(tmp_path / "raw", "charades_sta")

    return make


def id_of(line: str) -> str:
    """FORMAT: a sample key ends in the video and 8 hex digits of the sha256 of the stripped line."""
    return f"{line.split()[0]}/{hashlib.sha256(line.encode()).hexdigest()[:8]}"


def only(found: Built):
    ((_, sample),) = found.samples.values()
    return sample


def test_the_real_dialect_a_line_ends_in_a_sentence_after_two_hashes(release):
    line = "VID01 0.0 1.9##a person is putting a book on a shelf."
    found = release(line + "\n")
    sample = found.sample(id_of(line))
    assert sample.key == f"charades_sta/train/{id_of(line)}"
    assert (sample.query, sample.spans) == ("a person is putting a book on a shelf.", ((0.0, 1.9),))
    assert (sample.source.file, sample.window, sample.targets) == ("charades_sta_train.txt", None, ())
    assert (found.reasons, found.adjusted) == ({}, {})


@pytest.mark.parametrize(
    "line",
    ["VID01 0.5 2.5 ## a door opens.", "VID01\t0.5\t2.5##a door opens.", "VID01  0.5   2.5## a  door\topens. "],
    ids=["spaces around the hashes", "tabs", "runs of blanks"],
)
def test_the_other_dialect_sets_blanks_and_tabs_where_the_release_has_none(release, line):
    found = release(line)
    assert (only(found).query, only(found).spans) == ("a door opens.", ((0.5, 2.5),))
    assert only(found).key.split("/", 2)[2] == id_of(line.strip())


def test_a_byte_order_mark_crlf_and_blank_lines_are_no_part_of_a_line(release):
    lines = ["VID01 0.0 1.0##one.", "VID01 1.0 2.0##two."]
    found = release(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode() + b"\r\n  \r\n\n")
    assert sorted(key.split("/", 2)[2] for key in found.samples) == sorted(map(id_of, lines))
    assert (found.reasons, found.entry["items"]) == ({}, 2)


def test_an_end_beyond_the_video_is_cut_to_its_duration_and_counted(release):
    found = release("VID01 1.0 3.5##a.\nVID01 2.9 99##b.\nVID01 0.0 3.0##c.\nVID01 0 2##d.\n")
    spans = {sample.query: sample.spans for _, sample in found.samples.values()}
    assert spans == {"a.": ((1.0, 3.0),), "b.": ((2.9, 3.0),), "c.": ((0.0, 3.0),), "d.": ((0.0, 2.0),)}
    assert found.adjusted == {"end_cut": 2}
    assert found.reasons == {}


BAD_TIMES = (
    *("2.0 1.0", "1.0 1.0", "3.0 3.5", "3.4 4.0", "-0.5 1.0"),
    *("nan 1.0", "0.0 nan", "0.0 inf", "-inf 1.0", "0 1e999"),
)


def test_a_span_that_is_empty_reversed_outside_or_no_number_is_a_bad_span(release):
    """Four lines of the real train file start after they end."""
    bad = [f"VID01 {times}##x." for times in BAD_TIMES]
    found = release("\n".join(["VID01 0.0 1.0##good.", *bad]))
    assert found.reasons == {id_of(line): "bad_span" for line in bad}
    assert only(found).query == "good."


MALFORMED = (
    "VID01 0.0 1.0 no mark before the sentence",
    "VID01 0.0 1.0#one hash",
    "VID01 0.0##one time",
    "VID01 0.0 1.0 2.0##three times",
    "VID01 zero 1.0##a word",
    "VID01 0,5 1,5##commas",
    "VID01 0:00 0:01##minutes",
    "VID01 0x1 0x2##hexadecimal",
    "VID01 0.0 1.0##",
    "VID01 0.0 1.2## \u00a0 ",
)


def test_a_line_of_another_shape_is_malformed(release):
    found = release("\n".join([*MALFORMED, "VID01 0.0 1.0##good."]))
    assert found.reasons == {id_of(line.strip()): "malformed" for line in MALFORMED}
    assert only(found).query == "good."


def test_a_repeated_line_is_a_duplicate_and_a_paraphrase_is_a_sample(release):
    line = "VID01 0.0 1.0##a person sits."
    found = release(f"{line}\n{line}  \nVID01 0.0 1.0##someone is sitting.\n")
    assert found.reasons == {id_of(line): "duplicate"}
    assert {sample.query for _, sample in found.samples.values()} == {"a person sits.", "someone is sitting."}


def test_moments_of_a_video_overlap_and_lie_in_one_record(release):
    found = release("VID01 0.0 2.0##a.\nVID01 1.0 3.0##b.\nVID01 0.5 0.7##c.\n")
    (key,) = {record.key for record, _ in found.samples.values()}
    assert len(found.record(id_of("VID01 0.0 2.0##a.")).samples) == 3
    assert key.startswith("charades_sta-train-")


def test_a_video_that_is_absent_costs_its_own_lines_only(release):
    found = release("AO8RW 0.0 1.0##a.\nVID01 0.0 1.0##b.\n")
    assert found.reasons == {id_of("AO8RW 0.0 1.0##a."): "missing_media"}
    assert only(found).query == "b."


def test_words_stay_as_they_are_but_for_runs_of_white_space(release):
    sentence = "a person\u00a0 drinks \u3000 from  a  &quot;cup&quot; &amp; <Seg> says <Temp-3>, <video> [SEG] ## end"
    found = release(f"VID01 0.0 1.0##{sentence}")
    sample = only(found)
    assert sample.query == "a person drinks from a &quot;cup&quot; &amp; <Seg> says <Temp-3>, <video> [SEG] ## end"
    for turns in sample.renderings():
        asked = turns[0].text
        assert asked.startswith("<video>\n")
        assert "&lt;Seg> says &lt;Temp-3>, &lt;video> &#91;SEG]" in asked
        assert asked.count("<video>") == 1
        assert "<Seg>" not in asked


def test_a_very_long_sentence_is_kept_whole(release):
    sentence = "word " * 50_000 + "end."
    assert only(release(f"VID01 0.0 1.0##{sentence}")).query == sentence


def test_a_sentence_in_latin_1_is_read_as_that_and_leaves_the_utf_8_ones_alone(release):
    found = release("VID01 0.0 1.0##café.\n".encode() + "VID01 1.0 2.0##crème.\n".encode("latin-1"))
    assert {sample.query for _, sample in found.samples.values()} == {"café.", "crème."}


def test_line_separators_of_unicode_do_not_end_a_line(release):
    found = release("VID01 0.0 1.0##one\u2028two\x0bthree\x85four.\n")
    assert only(found).query == "one two three four."
    assert found.entry["items"] == 1


def test_seconds_are_seconds_of_the_video_whatever_its_frame_rate(tmp_path):
    """As 0F7LW of the release, which has 6.1 frames per second."""
    write_video(tmp_path / "raw/Charades_v1_480/SLOW1.mp4", 61, Fraction(61, 10))
    written(tmp_path / "raw/charades_sta_train.txt", "SLOW1 1.5 9.25##a.\n")
    found = built(tmp_path / "raw", "charades_sta")
    assert only(found).spans == ((1.5, 9.25),)


def test_an_end_in_a_video_of_variable_frame_rate_is_cut_where_its_last_frame_ends(tmp_path):
    times = np.cumsum([0] + [50 if frame % 2 else 250 for frame in range(19)]).tolist()
    write_video(tmp_path / "raw/Charades_v1_480/VARY1.mp4", 20, 10, times_ms=times)
    written(tmp_path / "raw/charades_sta_train.txt", "VARY1 1.0 60.0##a.\n")
    found = built(tmp_path / "raw", "charades_sta")
    ((record, sample),) = found.samples.values()
    assert record.clip.frame_times is not None
    assert record.clip.frame_times[-1] == pytest.approx(times[-1] / 1000)
    assert sample.spans == ((1.0, record.clip.duration),)
    assert record.clip.frame_times[-1] < sample.spans[0][1]
    assert found.adjusted == {"end_cut": 1}


@pytest.mark.parametrize("video", ["../VID01", "/etc/VID01", "a/../../VID01"])
def test_a_video_id_that_climbs_out_is_unsafe(release, video):
    line = f"{video} 0.0 1.0##a."
    found = release(line)
    assert list(found.reasons.values()) == ["unsafe_path"]


def test_the_csv_of_charades_is_not_needed_and_its_length_does_not_decide(release, tmp_path):
    """The release's csv says 30.46 s where a line ends at 31.0; what decodes decides."""
    written(Path(tmp_path / "raw/Charades_v1_train.csv"), "id,subject,length\nVID01,HAND,1.00\n")
    assert only(release("VID01 0.0 2.5##a.")).spans == ((0.0, 2.5),)
