"""The laws for the converter that ``--converter`` names; collected by ``--pyargs pipelines.conformance``."""

import pytest

from pipelines.conformance.suite import ConverterLaws, Tried
from pipelines.conformance.writers import writer_of


class TestNamed(ConverterLaws):
    @pytest.fixture(scope="class")
    @classmethod
    def worlds(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tried:
        name = request.config.getoption("--converter", None)
        if name is None:
            pytest.skip("name a converter: python -m pipelines.conformance my_package.my_module:MyConverter")
        cls.converter, cls.goldens = name, request.config.getoption("--goldens")
        return cls.tried(tmp_path_factory.mktemp("laws"), writer_of(name, request.config.getoption("--world")))
