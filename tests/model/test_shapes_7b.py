"""The 7B model on the meta device: its sizes, its tensor names, and the shapes that a batch takes through it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.batch import Batch
from model.config import ModelConfig
from model.ufvideo import PARTS, UFVideo, parts_of

MEMORY = ("segmentation.sam2.memory_attention.", "segmentation.sam2.memory_encoder.")
"""What a checkpoint of the release holds and we do not: the parts of SAM 2's memory with weights of their own."""

OTHER_SHAPE = {"segmentation.sam2.maskmem_tpos_enc": ((7, 1, 1, 64), (7, 1, 1, 256))}
"""Unused. SAM2Base gives it the width of memories, which only a memory encoder makes other than the decoder's."""


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        model = UFVideo(ModelConfig())
    model.train_parts()
    model.language.set_attn_implementation("eager")  # sdpa looks for padding, which meta cannot show
    return model


def size(model: torch.nn.Module, prefix: str | tuple[str, ...] = "", trainable: bool = False) -> int:
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if name.startswith(prefix) and (parameter.requires_grad or not trainable)
    )


@pytest.mark.parametrize(
    ("part", "millions"),
    [
        ("language", 7613.4),
        ("connector", 376.9),
        ("regions", 17.0),
        ("vision", 428.2),
        ("mask_encoder", 212.7),
        ("mask_decoder", 4.2),
        ("prompt", 13.8),
    ],
)
def test_every_part_has_the_size_of_the_release(model, part, millions):
    assert round(size(model, PARTS[part]) / 1e6, 1) == millions


def test_the_release_trains_all_but_the_two_image_encoders(model):
    assert round(size(model, trainable=True) / 1e9, 2) == 8.03
    assert (
        size(model, "vision.", trainable=True) == size(model, "segmentation.sam2.image_encoder.", trainable=True) == 0
    )


def test_every_part_can_be_trained_alone(small_config):
    with torch.device("meta"):
        model = UFVideo(small_config := replace(small_config, memory=True))
    for part in parts_of(small_config):
        model.train_parts((part,))
        assert size(model, trainable=True) == size(model, PARTS[part]) > 0, part


def test_every_tensor_of_a_checkpoint_has_its_place(model, golden_json: Callable, our_name: Callable):
    theirs = {our_name(name): tuple(shape) for name, shape in golden_json("ufvideo7b_tensor_names").items()}
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(theirs) == 1808
    assert ours.keys() - theirs.keys() == set()
    assert theirs.keys() - ours.keys() == {name for name in theirs if name.startswith(MEMORY)}
    different = {name: (theirs[name], shape) for name, shape in ours.items() if shape != theirs[name]}
    assert different == OTHER_SHAPE


def two_rows(config: ModelConfig) -> Batch:
    """Row 0: a video, and a ``<Seg>`` on four frames. Row 1: a video, and an object shown on six frames."""
    visual, frames, shown = config.visual_tokens, config.num_frames, 6
    length, answer = visual + 60, visual + 40

    def numbers(*values: int) -> Tensor:
        return torch.tensor(values)

    return Batch(
        keys=("seg", "ref"),
        ids_BL=torch.zeros(2, length, dtype=torch.int64),
        attends_BL=torch.ones(2, length, dtype=torch.bool),
        frames_UHWC=torch.zeros(2 * frames + shown, config.image_size, config.image_size, 3, dtype=torch.uint8),
        clip_frame_VT=torch.arange(2 * frames).reshape(2, frames),
        clip_row_V=numbers(0, 1),
        clip_column_V=numbers(14, 14),
        region_frame_P=torch.arange(2 * frames, 2 * frames + shown),
        region_grid_PGG=torch.ones(shown, config.grid, config.grid, dtype=torch.bool),
        region_place_RF=torch.arange(shown)[None],
        slot_object_Q=numbers(0, 0, 0, 0),
        slot_token_Q=numbers(0, 1, 2, 3),
        slot_row_Q=numbers(1, 1, 1, 1),
        slot_column_Q=torch.arange(4) + visual + 20,
        learned_row_C=torch.arange(2).repeat_interleave(10),
        learned_column_C=torch.arange(answer, answer + 10).repeat(2),
        label_C=torch.zeros(20, dtype=torch.int64),
        seg_row_N=numbers(0),
        seg_column_N=numbers(answer + 3),
        mask_frames_SHWC=torch.zeros(4, config.mask_image_size, config.mask_image_size, 3, dtype=torch.uint8),
        mask_frame_M=torch.arange(4),
        mask_object_M=numbers(0, 0, 0, 0),
        mask_weight_M=torch.ones(4),
        masks=tuple(torch.zeros(480, 854, dtype=torch.uint8) for _ in range(4)),
    )


def test_a_batch_goes_through_in_the_shapes_of_the_release(model):
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("vision", "connector", "language.model.norm", "segmentation.project"):
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape)})
        )
    with torch.device("meta"):
        output = model(two_rows(model.config))
    assert shapes == {
        "vision": (70, 729, 1152),
        "connector": (2, 2704, 3584),
        "language.model.norm": (2, 2764, 3584),
        "segmentation.project": (1, 256),
    }
    assert output.logits_CW.shape == (20, 151748)
    assert output.mask_logits_MZZ.shape == (4, 1024, 1024)


def test_the_mask_decoder_sees_three_levels_of_every_frame(model):
    with torch.device("meta"):
        levels = model.segmentation.features(torch.zeros(4, 3, 1024, 1024))
    assert [tuple(level.shape) for level in levels] == [(4, 32, 256, 256), (4, 64, 128, 128), (4, 256, 64, 64)]
