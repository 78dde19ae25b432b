"""Whether an object is on a frame: the score is trained where it is asked for, and then empties the mask."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.losses import Counts, losses, presence_loss
from model.pixels import for_masks
from model.segmentation import SegmentationHead
from model.segmenting import segment
from model.ufvideo import UFVideo
from tests.model.test_golden import small_batch

MASKS = (torch.ones(4, 6, dtype=torch.uint8), torch.zeros(9, 3, dtype=torch.uint8))


def test_the_loss_is_the_weighted_mean_of_the_cross_entropies():
    logits, weight = torch.tensor([2.0, -1.0], requires_grad=True), torch.tensor([1.0, 3.0])
    found = presence_loss(logits, MASKS, weight, Counts(0, 4))
    assert float(found.detach()) == pytest.approx((np.log1p(np.exp(-2)) + 3 * np.log1p(np.exp(-1))) / 4, rel=1e-6)
    found.backward()
    assert logits.grad is not None
    assert (logits.grad[0] < 0, logits.grad[1] > 0) == (True, True)
    assert float(presence_loss(torch.zeros(0), (), torch.zeros(0), Counts(3, 0))) == 0


def test_a_weight_of_nothing_is_the_release(small_config, filled, noise):
    model, batch = filled(UFVideo(small_config)), small_batch(small_config, noise)
    counts = batch.counts()
    plain, none = model.loss(batch, counts), model.loss(batch, counts, 0.0)
    assert torch.equal(plain.total, none.total)
    assert none.presence is None
    some = model.loss(batch, counts, 2.0)
    assert some.presence is not None
    torch.testing.assert_close(some.total, plain.total + 2 * some.presence)
    output = model(batch)
    by_hand = losses(output.logits_CW, batch.label_C, output.mask_logits_MZZ, batch.masks, batch.mask_weight_M, counts)
    assert torch.equal(plain.total, by_hand.total)


def test_the_head_of_the_score_learns_only_with_a_weight(small_config, filled, noise):
    head = "segmentation.sam2.sam_mask_decoder.pred_obj_score_head."
    for weight in (0.0, 1.0):
        model, batch = filled(UFVideo(small_config)), small_batch(small_config, noise)
        model.loss(batch, batch.counts(), weight).total.backward()
        learned = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert any(name.startswith(head) for name in learned) == bool(weight)
        assert not any("iou_prediction_head" in name for name in learned)


@pytest.mark.parametrize("memory", [False, True])
def test_an_object_that_is_not_there_gets_an_empty_mask(small_config, filled, noise, memory):
    """Two prompts on three frames: one object is a block, the other is absent; without the score neither is empty."""
    config = replace(small_config, memory=memory, memory_layers=1, object_score=True)
    model = filled(UFVideo(config))
    head: SegmentationHead = model.segmentation
    states = noise(2, config.width)
    pictures = [((noise(64, 64, 3, seed=seed) + 1) * 127.5).to(torch.uint8).numpy() for seed in (1, 2, 3)]
    block = torch.zeros(64, 64, dtype=torch.uint8)
    block[16:48, 16:48] = 1
    frame, number = torch.arange(3).repeat_interleave(2), torch.arange(2).repeat(3)
    masks = tuple(block if o == 0 else torch.zeros_like(block) for o in number.tolist())
    batch = replace(
        small_batch(small_config, noise),
        mask_frames_SHWC=torch.from_numpy(np.stack(pictures)), mask_frame_M=frame, mask_object_M=number, masks=masks,
        mask_weight_M=torch.ones(6),
    )  # fmt: skip
    no_text = torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    optimizer = torch.optim.Adam(head.parameters(), lr=2e-3)
    for _ in range(60):
        found = head.answer(states, for_masks(batch.mask_frames_SHWC), frame, number)
        # Masks learn from the object that is there alone, so that only the score can say that the other is not.
        there = [row for row in range(6) if number[row] == 0]
        mask_loss = losses(
            *no_text, found.logits_MZZ[there], tuple(masks[r] for r in there), torch.ones(3), Counts(0, 3)
        )
        loss = mask_loss.total + presence_loss(found.presence_M, masks, batch.mask_weight_M, Counts(0, 6))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        told = np.stack(list(segment(model.eval(), states, pictures)))
        model.config = replace(config, object_score=False)
        without = np.stack(list(segment(model, states, pictures)))
    truth = block.numpy() > 0
    for shown in told[:, 0]:
        assert (shown & truth).sum() / (shown | truth).sum() > 0.5
    assert not told[:, 1].any()
    assert without[:, 1].any(), "the mask alone would have said that it is there"
