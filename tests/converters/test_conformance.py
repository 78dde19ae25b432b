"""The bundled converters keep the laws of every converter; their goldens were read by a person.

After a change that is meant: ``MULTIGRAIN_GOLDENS=write pytest tests/converters/test_conformance.py -k read``.
"""

from pathlib import Path

from pipelines.conformance import ConverterLaws

GOLDEN = Path(__file__).parent / "golden"


class Bundled(ConverterLaws):
    goldens = GOLDEN


class TestRefCOCO(Bundled):
    converter = "refcoco"


class TestRefCOCOPlus(Bundled):
    converter = "refcoco_plus"


class TestRefCOCOg(Bundled):
    converter = "refcocog"


class TestMeViS(Bundled):
    converter = "mevis"


class TestVideoRefer(Bundled):
    converter = "videorefer"


class TestCharadesSTA(Bundled):
    converter = "charades_sta"


class TestVidSTG(Bundled):
    converter = "vidstg"
