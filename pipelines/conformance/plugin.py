"""The pytest options of the kit, for a converter that is named on the command line.

    pytest -p pipelines.conformance.plugin --pyargs pipelines.conformance --converter kitchen:Kitchen

``python -m pipelines.conformance kitchen:Kitchen`` is short for it.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("multigrain", "the laws of converters")
    group.addoption("--converter", metavar="NAME", help="a name of `multigrain list`, or my_package.my_module:MyClass")
    group.addoption(
        "--world",
        metavar="MODULE:FUNCTION",
        help="what writes its worlds (default: the function `write` of <its module>_world; none for a bundled one)",
    )
    group.addoption("--goldens", type=Path, metavar="DIR", help="compare the records with the files in this folder")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a name that is no converter at once, and not in every test."""
    from converters.table import UnknownConverter
    from pipelines.conformance.writers import writer_of

    name = config.getoption("--converter")
    if name is not None:
        try:
            writer_of(name, config.getoption("--world"))
        except UnknownConverter as error:
            raise pytest.UsageError(str(error)) from None
