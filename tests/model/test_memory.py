"""SAM 2's memory: it starts as without memory, goes on as SAM 2 does, teaches what came before, and never grows."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from model.config import ConfigError, ModelConfig, from_dict
from model.memory import Track, by_pair, in_time
from model.sam2_modules import LinspaceOnCpu, sam2
from model.segmentation import SegmentationHead

VERSIONS = ["2.0", "2.1"]
FRAME_M, OBJECT_M = torch.tensor([0, 0, 1, 1, 2, 3]), torch.tensor([0, 1, 0, 1, 0, 0])
"""Object 0 on four frames, object 1 on two."""


@pytest.fixture(scope="session")
def with_memory(small_config) -> ModelConfig:
    return replace(small_config, memory=True, memory_layers=1, memory_frames=4)


@pytest.fixture
def head_of(with_memory, filled) -> Callable[..., SegmentationHead]:
    def build(**changes: Any) -> SegmentationHead:
        return filled(SegmentationHead(replace(with_memory, **changes))).eval()

    return build


@pytest.fixture
def states(small_config, noise) -> Tensor:
    return noise(2, small_config.width)


@pytest.fixture
def frames(small_config, noise) -> Tensor:
    return noise(4, 3, small_config.mask_image_size, small_config.mask_image_size, seed=1)


# ------------------------------------------------------------------------------------------------- tables of places


def test_pairs_of_each_object_are_told_in_time_and_found_again():
    place = in_time(OBJECT_M, 3)
    assert place.tolist() == [[0, 2, 4, 5], [1, 3, -1, -1], [-1, -1, -1, -1]]
    values = torch.arange(12.0).reshape(3, 4)
    assert by_pair(values, place, 6).tolist() == [0, 4, 1, 5, 2, 3]
    assert in_time(torch.zeros(0, dtype=torch.int64), 0).shape == (0, 0)


# ------------------------------------------------------------------------------------------------- what comes first


@torch.no_grad()
def test_an_objects_first_frame_is_segmented_as_without_memory(head_of, small_config, states, frames):
    head, alone = head_of(), SegmentationHead(small_config).eval()
    shared = {name: t for name, t in head.state_dict().items() if name in alone.state_dict()}
    alone.load_state_dict(shared | {"sam2.maskmem_tpos_enc": alone.sam2.maskmem_tpos_enc})
    with_it, without = head(states, frames, FRAME_M, OBJECT_M), alone(states, frames, FRAME_M, OBJECT_M)
    torch.testing.assert_close(with_it[:2], without[:2], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(with_it[2:], without[2:], atol=1e-2), "later frames are prompted by memory alone"


@pytest.mark.parametrize("version", VERSIONS)
@torch.no_grad()
def test_later_frames_are_those_of_the_packages_own_track_step(head_of, states, frames, version):
    """With the object score in use both erase the same; without it SAM2Base has no way to keep a mask."""
    head = head_of(sam2_version=version, object_score=True)
    with torch.no_grad():
        head.get_parameter("sam2.sam_mask_decoder.pred_obj_score_head.layers.2.bias").fill_(0.2)
    track, maps = Track(head.sam2, head.project(states)), head.maps(frames)
    for t in range(4):
        levels = [level[t].expand(2, -1, -1, -1) for level in maps]
        before = {"cond_frame_outputs": dict(track.prompted), "non_cond_frame_outputs": dict(track.followed)}
        masks, presence = track.step(levels)
        if t:
            there = reference_step(head.sam2, t, levels, before)
            seen = presence[:, 0] > 0
            torch.testing.assert_close(masks[seen], there["pred_masks"][:, 0][seen], rtol=1e-4, atol=1e-4)
            ours = track.followed[t]
            for name in ("obj_ptr", "maskmem_features"):
                torch.testing.assert_close(ours[name], there[name], rtol=1e-4, atol=1e-4)


def reference_step(sam: SAM2Base, t: int, levels: list[Tensor], before: dict[str, Any]) -> dict[str, Any]:
    """``track_step`` with SAM2Base's own heads, which no language vector reaches."""
    stock = type("Stock", (SAM2Base,), {})
    heads, sam.__class__ = sam.__class__, stock
    try:
        places = [level.flatten(2).permute(2, 0, 1) for level in levels]
        positions = sam.image_encoder.neck.position_encoding(levels[-1]).flatten(2).permute(2, 0, 1)
        return sam.track_step(
            frame_idx=t, is_init_cond_frame=False, current_vision_feats=places,
            current_vision_pos_embeds=[positions] * 3, feat_sizes=[tuple(level.shape[-2:]) for level in levels],
            point_inputs=None, mask_inputs=None, output_dict=before, num_frames=99,
        )  # fmt: skip
    finally:
        sam.__class__ = heads


@pytest.mark.parametrize(
    ("version", "file"), [("2.0", "configs/sam2/sam2_hiera_l.yaml"), ("2.1", "configs/sam2.1/sam2.1_hiera_l.yaml")]
)
def test_the_model_has_the_tensors_of_the_packages_own_configuration(version, file):
    told: Any = OmegaConf.load(str(resources.files("sam2") / file))
    with torch.device("meta"), LinspaceOnCpu():
        theirs = {name: t.shape for name, t in instantiate(told.model).state_dict().items()}
        built = sam2(ModelConfig(memory=True, sam2_version=version))
    ours = {name: t.shape for name, t in built.state_dict().items()}
    assert ours == theirs
    assert ("no_obj_embed_spatial" in ours) == (version == "2.1")


# ------------------------------------------------------------------------------------------------- what memory does


@torch.no_grad()
def test_the_first_frame_decides_what_is_followed(head_of, states, frames, noise):
    head = head_of()
    before = head(states, frames, FRAME_M, OBJECT_M)
    other = frames.clone()
    other[0] = noise(*frames.shape[1:], seed=9)
    after = head(states, other, FRAME_M, OBJECT_M)
    assert (after[2:] - before[2:]).abs().amax((1, 2)).gt(1e-4).all()
    later = frames.clone()
    later[3] = other[0]
    assert torch.equal(head(states, later, FRAME_M, OBJECT_M)[:5], before[:5]), "the last frame teaches none before it"


@torch.no_grad()
def test_objects_of_other_lengths_do_not_disturb_each_other(head_of, states, frames):
    head = head_of()
    together = head(states, frames, FRAME_M, OBJECT_M)
    for number in (0, 1):
        own = OBJECT_M.eq(number)
        alone = head(states[number][None], frames, FRAME_M[own], torch.zeros(int(own.sum()), dtype=torch.int64))
        torch.testing.assert_close(together[own], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_later_frame_teaches_the_memory_and_the_prompt_of_the_first(head_of, states, frames, version):
    head = head_of(sam2_version=version)
    states.requires_grad_()
    head.train()(states, frames, FRAME_M, OBJECT_M)[5].square().mean().backward()
    grads = {name: p.grad for name, p in head.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    for part in ("memory_attention.layers.0.", "memory_encoder.", "obj_ptr_proj.", "maskmem_tpos_enc"):
        assert any(name.startswith(f"sam2.{part}") for name in grads), part
    assert ("sam2.obj_ptr_tpos_proj.weight" in grads) == (version == "2.1")
    assert "project.0.weight" in grads
    assert states.grad is not None
    assert states.grad[0].abs().max() > 0, "through three frames of memory to the prompt"
    assert states.grad[1].abs().max() == 0, "and to no other object's"


@torch.no_grad()
def test_training_and_answering_follow_alike(head_of, states, frames):
    head = head_of(sam2_version="2.1")
    answering = head(states, frames, FRAME_M, OBJECT_M)
    assert torch.equal(head.train()(states, frames, FRAME_M, OBJECT_M), answering)


# ------------------------------------------------------------------------------------------------- any length


def followed(track: Track, maps: list[Tensor], order: list[int]) -> list[Tensor]:
    return [track.step([level[t][None] for level in maps])[0] for t in order]


@pytest.mark.parametrize("version", VERSIONS)
@torch.no_grad()
def test_a_long_clip_is_followed_with_a_memory_that_does_not_grow(head_of, states, noise, monkeypatch, version):
    head, many = head_of(sam2_version=version), 24
    maps = head.maps(noise(many, 3, 64, 64, seed=3))
    prompts = head.project(states[:1])
    track = Track(head.sam2, prompts)
    bounded = followed(track, maps, list(range(many)))
    assert len(track.prompted) == 1
    assert len(track.followed) <= 16
    assert sum("maskmem_features" in memory for memory in track.followed.values()) <= 4
    monkeypatch.setattr(Track, "_forget", lambda self, index: None)
    unbounded = followed(Track(head.sam2, prompts), maps, list(range(many)))
    assert all(torch.equal(one, other) for one, other in zip(bounded, unbounded, strict=True))


@pytest.mark.parametrize("version", VERSIONS)
@torch.no_grad()
def test_backwards_is_forwards_through_the_turned_clip(head_of, states, noise, version):
    head = head_of(sam2_version=version)
    maps, prompts = head.maps(noise(7, 3, 64, 64, seed=3)), head.project(states[:1])
    turned = [level.flip(0) for level in maps]
    track = Track(head.sam2, prompts, at=4)
    track.step([level[4][None] for level in maps])
    back = followed(track.turned(), maps, [3, 2, 1, 0])
    forth = followed(Track(head.sam2, prompts, at=2), turned, [2, 3, 4, 5, 6])[1:]
    for one, other in zip(back, forth, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------- the description


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("sam2_version", "2.2", "'2.2'; there are 2.0, 2.1"),
        ("memory", 1, "not true or false"),
        ("sam2_version", 2.1, "not text in quotes"),
        ("memory_frames", 0, "not 1 or more"),
        ("compat", ["order"], "'order'; there are object_order"),
        ("compat", "object_order", "not a list of words"),
    ],
)
def test_what_memory_cannot_be_is_refused(field, value, words):
    with pytest.raises(ConfigError, match=f"`{field}`") as refused:
        from_dict({field: value})
    assert words in str(refused.value)
