"""The laws of the segmentation head: each (frame, object) pair for itself, and who learns."""

import pytest
import torch
from torch import Tensor

from model.sam2_modules import Decoded
from model.segmentation import SegmentationHead, upsampled

FRAME_M, OBJECT_M = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 1, 1, 0, 1])


@pytest.fixture
def head(small_config, filled):
    return filled(SegmentationHead(small_config))


@pytest.fixture
def states(small_config, noise) -> Tensor:
    return noise(2, small_config.width)


@pytest.fixture
def frames(small_config, noise) -> Tensor:
    return noise(3, 3, small_config.mask_image_size, small_config.mask_image_size, seed=1)


@torch.no_grad()
def test_each_pair_gives_the_mask_that_it_gives_alone(head, states, frames):
    together = head(states, frames, FRAME_M, OBJECT_M)
    for pair, (frame, number) in enumerate(zip(FRAME_M, OBJECT_M, strict=True)):
        alone = head(states[number][None], frames[frame][None], torch.tensor([0]), torch.tensor([0]))
        torch.testing.assert_close(together[pair], alone[0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_pairs_in_another_order_give_the_masks_in_that_order(head, states, frames):
    order = torch.tensor([3, 0, 4, 2, 1])
    masks = head(states, frames, FRAME_M, OBJECT_M)
    torch.testing.assert_close(head(states, frames, FRAME_M[order], OBJECT_M[order]), masks[order])


@torch.no_grad()
def test_frames_and_objects_both_make_the_mask(head, states, frames):
    """Or else the laws above would hold of a head that looks at neither."""
    masks = head(states, frames, FRAME_M, OBJECT_M)
    assert not torch.allclose(masks[0], masks[1], atol=1e-3), "another object"
    assert not torch.allclose(masks[0], masks[3], atol=1e-3), "another frame"


@torch.no_grad()
def test_masks_are_float32_at_the_frames_size(head, states, frames):
    masks = head(states, frames, FRAME_M, OBJECT_M)
    assert masks.dtype == torch.float32
    assert masks.shape == (5, 64, 64)


@torch.no_grad()
def test_the_mask_of_the_best_score_is_taken_for_each_pair(head, states, frames, monkeypatch):
    low_res = torch.arange(3.0)[None, :, None, None].expand(3, 3, 16, 16)
    scores = torch.tensor([[0.1, 0.2, 0.9], [0.9, 0.2, 0.1], [0.3, 0.4, 0.1]])
    found = Decoded(low_res, scores, torch.zeros(3, 3, 32), torch.zeros(3, 1))
    monkeypatch.setattr(head, "decoded", lambda levels, prompts: found)
    masks = head(states, frames, torch.arange(3), torch.zeros(3, dtype=torch.int64))
    assert masks.amin((1, 2)).tolist() == masks.amax((1, 2)).tolist() == [2, 0, 1]


def gradients(head: SegmentationHead) -> set[str]:
    return {name for name, parameter in head.named_parameters() if parameter.grad is not None}


def test_a_frozen_image_encoder_gets_no_gradient_but_the_decoders_convolutions_do(head, states, frames):
    """conv_s0 and conv_s1 run with the encoder and belong to the decoder."""
    head.sam2.image_encoder.requires_grad_(False)
    head(states.requires_grad_(), frames, FRAME_M, OBJECT_M).sum().backward()
    learned = gradients(head)
    assert not any(name.startswith("sam2.image_encoder.") for name in learned)
    assert {f"sam2.sam_mask_decoder.conv_s{level}.weight" for level in (0, 1)} <= learned
    assert states.grad is not None
    assert states.grad.abs().amax(1).gt(0).all(), "the masks teach the language model"


def test_an_image_encoder_that_is_trained_gets_its_gradient(head, states, frames):
    head(states, frames, FRAME_M, OBJECT_M).sum().backward()
    assert any(name.startswith("sam2.image_encoder.trunk.") for name in gradients(head))


def test_the_scores_learn_nothing(head, states, frames):
    """The release's loss has no term on them (its 12 tensors without gradient)."""
    head(states, frames, FRAME_M, OBJECT_M).sum().backward()
    decoder = {name for name, _ in head.named_parameters() if name.startswith("sam2.sam_mask_decoder.")}
    idle = {name.split(".")[2] for name in decoder - gradients(head)}
    assert idle == {"iou_prediction_head", "pred_obj_score_head"}


def test_masks_are_enlarged_between_pixel_centres_and_to_any_size():
    small = torch.tensor([[[0.0, 4.0], [8.0, 12.0]]])
    assert upsampled(small, (1, 4))[0, 0].tolist() == [4, 5, 7, 8]
    assert upsampled(small.to(torch.bfloat16), 2).dtype == torch.float32
    assert torch.equal(upsampled(small, 2), small)
