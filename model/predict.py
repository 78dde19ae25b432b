"""What the model answers: greedy decoding of every answer of a sample, and masks for each ``<Seg>`` it says.

The state that predicts ``<Seg>`` makes the prompt, as in training (the release's free generation takes the one
before: its defect D2). Text comes back in the shards' spelling, with its time tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from model.batch import Batch
from model.collate import collate
from model.config import ModelConfig
from model.example import Outline, Pixels, load, outline, question, resized
from model.pixels import for_masks
from model.segmentation import upsampled
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from shards.stream import Draw
from shards.tokens import SEG

Bitmap = np.ndarray[Any, np.dtype[np.bool_]]
MAX_NEW_TOKENS: Final = 256
FRAMES_AT_ONCE: Final = 16
"""Frames that are segmented together."""
ROOM: Final = 8
"""Tokens that an answer may have beyond twice those of the truth; an untrained model would go on for ever."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said to a sample: its answers, and its masks by (target, frame), [height, width].

    A target for which no ``<Seg>`` was said has no masks; one too many is dropped. ``asked`` counts the (target,
    frame) pairs that masks were wanted for.
    """

    key: str
    answers: tuple[str, ...]
    masks: dict[tuple[int, int], Bitmap]
    asked: int


@torch.no_grad()
def predict(model: UFVideo, draw: Draw, config: ModelConfig, tokenizer: Tokenizer, *, seed: int = 0) -> Prediction:
    """The model's answer to each user turn, given the true turns before it. Masks are on the sample's mask frames.

    An answer is cut at MAX_NEW_TOKENS, and at twice the true answer's length and ROOM.
    """
    device = next(model.parameters()).device
    answers: list[str] = []
    states: dict[int, Tensor] = {}
    target = 0
    for number, turn in enumerate(draw.turns[1::2]):
        prompt = collate([load(question(draw, number, config, tokenizer), config)], config, tokenizer.pad).to(device)
        most = min(2 * len(tokenizer.encode(turn.text)) + ROOM, MAX_NEW_TOKENS)
        ids, seg_states = generate(model, prompt, tokenizer, most)
        answers.append(tokenizer.decode(ids))
        expected = turn.text.count(SEG)
        states |= {target + i: state for i, state in enumerate(seg_states[:expected])}
        target += expected
    plan = outline(draw, config, tokenizer, seed=seed, max_text_tokens=None)
    return Prediction(draw.sample.key, tuple(answers), _masks(model, plan, states), len(plan.masks))


def generate(model: UFVideo, prompt: Batch, tokenizer: Tokenizer, most: int) -> tuple[list[int], list[Tensor]]:
    """The ids that follow a prompt of one row, without ``<|im_end|>``, and the state [D] that said each ``<Seg>``."""
    trains = model.training
    model.eval()  # with activation checkpointing, layers that train forget the cache without a word
    try:
        return _generate(model, prompt, tokenizer, most)
    finally:
        model.train(trains)


def _generate(model: UFVideo, prompt: Batch, tokenizer: Tokenizer, most: int) -> tuple[list[int], list[Tensor]]:
    embeds, attends = model.embed(prompt)
    position = int(attends.sum())
    positions = (attends.long().cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache()
    ids: list[int] = []
    segs: list[Tensor] = []
    for _ in range(most):
        state = model.language.model(
            inputs_embeds=embeds, attention_mask=attends, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state[0, -1]
        token = int(model.language.lm_head(state).argmax())
        if token == tokenizer.im_end:
            break
        ids.append(token)
        if token == tokenizer.seg:
            segs.append(state)
        embeds = model.language.get_input_embeddings()(torch.tensor([[token]], device=embeds.device))
        attends = torch.cat((attends, attends.new_ones(1, 1)), 1)
        positions = torch.tensor([[position]], device=embeds.device)
        position += 1
    return ids, segs


def segment(model: UFVideo, states_ND: Tensor, pictures: Sequence[Pixels]) -> Iterator[Bitmap]:
    """For each picture the masks of all objects, [N, height, width]; the pictures have one size."""
    for first in range(0, len(pictures), FRAMES_AT_ONCE):
        yield from _segment(model, states_ND, pictures[first : first + FRAMES_AT_ONCE])


def _segment(model: UFVideo, states_ND: Tensor, pictures: Sequence[Pixels]) -> Iterator[Bitmap]:
    device, side = states_ND.device, model.config.mask_image_size
    small = torch.from_numpy(np.stack([resized(picture, side) for picture in pictures])).to(device)
    num_objects, num_frames = len(states_ND), len(pictures)
    logits = model.segmentation(
        states_ND,
        for_masks(small),
        torch.arange(num_frames, device=device).repeat_interleave(num_objects),
        torch.arange(num_objects, device=device).repeat(num_frames),
    )
    for of_frame in logits.unflatten(0, (num_frames, num_objects)):
        yield (upsampled(of_frame, (pictures[0].shape[0], pictures[0].shape[1])) > 0).cpu().numpy()


def _masks(model: UFVideo, plan: Outline, states: dict[int, Tensor]) -> dict[tuple[int, int], Bitmap]:
    """The masks of the targets that have a state, on the frames that the outline chose."""
    pairs = [pair for pair in plan.masks if pair[0] in states]
    if not pairs:
        return {}
    order, frames = sorted(states), sorted({frame for _, frame in pairs})
    told = segment(model, torch.stack([states[target] for target in order]), plan.draw.frames(frames))
    masks = dict(zip(frames, told, strict=True))
    return {(target, frame): masks[frame][order.index(target)] for target, frame in pairs}
