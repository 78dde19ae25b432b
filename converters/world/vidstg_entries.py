"""Films, VidOR annotations and VidSTG entries, from which good and faulty files are made."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from converters.world.media import write_video
from converters.world.relations import PREDICATES, Relation, relations_of
from converters.world.scene import Boxes, Scene, Shape
from converters.world.staging import make_scene
from converters.world.truth import TruthClip, TruthSample, TruthTube
from converters.world.words import squeeze

Json = dict[str, Any]
VIDOR: Final = {"train": "training", "val": "training", "test": "validation"}


@dataclass(frozen=True, slots=True)
class Film:
    """A clip with its visible boxes, the tubes of the truth, and what the release says of its length and rate."""

    vid: str
    group: str
    clip: TruthClip
    boxes: Boxes
    relations: tuple[Relation, ...]
    frame_count: int
    fps: float

    @property
    def scene(self) -> Scene:
        return self.clip.scene

    @property
    def tubes(self) -> tuple[TruthTube, ...]:
        return tuple(TruthTube(str(tid), boxes) for tid, boxes in enumerate(self.boxes))

    def annotation_path(self, split: str) -> str:
        return f"vidor/annotation/{VIDOR[split]}/{self.group}/{self.vid}.json"


def make_film(root: Path, vid: str, seed: str, number: int) -> Film:
    """Films a scene in which something is true of two shapes for a while.

    In every third clip the annotators rounded the frame rate, in every fourth they counted one frame too many.
    """
    scene, boxes, relations = _related_scene(seed, number)
    group = f"{number % 100:04}"
    source = f"vidor/video/{group}/{vid}.mp4"
    write_video(root / source, scene, b_frames=number % 2 == 1)
    frame_count = scene.num_frames + (number % 4 == 1)
    fps = round(scene.fps, 2) if number % 3 == 0 else scene.fps
    return Film(vid, group, TruthClip("video", source, scene), boxes, relations, frame_count, fps)


def _related_scene(seed: str, number: int) -> tuple[Scene, Boxes, tuple[Relation, ...]]:
    for attempt in range(1000):
        scene = make_scene(f"{seed}/{attempt}", number)
        boxes = scene.boxes()
        relations = tuple(relations_of(scene, boxes))
        if relations:
            return scene, boxes, relations
    raise AssertionError(f"no scene for {seed!r} has a relation")


# ---------------------------------------------------------------------------------------------- VidOR


def category(shape: Shape) -> str:
    return "ball/sports_ball" if shape.kind == "circle" else "toy"


def objects_of(scene: Scene) -> list[Json]:
    return [{"tid": tid, "category": category(shape)} for tid, shape in enumerate(scene.shapes)]


def vidor_of(film: Film) -> Json:
    """VidOR's annotation of the video. Boxes of objects at the border reach two pixels beyond it."""
    trajectories = [_boxes_of(film, frame) for frame in range(film.scene.num_frames)]
    trajectories += trajectories[-1:] * (film.frame_count - film.scene.num_frames)
    return {
        "version": "VERSION 1.0",
        "video_id": film.vid,
        "video_hash": hashlib.md5(film.vid.encode()).hexdigest(),
        "video_path": f"{film.group}/{film.vid}.mp4",
        "frame_count": film.frame_count,
        "fps": film.fps,
        "width": film.scene.width,
        "height": film.scene.height,
        "subject/objects": objects_of(film.scene),
        "trajectories": trajectories,
        "relation_instances": [_relation_json(film, relation) for relation in film.relations],
    }


def _boxes_of(film: Film, frame: int) -> list[Json]:
    width, height = film.scene.width, film.scene.height
    drawn = frame % 10 == 0
    how = {"generated": 0, "tracker": "none"} if drawn else {"generated": 1, "tracker": "linear"}
    out: list[Json] = []
    for tid, (x1, y1, x2, y2) in enumerate(film.boxes[:, frame].tolist()):
        if x2 >= 0:
            box = {"xmin": x1 or -2, "ymin": y1 or -2}
            box |= {"xmax": x2 + 2 * (x2 == width), "ymax": y2 + 2 * (y2 == height)}
            out.append({"tid": tid, "bbox": box, **how})
    return out


def _relation_json(film: Film, relation: Relation) -> Json:
    out: Json = {"subject_tid": relation.subject, "object_tid": relation.object, "predicate": relation.predicate}
    return out | _stated(film, relation)


def _stated(film: Film, relation: Relation) -> Json:
    """The relation's frames; where the annotators counted one frame too many, a relation to the end has it too."""
    to_the_end = relation.end == film.scene.num_frames
    return {"begin_fid": relation.begin, "end_fid": film.frame_count if to_the_end else relation.end}


# ---------------------------------------------------------------------------------------------- VidSTG


def entry_of(film: Film, relation: Relation, *, whole: bool = True, style: int = 0) -> Json:
    """A VidSTG entry; its used segment is the ``whole`` video or a part of it, its texts vary with ``style``."""
    stated = _stated(film, relation)
    last = film.frame_count - 1
    segment = (0, last) if whole else (max(stated["begin_fid"] - 7, 0), min(stated["end_fid"] + 4, last))
    return {
        "vid": film.vid,
        "fps": film.fps,
        "frame_count": film.frame_count,
        "used_segment": {"begin_fid": segment[0], "end_fid": segment[1]},
        "width": film.scene.width,
        "height": film.scene.height,
        "subject/objects": objects_of(film.scene),
        "used_relation": _relation_json(film, relation),
        "temporal_gt": stated,
        "captions": [_caption(film.scene, relation, style)],
        "questions": [_question(film.scene, relation, style)],
    }


def _caption(scene: Scene, relation: Relation, style: int) -> Json:
    """Of the subject. Some have a double space or a dash that is not ASCII, and some a type that is wrong."""
    subject, other = scene.shapes[relation.subject], scene.shapes[relation.object]
    text = f"the {subject.name} is {_phrase(relation)} the {other.name}."
    if style % 3 == 1:
        text = text.replace(" is ", "  is ")
    if style % 5 == 2:
        text = text.replace(".", " – for a while.")
    return {"description": text, "type": "person" if style % 6 == 4 else "object", "target_id": relation.subject}


def _question(scene: Scene, relation: Relation, style: int) -> Json:
    """Of the object, or in every third entry of the subject."""
    subject, other = scene.shapes[relation.subject], scene.shapes[relation.object]
    if style % 3 == 2:
        text, target = f"what is {_phrase(relation)} the {other.name}?", relation.subject
    else:
        inverse = next(back for name, back, _ in PREDICATES if name == relation.predicate)
        text, target = f"what is {inverse}  the {subject.name}?", relation.object
    return {"description": text, "type": "object", "target_id": target}


def _phrase(relation: Relation) -> str:
    return {"next_to": "next to", "towards": "on its way towards"}.get(relation.predicate, relation.predicate)


def key_of(split: str, entry: Json, query: Json) -> str:
    """FORMAT's key of a caption or question."""
    relation = entry["used_relation"]
    facts = (
        relation["subject_tid"],
        relation["predicate"],
        relation["object_tid"],
        relation["begin_fid"],
        relation["end_fid"],
        query["type"],
        query["target_id"],
        query["description"],
    )
    digest = hashlib.sha256(",".join(map(str, facts)).encode()).hexdigest()[:8]
    return f"vidstg/{split}/{entry['vid']}/{digest}"


def samples_of(split: str, film: Film, entry: Json) -> Iterator[TruthSample]:
    """What the entry says, at the video's own rate and cut to its length."""
    scene, gt, segment = film.scene, entry["temporal_gt"], entry["used_segment"]

    def seconds(frame: int) -> float:
        return scene.duration if frame >= scene.num_frames else frame / scene.fps

    window = (seconds(segment["begin_fid"]), seconds(segment["end_fid"] + 1))
    kinds: tuple[tuple[str, str], ...] = (("captions", "declarative"), ("questions", "interrogative"))
    for name, kind in kinds:
        for query in entry[name]:
            yield TruthSample(
                key=key_of(split, entry, query),
                task="spatio_temporal_grounding",
                clip=film.clip,
                query=squeeze(query["description"]),
                window=None if window == (0.0, scene.duration) else window,
                spans=((seconds(gt["begin_fid"]), seconds(gt["end_fid"])),),
                tubes=(film.tubes[query["target_id"]],),
                labels=(kind,),
            )
