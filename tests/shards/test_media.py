"""Stills, frame folders and headers: what is accepted, what is refused, and by which words. Needs Pillow alone."""

import io
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.container import check_bytes
from shards.media import (
    MediaError,
    check_header,
    probe_frames,
    probe_still,
    probe_video,
    read_frames,
)
from shards.record import Clip

WIDTH, HEIGHT = 48, 32


def halves(width: int = WIDTH, height: int = HEIGHT, left: int = 200, right: int = 40) -> Image.Image:
    pixels = np.full((height, width, 3), right, np.uint8)
    pixels[:, : width // 2] = left
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noisy(kind: str, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind, **options)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def still(width: int = WIDTH, height: int = HEIGHT) -> Clip:
    return Clip("still", "picture.jpg", width, height, 1, None, None)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def folder(num_frames: int = 4) -> tuple[Clip, bytes]:
    """A frame folder whose frame i has the grey level 50 i on its left half."""
    clip = Clip("frames", "folder", WIDTH, HEIGHT, num_frames, None, None)
    return clip, zipped({f"{i:05d}.jpg": encoded(halves(left=50 * i)) for i in range(num_frames)})


# ---------------------------------------------------------------------------------------------- stills


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", mode) for mode in ("RGB", "L", "CMYK")]
    + [("PNG", mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")],
)
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, kind, mode) -> None:
    if mode == "I;16":
        grey = np.asarray(halves().convert("L")).astype(np.uint16)
        image = Image.fromarray(grey * 257)
    else:
        image = halves().quantize() if mode == "P" else halves().convert(mode)
    content = encoded(image, kind)
    path = written(tmp_path / "picture.png", content)
    assert probe_still(path).width == WIDTH
    (pixels,) = read_frames(still(), content, [0])
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    if mode != "1":  # dithered
        assert int(pixels[5, 5, 0]) == pytest.approx(200, abs=8)
        assert int(pixels[5, -5, 0]) == pytest.approx(40, abs=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = written(tmp_path / "picture.jpg", encoded(halves(), exif=exif))
    probe = probe_still(path)
    sideways = orientation >= 5
    assert (probe.width, probe.height) == ((HEIGHT, WIDTH) if sideways else (WIDTH, HEIGHT))
    (pixels,) = read_frames(still(probe.width, probe.height), path, [0])
    bright = {1: pixels[:, :9], 2: pixels[:, -9:], 3: pixels[:, -9:], 4: pixels[:, :9]}
    bright |= {5: pixels[:9], 6: pixels[:9], 7: pixels[-9:], 8: pixels[-9:]}
    assert bright[orientation].mean() > 180
    check_header("still", path.read_bytes(), still(probe.width, probe.height))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {})],
    ids=["jpeg", "progressive", "png"],
)
def test_a_still_cut_anywhere_is_refused(tmp_path: Path, kind, options) -> None:
    content = noisy(kind, **options)
    for length in [
        0,
        1,
        2,
        10,
        100,
        *range(200, len(content), len(content) // 17),
        *range(len(content) - 30, len(content)),
    ]:
        with pytest.raises(MediaError, match=r"cut\.jpg is (not a whole JPEG or PNG|truncated)"):
            probe_still(written(tmp_path / "cut.jpg", content[:length]))


JPEGS = {
    "plain": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 8},
    "comment": {"comment": b"\xff\x01\xff\xd9" * 9},
    "profile": {"icc_profile": b"\xff\xd9\xff\x01" * 500},
}


@pytest.mark.parametrize("kind", JPEGS)
def test_garbage_in_the_middle_of_a_jpeg_is_refused(tmp_path: Path, kind) -> None:
    """Pillow takes it and shows grey blocks; a marker that cannot stand there gives it away."""
    content = noisy("JPEG", **JPEGS[kind])
    assert probe_still(written(tmp_path / "a.jpg", content)).width == 128
    assert probe_still(written(tmp_path / "junk-behind.jpg", content + b"\xff\x01junk" * 9)).width == 128
    middle = (content.rindex(b"\xff\xda") + len(content)) // 2
    garbage = np.random.default_rng(3).bytes(2000)
    for at in (middle, middle + 500):
        spoiled = written(tmp_path / "a.jpg", content[:at] + garbage + content[at + len(garbage) :])
        with pytest.raises(MediaError, match=r"a\.jpg"):
            probe_still(spoiled)


@pytest.mark.parametrize("marker", [0x01, 0xD3, 0xE1])
def test_a_marker_that_cannot_stand_in_a_scan_is_named(tmp_path: Path, marker) -> None:
    content = bytearray(noisy("JPEG"))
    middle = next(at for at in range(len(content) // 2, len(content)) if 0xFF not in content[at - 1 : at + 3])
    content[middle : middle + 2] = 0xFF, marker
    with pytest.raises(MediaError, match=rf"a\.jpg is corrupt: byte {middle} begins no marker that may stand there"):
        probe_still(written(tmp_path / "a.jpg", bytes(content)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_still_whose_end_is_zeros_is_refused(tmp_path: Path, kind) -> None:
    """As a downloader leaves it that sets the size first."""
    content = noisy(kind)
    for length in (len(content) // 3, len(content) - 40):
        holed = written(tmp_path / "a.jpg", content[:length] + bytes(len(content) - length))
        with pytest.raises(MediaError, match=r"a\.jpg"):
            probe_still(holed)


def test_a_bomb_is_refused_without_a_warning(tmp_path: Path) -> None:
    content = bytearray(encoded(halves(), "PNG"))
    content[16:24] = (10**6).to_bytes(4, "big") * 2
    path = written(tmp_path / "bomb.png", bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MediaError, match="bomb"):
            probe_still(path)


def test_other_formats_and_suffixes_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="not a whole JPEG or PNG"):
        probe_still(written(tmp_path / "disguised.jpg", encoded(halves(), "GIF")))
    with pytest.raises(MediaError, match="convert it"):
        probe_still(written(tmp_path / "picture.gif", encoded(halves(), "GIF")))
    with pytest.raises(MediaError, match=r"clip\.mov .*ffmpeg -i"):
        probe_video(tmp_path / "clip.mov")
    with pytest.raises(MediaError, match=r"absent\.jpg"):
        probe_still(tmp_path / "absent.jpg")


def test_the_record_must_state_the_size_of_the_still() -> None:
    with pytest.raises(MediaError, match="48x32, the record says 32x48"):
        read_frames(still(32, 48), encoded(halves()), [0])
    with pytest.raises(MediaError, match="48x32, the record says 32x48"):
        check_header("still", encoded(halves()), still(32, 48))


# ---------------------------------------------------------------------------------------------- frame folders


def test_a_frame_folder_has_one_size(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{i}.jpg", encoded(halves())) for i in range(3)]
    probe = probe_frames(paths)
    assert (probe.kind, probe.num_frames, probe.fps, probe.duration) == ("frames", 3, None, None)
    assert (probe.width, probe.height) == (WIDTH, HEIGHT)
    odd = written(tmp_path / "odd.jpg", encoded(halves(height=30)))
    with pytest.raises(MediaError, match=r"odd\.jpg is 48x30"):
        probe_frames([*paths, odd])
    with pytest.raises(MediaError, match="no frames"):
        probe_frames([])


@pytest.mark.parametrize("as_path", [False, True])
def test_frames_come_in_the_order_asked(tmp_path: Path, as_path) -> None:
    clip, media = folder()
    source = written(tmp_path / "folder.zip", media) if as_path else memoryview(media)
    levels = [int(image[5, 5, 0]) for image in read_frames(clip, source, [3, 0, 2, 2])]
    assert levels == pytest.approx([150, 0, 100, 100], abs=4)
    assert read_frames(clip, source, []) == []


def test_members_are_found_by_name_not_by_place() -> None:
    clip, _ = folder()
    media = zipped({f"{i:05d}.jpg": encoded(halves(left=50 * i)) for i in (3, 1)})
    stored = replace(clip, stored_frames=(1, 3))
    assert int(read_frames(stored, media, [1])[0][5, 5, 0]) == pytest.approx(50, abs=4)
    with pytest.raises(MediaError, match="frame 2 is not stored"):
        read_frames(stored, media, [2])
    with pytest.raises(MediaError, match="no frame 0"):
        read_frames(clip, media, [0])
    check_header("frames", media, stored)
    with pytest.raises(MediaError, match="holds 2 frames, not the 4"):
        check_header("frames", media, clip)


@pytest.mark.parametrize("index", [-1, 4, 10**6])
def test_an_index_outside_the_clip_is_refused(index) -> None:
    with pytest.raises(MediaError, match="is not in 0…3"):
        read_frames(*folder(), [0, index])


@pytest.mark.parametrize("name", ["0.jpg", "000001.jpg", "a/00000.jpg", "../00000.jpg", "00000.gif", "00000", "x.jpg"])
def test_a_member_must_be_named_by_its_frame(name) -> None:
    media = zipped({name: encoded(halves())})
    with pytest.raises(MediaError, match="is not named like"):
        check_header("frames", media)
    with pytest.raises(MediaError, match="is not named like"):
        read_frames(folder()[0], media, [0])


def test_damaged_zips_are_refused() -> None:
    clip, media = folder()
    for damaged in (b"", media[:-30], media[len(media) // 2 :], b"PK" + media[:100]):
        with pytest.raises(MediaError):
            read_frames(clip, damaged, [0])
        with pytest.raises(MediaError):
            check_header("frames", damaged)
    endless = bytearray(media)
    entry = media.rindex(b"PK\x01\x02")
    endless[entry + 20 : entry + 28] = (1 << 20).to_bytes(
        4, "little"
    ) * 2  # compressed and plain size of the last member
    with pytest.raises(MediaError, match="corrupt: (EOFError|Overlapped)"):
        check_header("frames", bytes(endless))
    spoiled = bytearray(media)
    spoiled[60:200] = bytes(140)
    with pytest.raises(MediaError):
        read_frames(clip, bytes(spoiled), [0])
    with pytest.raises(MediaError, match="compressed"):
        check_header("frames", zipped({"00000.jpg": encoded(halves())}, zipfile.ZIP_DEFLATED))
    with pytest.raises(MediaError, match="twice"):
        check_header("frames", zipped({"00000.jpg": encoded(halves()), "00000.png": encoded(halves(), "PNG")}))
    with pytest.raises(MediaError, match="no frames"):
        check_header("frames", zipped({}))


# ---------------------------------------------------------------------------------------------- the door


def test_sound_headers_pass() -> None:
    clip, media = folder()
    check_header("frames", media, clip)
    check_header("still", encoded(halves()), still())
    check_header("none", b"")


@pytest.mark.parametrize("kind", ["video", "still", "frames", "none"])
def test_garbage_has_no_header(kind) -> None:
    with pytest.raises(MediaError):
        check_header(kind, b"garbage" * 50)


def test_text_only_records_have_no_frames() -> None:
    clip = Clip("none", "", 0, 0, 0, None, None)
    with pytest.raises(MediaError):
        read_frames(clip, b"", [0])
    with pytest.raises(MediaError, match="text only"):
        read_frames(clip, b"", [])


def test_clusters_within_clusters_are_stepped_over_not_followed() -> None:
    """Thousands of them must not exhaust the stack."""
    element = b""
    for _ in range(3000):
        element = b"\x1f\x43\xb6\x75" + (1 << 56 | len(element)).to_bytes(8, "big") + element
    media = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67" + (1 << 56 | len(element)).to_bytes(8, "big") + element
    assert check_bytes(media, "clip.mkv") == "matroska"


WITHOUT_DECODERS = """
import sys
from pathlib import Path
sys.modules["av"] = sys.modules["decord"] = None
from shards.container import MediaError
from shards.media import check_header, probe_video, read_frames
from shards.record import Clip
boxes = b"".join((8).to_bytes(4, "big") + kind for kind in (b"ftyp", b"moov"))
check_header("video", boxes)
path = Path(sys.argv[1])
path.write_bytes(boxes)
clip = Clip("video", "clip.mp4", 8, 8, 1, 25.0, 0.04)
for call in (lambda: probe_video(path), lambda: read_frames(clip, boxes, [0])):
    try:
        call()
    except MediaError as error:
        assert "pip install av" in str(error), error
    else:
        raise SystemExit("no error")
try:
    check_header("video", boxes[:-3])
except MediaError as error:
    assert "truncated" in str(error)
else:
    raise SystemExit("a cut video passed")
"""


def test_without_a_decoder_video_says_what_to_install(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DECODERS, str(tmp_path / "clip.mp4")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
