"""Questions about a file, answered: words, spans in seconds, masks.

    import model
    ufvideo = model.load("runs/mine")
    answer = ufvideo.answer(Path("clip.mp4"), "Segment the red car.")
    answer.text, answer.spans, answer.masklets[0][0]        # masks by frame, [height, width]

A question is put to the model exactly as a training sample is: the same frames, the same tokens, the same batch.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from model import checkpoint
from model.collate import collate
from model.config import ModelConfig, from_dict
from model.example import load, question
from model.frames import evenly, window_frames
from model.metrics import spans_in
from model.predict import MAX_NEW_TOKENS, Bitmap, generate, segment
from model.run import RUN_FILE, TOKENIZER, read_run
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from model.weight_folders import CONFIG, REPORT, read_config
from model.weights import load_weights
from shards import rle
from shards.media import (
    STILL_SUFFIXES,
    MediaError,
    Probe,
    decode_image,
    probe_frames,
    probe_still,
    probe_video,
    read_frames,
)
from shards.reader import Corpus, Image
from shards.record import Clip, Masklet, Record, Region, Sample, Source, Span, Turn
from shards.stream import Draw
from shards.tokens import IMAGE, REF, VIDEO

NUMBERS: Final = re.compile(r"(\d+)")
FRAMES_READ: Final = 64
"""Frames that are decoded together; a long clip is walked through in such windows."""


class AnswerError(ValueError):
    """A question cannot be put as it is; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An object that the question points at, one per ``<Ref>``: its mask [height, width] on a frame of the clip."""

    frame: int
    mask_HW: Bitmap


@dataclass(frozen=True, slots=True)
class Answer:
    """``text`` keeps its time tokens; ``spans`` are the same in seconds, as ``metrics.spans_in`` pairs them.

    ``masklets`` holds one mapping per ``<Seg>`` said: frame index → mask [height, width], all False where the object
    is not seen. ``spans`` is empty for clips without times (stills, frame folders).
    """

    text: str
    spans: tuple[Span, ...]
    masklets: tuple["Masks", ...]


class Masks(Mapping[int, Bitmap]):
    """Frame index → mask [height, width]. Held as RLE and decoded when asked for: ten minutes of video fit."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.rles: dict[int, str] = {}

    def __getitem__(self, frame: int) -> Bitmap:
        return rle.decode(self.rles[frame], self.height, self.width)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rles)

    def __len__(self) -> int:
        return len(self.rles)

    def seen(self, frame: int) -> bool:
        """Whether the object is seen on the frame."""
        return not rle.is_empty(self.rles[frame])


@dataclass(frozen=True, slots=True)
class OpenClip:
    """A video, a still, or a folder of frames in the order of their names."""

    path: Path
    clip: Clip
    frame_paths: tuple[Path, ...] = ()

    @classmethod
    def open(cls, path: Path) -> "OpenClip":
        """Raises AnswerError for what is not there or cannot be decoded."""
        if not path.exists():
            raise AnswerError(f"{path} does not exist")
        try:
            if path.is_dir():
                frames = _frames_of(path)
                return cls(path, _clip(path, probe_frames(frames)), frames)
            still = path.suffix.lower() in STILL_SUFFIXES
            return cls(path, _clip(path, probe_still(path) if still else probe_video(path)))
        except MediaError as error:
            raise AnswerError(str(error)) from None

    def frames(self, indices: Sequence[int]) -> list[Image]:
        """Pictures [height, width, 3], RGB. Raises AnswerError."""
        try:
            if self.frame_paths:
                return [decode_image(self.frame_paths[index], str(self.frame_paths[index])) for index in indices]
            return read_frames(self.clip, self.path, indices)
        except MediaError as error:
            raise AnswerError(str(error)) from None


def _frames_of(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder by the numbers in their names, so that f2.jpg comes before f10.jpg."""
    files = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    pictures = [file for file in files if file.suffix.lower() in STILL_SUFFIXES]
    if not pictures:
        raise AnswerError(f"{folder} holds no frames, which end in {', '.join(STILL_SUFFIXES)}")
    return tuple(sorted(pictures, key=lambda file: [int(p) if p.isdigit() else p for p in NUMBERS.split(file.name)]))


def _clip(path: Path, probe: Probe) -> Clip:
    return Clip(
        probe.kind, path.name, probe.width, probe.height, probe.num_frames, probe.fps, probe.duration, probe.frame_times
    )


class _OneClip(Corpus):
    """An opened clip in the place of a corpus, so that a question goes the way of a training sample."""

    def __init__(self, opened: OpenClip) -> None:
        self.root, self.opened = opened.path, opened

    def frames(self, row: int, record: Record, frames: Sequence[int]) -> list[Image]:
        return self.opened.frames(frames)


@dataclass(frozen=True, slots=True)
class Answerer:
    """A trained model with its tokenizer."""

    model: UFVideo
    config: ModelConfig
    tokenizer: Tokenizer

    @torch.no_grad()
    def answer(
        self,
        media: Path | OpenClip,
        words: str,
        shown: Sequence[Shown] = (),
        *,
        window: Span | None = None,
        mask_frames: int | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> Answer:
        """Answer ``words`` about a clip, greedily.

        ``shown`` goes with the ``<Ref>`` in the words, in order. ``window`` is the part in seconds that is looked at;
        times count from its start. Masks are made for every frame of it, or for ``mask_frames`` of them, evenly.
        Raises AnswerError.
        """
        opened = media if isinstance(media, OpenClip) else OpenClip.open(media)
        draw = _draw(opened, words, shown, window)
        try:
            plan = question(draw, 0, self.config, self.tokenizer)
        except ValueError as error:
            raise AnswerError(str(error)) from None
        device = next(self.model.parameters()).device
        prompt = collate([load(plan, self.config)], self.config, self.tokenizer.pad).to(device)
        ids, states = generate(self.model, prompt, self.tokenizer, max_new_tokens)
        text = self.tokenizer.decode(ids)
        masklets = self._masklets(draw, opened, states, mask_frames) if states else ()
        return Answer(text, spans_of(text, opened.clip, window), masklets)

    def _masklets(self, draw: Draw, opened: OpenClip, states: list[Tensor], count: int | None) -> tuple[Masks, ...]:
        frames = window_frames(opened.clip, draw.sample)
        if count is not None and count < len(frames):
            frames = [frames[place] for place in evenly(count, len(frames))]
        masklets = tuple(Masks(opened.clip.height, opened.clip.width) for _ in states)
        for first in range(0, len(frames), FRAMES_READ):
            part = frames[first : first + FRAMES_READ]
            for frame, masks in zip(part, segment(self.model, torch.stack(states), opened.frames(part)), strict=True):
                for masklet, mask in zip(masklets, masks, strict=True):
                    masklet.rles[frame] = rle.encode(mask)
        return masklets


def _draw(opened: OpenClip, words: str, shown: Sequence[Shown], window: Span | None) -> Draw:
    """The question as if a stream had drawn it."""
    clip = opened.clip
    if words.count(REF) != len(shown):
        raise AnswerError(
            f"the question has {words.count(REF)} {REF} for {len(shown)} objects shown; write {REF} where it speaks of "
            "each, in the same order"
        )
    for object_shown in shown:
        if object_shown.mask_HW.shape != (clip.height, clip.width):
            height, width = object_shown.mask_HW.shape
            raise AnswerError(
                f"a mask is {width}x{height}, the clip {clip.width}x{clip.height}; give it the clip's size"
            )
        if not 0 <= object_shown.frame < clip.num_frames:
            raise AnswerError(f"an object is shown on frame {object_shown.frame}; the clip has 0…{clip.num_frames - 1}")
        if not object_shown.mask_HW.any():
            raise AnswerError(f"the object shown on frame {object_shown.frame} has no pixel inside the picture")
    if window is not None and clip.duration is None:
        raise AnswerError(f"{clip.source} has no times, so it has no window; leave the window out")
    if window is not None and not 0 <= window[0] < window[1] <= (clip.duration or 0.0):
        raise AnswerError(f"the window {window[0]}…{window[1]} s is not inside the clip's 0…{clip.duration} s")
    masklets = [Masklet(str(n), {one.frame: rle.encode(one.mask_HW)}) for n, one in enumerate(shown)]
    sample = Sample(
        "question",
        "referring_qa",
        Source(clip.source, ""),
        window=window,
        regions=tuple(Region(n, (one.frame,)) for n, one in enumerate(shown)),
        turns=(Turn("user", f"{IMAGE if clip.kind == 'still' else VIDEO}\n{words}"),),
    )
    record = Record("question", "question", "", "", "", clip, tuple(masklets), samples=(sample,))
    return Draw(0, 0, 0, 0, record, sample, _OneClip(opened), 0)


def spans_of(text: str, clip: Clip, window: Span | None) -> tuple[Span, ...]:
    """The time tokens of a text as spans in seconds; none where the clip has no times."""
    if window is None and clip.duration is None:
        return ()
    return tuple(spans_in(text, window or (0.0, clip.duration or 0.0)))


def load_model(folder: Path, device: torch.device | None = None) -> Answerer:
    """The model of a run's last checkpoint, of one of its checkpoints, or of an imported folder of weights.

    Raises AnswerError, CheckpointError, WeightsError.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if (folder / REPORT).exists() and not (folder / CONFIG).exists():
        raise AnswerError(f"{folder} is of an import that failed; {REPORT} there says why")
    if (folder / REPORT).exists():
        model = _built(read_config(folder / CONFIG), device)
        load_weights(folder, model)
        return Answerer(model.eval(), model.config, _tokenizer(folder))
    folder = folder.resolve()  # a checkpoint may be named from inside its run
    run = folder.parent.parent if folder.parent.name == checkpoint.FOLDER else folder
    last = folder if run != folder else checkpoint.latest(run)
    if not (run / RUN_FILE).exists() or last is None:
        raise AnswerError(
            f"{folder} holds no run with a checkpoint; name the --out of `ufvideo train` or `ufvideo weights import`"
        )
    model = _built(from_dict(read_run(run).get("model", {})), device)
    checkpoint.load(last, model, None)
    return Answerer(model.eval(), model.config, _tokenizer(run))


def _built(config: ModelConfig, device: torch.device) -> UFVideo:
    with device:
        return UFVideo(config)


def _tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.load(folder / TOKENIZER)
    except ValueError as error:
        raise AnswerError(str(error)) from None
