"""Other people's readers open the shards: the layout is WebDataset's."""

import json
from pathlib import Path

import pytest

from shards.record import from_json, to_dict
from tests.shards.small_corpus import Item


def expected(items: list[Item]) -> dict[str, tuple[object, dict[str, bytes]]]:
    """Key → the record and its media by suffix."""
    return {
        record.key: (record, {media.suffix[1:]: b"".join(media.chunks())} if media else {}) for record, media in items
    }


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_every_record(pristine: Path, items):
    webdataset = pytest.importorskip("webdataset")
    urls = sorted(str(path) for path in (pristine / "shards").glob("*.tar"))
    found = {sample["__key__"]: sample for sample in webdataset.WebDataset(urls, shardshuffle=False)}
    assert found.keys() == expected(items).keys()
    for key, (record, media) in expected(items).items():
        assert from_json(found[key]["json"]) == record
        assert {name: value for name, value in found[key].items() if name != "json" and name[0] != "_"} == media


@pytest.mark.parametrize("entry", ["pictures", "folders", "words"])
def test_hugging_face_datasets_reads_every_record(pristine: Path, items, tmp_path: Path, monkeypatch, entry):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    files = sorted(str(path) for path in (pristine / "shards").glob(f"{entry}-*.tar"))
    rows = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path))
    found = {row["__key__"]: row for row in rows}
    records = [record for record, _ in items if record.entry == entry]
    assert found.keys() == {record.key for record in records}
    for record in records:
        assert found[record.key]["json"]["key"] == record.key
        assert (
            found[record.key]["json"]["samples"][0]["turns"]
            == json.loads(json.dumps(to_dict(record)))["samples"][0]["turns"]
        )
