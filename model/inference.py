"""Questions about a file, answered: words, spans in seconds, masks.

    import model
    ufvideo = model.load("runs/mine")
    answer = ufvideo.answer(Path("clip.mp4"), "Segment the red car.")
    answer.text, answer.spans, answer.masklets[0][0]        # masks by frame, [height, width]

A question is put to the model exactly as a training sample is: the same frames, the same tokens. Questions about one
clip share what is seen of it: its visual tokens are made once, and each frame is encoded once for all masks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from model import checkpoint
from model.collate import collate
from model.config import ModelConfig, from_dict
from model.example import Outline, load, question, resized
from model.frames import evenly, window_frames
from model.metrics import spans_in
from model.open_clip import AnswerError, OpenClip
from model.predict import MAX_NEW_TOKENS, Said, answering, continued
from model.run import RUN_FILE, TOKENIZER, read_run
from model.segmenting import Bitmap, begin, segment
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from model.weight_folders import CONFIG, REPORT, read_config
from model.weights import load_weights
from shards import rle
from shards.reader import Corpus, Image
from shards.record import Clip, Masklet, Record, Region, Sample, Source, Span, Turn
from shards.stream import Draw
from shards.tokens import IMAGE, REF, VIDEO

QUESTIONS_AT_ONCE: Final = 8
"""Answers that are generated together: their prompts' keys and values lie in memory."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An object that the question points at, one per ``<Ref>``: its mask [height, width] on a frame of the clip."""

    frame: int
    mask_HW: Bitmap


@dataclass(frozen=True, slots=True)
class Question:
    """Words for the model, and the objects shown for their ``<Ref>``, in order."""

    words: str
    shown: Sequence[Shown] = ()


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

    def answer(
        self,
        media: Path | OpenClip,
        words: str,
        shown: Sequence[Shown] = (),
        *,
        window: Span | None = None,
        mask_frames: int | None = None,
        prompt_frame: int | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> Answer:
        """Answer ``words`` about a clip, greedily.

        ``shown`` goes with the ``<Ref>`` in the words, in order. ``window`` is the part in seconds that is looked at;
        times count from its start. Masks are made for every frame of it, or for ``mask_frames`` of them, evenly. A
        model with memory finds the object on ``prompt_frame``, by default the first, and follows it both ways.
        Raises AnswerError.
        """
        asked = [Question(words, shown)]
        return self.answers(
            media,
            asked,
            window=window,
            mask_frames=mask_frames,
            prompt_frame=prompt_frame,
            max_new_tokens=max_new_tokens,
        )[0]

    @torch.no_grad()
    def answers(
        self,
        media: Path | OpenClip,
        questions: Sequence[Question],
        *,
        window: Span | None = None,
        mask_frames: int | None = None,
        prompt_frame: int | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Answer]:
        """Answer several questions about one clip, each by itself and all as ``answer`` does; the clip is seen once."""
        opened = media if isinstance(media, OpenClip) else OpenClip.open(media)
        if prompt_frame is not None and not self.config.memory:
            raise AnswerError("the model has no memory, so each frame is a prompted one; leave the prompt frame out")
        if prompt_frame is not None and not 0 <= prompt_frame < opened.clip.num_frames:
            raise AnswerError(f"the prompt frame is {prompt_frame}; the clip has 0…{opened.clip.num_frames - 1}")
        plans = [self._plan(opened, one, window) for one in questions]
        if not plans:
            return []
        with answering(self.model):
            said = self._said(plans, max_new_tokens)
            frames = _mask_frames(opened, plans[0].draw.sample, mask_frames)
            masklets = iter(
                self._masklets(opened, frames, [state for one in said for state in one.states], prompt_frame)
            )
            texts = [self.tokenizer.decode(one.ids) for one in said]
            return [
                Answer(text, spans_of(text, opened.clip, window), tuple(next(masklets) for _ in one.states))
                for text, one in zip(texts, said, strict=True)
            ]

    def _plan(self, opened: OpenClip, asked: Question, window: Span | None) -> Outline:
        try:
            return question(_draw(opened, asked.words, asked.shown, window), 0, self.config, self.tokenizer)
        except ValueError as error:
            raise AnswerError(str(error)) from None

    def _said(self, plans: Sequence[Outline], most: int) -> list[Said]:
        """What the model says to each question; its clip is the same."""
        seen_KD = self._seen(plans[0])
        said: list[Said] = []
        for first in range(0, len(plans), QUESTIONS_AT_ONCE):
            part = plans[first : first + QUESTIONS_AT_ONCE]
            bare = [load(replace(plan, clip=()), self.config) for plan in part]  # the clip's room stays
            embeds_BLD, attends_BL = self.model.embed(collate(bare, self.config, self.tokenizer.pad).to(seen_KD.device))
            for row, plan in enumerate(part):
                at = plan.words.media_at  # nothing but words stands before it
                assert at is not None
                embeds_BLD[row, at : at + len(seen_KD)] = seen_KD.to(embeds_BLD.dtype)
            said += continued(self.model, embeds_BLD, attends_BL, self.tokenizer, most)
        return said

    def _seen(self, plan: Outline) -> Tensor:
        """The visual tokens [K, D] of a question's clip."""
        device = next(self.model.parameters()).device
        frames = sorted(set(plan.clip))
        pictures = [resized(picture, self.config.image_size) for picture in plan.draw.frames(frames)]
        rows_T = torch.tensor([frames.index(frame) for frame in plan.clip], device=device)
        return self.model.see(torch.from_numpy(np.stack(pictures)).to(device), rows_T)

    def _masklets(
        self, opened: OpenClip, frames: Sequence[int], states: Sequence[Tensor], prompt_frame: int | None
    ) -> list[Masks]:
        """The masks of every ``<Seg>`` on the frames, which ascend."""
        masklets = [Masks(opened.clip.height, opened.clip.width) for _ in states]
        if not states:
            return masklets
        states_ND = torch.stack(list(states))
        for frame, masks in self._segmented(opened, frames, states_ND, prompt_frame):
            for masklet, mask in zip(masklets, masks, strict=True):
                masklet.rles[frame] = rle.encode(mask)
        for masklet in masklets:
            masklet.rles = dict(sorted(masklet.rles.items()))
        return masklets

    def _segmented(
        self, opened: OpenClip, frames: Sequence[int], states_ND: Tensor, prompt_frame: int | None
    ) -> Iterator[tuple[int, Bitmap]]:
        """(frame, masks of all objects): from the prompted frame to the last, then from it back to the first."""
        wanted = frames[0] if prompt_frame is None else prompt_frame
        at = min(range(len(frames)), key=lambda place: abs(frames[place] - wanted))
        track = begin(self.model, states_ND, at) if self.config.memory else None
        yield from zip(frames[at:], segment(self.model, states_ND, opened.in_order(frames[at:]), track), strict=True)
        if track is not None and at:
            before = frames[:at]
            masks = segment(self.model, states_ND, opened.backwards(before), track.turned())
            yield from zip(reversed(before), masks, strict=True)


def _mask_frames(opened: OpenClip, sample: Sample, count: int | None) -> list[int]:
    """The frames of the question's window, or ``count`` of them, evenly."""
    frames = window_frames(opened.clip, sample)
    if count is not None and count < len(frames):
        frames = [frames[place] for place in evenly(count, len(frames))]
    return frames


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
