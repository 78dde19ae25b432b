"""Masks and boxes lie on the object whatever the medium.

A bright shape is drawn, annotated as it is seen upright, built, read back from the shard, and measured: bright under
the mask, dark beside it.

What the annotations refer to. COCO's masks (RefCOCO) are of a raster of the ``width`` and ``height`` in instances.json:
that is the upright picture, or else the item is a ``size_mismatch``; where the turn keeps the size (180 degrees) it is
taken as upright too. VideoRefer's masks were made on decoded frames, which decord turns upright. VidOR states the size
that its boxes refer to. MeViS's frames were extracted from videos and carry no orientation.
"""

import pickle
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards.media import read_frames
from shards.reader import Corpus
from shards.rle import encode
from tests.converters.hand_written import Built, bitmap, box_mask, built, write_still, write_video, written

WIDTH, HEIGHT = 96, 64
DARK, BRIGHT = 40, 220
MARGIN = 30
"""How far a mean may be from what was painted: lossy codecs, limited range."""


def scene(frame: int, width: int = WIDTH, height: int = HEIGHT) -> tuple[np.ndarray, np.ndarray]:
    """A dark picture with a bright box near a corner, 2 pixels further right and 1 down every frame; and its mask."""
    x, y = 8 + 2 * frame, 6 + frame
    mask = box_mask(x, y, x + 24, y + 14, width, height)
    return np.where(mask[..., None], BRIGHT, DARK).repeat(3, 2).astype(np.uint8), mask


def assert_on_the_object(found: Built, frames: list[int]) -> None:
    """On each of the frames, as the shard gives it back, the mask of the one sample covers the bright box exactly."""
    for record, media in Corpus.open(found.root):
        (masklet,) = record.masklets
        assert media is not None
        for frame, picture in zip(frames, read_frames(record.clip, media, frames), strict=True):
            mask = bitmap(masklet.rles[frame], record)
            assert picture.shape[:2] == mask.shape
            assert 0 < mask.sum() < mask.size / 2
            assert picture[mask].mean() > BRIGHT - MARGIN, frame
            assert picture[~mask].mean() < DARK + MARGIN, frame
    assert (len(found.samples), found.reasons) == (1, {})


# -------------------------------------------------------------------------------------------------------- stills


def refcoco(root: Path, name: str, mask: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Built:
    """One ref whose annotation is the box of ``mask`` as a polygon; ``size`` is what instances.json says."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x1, y1, x2, y2 = float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)
    polygon = [x1, y1, x2, y1, x2, y2, x1, y2]
    sentence = {"sent": "the bright box", "raw": "", "sent_id": 1, "tokens": []}
    refs = [{"ref_id": 1, "ann_id": 2, "image_id": 3, "split": "train", "sentences": [sentence]}]
    written(root / "refcoco/refs(unc).p", pickle.dumps(refs, 2))
    image = {"id": 3, "file_name": name, "width": size[0], "height": size[1]}
    annotation = {"id": 2, "image_id": 3, "iscrowd": 0, "segmentation": [polygon]}
    written(root / "refcoco/instances.json", {"images": [image], "annotations": [annotation]})
    return built(root, "refcoco")


IMAGES = "images/mscoco/images/train2014"


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("jpg", mode) for mode in ("RGB", "L", "CMYK")]
    + [("png", mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")],
)
def test_a_still_of_any_kind_of_pixel(tmp_path, kind, mode):
    picture, mask = scene(3)
    path = tmp_path / "raw" / IMAGES / f"a.{kind}"
    path.parent.mkdir(parents=True)
    image = Image.fromarray(picture)
    if mode == "I;16":
        image = Image.fromarray(picture[..., 0].astype(np.uint16) * 257)
    elif mode == "1":
        image = Image.fromarray(mask)
    elif mode == "P":
        image = image.quantize(4)
    else:
        image = image.convert(mode)
    image.save(path, quality=95)
    found = refcoco(tmp_path / "raw", path.name, mask)
    if mode == "1":  # black and white
        ((record, media),) = Corpus.open(found.root)
        assert media is not None
        assert ((read_frames(record.clip, media, [0])[0][..., 0] > 127) == mask).all()
    else:
        assert_on_the_object(found, [0])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_still_with_another_sampling_of_colours(tmp_path, progressive):
    picture, mask = scene(3)
    path = tmp_path / "raw" / IMAGES / "a.jpg"
    path.parent.mkdir(parents=True)
    Image.fromarray(picture).save(path, quality=95, subsampling=2, progressive=progressive)
    assert_on_the_object(refcoco(tmp_path / "raw", "a.jpg", mask), [0])


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""EXIF orientation → the stored raster of an upright picture (the inverse of what a viewer does)."""


def stored(path: Path, picture: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return write_still(path, np.ascontiguousarray(TURNS[orientation](picture)), exif=exif)


@pytest.mark.parametrize("orientation", TURNS)
def test_a_still_that_exif_turns_is_annotated_as_it_is_seen(tmp_path, orientation):
    picture, mask = scene(3)
    stored(tmp_path / "raw" / IMAGES / "a.jpg", picture, orientation)
    found = refcoco(tmp_path / "raw", "a.jpg", mask)
    assert (found.record("1-1").clip.width, found.record("1-1").clip.height) == (WIDTH, HEIGHT)
    assert_on_the_object(found, [0])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_of_the_raster_before_it_is_turned_are_a_mismatch(tmp_path, orientation):
    picture, mask = scene(3)
    stored(tmp_path / "raw" / IMAGES / "a.jpg", picture, orientation)
    found = refcoco(tmp_path / "raw", "a.jpg", mask.T, size=(HEIGHT, WIDTH))
    assert found.reasons == {"1-1": "size_mismatch"}


# ------------------------------------------------------------------------------------------------- frame folders


@pytest.mark.parametrize("kind", ["grey", "cmyk", "turned"])
def test_frames_of_a_folder(tmp_path, kind):
    folder = tmp_path / "raw/train/JPEGImages/a1"
    folder.mkdir(parents=True)
    for frame in range(4):
        path, picture = folder / f"{frame:05}.jpg", scene(frame)[0]
        if kind == "turned":
            stored(path, picture, 6)
        else:
            Image.fromarray(picture).convert({"grey": "L", "cmyk": "CMYK"}[kind]).save(path, quality=95)
    masks = [{"size": [HEIGHT, WIDTH], "counts": encode(scene(frame)[1])} for frame in range(4)]
    expression = {"exp": "the bright box", "obj_id": [0], "anno_id": [5]}
    meta = {"a1": {"vid_id": 0, "frames": [f"{f:05}" for f in range(4)], "expressions": {"0": expression}}}
    written(tmp_path / "raw/train/meta_expressions.json", {"videos": meta})
    written(tmp_path / "raw/train/mask_dict.json", {"5": masks})
    assert_on_the_object(built(tmp_path / "raw", "mevis"), [0, 1, 2, 3])


# -------------------------------------------------------------------------------------------------------- videos

ONE = 1 << 16  # 1.0 in the display matrix
MATRICES = {
    "clockwise": ((0, ONE, -ONE, 0), lambda shown: np.rot90(shown, 1)),
    "upside down": ((-ONE, 0, 0, -ONE), lambda shown: np.rot90(shown, 2)),
    "counterclockwise": ((0, -ONE, ONE, 0), lambda shown: np.rot90(shown, -1)),
    "mirrored": ((-ONE, 0, 0, ONE), lambda shown: shown[:, ::-1]),
}
"""Display matrix (a, b, c, d) → the coded picture of one that is to be seen upright."""

FRAMES = 12
ANNOTATED = [0, 3, 7, 11]


def videorefer(root: Path, name: str, size: tuple[int, int] = (WIDTH, HEIGHT), first: int = 0) -> Built:
    """One question about the box on a few frames; frame f of the clip shows scene ``first + f``."""
    masks = {
        str(f): {"segmentation": {"size": [size[1], size[0]], "counts": encode(scene(first + f, *size)[1])}}
        for f in ANNOTATED
    }
    turns = [{"from": "human", "value": "<video>\nWhat is <region>?"}, {"from": "gpt", "value": "A box."}]
    item = {"id": 0, "video": name, "annotation": [masks], "conversations": turns}
    written(root / "VideoRefer-700K/videorefer-qa-75k.json", [item])
    return built(root, "videorefer", options="subset = 'qa'")


def patched(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The MP4 with another display matrix (ISO 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    a, b, c, d = matrix
    struct.pack_into(">9i", content, content.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("turn", MATRICES)
def test_a_video_that_its_metadata_turn_is_annotated_as_it_is_seen(tmp_path, turn):
    matrix, coded = MATRICES[turn]
    path = tmp_path / "raw/VideoRefer-700K/videos/a.mp4"
    patched(write_video(path, FRAMES, draw=lambda f: np.ascontiguousarray(coded(scene(f)[0]))), matrix)
    found = videorefer(tmp_path / "raw", "videos/a.mp4")
    assert (found.record("qa/0").clip.width, found.record("qa/0").clip.height) == (WIDTH, HEIGHT)
    assert_on_the_object(found, ANNOTATED)


def test_masks_of_a_video_before_it_is_turned_are_a_mismatch(tmp_path):
    path = tmp_path / "raw/VideoRefer-700K/videos/a.mp4"
    patched(write_video(path, FRAMES, draw=lambda f: scene(f)[0]), MATRICES["clockwise"][0])
    assert videorefer(tmp_path / "raw", "videos/a.mp4").reasons == {"qa/0": "size_mismatch"}


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv444p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mkv", "ffv1", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
    ],
)
def test_a_video_of_odd_sides(tmp_path, name, codec, pix_fmt):
    path = tmp_path / "raw/VideoRefer-700K/videos" / name
    write_video(path, FRAMES, draw=lambda f: scene(f, 97, 63)[0], codec=codec, pix_fmt=pix_fmt)
    found = videorefer(tmp_path / "raw", f"videos/{name}", (97, 63))
    assert_on_the_object(found, ANNOTATED)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx265", "yuv420p"),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mp4", "libx264", "gray"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.mp4", "libsvtav1", "yuv420p"),
    ],
)
def test_a_video_of_another_codec_or_kind_of_pixel(tmp_path, name, codec, pix_fmt):
    path = tmp_path / "raw/VideoRefer-700K/videos" / name
    write_video(path, FRAMES, draw=lambda f: scene(f)[0], codec=codec, pix_fmt=pix_fmt)
    assert_on_the_object(videorefer(tmp_path / "raw", f"videos/{name}"), ANNOTATED)


def test_a_video_of_variable_frame_rate_counts_frames_and_not_seconds(tmp_path):
    times = np.cumsum([0] + [30 if f % 3 else 300 for f in range(FRAMES - 1)]).tolist()
    path = tmp_path / "raw/VideoRefer-700K/videos/a.mp4"
    write_video(path, FRAMES, draw=lambda f: scene(f)[0], times_ms=times)
    found = videorefer(tmp_path / "raw", "videos/a.mp4")
    assert found.record("qa/0").clip.frame_times is not None
    assert_on_the_object(found, ANNOTATED)


def test_a_video_with_an_edit_list_counts_from_the_first_frame_that_is_shown(tmp_path):
    """Five frames more are coded, and the edit begins behind them."""
    path = tmp_path / "raw/VideoRefer-700K/videos/a.mp4"
    write_video(path, FRAMES + 5, Fraction(10), draw=lambda f: scene(f)[0])
    content = bytearray(path.read_bytes())
    entry = content.find(b"elst") + 12
    assert content[entry - 8 : entry] == struct.pack(">II", 0, 1)
    duration, start = struct.unpack_from(">Ii", content, entry)
    scale = struct.unpack_from(">I", content, content.find(b"mdhd") + 16)[0]
    struct.pack_into(">Ii", content, entry, duration * FRAMES // (FRAMES + 5), start + scale // 2)
    path.write_bytes(content)
    found = videorefer(tmp_path / "raw", "videos/a.mp4", first=5)
    assert found.record("qa/0").clip.num_frames == FRAMES
    assert_on_the_object(found, ANNOTATED)


def test_the_boxes_of_a_turned_video_lie_on_the_object(tmp_path):
    """VidSTG: the sizes that VidOR and the entry state are those of the upright picture."""
    matrix, coded = MATRICES["clockwise"]
    root = tmp_path / "raw"
    path = root / "vidor/video/1000/42.mp4"
    patched(write_video(path, FRAMES, draw=lambda f: np.ascontiguousarray(coded(scene(f)[0]))), matrix)
    size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT}
    boxes = [
        [{"tid": 0, "bbox": {"xmin": 8 + 2 * f, "ymin": 6 + f, "xmax": 32 + 2 * f, "ymax": 20 + f}}]
        for f in range(FRAMES)
    ]
    written(root / "vidor/annotation/training/1000/42.json", {"trajectories": boxes} | size)
    entry = {
        "vid": "42",
        "used_segment": {"begin_fid": 0, "end_fid": FRAMES - 1},
        "used_relation": {"subject_tid": 0, "predicate": "p", "object_tid": 1, "begin_fid": 2, "end_fid": 9},
        "temporal_gt": {"begin_fid": 2, "end_fid": 9},
        "captions": [{"description": "a box moves", "type": "object", "target_id": 0}],
    }
    written(root / "annotations/val_annotations.json", [entry | size])
    ((record, media),) = Corpus.open(built(root, "vidstg", "val").root)
    assert media is not None
    for frame, picture in enumerate(read_frames(record.clip, media, list(range(FRAMES)))):
        box = record.tubes[0].boxes[frame]
        assert box is not None
        x1, y1, x2, y2 = map(int, box)
        assert picture[y1:y2, x1:x2].mean() > BRIGHT - MARGIN
        assert picture[scene(frame)[1] ^ True].mean() < DARK + MARGIN
