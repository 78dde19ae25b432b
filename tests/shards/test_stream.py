"""The stream's laws: any ranks, any stop, any resume deliver the plan; what cannot be read is named, never replaced."""

import io
import json
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shards.index import (
    RECORDS_FILE,
    RECORDS_SCHEMA,
    SAMPLES_FILE,
    SAMPLES_SCHEMA,
    record_row,
    sample_rows,
    write_index,
)
from shards.manifest import CorpusError, sha256_of, write_manifest
from shards.mixture import Mixture, MixtureError, Source
from shards.reader import Corpus
from shards.record import FORMAT_VERSION, Clip, Record, Sample, Turn, to_json
from shards.record import Source as Origin
from shards.stream import Draw, StateError, Stream
from shards.writer import MediaFile, Placed, write_shard

WIDTH, HEIGHT = 16, 12
STILL = Clip("still", "picture.png", WIDTH, HEIGHT, 1, None, None)
FILES = {RECORDS_FILE: "aa", SAMPLES_FILE: "bb"}

# --------------------------------------------------------------------------------------- corpora in memory


def sample(key: str, wordings: int = 0) -> Sample:
    spoken = [(Turn("user", f"<image>\n{key}?"), Turn("assistant", f"answer {n}")) for n in range(wordings + 1)]
    return Sample(key, "global_qa", Origin("a.json", key), turns=spoken[0], wordings=tuple(spoken[1:]))


def record(entry: str, number: int, samples: int, wordings: int = 0) -> Record:
    told = tuple(sample(f"{entry}/train/{number}-{n}", wordings) for n in range(samples))
    return Record(f"{entry}-{number}", entry, entry, "train", "unknown", STILL, samples=told)


class Memory(Corpus):
    """A corpus of records that were never written; reads of the keys in ``broken`` fail."""

    def __init__(self, told: list[Record], files: dict[str, str] = FILES) -> None:
        place = Placed("", 0, 0, 0, None, None, None, [])
        records = pa.Table.from_pylist([record_row(r, "shards/x.tar", place) for r in told], RECORDS_SCHEMA)
        samples = pa.Table.from_pylist([row for r in told for row in sample_rows(r)], SAMPLES_SCHEMA)
        super().__init__(Path("memory"), {"name": "memory", "files": files}, records, samples)
        self.told, self.broken = told, set[str]()

    def record(self, row: int) -> Record:
        if self.told[row].key in self.broken:
            raise CorpusError("the json does not match its checksum")
        return self.told[row]


def memory(*sizes: int, wordings: int = 0) -> Memory:
    """Entries e0, e1, … with the given numbers of samples, up to three to a record."""
    told = []
    for e, size in enumerate(sizes):
        told += [record(f"e{e}", n, min(3, size - 3 * n), wordings) for n in range(-(-size // 3))]
    return Memory(told)


def opening(corpus: Corpus) -> Callable[[str | Path], Corpus]:
    return lambda path: corpus


def by_repeat(*repeats: int) -> Mixture:
    return Mixture(tuple(Source("c", entry=f"e{e}", repeat=k) for e, k in enumerate(repeats)))


def by_weight(*weights: float) -> Mixture:
    return Mixture(tuple(Source("c", entry=f"e{e}", weight=w) for e, w in enumerate(weights)))


def stream_of(corpus: Corpus, mixture: Mixture, **settings) -> Stream:
    return Stream(mixture, open_corpus=opening(corpus), **{"seed": 3, "batch_size": 4} | settings)


def key_of(draw: Draw) -> tuple:
    return draw.epoch, draw.step, draw.source, draw.repetition, draw.record.key, draw.sample.key


def planned(stream: Stream) -> list[tuple]:
    """What the plan says, over all epochs, from the keys alone."""
    keys = [key for epoch in range(stream.epochs) for key in stream.draws(epoch)]
    return [(k.epoch, k.step, k.source, k.repetition, k.record_key, *k.sample_keys) for k in keys]


# ------------------------------------------------------------------------------------- any ranks, any resume

legs = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 6)), max_size=5)


def run_in_legs(make: Callable[[int, int], Stream], legs: list[tuple[int, int]]) -> list[tuple]:
    """Deliver in legs of (world, steps), each begun from a state that any rank of the leg before wrote as JSON."""
    delivered: list[tuple] = []
    state = ""
    for world, steps in [*legs, (2, 10**9)]:
        ranks = [make(rank, world) for rank in range(world)]
        for stream in ranks if state else ():
            stream.load_state_dict(json.loads(state))
        for _ in range(steps):
            parts = [next(stream, None) for stream in ranks]
            if parts[0] is None:
                assert parts == [None] * world
                break
            assert None not in parts
            delivered += [key_of(draw) for part in parts for draw in part or ()]
        states = {json.dumps(stream.state_dict()) for stream in ranks}
        assert len(states) == 1
        state = states.pop()
    return delivered


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=3),
    st.integers(1, 6),
    st.integers(1, 3),
    legs,
)
def test_any_ranks_and_any_stops_deliver_exactly_the_plan_by_repeat(spec, batch_size, epochs, legs):
    sizes, repeats = zip(*spec, strict=True)
    corpus, mixture = memory(*sizes), by_repeat(*repeats)
    whole = stream_of(corpus, mixture, batch_size=batch_size, epochs=epochs)

    def make(rank: int, world: int) -> Stream:
        return stream_of(corpus, mixture, batch_size=batch_size, epochs=epochs, rank=rank, world=world)

    delivered = run_in_legs(make, legs)
    assert delivered == planned(whole)
    count = Counter((epoch, source, key) for epoch, _, source, _, _, key in delivered)
    assert set(count) == {
        (epoch, e, f"e{e}/train/{n // 3}-{n % 3}")
        for epoch in range(epochs)
        for e, size in enumerate(sizes)
        for n in range(size)
    }
    assert all(times == repeats[source] for (_, source, _), times in count.items())


@given(
    st.lists(st.tuples(st.integers(1, 9), st.floats(0.1, 10)), min_size=1, max_size=3),
    st.integers(1, 6),
    st.integers(1, 12),
    legs,
)
def test_any_ranks_and_any_stops_deliver_exactly_the_plan_by_weight(spec, batch_size, steps, legs):
    sizes, weights = zip(*spec, strict=True)
    corpus, mixture = memory(*sizes), by_weight(*weights)

    def make(rank: int, world: int) -> Stream:
        return stream_of(corpus, mixture, batch_size=batch_size, steps=steps, rank=rank, world=world)

    delivered = run_in_legs(make, legs)
    assert delivered == planned(make(0, 1))
    assert len(delivered) == steps * batch_size


def test_a_rank_without_draws_still_gets_its_step():
    ranks = [stream_of(memory(5), by_repeat(1), rank=rank, world=3) for rank in range(3)]
    assert [[len(step) for step in stream] for stream in ranks] == [[1, 0], [1, 0], [2, 1]]


def test_the_keys_of_a_rank_are_the_keys_of_what_it_gets():
    streams = [stream_of(memory(20, 7), by_repeat(1, 3), rank=1, world=3, epochs=2) for _ in range(2)]
    assert [key_of(draw) for step in streams[0] for draw in step] == planned(streams[1])


def test_the_keys_of_some_steps_are_a_part_of_the_keys_of_all(monkeypatch):
    monkeypatch.setattr("shards.stream.KEYS_AT_ONCE", 8)
    stream = stream_of(memory(20, 7), by_repeat(1, 3))
    everything = list(stream.draws(1))
    assert list(stream.draws(1, 2, 5)) == [key for key in everything if 2 <= key.step < 5]
    assert list(stream.draws(1, 8, 99)) == [key for key in everything if key.step >= 8]
    assert list(stream.draws(1, 99)) == []


def test_a_second_loop_goes_on_where_the_first_stopped():
    stream = stream_of(memory(20), by_repeat(1), epochs=2)
    first = [key_of(draw) for _, step in zip(range(3), stream, strict=False) for draw in step]
    rest = [key_of(draw) for step in stream for draw in step]
    assert [key[1] for key in first[::4]] == [0, 1, 2]
    assert first + rest == planned(stream)
    assert list(stream) == []


def test_the_state_after_the_last_step_of_an_epoch_is_the_next_epoch():
    stream = stream_of(memory(8), by_repeat(1), epochs=2)
    next(stream)
    assert (stream.state_dict()["epoch"], stream.state_dict()["step"]) == (0, 1)
    next(stream)
    assert (stream.state_dict()["epoch"], stream.state_dict()["step"]) == (1, 0)


def test_more_epochs_may_be_asked_for_on_resume():
    short, long = (stream_of(memory(8), by_repeat(1), epochs=epochs) for epochs in (1, 2))
    done = [key_of(draw) for step in short for draw in step]
    long.load_state_dict(short.state_dict())
    assert done + [key_of(draw) for step in long for draw in step] == planned(long)


def test_wordings_follow_one_another_and_begin_again():
    stream = stream_of(memory(1, wordings=2), by_repeat(4), batch_size=1, epochs=2)
    said = {draw.repetition: draw.turns[1].text for step in stream for draw in step}
    assert said == {r: f"answer {r % 3}" for r in range(8)}


# ------------------------------------------------------------------------------------------------- the state


def other_corpus() -> Memory:
    return Memory(memory(20, 7).told, FILES | {RECORDS_FILE: "other"})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda c: stream_of(c, by_repeat(1, 3), seed=4), "seed was 3, is 4"),
        (lambda c: stream_of(c, by_repeat(1, 3), batch_size=8), "batch_size was 4, is 8"),
        (lambda c: stream_of(c, by_repeat(1, 2)), "the mixture: `repeat` of source 2 was 3, is 2"),
        (lambda c: stream_of(c, by_repeat(1)), "the mixture had 2 sources, has 1"),
        (lambda c: stream_of(c, by_weight(1, 3), steps=9), "steps was None, is 9"),
        (lambda c: stream_of(other_corpus(), by_repeat(1, 3)), "the corpus of source 1 was memory@"),
    ],
)
def test_the_state_of_another_plan_is_refused_and_the_change_named(changed, words):
    corpus = memory(20, 7)
    state = json.loads(json.dumps(stream_of(corpus, by_repeat(1, 3)).state_dict()))
    with pytest.raises(StateError, match="another plan") as caught:
        changed(corpus).load_state_dict(state)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 99}, "version 99"),
        ({"step": 5}, "an epoch has 5 steps"),
        ({"step": "2"}, "step '2'"),
        ({"epoch": -1}, "epoch -1"),
        ({"fingerprint": "0" * 16}, "its fingerprint differs"),
    ],
)
def test_a_state_that_cannot_be_is_refused(change, words):
    stream = stream_of(memory(20), by_repeat(1))
    with pytest.raises(StateError, match=words):
        stream.load_state_dict(stream.state_dict() | change)
    with pytest.raises(StateError, match="lacks fingerprint"):
        stream.load_state_dict({k: v for k, v in stream.state_dict().items() if k != "fingerprint"})


def test_a_stream_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="rank 2 of 2"):
        stream_of(memory(3), by_repeat(1), rank=2, world=2)
    with pytest.raises(MixtureError, match="`epochs` is 0"):
        stream_of(memory(3), by_repeat(1), epochs=0)
    with pytest.raises(MixtureError, match="no entry|no sample has the entry"):
        stream_of(memory(3), by_repeat(1, 1))


# ------------------------------------------------------------------------------------------- what is damaged


def test_a_failed_read_stops_the_stream_where_it_is():
    corpus = memory(20)
    stream = stream_of(corpus, by_repeat(1))
    next(stream)
    bad = next(key for key in stream.draws() if key.step == 1).record_key
    corpus.broken.add(bad)
    for _ in range(2):
        with pytest.raises(CorpusError, match=f"shards/x.tar: record {bad} cannot be delivered: .*verify memory"):
            next(stream)
    corpus.broken.clear()
    assert {draw.step for draw in next(stream)} == {1}


def test_an_index_that_does_not_fit_the_shards_is_named():
    corpus = memory(2)
    stream = stream_of(corpus, by_repeat(1))
    corpus.told[0] = replace(corpus.told[0], samples=())
    with pytest.raises(CorpusError, match="record e0-0 does not hold the sample e0/train/0-"):
        next(stream)
    corpus.records = corpus.records.slice(1)
    with pytest.raises(CorpusError, match="a record that is not indexed"):
        next(stream_of(corpus, by_repeat(1)))


# ------------------------------------------------------------------------------------------ a corpus on disk


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two shards: five stills e0-0 … e0-4 of shade 10·n and a text e1-0; two samples each, three renderings."""
    root = tmp_path / "corpus"
    stills = [record("e0", n, 2, wordings=2) for n in range(5)]
    text = replace(record("e1", 0, 2, wordings=2), clip=Clip("none", "", 0, 0, 0, None, None))
    media: dict[str, MediaFile | None] = {text.key: None}
    for n, still in enumerate(stills):
        path = tmp_path / f"{n}.png"
        path.write_bytes(png(10 * n))
        media[still.key] = MediaFile(path, ".png", path.stat().st_size)
    records, samples = [], []
    for told in (stills, [text]):
        members = [(r.key, to_json(r), media[r.key]) for r in told]
        shard = write_shard(root, told[0].entry, 0, members, tmp_path / "scratch")
        records += [record_row(r, shard.path, placed) for r, placed in zip(told, shard.placed, strict=True)]
        samples += [row for r in told for row in sample_rows(r)]
    write_index(root / RECORDS_FILE, records, RECORDS_SCHEMA)
    write_index(root / SAMPLES_FILE, samples, SAMPLES_SCHEMA)
    files = {name: sha256_of(root / name) for name in (RECORDS_FILE, SAMPLES_FILE)}
    manifest = {"format": FORMAT_VERSION, "name": "small", "entries": [], "shards": [], "totals": {}, "files": files}
    write_manifest(root, manifest)
    return root


def disk_stream(corpus: Path, rank: int = 0, world: int = 1) -> Stream:
    mixture = Mixture((Source(corpus, entry="e0", repeat=2), Source(corpus, entry="e1")))
    return Stream(mixture, seed=5, batch_size=5, epochs=2, rank=rank, world=world)


@pytest.mark.parametrize("stop", [1, 4, 5, 7])
@pytest.mark.parametrize("worlds", [(1, 2), (2, 3), (3, 1)])
def test_a_corpus_on_disk_is_delivered_as_planned_over_a_stop_and_other_ranks(corpus, worlds, stop):
    delivered = run_in_legs(
        lambda rank, world: disk_stream(corpus, rank, world), [(worlds[0], stop), (worlds[1], 10**9)]
    )
    assert delivered == planned(disk_stream(corpus))
    assert len(delivered) == 2 * (2 * 10 + 2)


def test_what_is_delivered_is_what_was_written(corpus):
    for step in disk_stream(corpus):
        for draw in step:
            number = int(draw.record.key.partition("-")[2])
            assert draw.sample in draw.record.samples
            assert draw.turns[1].text == f"answer {draw.repetition % 3}"
            if draw.record.entry == "e1":
                assert draw.media() is None
                continue
            assert draw.media() == png(10 * number)
            first, again = draw.frames([0, 0])
            assert first.shape == (HEIGHT, WIDTH, 3)
            assert (first == 10 * number).all()
            assert (first == again).all()


def test_a_moved_corpus_is_the_same_corpus(corpus, tmp_path):
    before = disk_stream(corpus)
    next(before)
    corpus.rename(tmp_path / "elsewhere")
    after = disk_stream(tmp_path / "elsewhere")
    after.load_state_dict(before.state_dict())
    assert after.step == 1


def test_a_stream_travels_to_a_worker_process(corpus):
    stream = disk_stream(corpus)
    next(stream)
    copy = pickle.loads(pickle.dumps(stream))
    assert [key_of(draw) for draw in next(copy)] == [key_of(draw) for draw in next(stream)]


def test_a_frame_that_is_not_there_is_the_callers_mistake(corpus):
    draw = next(d for step in disk_stream(corpus) for d in step if d.record.entry == "e0")
    with pytest.raises(ValueError, match="frame 1 is not one of the 1 stored frames") as caught:
        draw.frames([0, 1])
    assert not isinstance(caught.value, CorpusError)


def damage(corpus: Path, key: str, member: str) -> str:
    """Flip the first byte of a record's JSON or media in its shard; returns the shard's path."""
    opened = Corpus.open(corpus)
    row = opened.row(key)
    shard = opened.records.column("shard")[row].as_py()
    at = opened.records.column(f"{member}_offset")[row].as_py()
    data = bytearray((corpus / shard).read_bytes())
    data[at] ^= 0xFF
    (corpus / shard).write_bytes(data)
    return shard


def test_a_damaged_record_is_named_with_its_shard(corpus):
    shard = damage(corpus, "e0-3", "json")
    stream = disk_stream(corpus)
    with pytest.raises(CorpusError, match="record e0-3 cannot be delivered: .* checksum") as caught:
        list(stream)
    assert shard in str(caught.value)
    at = stream.epoch, stream.step
    assert at == next((k.epoch, k.step) for k in stream.draws() if k.record_key == "e0-3")


def test_damaged_media_name_the_record_and_its_shard(corpus):
    shard = damage(corpus, "e0-3", "media")
    draw = next(d for step in disk_stream(corpus) for d in step if d.record.key == "e0-3")
    for read in (lambda: draw.frames([0]), draw.media):
        with pytest.raises(CorpusError, match="record e0-3 cannot be delivered") as caught:
            read()
        assert shard in str(caught.value)


def test_a_shard_that_was_cut_short_names_the_record(corpus):
    shard = next((corpus / "shards").glob("e1-*.tar"))
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(CorpusError, match=r"record e1-0 cannot be delivered: .*ends early"):
        list(disk_stream(corpus))
    shard.unlink()
    with pytest.raises(CorpusError, match=r"record e1-0 cannot be delivered: .*No such file"):
        list(disk_stream(corpus))


def test_a_folder_without_a_manifest_is_not_streamed(corpus):
    (corpus / "manifest.json").unlink()
    with pytest.raises(CorpusError, match="not a finished corpus"):
        disk_stream(corpus)
