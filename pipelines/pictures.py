"""Which picture a clip shows, as an id that is the same wherever its owner's file is used.

Many datasets annotate the same clips: COCO image 123456 is ``COCO_train2014_000000123456.jpg`` for one and
``train2017/000000123456.jpg`` for another. A *family* is one owner's clips, within which a file name is an id. It is
named by a folder of the path, else by the converter (``pictures``); a clip of no family is known by its dataset and
whole path.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute

Array = np.ndarray[Any, Any]
pc: Any = pyarrow.compute  # its functions are made when it is imported, so type checkers do not know them

FOLDERS: Final = {
    "coco": r"(ms)?coco|(train|val|test)20(14|15|17)",
    "charades": r"charades(_v1)?(_480)?",
    "vidor": r"vidor",
    "mevis": r"mevis",
    "davis": r"davis(20)?(16|17)?",
}
"""Family → its folders, in any case, as the official releases and the common layouts of mixtures name them."""

BEFORE_NAME: Final = r"^.*/"
SUFFIX: Final = r"(?i)\.(mp4|webm|mkv|avi|mov|jpe?g|png)$"
LAST_NUMBER: Final = r"^(?:.*[^0-9])?0*([0-9]+)$"
"""COCO numbers its images over all years: 2014, 2015 and 2017 deal the same ones to other splits."""


def picture_ids(sources: pa.Array, dataset: str, declared: str | None) -> pa.Array:
    """``<family>:<id>`` of each clip of a dataset by its ``source``; null where that is empty or null.

    ``declared`` is the converter's ``pictures``, None in manifests of older versions.
    """
    last = pc.replace_substring_regex(sources, BEFORE_NAME, "")
    names = pc.replace_substring_regex(last, SUFFIX, "")
    ids = _prefixed(declared, _within(declared, names)) if declared else _prefixed(dataset, sources)
    for family, folder in reversed(FOLDERS.items()):
        inside = pc.match_substring_regex(sources, rf"(?i)(^|/)({folder})/")
        ids = pc.if_else(inside, _prefixed(family, _within(family, names)), ids)
    return pc.if_else(pc.equal(sources, ""), pa.scalar(None, pa.string()), ids)


def _within(family: str, names: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(names, LAST_NUMBER, r"\1") if family == "coco" else names


def _prefixed(family: str, ids: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(family, ids, ":")
