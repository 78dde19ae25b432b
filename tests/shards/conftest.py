"""A finished corpus of every kind of clip; Hypothesis without a deadline: a busy machine must not fail a law."""

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.shards.small_corpus import SKIPPED, Item, small_items, write_corpus

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


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
