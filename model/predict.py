"""What the model answers: greedy decoding of every answer of a sample, and masks for each ``<Seg>`` it says.

The state that predicts ``<Seg>`` makes the prompt, as in training (the release's free generation takes the one
before: its defect D2, and ours with ``compat = ["seg_state"]``). Text comes back in the shards' spelling, with its
time tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor
from transformers import DynamicCache

from model.batch import Batch
from model.collate import collate
from model.config import ModelConfig
from model.example import Outline, load, outline, question
from model.segmenting import Bitmap, segment
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from shards.stream import Draw
from shards.tokens import SEG

MAX_NEW_TOKENS: Final = 256
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


@dataclass(frozen=True, slots=True)
class Said:
    """The ids of an answer, without ``<|im_end|>``, and the state [D] that said each ``<Seg>``."""

    ids: list[int] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)


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
    with answering(model):
        embeds_BLD, attends_BL = model.embed(prompt)
        (said,) = continued(model, embeds_BLD, attends_BL, tokenizer, most)
    return said.ids, said.states


@contextmanager
def answering(model: UFVideo) -> Iterator[None]:
    """The model in evaluation: with activation checkpointing, layers that train forget the cache without a word."""
    trains = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(trains)


def continued(model: UFVideo, embeds_BLD: Tensor, attends_BL: Tensor, tokenizer: Tokenizer, most: int) -> list[Said]:
    """What follows each row of prompts, whose lengths may differ and which may have holes; greedy, with one cache.

    New tokens stand behind the longest row: positions count what is there, so filling in between changes nothing.
    """
    rows = torch.arange(len(embeds_BLD), device=embeds_BLD.device)
    length_B, column_B = attends_BL.sum(1), attends_BL.shape[1] - 1 - attends_BL.flip(1).long().argmax(1)
    positions_BL = (attends_BL.long().cumsum(1) - 1).clamp(min=0)
    cache, answers, going = DynamicCache(), [Said() for _ in rows], set(range(len(rows)))
    before_BD: Tensor | None = None
    for number in range(most):
        states_BLD = model.language.model(
            inputs_embeds=embeds_BLD,
            attention_mask=attends_BL,
            position_ids=positions_BL,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        states_BD = states_BLD[rows, column_B]
        tokens_B = model.language.lm_head(states_BD).argmax(-1).reshape(-1)
        said_by = before_BD if "seg_state" in model.config.compat else states_BD
        for row, token in enumerate(tokens_B.tolist()):
            if token == tokenizer.im_end:
                going.discard(row)
            if row in going:
                answers[row].ids.append(token)
            if row in going and token == tokenizer.seg and said_by is not None:
                answers[row].states.append(said_by[row])
        if not going:
            break
        before_BD, column_B = states_BD, torch.zeros_like(column_B)
        embeds_BLD = model.language.get_input_embeddings()(tokens_B.to(rows.device)[:, None])
        attends_BL = torch.cat((attends_BL, attends_BL.new_ones(len(rows), 1)), 1)
        positions_BL = (length_B + number)[:, None]
    return answers


def _masks(model: UFVideo, plan: Outline, states: dict[int, Tensor]) -> dict[tuple[int, int], Bitmap]:
    """The masks of the targets that have a state, on the frames that the outline chose."""
    pairs = [pair for pair in plan.masks if pair[0] in states]
    if not pairs:
        return {}
    order, frames = sorted(states), sorted({frame for _, frame in pairs})
    told = segment(model, torch.stack([states[target] for target in order]), plan.draw.frames(frames))
    masks = dict(zip(frames, told, strict=True))
    return {(target, frame): masks[frame][order.index(target)] for target, frame in pairs}
