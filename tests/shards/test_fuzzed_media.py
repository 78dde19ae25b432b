"""Damaged media and masks: whatever the bytes, there is an answer or one of our errors, in bounded time and memory.

Examples that ever fail are kept here as ``@example``; so far none did.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shards import rle
from shards.container import check_bytes
from shards.media import MediaError, probe_still, probe_video, read_frames
from shards.record import Clip

PIXELS_THWC = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), dtype=np.uint8)
CODECS = {".mp4": "libx264", ".webm": "libvpx", ".avi": "mpeg4", ".mkv": "libx264"}


def video(suffix: str) -> bytes:
    out = io.BytesIO()
    name = {".mkv": "matroska"}.get(suffix, suffix[1:])
    with av.open(out, "w", format=name) as container:
        stream: Any = container.add_stream(CODECS[suffix], rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for picture in PIXELS_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return out.getvalue()


def still(kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS_THWC[0]).save(out, kind)
    return out.getvalue()


WHOLE = {suffix: video(suffix) for suffix in CODECS} | {".jpg": still("JPEG"), ".png": still("PNG")}


@st.composite
def damaged(draw, suffix: str) -> bytes:
    """The file with bytes overwritten, runs cut out or doubled, and its end cut off, mostly in its first kilobyte."""
    data = bytearray(WHOLE[suffix])
    for _ in range(draw(st.integers(1, 4))):
        reach = draw(st.sampled_from([64, 1024, len(data)]))
        at = draw(st.integers(0, min(reach, len(data)) - 1))
        size = draw(st.integers(1, 16))
        damage = draw(st.sampled_from(["overwrite", "remove", "double", "cut"]))
        if damage == "overwrite":
            data[at : at + size] = draw(st.binary(min_size=size, max_size=size))
        elif damage == "remove":
            del data[max(at, 1) : at + size]
        elif damage == "double":
            data[at:at] = data[at : at + size]
        else:
            del data[max(at, 1) :]
    return bytes(data)


def tried(call: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    """(what the call gives, None), or (None, the words of its refusal, which are one line)."""
    try:
        return call(*args), None
    except (MediaError, rle.MaskError) as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("suffix", CODECS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_video_is_read_as_its_probe_says_or_refused(tmp_path: Path, suffix: str, data) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data.draw(damaged(suffix)))
    probe, words = tried(probe_video, path)
    if words:
        assert "\n" not in words
        return
    assert 0 < probe.num_frames < 1000
    clip = Clip("video", "a", probe.width, probe.height, probe.num_frames, probe.fps, probe.duration, probe.frame_times)
    (last,) = read_frames(clip, path, [probe.num_frames - 1])
    assert last.shape == (probe.height, probe.width, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_still_is_read_as_its_probe_says_or_refused(tmp_path: Path, suffix: str, data) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data.draw(damaged(suffix)))
    probe, words = tried(probe_still, path)
    if words:
        assert "\n" not in words
        return
    (picture,) = read_frames(Clip("still", "a", probe.width, probe.height, 1, None, None), path, [0])
    assert picture.shape == (probe.height, probe.width, 3)


HEADS = [b"", b"\0\0\0\x18ftyp", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67", b"RIFF\0\1\0\0AVI "]


@settings(max_examples=500)
@given(st.sampled_from(HEADS), st.binary(max_size=80))
def test_any_bytes_are_a_container_or_refused(head: bytes, data: bytes) -> None:
    container, words = tried(check_bytes, head + data, "it")
    assert words or container in ("mp4", "matroska", "avi")


NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 4, 6, 24, 10**6, 10**400, -1])
COUNTS = st.text(max_size=12) | st.binary(max_size=6) | st.lists(NUMBERS, max_size=6) | st.none()
SEGMENTATIONS = (
    st.fixed_dictionaries({}, optional={"size": st.lists(NUMBERS, max_size=3) | st.just([4, 6]), "counts": COUNTS})
    | st.lists(st.lists(NUMBERS, max_size=8) | NUMBERS | st.none(), max_size=3)
    | st.none()
    | st.text(max_size=3)
)


@settings(max_examples=500)
@given(SEGMENTATIONS)
def test_any_segmentation_is_a_mask_of_the_clip_or_refused(segmentation) -> None:
    counts, words = tried(rle.from_coco, segmentation, 4, 6)
    if words:
        assert "\n" not in words
    else:
        assert rle.decode(counts, 4, 6).shape == (4, 6)
