"""Real items of all five releases, counted by hand from the raw files. Skipped where they are not at hand."""

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest

from pipelines.build import build
from pipelines.recipe import load_recipe
from shards.manifest import read_skipped
from shards.reader import Corpus
from shards.rle import decode
from shards.verify import verify

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the mini-corpora are not beside the checkout")

ENTRIES = [
    *(("refcoco", "refer", split, "") for split in ("train", "val", "testA", "testB")),
    *(("refcoco_plus", "refer", split, "") for split in ("train", "val", "testA", "testB")),
    *(("refcocog", "refer", split, "") for split in ("train", "val", "test")),
    *(("mevis", "mevis", split, "") for split in ("train", "valid_u", "valid")),
    ("videorefer", "videorefer", "train", 'subset = ["short_caption", "detailed_caption", "qa"]'),
    *(("videorefer", "videorefer", split, "") for split in ("bench_d", "bench_q")),
    *(("charades_sta", "charades_sta", split, "") for split in ("train", "test")),
    *(("vidstg", "vidstg", split, "") for split in ("train", "val", "test")),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    tables = ["[corpus]\nmax_skip_share = 0.05\nmax_missing_share = 1.0\nwordings = 1\n"]
    for converter, root, split, options in ENTRIES:
        tables.append(
            f"[[dataset]]\nname = '{converter}-{split}'\nconverter = '{converter}'\nroot = '{CORPORA / root}'\n"
            f"split = '{split}'\noptions = {{ {options} }}\n"
        )
    (folder / "real.toml").write_text("\n".join(tables))
    return Corpus.open(build(load_recipe(folder / "real.toml"), folder / "corpus", workers=0).corpus)


def raw_json(path: str):
    return json.loads((CORPORA / path).read_bytes())


def counted_by_hand() -> Counter[str]:
    items: Counter[str] = Counter()
    for name, folder, by in (
        ("refcoco", "refcoco", "unc"),
        ("refcoco_plus", "refcoco+", "unc"),
        ("refcocog",) * 2 + ("umd",),
    ):
        refs = pickle.loads((CORPORA / f"refer/{folder}/refs({by}).p").read_bytes(), encoding="latin1")
        for ref in refs:
            items[f"{name}-{ref['split']}"] += len(ref["sentences"])
    for split in ("train", "valid_u", "valid"):
        videos = raw_json(f"mevis/{split}/meta_expressions.json")["videos"].values()
        items[f"mevis-{split}"] = sum(len(video["expressions"]) for video in videos)
    for part in ("short-caption-500k", "detailed-caption-125k", "qa-75k"):
        items["videorefer-train"] += len(raw_json(f"videorefer/VideoRefer-700K/videorefer-{part}.json"))
    for bench in "DQ":
        name = f"VideoRefer-Bench-{bench}"
        items[f"videorefer-bench_{bench.lower()}"] = len(raw_json(f"videorefer/{name}/{name}.json"))
    for split in ("train", "test"):
        lines = (CORPORA / f"charades_sta/charades_sta_{split}.txt").read_text().splitlines()
        items[f"charades_sta-{split}"] = sum(bool(line.strip()) for line in lines)
    for split in ("train", "val", "test"):
        entries = raw_json(f"vidstg/annotations/{split}_annotations.json")
        items[f"vidstg-{split}"] = sum(len(entry["captions"]) + len(entry["questions"]) for entry in entries)
    return items


def test_the_items_are_those_counted_by_hand(corpus):
    assert {entry["entry"]: entry["items"] for entry in corpus.manifest["entries"]} == counted_by_hand()


def test_every_difference_is_a_line_of_the_skips(corpus):
    lines = read_skipped(corpus.root)
    assert Counter((line["entry"], line["reason"]) for line in lines) == {
        ("charades_sta-train", "missing_media"): 2,  # AO8RW and LEOL6, absent on purpose
        ("vidstg-val", "duplicate"): 1,  # a twin entry repeats a caption
        ("vidstg-val", "missing_media"): 2,
        ("vidstg-test", "missing_media"): 4,
    }
    skipped = Counter(line["entry"] for line in lines)
    assert {name: count - skipped[name] for name, count in counted_by_hand().items()} == {
        entry["entry"]: entry["samples"] for entry in corpus.manifest["entries"]
    }


def test_the_corpus_verifies(corpus):
    assert verify(corpus.root).faults == ()


def test_a_mask_agrees_with_the_released_box(corpus):
    """LLaVA-ST's demo prompt gives annotation 589001 as x1, y1, x2, y2 over width and height."""
    _, record, sample = corpus.sample("refcoco/testB/108-1016")
    assert sample.targets is not None
    ys, xs = decode(record.masklets[sample.targets[0][0]].rles[0], record.clip.height, record.clip.width).nonzero()
    box = xs.min() / 640, ys.min() / 427, (xs.max() + 1) / 640, (ys.max() + 1) / 427
    assert box == pytest.approx((0.330, 0.038, 0.904, 0.916), abs=4 / 427)


def test_a_video_with_an_edit_list_has_the_frames_that_decode(corpus):
    _, record, _ = corpus.sample("videorefer/train/qa/2")
    assert record.clip.num_frames == 503  # 522 are declared


def test_ends_beyond_the_video_are_cut(corpus):
    ends = [
        corpus.sample(key)[2].spans[0][1] for key in corpus.samples.column("sample_key").to_pylist() if "0F7LW" in key
    ]
    duration = next(record.clip.duration for record, _ in corpus if record.clip.source.endswith("0F7LW.mp4"))
    assert sorted(ends)[-2:] == [duration, duration]  # two lines say 31.0 s
    assert duration == pytest.approx(187 / 6.105, rel=1e-6)
