"""Frame i is the i-th frame of a sequential decode, whatever the codec, container, edit list or rotation.

Every frame of the generated videos shows its own index as eight black or white blocks, so identity is checked
absolutely and not against another decoder.

Compared by hand with the command line of another FFmpeg (``ffmpeg -i FILE -fps_mode passthrough`` of 5.1.9; PyAV 18.1
has FFmpeg 8): 92 files of these kinds in MP4, Matroska, WebM and AVI, whole, cut, with packets lost or edit lists, and
the eight real videos of the mini-corpora. All agreed in the number of frames and in every frame, to the byte for even
sides and 8 bits, but two: where the edits of an HEVC file pause or go back, the older FFmpeg mixes up the order.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from shards.media import MediaError, Probe, check_header, probe_video, read_frames
from shards.record import Clip
from shards.video import timing

av = pytest.importorskip("av")

WIDTH, HEIGHT, N = 128, 96, 60
NTSC = Fraction(30000, 1001)
CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
ONE = 1 << 16  # 1.0 in the display matrix


def picture(index: int) -> np.ndarray:
    """An image that spells ``index`` in binary, block by block, with a little noise so that packets have weight."""
    image = np.random.default_rng(index).integers(0, 40, (HEIGHT, WIDTH, 3))
    for bit in range(8):
        row, column = divmod(bit, 4)
        block = np.s_[row * HEIGHT // 2 : (row + 1) * HEIGHT // 2, column * WIDTH // 4 : (column + 1) * WIDTH // 4]
        image[block] += 190 if index >> bit & 1 else 10
    return image.astype(np.uint8)


def spelled(image: np.ndarray) -> int:
    """The index that an upright picture spells."""
    blocks = image.reshape(2, HEIGHT // 2, 4, WIDTH // 4, 3)[:, 8:-8, :, 8:-8].mean(axis=(1, 3, 4)).ravel()
    return sum(1 << bit for bit, level in enumerate(blocks) if level > 125)


def encode(
    path: Path,
    codec: str = "libx264",
    num_frames: int = N,
    rate: Fraction = NTSC,
    times_ms: Sequence[int] | None = None,
    mux: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    base = Fraction(1, 1000) if times_ms else 1 / rate
    with av.open(str(path), "w", options=mux or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.time_base = base
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            frame.pts, frame.time_base = times_ms[index] if times_ms else index, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def clip_of(probe: Probe, source: str = "made.mp4") -> Clip:
    return Clip(
        "video",
        source,
        probe.width,
        probe.height,
        probe.num_frames,
        probe.fps,
        probe.duration,
        frame_times=probe.frame_times,
    )


CASES = {
    "b-frames.mp4": ("libx264", {"bf": "3", "g": "30"}),
    "open-gop.mp4": ("libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0:scenecut=0"}),
    "interlaced.mp4": ("libx264", {"flags": "+ildct+ilme"}),
    "no-b.mkv": ("libx264", {"bf": "0"}),
    "hevc.mp4": ("libx265", {"x265-params": "open-gop=1:keyint=12:bframes=3:log-level=none"}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "20"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "mpeg4.mp4": ("mpeg4", {"bf": "2", "g": "12"}),
    "av1.mp4": ("libsvtav1", {"preset": "12"}),
    "av1.webm": ("libsvtav1", {"preset": "12", "g": "20"}),
    "alternate.webm": ("libvpx-vp9", {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16", "g": "30"}),
    "mpeg2.mkv": ("mpeg2video", {"bf": "2", "g": "12"}),
    "h264.avi": ("libx264", {"bf": "3", "g": "12"}),
    "mjpeg.avi": ("mjpeg", {"color_range": "pc"}),
    "ffv1.mkv": ("ffv1", {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", ["pyav", "auto"])
def test_every_index_gives_its_own_frame(tmp_path: Path, name, backend) -> None:
    codec, options = CASES[name]
    path = encode(tmp_path / name, codec, options=options)
    probe = probe_video(path)
    assert (probe.width, probe.height, probe.num_frames) == (WIDTH, HEIGHT, N)
    assert probe.fps == pytest.approx(float(NTSC), abs=1e-9)
    assert probe.duration == pytest.approx(N / float(NTSC))
    assert probe.frame_times is None
    clip, media = clip_of(probe), path.read_bytes()
    for wanted in ([0], [59], [13, 12], [30, 5, 5, 41]):
        assert [spelled(image) for image in read_frames(clip, media, wanted, backend)] == wanted
    check_header("video", media, clip)


@pytest.mark.parametrize("name", CASES)
def test_decord_is_right_or_refuses(tmp_path: Path, name) -> None:
    pytest.importorskip("decord")
    codec, options = CASES[name]
    path = encode(tmp_path / name, codec, options=options)
    clip = clip_of(probe_video(path))
    wanted = [0, 11, 12, 13, 37, 47, 59]
    try:
        found = [read_frames(clip, path, [index], "decord")[0] for index in wanted]
    except MediaError:
        assert name not in ("b-frames.mp4", "no-b.mkv", "vp9.webm", "alternate.webm")
        return
    assert all(np.array_equal(a, b) for a, b in zip(found, read_frames(clip, path, wanted, "pyav"), strict=True))


def test_an_edit_list_cuts_frames_away(tmp_path: Path) -> None:
    """Start 20 frames into one long group of pictures: the frames before are decoded and discarded."""
    path = edited(encode(tmp_path / "edit.mp4", options={"bf": "0", "g": "250"}), skip_frames=20)
    probe = probe_video(path)
    assert probe.num_frames == N - 20
    clip = clip_of(probe)
    assert [spelled(i) for i in read_frames(clip, path, [0, 39, 7])] == [20, 59, 27]
    assert [spelled(i) for i in read_frames(clip, path, [1])] == [21]
    pytest.importorskip("decord")
    with pytest.raises(MediaError, match="cannot be read exactly with decord"):
        read_frames(clip, path, [1], "decord")


def edited(path: Path, skip_frames: int) -> Path:
    """Patch the (single-entry, version 0) edit list so that it starts ``skip_frames`` later."""
    content = bytearray(path.read_bytes())
    entry = content.find(b"elst") + 12
    assert content[entry - 8 : entry] == struct.pack(">II", 0, 1)
    duration, start = struct.unpack_from(">Ii", content, entry)
    scale = struct.unpack_from(">I", content, content.find(b"mdhd") + 16)[0]
    movie_scale = struct.unpack_from(">I", content, content.find(b"mvhd") + 16)[0]
    struct.pack_into(
        ">Ii",
        content,
        entry,
        duration - round(skip_frames / NTSC * movie_scale),
        start + round(skip_frames / NTSC * scale),
    )
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, ONE, -ONE, 0), lambda shown: np.rot90(shown, 1)),
        ((-ONE, 0, 0, -ONE), lambda shown: np.rot90(shown, 2)),
        ((0, -ONE, ONE, 0), lambda shown: np.rot90(shown, -1)),
        ((-ONE, 0, 0, ONE), lambda shown: shown[:, ::-1]),
        ((ONE, 0, 0, -ONE), lambda shown: shown[::-1]),
        ((0, ONE, ONE, 0), lambda shown: shown.transpose(1, 0, 2)),
    ],
    ids=["clockwise", "upside-down", "counterclockwise", "mirrored", "flipped", "transposed"],
)
def test_rotation_metadata_is_applied(tmp_path: Path, matrix, upright) -> None:
    path = encode(tmp_path / "turned.mp4")
    content = bytearray(path.read_bytes())
    a, b, c, d = matrix
    struct.pack_into(">9i", content, content.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    probe = probe_video(path)
    assert (probe.width, probe.height) == ((HEIGHT, WIDTH) if a == 0 else (WIDTH, HEIGHT))
    for wanted in ([7], [3, 44, 59]):
        shown = read_frames(clip_of(probe), path, wanted)
        assert [spelled(upright(image)) for image in shown] == wanted
    check_header("video", bytes(content), clip_of(probe))


def with_edits(path: Path, *edits: tuple[int, int | None]) -> Path:
    """Another edit list, in frames: (length, first frame of the media), or (length, None) for a pause."""
    content = path.read_bytes()
    entry = content.find(b"elst") - 4
    size, zero = struct.unpack_from(">I", content, entry)[0], struct.unpack_from(">i", content, entry + 20)[0]
    scale = struct.unpack_from(">I", content, content.find(b"mdhd") + 16)[0]
    movie_scale = struct.unpack_from(">I", content, content.find(b"mvhd") + 16)[0]
    body = struct.pack(">4sII", b"elst", 0, len(edits))
    for length, first in edits:
        start = -1 if first is None else zero + round(first / NTSC * scale)
        body += struct.pack(">IiHH", round(length / NTSC * movie_scale), start, 1, 0)
    out = bytearray(content[:entry] + struct.pack(">I", len(body) + 4) + body + content[entry + size :])
    assert content.find(b"mdat") < entry, "places in mdat would move"
    for name in (b"moov", b"trak", b"edts"):
        at = out.find(name) - 4
        struct.pack_into(">I", out, at, struct.unpack_from(">I", out, at)[0] + len(body) + 4 - size)
    path.write_bytes(out)
    return path


@pytest.mark.parametrize(
    ("edits", "shown"),
    [
        (((30, None), (60, 0)), range(60)),
        (((20, 0), (20, 40)), (*range(20), *range(40, 60))),
        (((15, 22),), range(22, 37)),
    ],
    ids=["a pause before", "two parts", "the middle"],
)
@pytest.mark.parametrize("name", ["b-frames.mp4", "open-gop.mp4", "hevc.mp4"])
def test_edit_lists_of_several_parts(tmp_path: Path, name, edits, shown) -> None:
    """FFmpeg may show one frame past the end of an edit; what it shows is in order and begins where the edit does."""
    codec, options = CASES[name]
    path = with_edits(encode(tmp_path / name, codec, options=options), *edits)
    clip = clip_of(probe_video(path))
    assert clip.num_frames - len(shown) in (0, 1)
    every = [spelled(image) for image in read_frames(clip, path, range(clip.num_frames), "pyav")]
    assert every[: len(shown)] == list(shown)
    for wanted in ([0], [len(shown) - 1], [8, 3]):
        assert [spelled(image) for image in read_frames(clip, path, wanted)] == [every[index] for index in wanted]


def test_the_clip_with_an_edit_list_decodes_503_of_522_frames() -> None:
    path = next((CORPORA / "videorefer" / "VideoRefer-700K" / "videos").glob("melonGoPro1_*.mp4"), None)
    if path is None:
        pytest.skip("../shared/corpora is not here")
    probe = probe_video(path)
    assert (probe.num_frames, probe.fps, probe.frame_times) == (503, 29.97, None)
    clip = clip_of(probe)
    auto, exact = (read_frames(clip, path, [250], backend)[0] for backend in ("auto", "pyav"))
    assert np.array_equal(auto, exact)


# ---------------------------------------------------------------------------------------------- odd files


def assert_sparse_is_dense(path: Path, clip: Clip) -> list[int]:
    """Every frame alone, as "auto" reads it, is the same bytes as in a decode of all; returns what they spell."""
    every = read_frames(clip, path, range(clip.num_frames), "pyav")
    for index, image in enumerate(every):
        assert np.array_equal(read_frames(clip, path, [index])[0], image), index
    return [spelled(image) for image in every]


def remuxed(source: Path, target: Path, kept: Callable[[list[Any]], list[Any]]) -> Path:
    """Those of the video's packets that ``kept`` chooses, with their times."""
    with av.open(str(source)) as given, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in kept([packet for packet in given.demux(given.streams.video[0]) if packet.size]):
            packet.stream = stream
            out.mux(packet)
    return target


@pytest.mark.parametrize(("first", "last"), [("open-gop.mp4", ".mp4"), ("open-gop.mp4", ".mkv"), ("hevc.mp4", ".mkv")])
def test_pictures_that_lead_into_frames_cut_away_are_not_shown(tmp_path: Path, first, last) -> None:
    """The file begins at an open group: pictures shown before its key frame need frames that are not there."""
    codec, options = CASES[first]
    whole = encode(tmp_path / first, codec, options=options)

    def from_second_key(packets: list[Any]) -> list[Any]:
        return packets[[i for i, packet in enumerate(packets) if packet.is_keyframe][1] :]

    path = remuxed(whole, tmp_path / f"cut{last}", from_second_key)
    clip = clip_of(probe_video(path))
    seen = assert_sparse_is_dense(path, clip)
    assert 0 < seen[0] < 20
    assert seen == list(range(seen[0], N))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_that_does_not_begin_with_a_key_frame_begins_at_the_next(tmp_path: Path, suffix) -> None:
    whole = encode(tmp_path / "whole.mp4", options={"bf": "2", "g": "25", "sc_threshold": "0"})
    path = remuxed(whole, tmp_path / f"cut{suffix}", lambda packets: packets[1:])
    clip = clip_of(probe_video(path))
    assert assert_sparse_is_dense(path, clip) == list(range(25, N))


@pytest.mark.parametrize(("name", "lost"), [("b-frames.mp4", 9), ("b-frames.mp4", 30), ("vp9.webm", 9)])
def test_where_a_packet_was_lost_the_pictures_do_not_depend_on_how_many_are_asked_for(
    tmp_path: Path, name, lost
) -> None:
    """What a decoder makes up for a missing reference differs between the FFmpeg of decord and that of PyAV."""
    codec, options = CASES[name]
    whole = encode(tmp_path / name, codec, options=options)
    path = remuxed(whole, tmp_path / f"lost-{name}", lambda packets: packets[:lost] + packets[lost + 1 :])
    clip = clip_of(probe_video(path))
    assert clip.num_frames == N - 1
    assert_sparse_is_dense(path, clip)


def painted(path: Path, codec: str, pix_fmt: str, *sizes: tuple[int, int]) -> Path:
    """Ten frames of noise of each size, in one stream. The sizes change in the middle, as a broadcast may."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        for number, (width, height) in enumerate(sizes):
            encoder: Any = stream if number == 0 else av.CodecContext.create(codec, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, pix_fmt
            if number:
                encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            pictures = [np.random.default_rng(i).integers(0, 255, (height, width, 3), np.uint8) for i in range(10)]
            frames = [av.VideoFrame.from_ndarray(picture, "rgb24") for picture in pictures]
            for index, frame in enumerate(frames):
                frame.pts, frame.time_base = 10 * number + index, Fraction(1, 25)
            for packet in [p for frame in [*frames, None] for p in encoder.encode(frame)]:
                packet.stream = stream
                out.mux(packet)
    return path


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [
    ("odd.mp4", "libx264", "yuv444p"), ("odd.webm", "libvpx-vp9", "yuv420p"), ("odd.avi", "mpeg4", "yuv420p"),
])  # fmt: skip
def test_odd_sides_have_the_same_colours_however_many_frames_are_asked_for(
    tmp_path: Path, name, codec, pix_fmt
) -> None:
    path = painted(tmp_path / name, codec, pix_fmt, (127, 95), (127, 95), (127, 95), (127, 95), (127, 95))
    probe = probe_video(path)
    assert (probe.width, probe.height, probe.num_frames) == (127, 95, 50)
    clip = clip_of(probe)
    for index in (0, 17, 49):
        (alone,) = read_frames(clip, path, [index])
        assert np.array_equal(alone, read_frames(clip, path, [index, 3], "pyav")[0])


@pytest.mark.parametrize("other", [(64, 96), (96, 128)], ids=["another size", "the same size turned"])
def test_a_video_that_changes_its_size_is_refused(tmp_path: Path, other) -> None:
    assert probe_video(painted(tmp_path / "one.webm", "libvpx-vp9", "yuv420p", (128, 96), (128, 96))).num_frames == 20
    path = painted(tmp_path / "two.webm", "libvpx-vp9", "yuv420p", (128, 96), other)
    with pytest.raises(MediaError, match=f"changes its size at frame 10, from 128x96 to {other[0]}x{other[1]}"):
        probe_video(path)


def test_transparency_is_dropped_and_no_frame_with_it(tmp_path: Path) -> None:
    options = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"}
    path = encode(tmp_path / "alpha.webm", "libvpx-vp9", options=options, pix_fmt="yuva420p")
    assert assert_sparse_is_dense(path, clip_of(probe_video(path))) == list(range(N))


def test_two_frames_packed_into_one_packet_are_two_frames(tmp_path: Path) -> None:
    """As DivX stored B-frames in AVI: behind the frame that they need, with an empty picture in their own place."""
    plain = encode(tmp_path / "plain.avi", "mpeg4", options={"bf": "1", "g": "12", "b_strategy": "0"})
    with av.open(str(plain)) as given, av.open(str(tmp_path / "packed.avi"), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        chunks = packed([bytes(packet) for packet in given.demux(given.streams.video[0]) if packet.size])
        for index, chunk in enumerate(chunks):
            packet = av.Packet(chunk)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, 1 / NTSC, index, index
            packet.is_keyframe = index == 0
            out.mux(packet)
    assert sum(len(chunk) < 10 for chunk in chunks) > 20
    path = tmp_path / "packed.avi"
    assert assert_sparse_is_dense(path, clip_of(probe_video(path))) == list(range(N))


PICTURE, USER_DATA, GROUP = b"\0\0\1\xb6", b"\0\0\1\xb2", b"\0\0\1\xb3"
"""Start codes of MPEG-4 part 2 (ISO 14496-2, 6.2.1)."""
NOT_CODED: Final = PICTURE + b"\x55\x80\x7f"


def packed(packets: list[bytes]) -> list[bytes]:
    """Each picture with the B-picture behind it in one packet, and a picture that is not coded instead of the latter.

    User data says so (``p`` behind the build number), in place of the encoder's own name.
    """
    pictures = [_without_user_data(packet) for packet in packets]
    at = pictures[0].find(GROUP)
    pictures[0] = pictures[0][:at] + USER_DATA + b"DivX503b1393p\0" + pictures[0][at:]
    out: list[bytes] = []
    for picture in pictures:
        if picture[picture.find(PICTURE) + 4] >> 6 == 2:  # a B-picture
            out[-1] += picture
            out.append(NOT_CODED)
        else:
            out.append(picture)
    return out


def _without_user_data(packet: bytes) -> bytes:
    at = packet.find(USER_DATA)
    return packet if at < 0 else packet[:at] + packet[packet.find(b"\0\0\1", at + 4) :]


def test_a_transport_stream_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    """Nothing in it says where it ends, so nobody could tell a whole one from one that was cut."""
    stream = encode(tmp_path / "a.ts", options={"bf": "2", "g": "12"})
    for name in ("a.mp4", "a.mkv"):
        path = stream.replace(tmp_path / name)
        stream = path
        with pytest.raises(MediaError, match=f"{name} is not an MP4, WebM/Matroska or AVI file; convert it"):
            probe_video(path)


# ---------------------------------------------------------------------------------------------- time


def test_variable_frame_rate_states_every_time(tmp_path: Path) -> None:
    times = np.cumsum([0] + [20 if i % 3 else 90 for i in range(N - 1)]).tolist()
    path = encode(tmp_path / "vfr.mp4", times_ms=times)
    probe = probe_video(path)
    assert probe.frame_times == pytest.approx([t / 1000 for t in times])
    assert probe.fps is not None
    assert probe.duration == pytest.approx(N / probe.fps)
    assert probe.duration > times[-1] / 1000
    assert [spelled(i) for i in read_frames(clip_of(probe), path, [59, 31, 0])] == [59, 31, 0]
    assert [spelled(i) for i in read_frames(clip_of(probe), path, [31])] == [31]


def test_a_jitter_below_half_a_frame_is_constant(tmp_path: Path) -> None:
    path = encode(tmp_path / "jitter.mp4", rate=Fraction(25), times_ms=[40 * i + i % 3 * 8 for i in range(N)])
    assert probe_video(path).frame_times is None


def test_milliseconds_in_webm_are_constant(tmp_path: Path) -> None:
    probe = probe_video(encode(tmp_path / "ms.webm", "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}))
    assert (probe.fps, probe.frame_times) == (float(NTSC), None)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_one_frame_is_a_video(tmp_path: Path, suffix) -> None:
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    probe = probe_video(encode(tmp_path / f"one{suffix}", codec, num_frames=1, rate=Fraction(25)))
    assert (probe.num_frames, probe.frame_times) == (1, None)
    assert probe.fps is None or probe.duration == pytest.approx(1 / probe.fps)


def test_the_containers_rate_wins_where_it_fits() -> None:
    times = [round(i / float(NTSC), 3) for i in range(500)]
    assert timing(500, times, [NTSC, Fraction(30)], 0.033)[0] == float(NTSC)
    assert timing(500, times, [Fraction(30), NTSC], 0.033)[0] == float(NTSC)
    assert timing(500, times, [Fraction(12)], 0.033)[0] == pytest.approx(float(NTSC), rel=1e-4)


def test_missing_or_repeated_times_fall_back_to_the_stated_rate() -> None:
    assert timing(50, None, [Fraction(25)], 0.0) == (25.0, 2.0, None)
    assert timing(3, [0.0, 0.0, 0.1], [Fraction(25)], 0.0) == (25.0, 3 / 25, None)
    assert timing(50, None, [], 0.0) == (None, None, None)


# ---------------------------------------------------------------------------------------------- faults

WHOLE = {
    "front.mp4": ("libx264", {"movflags": "faststart"}, {}),
    "back.mp4": ("libx264", {}, {}),
    "fragments.mp4": ("libx264", {"movflags": "frag_keyframe+empty_moov"}, {"g": "12"}),
    "clusters.mkv": ("libx264", {}, {}),
    "vp9.webm": ("libvpx-vp9", {}, {"deadline": "realtime", "cpu-used": "8"}),
    "mpeg4.avi": ("mpeg4", {}, {}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, name) -> None:
    codec, mux, options = WHOLE[name]
    whole = encode(tmp_path / name, codec, num_frames=24, mux=mux, options=options)
    probe, content = probe_video(whole), whole.read_bytes()
    cut = tmp_path / f"cut{whole.suffix}"
    for length in {0, 1, 8, 40, *range(100, len(content), len(content) // 23), len(content) - 9, len(content) - 1}:
        cut.write_bytes(content[:length])
        with pytest.raises(MediaError, match="cut"):
            probe_video(cut)
    cut.write_bytes(content)
    assert probe_video(cut) == probe


@pytest.mark.parametrize("name", ["front.mp4", "back.mp4", "clusters.mkv", "mpeg4.avi"])
def test_garbage_in_the_middle_is_refused(tmp_path: Path, name) -> None:
    codec, mux, options = WHOLE[name]
    path = encode(tmp_path / name, codec, mux=mux, options=options)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    with pytest.raises(MediaError, match=name):
        probe_video(path)


@pytest.mark.parametrize("name", ["mpeg2.mp4", "av1.mp4", "front.mp4"])
def test_a_file_with_a_hole_is_refused(tmp_path: Path, name) -> None:
    """As a downloader leaves it that sets the size first: all the boxes are there, and zeros from some byte on."""
    codecs = {"mpeg2.mp4": ("mpeg2video", {}), "av1.mp4": ("libsvtav1", {"preset": "12"}), "front.mp4": ("libx264", {})}
    codec, options = codecs[name]
    path = encode(tmp_path / name, codec, mux={"movflags": "faststart"}, options=options)
    content = path.read_bytes()
    with av.open(str(path)) as given:
        places = [packet.pos for packet in given.demux(video=0) if packet.size]
    for begin in (places[30], places[-1]):
        path.write_bytes(content[:begin] + bytes(len(content) - begin))
        with pytest.raises(MediaError, match=name):
            probe_video(path)
    path.write_bytes(content)
    assert probe_video(path).num_frames == N


def test_black_pictures_that_are_not_compressed_are_no_holes(tmp_path: Path) -> None:
    path = tmp_path / "black.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 8, "bgr24"
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((8, 16, 3), np.uint8), "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert probe_video(path).num_frames == 3


def test_a_file_that_states_no_size_is_accepted(tmp_path: Path) -> None:
    """As FFmpeg writes to a pipe: a Matroska segment of unknown size, an AVI whose size was never filled in."""
    live = encode(tmp_path / "live.mkv", mux={"live": "1"})
    assert probe_video(live).num_frames == N
    piped = encode(tmp_path / "piped.avi", "mpeg4")
    content = bytearray(piped.read_bytes())
    content[4:8] = b"\xff" * 4
    piped.write_bytes(content)
    assert probe_video(piped).num_frames == N


def test_junk_behind_an_mp4_is_no_fault(tmp_path: Path) -> None:
    path = encode(tmp_path / "junk.mp4")
    path.write_bytes(path.read_bytes() + b"\xff\xfe junk behind the last box" + bytes(100))
    assert probe_video(path).num_frames == N


def test_a_file_without_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(MediaError, match="no video stream"):
        probe_video(path)


@pytest.mark.parametrize("content", [b"", b"#EXTM3U\n/etc/passwd\n", bytes(4096), b"ffconcat version 1.0\nfile x\n"])
def test_what_is_no_video_is_refused(tmp_path: Path, content) -> None:
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="odd.mp4"):
        probe_video(path)
    with pytest.raises(MediaError):
        check_header("video", content)


def test_colons_in_a_relative_name_are_no_protocol(tmp_path: Path, monkeypatch) -> None:
    encode(tmp_path / "plain.mp4", num_frames=5).rename(tmp_path / "a_0:00:00.000.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe_video(Path("a_0:00:00.000.mp4")).num_frames == 5


def test_a_record_that_promises_too_much_is_found_out(tmp_path: Path) -> None:
    path = encode(tmp_path / "short.mp4", num_frames=10)
    clip = clip_of(probe_video(path))
    with pytest.raises(MediaError, match="ends before frame 19"):
        read_frames(replace(clip, num_frames=20), path, [19])
    with pytest.raises(MediaError, match="the record says 64x96"):
        read_frames(replace(clip, width=64), path, [0])
    with pytest.raises(MediaError, match="the record says 64x96"):
        check_header("video", path.read_bytes(), replace(clip, width=64))
