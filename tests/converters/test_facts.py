"""Every fact of every converter against a world whose truth is known from its scenes, faults included.

The whole way is walked: raw release → scan → convert → render → shard → index → reader.
"""

import numpy as np
import pytest

from converters.world import write_world
from converters.world.charades import key_of
from pipelines.build import build
from pipelines.recipe import load_recipe
from shards.manifest import read_skipped
from shards.reader import Corpus
from shards.record import Record, Sample
from shards.rle import decode
from shards.verify import verify

ROOTS = {"refcoco": "refer", "refcoco_plus": "refer", "refcocog": "refer"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return write_world(folder / "raw", clips=5, seed=11, faults=True)


def entries_of(world, google: bool):
    return [entry for entry in world.samples if (len(entry) == 3) == google]


def recipe_of(world, entries) -> str:
    tables = ["[corpus]\nname = 'facts'\nmax_skip_share = 1.0\nmax_missing_share = 1.0\nwordings = 1\n"]
    for converter, split, *split_by in entries:
        options = {"split_by": split_by[0]} if split_by else {}
        if (converter, split) == ("videorefer", "train"):
            options = {"subset": ["short_caption", "detailed_caption", "qa"]}
        root = world.root / ROOTS.get(converter, converter)
        words = ", ".join(f"{key} = {value!r}" for key, value in options.items())
        tables.append(
            f"[[dataset]]\nname = '{'-'.join([converter, split, *split_by])}'\nconverter = '{converter}'\n"
            f"root = '{root}'\nsplit = '{split}'\noptions = {{ {words} }}\n"
        )
    return "\n".join(tables)


@pytest.fixture(scope="module", params=[False, True], ids=["default", "google"])
def corpus(request, world, tmp_path_factory):
    """(corpus, the truth's entries that it was built from)."""
    folder = tmp_path_factory.mktemp("facts")
    entries = entries_of(world, request.param)
    (folder / "facts.toml").write_text(recipe_of(world, entries))
    built = build(load_recipe(folder / "facts.toml"), folder / "corpus", workers=0)
    return Corpus.open(built.corpus), entries


def found_samples(corpus: Corpus, name: str) -> dict[str, tuple[Record, Sample]]:
    records = [record for record, _ in corpus if record.entry == name]
    return {sample.key: (record, sample) for record in records for sample in record.samples}


def test_the_corpus_verifies(corpus):
    assert verify(corpus[0].root).faults == ()


def test_exactly_the_true_samples_are_there(corpus, world):
    for entry in corpus[1]:
        assert set(found_samples(corpus[0], "-".join(entry))) == set(world.samples[entry]), entry


def test_every_other_item_is_a_skip_with_the_true_reason(corpus, world):
    lines = read_skipped(corpus[0].root)
    for entry in corpus[1]:
        ours = [line for line in lines if line["entry"] == "-".join(entry)]
        found = {line["key"]: line["reason"] for line in ours}
        assert len(found) == len(ours)
        # Items too broken to have a key are named by their place in the file; the world does not foresee that name.
        placed = {key: found.pop(key) for key in list(found) if "/@" in key}
        assert set(placed.values()) <= {"malformed"}
        assert found == dict(world.skips[entry]), entry
    assert all(line["detail"] for line in lines)


def test_the_world_has_faults_of_every_kind_that_media_and_annotations_can_have(world):
    reasons = {reason for skips in world.skips.values() for reason in skips.values()}
    assert reasons >= {
        "missing_media", "bad_media", "missing_annotation", "malformed", "unsafe_path", "bad_mask", "size_mismatch",
        "bad_frame", "bad_span", "bad_box", "empty_tube", "empty_region", "region_count", "duplicate", "key_conflict",
    }  # fmt: skip


def pairs(corpus, world):
    for entry in corpus[1]:
        found = found_samples(corpus[0], "-".join(entry))
        for key, true in world.samples[entry].items():
            yield *found[key], true


def test_the_clips_are_the_true_clips(corpus, world):
    for record, _, true in pairs(corpus, world):
        clip = record.clip
        assert (clip.kind, clip.width, clip.height) == (true.clip.kind, true.clip.width, true.clip.height)
        assert clip.num_frames == true.clip.num_frames
        assert (clip.fps is None) == (clip.duration is None) == (true.clip.fps is None)
        if true.clip.fps is not None:
            assert clip.fps == pytest.approx(true.clip.fps, rel=1e-6)
            assert clip.duration == pytest.approx(true.clip.duration, rel=1e-6)
        assert true.clip.source.endswith(clip.source)


def test_spans_that_were_cut_to_the_clip_are_counted(corpus, world):
    if ("charades_sta", "train") not in corpus[1]:
        pytest.skip("this corpus is of the google splits")
    lines = (world.root / "charades_sta" / "charades_sta_train.txt").read_text().splitlines()
    samples = world.samples["charades_sta", "train"]
    good = {key: line for line in lines if (key := key_of("train", line)) in samples}
    late = [key for key, line in good.items() if float(line.split("##")[0].split()[2]) > samples[key].clip.duration]
    adjusted = {entry["entry"]: entry["adjusted"] for entry in corpus[0].manifest["entries"]}
    assert adjusted["charades_sta-train"] == {"end_cut": len(late)}
    assert len(late) > 3
    assert adjusted["mevis-train"] == {}


def test_the_words_are_the_annotators_words(corpus, world):
    for _, sample, true in pairs(corpus, world):
        assert (sample.task, sample.query, sample.answer) == (true.task, true.query, true.answer), sample.key
        assert (sample.dialogue, sample.choices, sample.correct) == (true.dialogue, true.choices, true.correct)


def test_the_times_are_the_true_times(corpus, world):
    for _, sample, true in pairs(corpus, world):
        assert (sample.window is None) == (true.window is None), sample.key
        if true.window is not None:
            assert sample.window == pytest.approx(true.window, abs=1e-9)
        assert len(sample.spans) == len(true.spans)
        for span, true_span in zip(sample.spans, true.spans, strict=True):
            assert span == pytest.approx(true_span, abs=1e-9), sample.key


def test_the_targets_are_the_true_masks_united(corpus, world):
    checked = 0
    for record, sample, true in pairs(corpus, world):
        if true.targets is None:
            assert sample.targets is None
            assert [turn.role for turn in sample.turns] == ["user"]
            continue
        assert sample.targets is not None
        assert len(sample.targets) == len(true.targets)
        for number, (target, true_target) in enumerate(zip(sample.targets, true.targets, strict=True)):
            masklets = [record.masklets[index] for index in target]
            assert [set(masklet.rles) for masklet in masklets] == [set(masklet.rles) for masklet in true_target]
            for frame in masklets[0].rles if masklets else ():
                masks = [decode(m.rles[frame], record.clip.height, record.clip.width) for m in masklets]
                assert (np.any(masks, axis=0) == true.target_bitmap(number, frame)).all(), sample.key
                checked += 1
    assert checked > 50


def test_the_regions_are_the_true_objects_on_all_annotated_frames(corpus, world):
    for record, sample, true in pairs(corpus, world):
        assert len(sample.regions) == len(true.regions), sample.key
        for region, masklet in zip(sample.regions, true.regions, strict=True):
            assert region.frames == masklet.frames, sample.key
            rles = record.masklets[region.masklet].rles
            for frame in region.frames:
                size = record.clip.height, record.clip.width
                assert (decode(rles[frame], *size) == decode(masklet.rles[frame], *size)).all(), sample.key


def test_the_tubes_are_the_true_boxes(corpus, world):
    for record, sample, true in pairs(corpus, world):
        assert len(sample.tubes) == len(true.tubes)
        if not true.tubes:
            continue
        found = record.tubes[sample.tubes[0]].boxes
        assert {frame: found.get(frame) for frame in true.tube_boxes()} == true.tube_boxes(), sample.key
        assert dict(found).items() <= true.tubes[0].boxes.items()


def test_all_samples_of_a_clip_lie_in_its_one_record(corpus, world):
    for entry in corpus[1]:
        records: dict[str, set[str]] = {}
        for key, (record, _) in found_samples(corpus[0], "-".join(entry)).items():
            records.setdefault(world.samples[entry][key].clip.source, set()).add(record.key)
        assert all(len(keys) == 1 for keys in records.values())
