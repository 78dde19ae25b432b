"""Parity with the official code (UFVideo d1dbdd4, fp32 on CPU), on the golden cases a to d beside the project.

Tolerances are those of the reference's notes, relative to the largest number of each tensor unless said otherwise.
"""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from model import ufvideo
from model.batch import Batch
from model.config import ModelConfig
from model.connector import STCConnector
from model.losses import Counts, Losses
from model.regions import RegionEncoder, grids_of, merge, pool
from model.segmentation import SegmentationHead, upsampled
from model.ufvideo import UFVideo

FP32 = 1e-5
SAM = 5e-4
"""The reference's own fp32 lies up to 1.5e-4 from its float64."""
LOSS = 2e-5
"""Absolute."""
GRADIENT = 2e-2
"""fp32 against float64: the random net is ill-conditioned through the mask decoder."""

PAD, REGION, SEG, IGNORED = 256, 259, 360, -100
"""Ids of case d's toy tokenizer; negative ids are its media placeholders."""

CONFIG = ModelConfig(
    num_frames=4,
    num_mask_frames=4,
    image_size=56,
    vision_width=48,
    vision_layers=3,
    vision_heads=4,
    vision_mlp=96,
    connector_depth=4,
    region_tokens=4,
    width=64,
    layers=2,
    heads=4,
    kv_heads=2,
    mlp=128,
    vocab_size=361,
    mask_image_size=128,
    hiera_width=16,
    hiera_heads=2,
    hiera_stages=(1, 2, 2, 1),
    hiera_windows=(8, 4, 16, 8),
    hiera_global_blocks=(4,),
    mask_width=256,
)
"""The model of cases c and d."""


def error(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, over the largest number of the reference."""
    assert ours.shape == reference.shape
    return float((ours - reference).abs().max() / reference.abs().max())


# ------------------------------------------------------------------------------------------ a: the connector


@pytest.fixture(scope="module")
def case_a(golden):
    return golden("a_stc_connector_v35")


@pytest.fixture(scope="module")
def connector(case_a):
    connector = STCConnector(vision_width=48, width=64, depth=4)
    connector.load_state_dict(case_a.weights())
    return connector


@torch.no_grad()
@pytest.mark.parametrize("grid", ["odd", "even"])
def test_the_connector_gives_the_references_tokens(case_a, connector, grid):
    assert error(connector(case_a.tensors[f"in.x_{grid}"]), case_a.tensors[f"out.y_{grid}"]) < FP32


@torch.no_grad()
def test_each_stage_of_the_connector_gives_the_references_maps(case_a, connector):
    seen = {}
    for name in ("s1", "sampler", "s2"):
        getattr(connector, name).register_forward_hook(lambda _m, _i, out, name=name: seen.setdefault(name, out))
    connector(case_a.tensors["in.x_odd"])
    for name, maps in seen.items():
        assert error(maps, case_a.tensors[f"mid.odd.{name}"]) < FP32, name
    assert set(seen) == {"s1", "sampler", "s2"}


# ------------------------------------------------------------------------------------------ b: the region encoder


@pytest.fixture(scope="module")
def case_b(golden):
    return golden("b_region_encoder")


def pairs_of(objects: list[list[int]]) -> tuple[Tensor, Tensor]:
    """(frame of each pair [P], pairs of each object [R, F]) from the frames of each object."""
    frames = [frame for frames in objects for frame in frames]
    most, start, places = max(map(len, objects)), 0, []
    for own in objects:
        places.append([*range(start, start + len(own)), *[-1] * (most - len(own))])
        start += len(own)
    return torch.tensor(frames), torch.tensor(places)


@torch.no_grad()
def test_masks_are_pooled_as_the_reference_pools_them(case_b):
    for sample, objects in enumerate(case_b.about["ann_indices"]):
        frames, _ = pairs_of(objects)
        grids = grids_of(case_b.tensors[f"in.masks.{sample}"], 5)
        pooled = pool(case_b.tensors["in.feats"][frames], grids.flatten(1))
        reference = case_b.tensors[f"mid.pooled.{sample}"]
        assert float((pooled - reference).abs().max()) < FP32 * max(float(reference.abs().max()), 1), sample
    assert case_b.tensors["mid.pooled.2"][2].eq(0).all(), "the case shows an empty mask"


@torch.no_grad()
def test_rows_are_merged_as_the_reference_merges_them(case_b):
    pooled = case_b.tensors["mid.pooled.0"][:6]
    merged, there = merge(pooled[None], torch.ones(1, 6, dtype=torch.bool), tokens=4)
    assert there.all()
    assert error(merged, case_b.tensors["mid.merged.0.obj0"]) < FP32


@torch.no_grad()
def test_the_region_encoder_gives_the_references_tokens_and_counts(case_b):
    encoder = RegionEncoder(vision_width=48, width=64, tokens=4)
    encoder.load_state_dict(case_b.weights())
    frames, places = pairs_of([own for objects in case_b.about["ann_indices"] for own in objects])
    grids = torch.cat([grids_of(case_b.tensors[f"in.masks.{sample}"], 5) for sample in range(3)])
    tokens, there = encoder(case_b.tensors["in.feats"], frames, grids, places)
    assert there.sum(1).tolist() == case_b.about["region_token_nums"]
    assert error(tokens[there], case_b.tensors["out.tokens"]) < FP32


# ------------------------------------------------------------------------------------------ c: the segmentation head


@pytest.fixture(scope="module")
def sam2_weights(golden):
    return golden("sam2_tiny_weights").tensors


UNUSED_OF_SAM2 = ("maskmem_tpos_enc", "no_mem_pos_enc", "mask_downsample.", "sam_prompt_encoder.mask_downscaling.")
"""Not in the golden weights; they take no part without memory and mask prompts."""


def load(module, weights, our_name, prefix=""):
    """Load weights of the release's names; only what is known to be unused may be missing, nothing may be left over."""
    renamed = {our_name(name).removeprefix(prefix): tensor for name, tensor in weights.items()}
    missing, unexpected = module.load_state_dict(renamed, strict=False)
    assert not unexpected
    assert all(name.split("sam2.")[-1].startswith(UNUSED_OF_SAM2) for name in missing), missing
    assert len(missing) == 14
    return module


@pytest.fixture(scope="module")
def case_c(golden):
    return golden("c_seg_projection_sam2_decode")


@pytest.fixture(scope="module")
def head(case_c, sam2_weights, our_name):
    return load(SegmentationHead(CONFIG), case_c.weights() | sam2_weights, our_name, prefix="segmentation.")


@pytest.fixture(scope="module")
def pairs_c(case_c):
    """Row in the reference, frame among the 12 and prompt among the 3, of each real pair: frame-major in a sample.

    A sample without ``[SEG]`` costs the reference four rows of a zero prompt, which we do not decode.
    """
    row, prompt, pairs = 0, 0, []
    for sample, objects in enumerate(case_c.about["config"]["obj_num_list"]):
        for t in range(4):
            pairs += [(row + t * objects + o, 4 * sample + t, prompt + o) for o in range(objects)]
        row, prompt = row + 4 * max(objects, 1), prompt + objects
    return tuple(torch.tensor(column) for column in zip(*pairs, strict=True))


@pytest.fixture(scope="module")
def decoded_c(case_c, head, pairs_c):
    """(levels of the 12 frames, prompts, low-res masks, ious, masks) of the head's own steps."""
    _, frames, objects = pairs_c
    with torch.no_grad():
        images = case_c.tensors["in.images_sam"].flatten(0, 1)
        levels = head.features(images)
        prompts = head.project(case_c.tensors["in.hidden"])
        low_res, ious = head.decode([level[frames] for level in levels], prompts[objects])
        return levels, prompts, low_res, ious, head(case_c.tensors["in.hidden"], images, frames, objects)


def test_states_become_the_references_prompts(case_c, decoded_c, pairs_c):
    rows, _, objects = pairs_c
    prompts = decoded_c[1]
    assert error(prompts, case_c.tensors["out.pred_embeddings"]) < FP32
    assert error(prompts[objects], case_c.tensors["mid.language_embeddings"][rows, 0]) < FP32


def test_frames_become_the_references_three_levels(case_c, head, decoded_c):
    fine, middle, coarse = (level[:4] for level in decoded_c[0])
    assert error(fine, case_c.tensors["mid.fpn0"]) < SAM
    assert error(middle, case_c.tensors["mid.fpn1"]) < SAM
    no_memory = head.sam2.no_mem_embed.detach().reshape(1, -1, 1, 1)  # which the reference adds after this point
    assert error(coarse - no_memory, case_c.tensors["mid.fpn2"]) < SAM


def test_each_pair_gets_the_references_three_masks_and_scores(case_c, decoded_c, pairs_c):
    _, _, low_res, ious, _ = decoded_c
    assert error(low_res, case_c.tensors["out.low_res_multimasks"][pairs_c[0]]) < SAM
    assert error(ious, case_c.tensors["out.ious"][pairs_c[0]]) < SAM


def test_the_mask_of_the_best_score_is_taken(case_c, decoded_c, pairs_c):
    _, _, low_res, ious, masks = decoded_c
    best = ious.argmax(1)
    assert best.tolist() == case_c.tensors["out.ious"][pairs_c[0]].argmax(1).tolist()
    assert len(set(best.tolist())) > 1, "the case tells a choice from a constant"
    chosen = low_res[torch.arange(len(best)), best]
    assert error(chosen, case_c.tensors["out.low_res_masks"][pairs_c[0], 0]) < SAM
    assert error(masks, case_c.tensors["out.high_res_masks"][pairs_c[0], 0]) < SAM


def test_masks_are_enlarged_as_the_reference_enlarges_them(case_c):
    enlarged = upsampled(case_c.tensors["out.low_res_masks"][:, 0], 128)
    assert error(enlarged, case_c.tensors["out.high_res_masks"][:, 0]) < FP32


# ------------------------------------------------------------------------------------------ d: the whole model

COUNTS_D = Counts(16 + 18 + 10 + 79 + 7, 12)
"""The reference divides by its micro-batch: the supervised tokens of five rows, four masks and eight."""


@pytest.fixture(scope="module")
def case_d(golden):
    return golden("d_full_forward_loss")


def expanded(case, row: int, tokens_of_regions: list[int]) -> tuple[list[int], list[int], dict[int, int]]:
    """(ids, labels, {column: tokens} of each placeholder) of a row once its placeholders have their width."""
    ids, labels, spans = [], [], {}
    attended = case.tensors["in.attention_mask"][row]
    widths = iter(tokens_of_regions)
    for token, label in zip(
        case.tensors["in.input_ids"][row][attended].tolist(),
        case.tensors["in.labels"][row][attended].tolist(),
        strict=True,
    ):
        width = CONFIG.visual_tokens if token < 0 else next(widths) if token == REGION else 0
        if width:
            spans[len(ids)] = width
        ids += [PAD] * width or [token]
        labels += [IGNORED] * width or [label]
    assert next(widths, None) is None
    return ids, labels, spans


def batch_of(case) -> Batch:
    """Case d as our batch. Its dummy region objects, rows of text padding and dummy masks have no counterpart."""
    tensors, length = case.tensors, case.tensors["mid.attention_mask"].shape[1]
    clips, frames_of, masks_of, frame_counts = range(5), {1: [range(1, 7), [3]], 3: [[8], [8]]}, {0: 1, 3: 2}, 4
    assert {row: [list(own) for own in objects] for row, objects in frames_of.items()} == {
        row: objects for row, objects in enumerate(case.about["ann_indices_batch"]) if row in frames_of
    }
    num_tokens = case.about["region_token_nums"]
    assert num_tokens == [1, 4, 1, 1, 1, 1, 1]
    widths = {1: num_tokens[1:3], 3: num_tokens[4:6]}

    vision = [tensors[f"in.vision.{row}"] for row in clips]
    vision = [frames if frames.dim() == 4 else frames.expand(frame_counts, -1, -1, -1) for frames in vision]
    shown = torch.cat([tensors[f"in.frame.{row}"] for row in clips])
    objects = [list(own) for row in frames_of for own in frames_of[row]]
    region_frames, places = pairs_of(objects)
    grids = torch.cat([grids_of(tensors[f"in.region_masks.{row}"], CONFIG.grid) for row in frames_of])

    ids, attends = torch.full((5, length), PAD), torch.zeros(5, length, dtype=torch.bool)
    columns, slots, learned, segs, number = [], [], [], [], 0
    for row in clips:
        row_ids, labels, spans = expanded(case, row, widths.get(row, []))
        ids[row, : len(row_ids)], attends[row, : len(row_ids)] = torch.tensor(row_ids), True
        (column, _), *regions = spans.items()
        columns.append(column)
        for start, width in regions:
            slots += [(number, token, row, start + token) for token in range(width)]
            number += 1
        learned += [(row, i - 1, label) for i, label in enumerate(labels) if label != IGNORED]
        segs += [(row, i - 1) for i, label in enumerate(labels) if label == SEG]

    pairs = [(4 * clip + t, n) for clip, ns in enumerate(([0], [1, 2])) for t in range(4) for n in ns]
    slot, learned_columns, seg, pair = (torch.tensor(rows).T for rows in (slots, learned, segs, pairs))
    return Batch(
        keys=tuple(f"golden-{row}" for row in clips),
        ids_BL=ids,
        attends_BL=attends,
        frames_UHWC=torch.cat([*vision, shown]).permute(0, 2, 3, 1),
        clip_frame_VT=torch.arange(20).reshape(5, 4),
        clip_row_V=torch.arange(5),
        clip_column_V=torch.tensor(columns),
        region_frame_P=20 + region_frames,
        region_grid_PGG=grids,
        region_place_RF=places,
        slot_object_Q=slot[0],
        slot_token_Q=slot[1],
        slot_row_Q=slot[2],
        slot_column_Q=slot[3],
        learned_row_C=learned_columns[0],
        learned_column_C=learned_columns[1],
        label_C=learned_columns[2],
        seg_row_N=seg[0],
        seg_column_N=seg[1],
        mask_frames_SHWC=torch.cat([tensors["in.images_sam"][row] for row in masks_of]).permute(0, 2, 3, 1),
        mask_frame_M=pair[0],
        mask_object_M=pair[1],
        mask_weight_M=torch.ones(12),
        masks=tuple(mask for row in masks_of for mask in tensors[f"in.gt_masks.{row}"]),
    )


@dataclasses.dataclass(frozen=True)
class Step:
    """What our model makes of case d."""

    batch: Batch
    embeds_BLD: Tensor
    attends_BL: Tensor
    states_BLD: Tensor
    logits_CW: Tensor
    masks_MZZ: Tensor
    losses: Losses
    gradients: dict[str, Tensor]
    """Of all parameters that have one, by our names."""
    without: set[str]
    """Trainable parameters without any."""


@pytest.fixture(scope="module")
def step(case_d, sam2_weights, our_name):
    batch = batch_of(case_d)
    model = load(UFVideo(CONFIG), case_d.weights() | sam2_weights, our_name)
    model.train_parts()
    kept: dict[str, Any] = {}

    def keep(name):
        answer = getattr(model, name)
        return lambda *inputs: kept.setdefault(name, answer(*inputs))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("for_vision", "for_masks"):  # the case's frames are already normalised
            patch.setattr(ufvideo, name, lambda frames: frames.permute(0, 3, 1, 2))
        for name in ("embed", "read", "forward"):
            patch.setattr(model, name, keep(name))
        losses = model.loss(batch, COUNTS_D)
    losses.total.backward()
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    gradients = {name: parameter.grad for name, parameter in trainable.items() if parameter.grad is not None}
    return Step(
        batch,
        kept["embed"][0].detach(),
        kept["embed"][1],
        kept["read"].detach(),
        kept["forward"].logits_CW.detach(),
        kept["forward"].mask_logits_MZZ.detach(),
        losses,
        gradients,
        trainable.keys() - gradients.keys(),
    )


def test_the_batch_says_what_the_reference_made_of_the_samples(case_d, step):
    """No parity of the model: it keeps the tests below from comparing another batch."""
    assert step.batch.counts() == COUNTS_D
    labels = torch.full_like(case_d.tensors["mid.labels"], IGNORED)
    labels[step.batch.learned_row_C, step.batch.learned_column_C + 1] = step.batch.label_C
    assert torch.equal(labels, case_d.tensors["mid.labels"])
    segs = torch.stack((step.batch.seg_row_N, step.batch.seg_column_N), 1)
    assert torch.equal(segs, case_d.tensors["mid.seg_positions"])


def test_the_language_model_reads_what_the_references_reads(case_d, step):
    there = case_d.tensors["mid.attention_mask"]
    assert torch.equal(step.attends_BL, there)
    assert error(step.embeds_BLD[there], case_d.tensors["mid.inputs_embeds"][there]) < FP32
    for row, column in zip(step.batch.clip_row_V, step.batch.clip_column_V, strict=True):
        visual = step.embeds_BLD[row, column : column + CONFIG.visual_tokens]
        assert error(visual, case_d.tensors["mid.mm_features"][row]) < FP32
    regions = step.embeds_BLD[step.batch.slot_row_Q, step.batch.slot_column_Q]
    inserted = [1, 2, 3, 4, 5, 7, 8]  # of the ten rows; the others are the dummies of samples 0, 2 and 4
    assert error(regions, case_d.tensors["mid.region_tokens"][inserted]) < FP32


def test_states_and_logits_are_the_references(case_d, step):
    there = case_d.tensors["mid.attention_mask"]
    assert error(step.states_BLD[there], case_d.tensors["mid.last_hidden_state"][there]) < FP32
    first = step.batch.learned_row_C == 0
    reference = case_d.tensors["mid.logits_valid_sample0"][step.batch.learned_column_C[first]]
    assert error(step.logits_CW[first], reference) < FP32


def test_the_masks_are_the_references(case_d, step):
    rows = [*range(4), *range(12, 20)]  # of the 24; the others are the dummies of samples 1, 2 and 4
    assert error(step.masks_MZZ, case_d.tensors["mid.high_res_masks"][rows, 0]) < SAM


def test_every_loss_is_the_references(case_d, step):
    losses, reference = step.losses, case_d.about["losses"]
    assert float(losses.ce) == pytest.approx(reference["ce_loss"], abs=LOSS)
    assert 2 * float(losses.bce) == pytest.approx(reference["mask_bce_loss"], abs=LOSS)
    assert 0.5 * float(losses.dice) == pytest.approx(reference["mask_dice_loss"], abs=LOSS)
    assert float(losses.total.detach()) == pytest.approx(reference["loss"], abs=LOSS)


def test_the_ten_gradients_are_the_references(case_d, step, our_name):
    references = {name.removeprefix("grad."): t for name, t in case_d.tensors.items() if name.startswith("grad.")}
    assert len(references) == 10
    errors = {name: error(step.gradients[our_name(name)], reference) for name, reference in references.items()}
    assert max(errors.values()) < GRADIENT, errors


def test_the_norm_of_every_gradient_is_the_references(case_d, step, our_name):
    """An absolute bound, too: seven norms are zero in theory and rounding in practice, and 18 exactly zero."""
    references = {our_name(name): norm for name, norm in case_d.about["grad_norms"].items()}
    assert step.gradients.keys() == references.keys()
    assert step.without == set(map(our_name, case_d.about["trainable_without_grad"]))
    wrong = {
        name: (float(step.gradients[name].norm()), norm)
        for name, norm in references.items()
        if float(step.gradients[name].norm()) != pytest.approx(norm, rel=5e-3, abs=1e-6)
    }
    assert not wrong


# ------------------------------------------------------------------------------------------ without the golden folder


def small_batch(config: ModelConfig, noise) -> Batch:
    """Row 0: a video and two ``<Seg>`` on two frames. Row 1: a video and an object on six frames; eight tokens less."""
    visual, length = config.visual_tokens, config.visual_tokens + 24
    frames = (noise(2 * 4 + 6, config.image_size, config.image_size, 3, seed=1) + 1) * 127.5
    mask_frames = (noise(2, config.mask_image_size, config.mask_image_size, 3, seed=2) + 1) * 127.5
    places = torch.arange(length)
    learned = torch.tensor([(0, visual + i) for i in range(12, 22)] + [(1, visual + i) for i in range(8, 14)])
    return Batch(
        keys=("seg", "ref"),
        ids_BL=torch.stack((places * 7 % config.vocab_size, places * 11 % config.vocab_size)),
        attends_BL=torch.stack((places < length, places < length - 8)),
        frames_UHWC=frames.to(torch.uint8),
        clip_frame_VT=torch.arange(8).reshape(2, 4),
        clip_row_V=torch.arange(2),
        clip_column_V=torch.tensor([3, 2]),
        region_frame_P=torch.arange(8, 14),
        region_grid_PGG=noise(6, config.grid, config.grid, seed=3) > 0,
        region_place_RF=torch.arange(6)[None],
        slot_object_Q=torch.zeros(4, dtype=torch.int64),
        slot_token_Q=torch.arange(4),
        slot_row_Q=torch.ones(4, dtype=torch.int64),
        slot_column_Q=torch.arange(4) + visual + 3,
        learned_row_C=learned[:, 0],
        learned_column_C=learned[:, 1],
        label_C=torch.arange(16) * 5 % config.vocab_size,
        seg_row_N=torch.tensor([0, 0]),
        seg_column_N=torch.tensor([visual + 14, visual + 19]),
        mask_frames_SHWC=mask_frames.to(torch.uint8),
        mask_frame_M=torch.tensor([0, 0, 1, 1]),
        mask_object_M=torch.tensor([0, 1, 0, 1]),
        mask_weight_M=torch.tensor([1.0, 1.0, 1.0, 2.0]),
        masks=tuple((noise(48, 40, seed=seed) > 0.5).to(torch.uint8) for seed in range(4, 8)),
    )
