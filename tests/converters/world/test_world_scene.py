"""The scenes: what is painted is what the masks, boxes and outlines say."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import InvalidDataError
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from converters.world.media import truncate, write_still, write_video
from converters.world.outline import polygons_of
from converters.world.relations import relations_of
from converters.world.scene import COLOURS, Scene, Shape, stamp_of
from converters.world.staging import MAX_VIDEO_FRAMES, RATES, SIZES, make_scene
from shards import rle

ROOT = Path(__file__).parents[3]
scenes = st.builds(make_scene, st.text("abc", max_size=4), st.integers(0, 60))
RED = Shape("circle", "red", 12, "move", (20, 40), (70, 40), begin=5, end=15)
GREEN = Shape("bar", "green", 12, "stay", (45, 40), (45, 40))


def film(*shapes, num_frames=20, size=(96, 80)):
    return Scene(size[0], size[1], num_frames, Fraction(10), (120, 120, 120), shapes)


def bodies(mask):
    """The pixels whose eight neighbours are all inside, away from the blur of the codec's half-size colours."""
    inner = mask.copy()
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & inner
    return inner


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_shape_rests_moves_on_a_line_and_rests_again():
    assert RED.centre(0) == RED.centre(5) == (20, 40)
    assert RED.centre(10) == (45, 40)
    assert RED.centre(15) == RED.centre(19) == (70, 40)


def test_what_is_in_front_is_cut_out_of_the_mask():
    alone, behind = film(RED).mask(0, 10), film(RED, GREEN).mask(0, 10)
    bar = film(RED, GREEN).mask(1, 10)
    assert (behind == (alone & ~bar)).all()
    assert alone.sum() == stamp_of("circle", 12).sum()
    assert len(polygons_of(behind)) == 2, "the bar splits the circle in two"


def test_a_shape_that_is_absent_or_outside_has_an_empty_mask_and_no_box():
    gone = Shape("square", "blue", 10, "blink", (40, 40), (40, 40), absent=(3, 6))
    left = Shape("square", "blue", 10, "leave", (40, 40), (-15, 40), begin=0, end=10)
    boxes = film(gone, left).boxes()
    assert [not film(gone).mask(0, frame).any() for frame in (2, 3, 5, 6)] == [False, True, True, False]
    assert (boxes[0, 3:6] == -1).all()
    assert (boxes[1, 10:] == -1).all()


@settings(max_examples=25, deadline=None)
@given(scenes, st.floats(0, 1))
def test_masks_boxes_and_owners_agree(scene, when):
    frame = round(when * (scene.num_frames - 1))
    owners, boxes = scene.owners(frame), scene.boxes()
    for index in range(len(scene.shapes)):
        mask = scene.mask(index, frame)
        assert (mask == (owners == index + 1)).all()
        x1, y1, x2, y2 = boxes[index, frame]
        assert mask[max(y1, 0) : y2, max(x1, 0) : x2].sum() == mask.sum()
        assert (x2 > x1) == mask.any()


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=12, max_size=12))
def test_outlines_rasterise_to_the_bitmap_without_its_holes(noise):
    bitmap = np.unpackbits(np.frombuffer(noise, np.uint8)).reshape(8, 12).astype(bool)
    padded = np.pad(np.kron(bitmap, np.ones((3, 3), bool)), 2)
    polygons = polygons_of(padded)
    if padded.any():
        again = rle.decode(rle.from_polygons(polygons, *padded.shape), *padded.shape)
        assert (again == fill_holes(padded)).all()
    else:
        assert polygons == []


def fill_holes(bitmap):
    """Everything that cannot be reached from the corner by steps to all eight sides."""
    outside = np.zeros_like(bitmap)
    outside[0, 0] = True
    while True:
        padded = np.pad(outside, 1)
        height, width = bitmap.shape
        grown = np.logical_or.reduce([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)])
        grown &= ~bitmap
        if (grown == outside).all():
            return ~outside
        outside = grown


def test_a_few_scenes_hold_all_sizes_and_rates_and_something_moves():
    some = [make_scene(f"{number}", number) for number in range(30)]
    assert {(scene.width, scene.height) for scene in some} == set(SIZES)
    assert {scene.rate for scene in some} == set(RATES)
    assert all(12 <= scene.num_frames <= MAX_VIDEO_FRAMES for scene in some)
    assert all(any(shape.act == "move" for shape in scene.shapes) for scene in some)
    assert all(len({shape.name for shape in scene.shapes}) == len(scene.shapes) for scene in some)


def test_a_relation_is_true_in_its_frames_and_not_just_before():
    still = Shape("square", "blue", 10, "stay", (40, 60), (40, 60))
    falling = Shape("circle", "red", 8, "move", (40, 20), (40, 70), begin=4, end=14)
    scene = film(falling, still)
    above = next(r for r in relations_of(scene, scene.boxes()) if r.predicate == "above")
    towards = next(r for r in relations_of(scene, scene.boxes()) if r.predicate == "towards")
    assert (above.subject, above.object, above.begin) == (0, 1, 0)
    assert above.end < 14
    assert towards.begin == 4


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("hidden", [0, 5])
def test_a_video_decodes_to_its_scene(tmp_path, number, hidden):
    scene = make_scene("video", number)
    write_video(tmp_path / "v.mp4", scene, b_frames=number % 2 == 0, hidden=hidden)
    frames = decoded(tmp_path / "v.mp4")
    assert len(frames) == scene.num_frames
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.streams.video[0].frames == scene.num_frames + hidden
        assert container.streams.video[0].average_rate == scene.rate
    for at in (0, scene.num_frames // 2, scene.num_frames - 1):
        assert_colours(frames[at], scene, at, tolerance=20)


def assert_colours(picture, scene, frame, tolerance):
    for index, shape in enumerate(scene.shapes):
        body = bodies(scene.mask(index, frame))
        if body.sum() > 30:
            assert picture[body].mean(0) == pytest.approx(COLOURS[shape.colour], abs=tolerance), shape.name


@pytest.mark.parametrize("b_frames", [False, True])
def test_b_frames_are_there_on_request(tmp_path, b_frames):
    write_video(tmp_path / "v.mp4", make_scene("reordered", 2), b_frames=b_frames)
    with av.open(str(tmp_path / "v.mp4")) as container:
        order = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert (order != sorted(order)) == b_frames


def test_the_bytes_of_a_video_do_not_depend_on_what_memory_held_before(tmp_path):
    """x264 with mb-tree fails this; glibc fills fresh memory with the complement of MALLOC_PERTURB_."""
    program = (
        "from pathlib import Path; from converters.world.media import write_video;"
        "from converters.world.staging import make_scene;"
        "import sys; write_video(Path(sys.argv[1]), make_scene('0/1', 1), b_frames=True)"
    )
    for perturb in ("0", "1", "170"):
        environment = os.environ | {"MALLOC_PERTURB_": perturb, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program, tmp_path / perturb], env=environment, check=True)
    assert len({(tmp_path / perturb).read_bytes() for perturb in ("0", "1", "170")}) == 1


def test_a_still_shows_its_scene(tmp_path):
    for number in range(6):
        scene = make_scene("still", number, num_frames=1)
        write_still(tmp_path / "s.jpg", scene)
        with Image.open(tmp_path / "s.jpg") as still:
            assert_colours(np.asarray(still), scene, 0, tolerance=8)


def test_a_truncated_video_does_not_open(tmp_path):
    write_video(tmp_path / "v.mp4", make_scene("cut", 0))
    truncate(tmp_path / "v.mp4")
    with pytest.raises(InvalidDataError):
        decoded(tmp_path / "v.mp4")
