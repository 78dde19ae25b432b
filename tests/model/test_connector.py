"""The laws of the STC connector: which patches a visual token comes from, and in what order tokens stand."""

import pytest
import torch
from torch import nn

from model.connector import STCConnector

WIDTH = 16


@pytest.fixture(scope="module")
def connector(filled):
    return filled(STCConnector(vision_width=12, width=WIDTH, depth=2))


def averaging() -> STCConnector:
    """A connector whose stages and readout do nothing and whose sampler averages each channel by itself."""
    connector = STCConnector(vision_width=WIDTH, width=WIDTH, depth=1)
    connector.s1, connector.s2, connector.readout = nn.Sequential(), nn.Sequential(), nn.Sequential()
    conv = connector.sampler[0]
    assert isinstance(conv, nn.Conv3d)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(torch.eye(WIDTH)[:, :, None, None, None].expand_as(conv.weight) / 8)
        conv.bias.zero_()
    return connector


@torch.no_grad()
@pytest.mark.parametrize("grid", [4, 5])
def test_tokens_stand_by_time_then_row_then_column(noise, grid):
    features = noise(2, 6, grid * grid, WIDTH)
    maps = features.reshape(2, 6, grid, grid, WIDTH)
    expected = [
        maps[:, 2 * t : 2 * t + 2, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((1, 2, 3))
        for t in range(3)
        for row in range(grid // 2)
        for column in range(grid // 2)
    ]
    silu = torch.nn.functional.silu(torch.stack(expected, 1))
    torch.testing.assert_close(averaging()(features), silu)


@torch.no_grad()
def test_an_odd_last_row_and_column_drop_out_of_the_sampler_but_not_of_the_stages(noise, connector):
    features = noise(1, 2, 25, WIDTH)
    edge = features.clone().reshape(1, 2, 5, 5, WIDTH)
    edge[:, :, 4], edge[:, :, :, 4] = 9, 9
    edge = edge.reshape(1, 2, 25, WIDTH)
    assert torch.equal(averaging()(features), averaging()(edge))
    # The 3 x 3 convolutions and the squeeze-and-excitation look at the whole frame.
    assert not torch.allclose(connector(features[..., :12]), connector(edge[..., :12]), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("pair", range(3))
def test_a_pair_of_frames_makes_its_own_tokens_and_no_others(noise, connector, pair):
    features = noise(1, 6, 25, 12)
    changed = features.clone()
    changed[:, 2 * pair] += 1
    before, after = (connector(x).reshape(3, 4, WIDTH) for x in (features, changed))
    moved = (before - after).abs().amax((1, 2))
    assert (moved > 1e-4).tolist() == [t == pair for t in range(3)]


@torch.no_grad()
def test_a_clip_does_not_see_the_other_clips_of_the_batch(noise, connector):
    features = noise(3, 4, 16, 12)
    together = connector(features)
    for clip in range(3):
        torch.testing.assert_close(together[clip : clip + 1], connector(features[clip : clip + 1]))


def test_only_the_first_block_narrows_its_shortcut_and_squeezes_by_the_vision_width(connector):
    """timm's numbers for the 7B model: 288 = 1152 / 4 in the first block, 896 = 3584 / 4 in the others."""
    with torch.device("meta"):
        real = STCConnector(vision_width=1152, width=3584, depth=4)
    squeezed = {name: m.out_channels for name, m in real.named_modules() if name.endswith("se.fc1")}
    assert squeezed.pop("s1.b1.se.fc1") == 288
    assert set(squeezed.values()) == {896}
    assert len(squeezed) == 7
    assert {name.split(".downsample")[0] for name in real.state_dict() if "downsample" in name} == {"s1.b1"}
