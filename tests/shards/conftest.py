"""A finished corpus of every kind of clip."""

import shutil
from pathlib import Path

import pytest

from tests.shards.small_corpus import SKIPPED, Item, small_items, write_corpus


@pytest.fixture(scope="session")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """The records of the small corpus and their media; not to be changed on disk."""
    return small_items(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Path:
    """The small corpus, for reading only."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), items, SKIPPED)


@pytest.fixture
def corpus(tmp_path: Path, pristine: Path) -> Path:
    """A copy of the small corpus, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "corpus"))
