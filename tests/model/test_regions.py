"""The laws of the region encoder: what is pooled, what is merged, and that objects do not meet."""

import pytest
import torch
from torch import Tensor

from model.regions import RegionEncoder, grids_of, merge, pool

TOKENS = 4


def merged(rows_FE: Tensor, tokens: int = TOKENS) -> Tensor:
    """The tokens of one object by itself."""
    tokens_RKE, there_RK = merge(rows_FE[None], torch.ones(1, len(rows_FE), dtype=torch.bool), tokens)
    return tokens_RKE[there_RK]


def turned(*degrees: float) -> Tensor:
    """Unit vectors in the plane: neighbours' cosines are those of the differences."""
    radians = torch.tensor(degrees, dtype=torch.float32).deg2rad()
    return torch.stack((radians.cos(), radians.sin()), 1)


def merged_by_hand(rows: Tensor, tokens: int) -> Tensor:
    """The definition, one object and one row at a time."""
    surplus = len(rows) - tokens
    if surplus <= 0:
        return rows
    cosines = [float(torch.cosine_similarity(rows[i], rows[i + 1], dim=0)) for i in range(len(rows) - 1)]
    threshold = sorted(cosines, reverse=True)[surplus - 1]
    runs = [[rows[0]]]
    for cosine, row in zip(cosines, rows[1:], strict=True):
        if cosine >= threshold:
            runs[-1].append(row)
        else:
            runs.append([row])
    return torch.stack([torch.stack(run).mean(0) for run in runs])


# ------------------------------------------------------------------------------------------ pooling


def test_an_object_is_the_mean_of_the_patches_under_its_mask(noise):
    features, inside = noise(2, 9, 5), noise(2, 9, seed=1) > 0
    assert 0 < inside[0].sum() < 9
    for frame in range(2):
        expected = features[frame][inside[frame]].mean(0)
        torch.testing.assert_close(pool(features, inside)[frame], expected)


def test_an_empty_mask_gives_exactly_zero(noise):
    pooled = pool(noise(2, 9, 5), torch.zeros(2, 9, dtype=torch.bool))
    assert torch.equal(pooled, torch.zeros(2, 5))


def test_pooling_and_merging_are_in_float32_whatever_the_model_is_in(noise):
    encoder = RegionEncoder(5, 8, TOKENS)
    features, grids, places = noise(6, 9, 5), torch.ones(6, 3, 3, dtype=torch.bool), torch.arange(6)[None]
    seen = []
    encoder.feat_linear.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    encoder(features, torch.arange(6), grids, places)
    with torch.autocast("cpu", torch.bfloat16):
        encoder(features, torch.arange(6), grids, places)
    assert seen[1].dtype == torch.float32
    assert torch.equal(seen[0], seen[1])


def test_a_mask_that_touches_a_patch_takes_it():
    """At the patch grid a mask is read between its pixels, without antialiasing; anything above 0 is inside."""
    masks = torch.zeros(3, 8, 8, dtype=torch.uint8)
    masks[1, 0, 0], masks[2, 1, 1] = 1, 1  # of the 4 x 4 patch, only its middle four pixels are read
    grids = grids_of(masks, 2)
    assert grids.dtype == torch.bool
    assert grids.tolist() == [[[False] * 2] * 2, [[False] * 2] * 2, [[True, False], [False, False]]]


# ------------------------------------------------------------------------------------------ merging


@pytest.mark.parametrize("rows", range(1, TOKENS + 1))
def test_up_to_four_rows_stay_as_they_are(noise, rows):
    assert torch.equal(merged(noise(rows, 6)), noise(rows, 6))


def test_the_most_similar_neighbours_become_their_mean():
    rows = turned(0, 50, 60, 130, 210)
    expected = torch.stack((rows[0], (rows[1] + rows[2]) / 2, rows[3], rows[4]))
    torch.testing.assert_close(merged(rows), expected)


def test_three_linked_rows_become_one_plain_mean():
    """Not the mean of a mean: all three weigh the same."""
    rows = turned(0, 60, 65, 72, 150, 250) * torch.tensor([[1.0], [1], [2], [6], [1], [1]])
    expected = torch.stack((rows[0], (rows[1] + rows[2] + rows[3]) / 3, rows[4], rows[5]))
    torch.testing.assert_close(merged(rows), expected)


def test_neighbours_are_linked_by_direction_and_not_by_length():
    rows = turned(0, 10, 60, 120, 180) * torch.tensor([[1.0], [100], [1], [1], [1]])
    assert torch.allclose(merged(rows)[0], (rows[0] + rows[1]) / 2)


def test_ties_merge_more_so_there_are_fewer_tokens():
    rows = torch.eye(6)[[0, 0, 1, 1, 2, 3]]  # both pairs have a cosine of 1, and one link is asked for with 5 tokens
    torch.testing.assert_close(merged(rows, tokens=5), torch.eye(6)[:4])
    torch.testing.assert_close(merged(torch.ones(7, 3)), torch.ones(1, 3))


@pytest.mark.parametrize("tokens", [1, 3, 4, 8])
def test_objects_of_any_number_of_frames_merge_by_the_definition(noise, tokens):
    for count in range(1, 12):
        rows = noise(count, 3, seed=count)
        torch.testing.assert_close(merged(rows, tokens), merged_by_hand(rows, tokens))


def test_an_empty_mask_among_the_frames_still_merges(noise):
    rows = noise(7, 3)
    rows[3] = 0
    torch.testing.assert_close(merged(rows), merged_by_hand(rows, TOKENS))


# ------------------------------------------------------------------------------------------ the whole encoder


@pytest.fixture(scope="module")
def encoder(filled):
    return filled(RegionEncoder(vision_width=5, width=8, tokens=TOKENS))


def places_of(counts: list[int], width: int) -> Tensor:
    starts = [sum(counts[:i]) for i in range(len(counts))]
    return torch.tensor([[*range(s, s + n), *[-1] * (width - n)] for s, n in zip(starts, counts, strict=True)])


@torch.no_grad()
def test_an_object_does_not_see_the_others_of_the_batch(noise, encoder):
    counts, features = [6, 1, 4, 9], noise(20, 9, 5)
    grids = (noise(20, 9, seed=1) > -0.2).reshape(20, 3, 3)
    frames = torch.arange(20).flip(0)
    tokens, there = encoder(features, frames, grids, places_of(counts, max(counts)))
    start = 0
    for number, count in enumerate(counts):
        own = slice(start, start + count)
        alone, there_alone = encoder(features, frames[own], grids[own], torch.arange(count)[None])
        torch.testing.assert_close(tokens[number][there[number]], alone[0][there_alone[0]])
        start += count
    assert there.sum(1).tolist() == [4, 1, 4, 4]


@torch.no_grad()
@pytest.mark.parametrize("width", [6, 7, 20])
def test_places_behind_the_last_frame_of_an_object_change_nothing(noise, encoder, width):
    features, grids = noise(7, 9, 5), torch.ones(7, 3, 3, dtype=torch.bool)
    arguments = features, torch.arange(7), grids
    for narrow, wide in zip(
        encoder(*arguments, places_of([6, 1], 6)), encoder(*arguments, places_of([6, 1], width)), strict=True
    ):
        torch.testing.assert_close(narrow, wide)


@torch.no_grad()
def test_the_tokens_that_are_there_come_first(noise, encoder):
    _, there = encoder(
        noise(3, 9, 5), torch.arange(3), torch.ones(3, 3, 3, dtype=torch.bool), torch.tensor([[0, 1, 2]])
    )
    assert there.tolist() == [[True, True, True, False]]


def test_the_choice_of_what_to_merge_is_not_learned_but_the_mean_is(noise):
    rows = noise(6, 3).requires_grad_()
    merged(rows).sum().backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
    assert float(rows.grad.abs().min()) >= 1 / 3 - 1e-6
