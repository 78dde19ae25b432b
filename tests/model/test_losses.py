"""The losses, against their formulas, and their independence of how a step is cut."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.losses import Counts, bce_loss, dice_loss, losses

SIZES = [(48, 64), (32, 32), (20, 9)]


@pytest.fixture
def step(noise):
    """(logits, labels, mask logits, masks, weights): seven tokens and three masks of different sizes."""
    masks = tuple((noise(*size, seed=i) > 0.3).to(torch.uint8) for i, size in enumerate(SIZES))
    return noise(7, 11) * 3, torch.arange(7), noise(3, 32, 32, seed=9) * 4, masks, torch.tensor([1.0, 2.0, 1.0])


def part(step, tokens: slice, pairs: slice):
    logits, labels, mask_logits, masks, weights = step
    return logits[tokens], labels[tokens], mask_logits[pairs], masks[pairs], weights[pairs]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def bce_by_hand(logits: np.ndarray, mask: np.ndarray) -> float:
    p = sigmoid(logits)
    return float(-(mask * np.log(p) + (1 - mask) * np.log(1 - p)).mean())


def dice_by_hand(logits: np.ndarray, mask: np.ndarray) -> float:
    p = sigmoid(logits)
    return float(1 - (2 * (p * mask).sum() / 1000 + 1e-6) / (p.sum() / 1000 + mask.sum() / 1000 + 1e-6))


def double(x: Tensor) -> np.ndarray:
    return x.double().numpy()


def test_a_masks_losses_are_their_formulas(noise):
    logits, mask = noise(20, 30) * 6, (noise(20, 30, seed=1) > 0).to(torch.uint8)
    assert float(bce_loss(logits, mask)) == pytest.approx(bce_by_hand(double(logits), double(mask)), rel=1e-5)
    assert float(dice_loss(logits, mask)) == pytest.approx(dice_by_hand(double(logits), double(mask)), rel=1e-5)


def test_the_dice_of_next_to_nothing_has_the_releases_scale_and_epsilon():
    """Where Σp is near 1000 · 1e-6, the only place where s = 1000 shows."""
    empty, faint = torch.zeros(10, 10, dtype=torch.uint8), torch.full((10, 10), -11.0)
    assert float(dice_loss(faint, empty)) == pytest.approx(dice_by_hand(double(faint), double(empty)), rel=1e-4)
    assert 0.5 < float(dice_loss(faint, empty)) < 0.7


def test_the_total_is_one_text_two_bce_and_half_a_dice(step):
    logits, labels, _, masks, weights = step
    same_size = torch.zeros(3, 32, 32)  # zeros stay zeros at any size, so no resize is repeated here
    got = losses(logits, labels, same_size, masks, weights, Counts(7, 4))

    shifted = double(logits) - double(logits).max(1, keepdims=True)
    nll = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(7), labels.numpy()]
    dice = sum(w * dice_by_hand(np.zeros(m.shape), double(m)) for w, m in zip(weights.tolist(), masks, strict=True)) / 4
    assert float(got.ce) == pytest.approx(nll.mean(), rel=1e-5)
    assert float(got.bce) == pytest.approx(np.log(2), rel=1e-5)
    assert float(got.dice) == pytest.approx(dice, rel=1e-5)
    assert float(got.total) == pytest.approx(nll.mean() + 2 * np.log(2) + 0.5 * dice, rel=1e-5)


def test_a_mask_is_judged_at_its_own_size(noise):
    """A coarse prediction of a fine mask is enlarged, not the mask shrunk."""
    small, mask = noise(1, 32, 32) * 4, (noise(48, 64, seed=1) > 0).to(torch.uint8)
    one, weight = torch.zeros(0, dtype=torch.int64), torch.ones(1)
    got = losses(torch.zeros(0, 5), one, small, (mask,), weight, Counts(0, 1))
    large = torch.nn.functional.interpolate(small[None], (48, 64), mode="bilinear", align_corners=False)[0, 0]
    assert float(got.bce) == pytest.approx(bce_by_hand(double(large), double(mask)), rel=1e-5)


def test_a_perfect_mask_costs_next_to_nothing(noise):
    mask = (noise(40, 40) > 0).to(torch.uint8)
    logits = (mask.float() * 2 - 1) * 40
    assert float(dice_loss(logits, mask)) == pytest.approx(0, abs=1e-6)
    assert float(bce_loss(logits, mask)) == pytest.approx(0, abs=1e-6)


def test_the_opposite_mask_costs_a_whole_dice(noise):
    mask = (noise(40, 40) > 0).to(torch.uint8)
    assert float(dice_loss((mask.float() * 2 - 1) * -40, mask)) == pytest.approx(1, abs=1e-4)


def test_an_empty_mask_costs_nothing_if_nothing_is_predicted_and_a_whole_dice_if_anything_is():
    empty = torch.zeros(30, 30, dtype=torch.uint8)
    assert float(dice_loss(torch.full((30, 30), -100.0), empty)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(torch.zeros(30, 30), empty)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("token_cut", "mask_cut"), [(1, 1), (4, 2), (7, 0), (0, 3)])
def test_micro_batches_with_the_counts_of_the_step_add_up_to_the_whole(step, token_cut, mask_cut):
    counts = Counts(7, 4)
    leaves = [step[0].clone().requires_grad_(), step[2].clone().requires_grad_()]
    live = (leaves[0], step[1], leaves[1], *step[3:])
    whole = losses(*live, counts=counts)
    first = losses(*part(live, slice(token_cut), slice(mask_cut)), counts=counts)
    second = losses(*part(live, slice(token_cut, None), slice(mask_cut, None)), counts=counts)
    for name in ("total", "ce", "bce", "dice"):
        torch.testing.assert_close(getattr(first, name) + getattr(second, name), getattr(whole, name))
    expected = torch.autograd.grad(whole.total, leaves)
    torch.testing.assert_close(torch.autograd.grad(first.total + second.total, leaves), expected)


def test_a_weight_counts_a_mask_as_often(step):
    """A clip with fewer frames than asked for weighs as if its frames were repeated, as the release repeats them."""
    logits, labels, mask_logits, masks, _ = step
    twice = torch.tensor([0, 1, 1, 2])
    repeated = losses(logits, labels, mask_logits[twice], tuple(masks[i] for i in twice), torch.ones(4), Counts(7, 4))
    torch.testing.assert_close(losses(*step, counts=Counts(7, 4)).total, repeated.total)


def test_a_step_without_masks_or_without_text_is_finite_and_differentiable(step):
    for tokens, pairs, counts in ((slice(0), slice(None), Counts(0, 4)), (slice(None), slice(0), Counts(7, 0))):
        logits, *rest = part(step, tokens, pairs)
        logits = logits.clone().requires_grad_()
        total = losses(logits, *rest, counts=counts).total
        total.backward()
        assert torch.isfinite(total)
        assert logits.grad is not None


def test_a_prediction_without_its_mask_is_refused(step):
    logits, labels, mask_logits, masks, weights = step
    with pytest.raises(ValueError, match="shorter|longer"):
        losses(logits, labels, mask_logits, masks[:2], weights, Counts(7, 4))


def test_counts_add():
    assert Counts(3, 1.5) + Counts(4, 2) == Counts(7, 3.5)
