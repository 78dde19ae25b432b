"""One file per task; this table is the whole registration of a new one.

A template yields the conversations of a sample, wording 0 first, each a different way to say the same facts,
without the media placeholder; it may yield equal ones, which ``render`` drops.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from shards.record import Turns
from templates.material import Material
from templates.tasks import (
    global_qa,
    referring_description,
    referring_qa,
    referring_segmentation,
    spatio_temporal_grounding,
    temporal_grounding,
)

Template = Callable[[Material], Iterator[Turns]]

TASKS_WITH_TEMPLATES: Final[Mapping[str, Template]] = {
    "global_qa": global_qa.conversations,
    "referring_description": referring_description.conversations,
    "referring_qa": referring_qa.conversations,
    "referring_segmentation": referring_segmentation.conversations,
    "temporal_grounding": temporal_grounding.conversations,
    "spatio_temporal_grounding": spatio_temporal_grounding.conversations,
}
