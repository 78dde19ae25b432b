"""Examples become one batch: every index is offset, every frame stands once.

Shapes as in ``model.batch``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from model.batch import Batch
from model.config import ModelConfig
from model.example import Example, Pixels
from model.memory import in_time


def collate(examples: Sequence[Example], config: ModelConfig, pad: int) -> Batch:
    """A micro-batch of at least one example; ``pad`` is the tokenizer's id for filling."""
    building = _Building(config)
    for example in examples:
        building.add(example)
    return building.batch(pad)


@dataclass(slots=True)
class _FrameTable:
    """Distinct frames in the order in which they came; a frame is known by its corpus, record and index."""

    side: int
    rows: dict[tuple[str, str, int], int] = field(default_factory=dict)
    pixels: list[Pixels] = field(default_factory=list)

    def row(self, example: Example, frame: int, picture: Pixels) -> int:
        draw = example.outline.draw
        place = (str(draw.corpus.root), draw.record.key, frame)
        if place not in self.rows:
            self.rows[place] = len(self.pixels)
            self.pixels.append(picture)
        return self.rows[place]

    def tensor(self) -> Tensor:
        return torch.from_numpy(
            np.stack(self.pixels) if self.pixels else np.zeros((0, self.side, self.side, 3), np.uint8)
        )


class _Building:
    """The lists of a batch while examples are added to it."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.keys: list[str] = []
        self.ids: list[list[int]] = []
        self.frames = _FrameTable(config.image_size)
        self.mask_frames = _FrameTable(config.mask_image_size)
        self.clips: list[tuple[list[int], int, int]] = []
        self.region_frame: list[int] = []
        self.region_grids: list[Tensor] = []
        self.region_place: list[range] = []
        self.slots: list[tuple[int, int, int, int]] = []
        self.learned: list[tuple[int, int, int]] = []
        self.segs: list[tuple[int, int]] = []
        self.mask_pairs: list[tuple[int, int, float]] = []
        self.masks: list[Tensor] = []

    def add(self, example: Example) -> None:
        row, plan = len(self.ids), example.outline
        first_object, first_seg = len(self.region_place), len(self.segs)
        self._add_regions(example)
        columns = self._add_words(example, row, first_object)
        if plan.clip:
            rows = [self.frames.row(example, frame, example.frames[frame]) for frame in plan.clip]
            assert plan.words.media_at is not None
            self.clips.append((rows, row, columns[plan.words.media_at]))
        # The state of the position before a token predicts it.
        self.segs += [(row, columns[at] - 1) for at in plan.words.segs]
        self._add_masks(example, first_seg)
        self.keys.append(plan.key)

    def _add_words(self, example: Example, row: int, first_object: int) -> list[int]:
        """Add the row's ids with room for visual and region tokens; returns the column of each token of the words."""
        plan = example.outline
        words, ids, columns = plan.words, [], []
        objects = iter(range(first_object, len(self.region_place)))
        for at, token in enumerate(words.ids):
            columns.append(len(ids))
            room = 1
            if at == words.media_at:
                room = self.config.visual_tokens
            elif at in words.refs:
                number = next(objects)
                room = min(len(self.region_place[number]), self.config.region_tokens)
                self.slots += [(number, slot, row, len(ids) + slot) for slot in range(room)]
            if words.learned[at]:
                self.learned.append((row, len(ids) - 1, token))
            ids += [token] * room
        self.ids.append(ids)
        return columns

    def _add_regions(self, example: Example) -> None:
        for (_, frames), grids in zip(example.outline.regions, example.grids, strict=True):
            first = len(self.region_frame)
            self.region_frame += [self.frames.row(example, frame, example.frames[frame]) for frame in frames]
            self.region_grids.append(grids)
            self.region_place.append(range(first, len(self.region_frame)))

    def _add_masks(self, example: Example, first_seg: int) -> None:
        for (target, frame), mask in zip(example.outline.masks, example.masks, strict=True):
            row = self.mask_frames.row(example, frame, example.mask_pixels[frame])
            self.mask_pairs.append((row, first_seg + target, example.outline.mask_weight))
            self.masks.append(mask)

    def batch(self, pad: int) -> Batch:
        length = max(map(len, self.ids))
        grid = self.config.grid
        most = max(map(len, self.region_place), default=0)
        place = [[*pairs, *[-1] * (most - len(pairs))] for pairs in self.region_place]
        return Batch(
            keys=tuple(self.keys),
            ids_BL=torch.tensor([ids + [pad] * (length - len(ids)) for ids in self.ids]),
            attends_BL=torch.tensor([[True] * len(ids) + [False] * (length - len(ids)) for ids in self.ids]),
            frames_UHWC=self.frames.tensor(),
            clip_frame_VT=_whole([rows for rows, _, _ in self.clips], self.config.num_frames),
            clip_row_V=_whole([row for _, row, _ in self.clips]),
            clip_column_V=_whole([column for _, _, column in self.clips]),
            region_frame_P=_whole(self.region_frame),
            region_grid_PGG=torch.cat(self.region_grids)
            if self.region_grids
            else torch.zeros(0, grid, grid, dtype=torch.bool),
            region_place_RF=_whole(place, most),
            slot_object_Q=_whole([slot[0] for slot in self.slots]),
            slot_token_Q=_whole([slot[1] for slot in self.slots]),
            slot_row_Q=_whole([slot[2] for slot in self.slots]),
            slot_column_Q=_whole([slot[3] for slot in self.slots]),
            learned_row_C=_whole([row for row, _, _ in self.learned]),
            learned_column_C=_whole([column for _, column, _ in self.learned]),
            label_C=_whole([label for _, _, label in self.learned]),
            seg_row_N=_whole([row for row, _ in self.segs]),
            seg_column_N=_whole([column for _, column in self.segs]),
            mask_frames_SHWC=self.mask_frames.tensor(),
            mask_frame_M=_whole([row for row, _, _ in self.mask_pairs]),
            mask_object_M=_whole([seg for _, seg, _ in self.mask_pairs]),
            mask_weight_M=torch.tensor([weight for _, _, weight in self.mask_pairs], dtype=torch.float32),
            masks=tuple(self.masks),
            mask_place_NT=in_time(_whole([seg for _, seg, _ in self.mask_pairs]), len(self.segs)),
        )


def _whole(numbers: Sequence[int] | Sequence[Sequence[int]], width: int | None = None) -> Tensor:
    """Int64 [len] or [len, width], also for nothing at all."""
    out = torch.tensor(numbers, dtype=torch.int64)
    return out if width is None else out.reshape(-1, width) if width else out.reshape(len(numbers), 0)
