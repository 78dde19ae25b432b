"""Charades-STA: sentences and the seconds in which they happen, on the videos of Charades.

Citation: Gao et al., TALL: Temporal Activity Localization via Language Query (ICCV 2017).

The root holds::

    charades_sta_{train,test}.txt       lines "<video> <start s> <end s>##<sentence>"
    Charades_v1_480/<video>.mp4         (Charades_v1_{train,test}.csv lie beside it and are not needed)

Seconds are seconds of the video. Known faults: the end lies beyond the video in about one line of seven, by up to
1.5 s (it is cut to the duration); four lines of train start after they end; lines are repeated or paraphrased; the
frame rate differs from video to video; some copies separate with ``##`` after a space, or end lines in CRLF.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from converters.base import Converter, Item, MediaRef, RawClip, VideoFile, some_words
from converters.clip_table import ClipTable
from converters.release import Needed
from shards.record import Clip, Sample, Seconds, Source
from shards.skips import SkipItem, Skipped

VIDEOS: Final = "Charades_v1_480"
NUMBER: Final = re.compile(r"[+-]?(nan|inf|[0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)
"""What a float looks like; Python's own ``float`` would also read 1_000 and digits of other scripts."""


class CharadesSTA(Converter):
    name = "charades_sta"
    title = "Charades-STA: when does a sentence happen in an indoor video"
    citation = "Gao et al., TALL: Temporal Activity Localization via Language Query, ICCV 2017, arXiv:1705.02101"
    homepage = "https://github.com/jiyanggao/TALL"
    pictures = "charades"
    tasks = ("temporal_grounding",)
    splits = ("train", "test")

    def scan(self) -> Iterator[RawClip | Skipped]:
        for line in self.files.text(f"charades_sta_{self.split}.txt").split("\n"):
            if stripped := line.strip():
                video = stripped.split()[0].split("##")[0]
                key = self.key(video, hashlib.sha256(stripped.encode("utf-8")).hexdigest()[:8])
                try:
                    _parts(stripped)
                except SkipItem as skip:  # whether the video is there or not
                    yield Skipped(key, skip.reason, skip.detail)
                else:
                    yield RawClip(video, (Item(key, stripped),))

    def release(self) -> tuple[Needed, ...]:
        name = f"charades_sta_{self.split}.txt"
        return (
            Needed(
                path=name,
                what="sentences and their seconds",
                page="https://github.com/jiyanggao/TALL",
                archive=name,
                also=(f"annotations/{name}", f"charades_{self.split}.txt"),
                count={"train": 12_408, "test": 3_720}[self.split],
            ),
            Needed(
                path=VIDEOS,
                what="the videos of both splits, scaled to 480p",
                page="https://prior.allenai.org/projects/charades",
                archive="Charades_v1_480.zip",
                holds="*.mp4",
                media=True,
                also=("Charades_v1", "Charades/Charades_v1_480", "videos"),
                count=9_848,
            ),
        )

    def media(self, raw: RawClip) -> MediaRef:
        return VideoFile(VIDEOS, f"{raw.id}.mp4")

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        start, end, sentence = _parts(item.raw)
        return Sample(
            key=item.key,
            task="temporal_grounding",
            query=sentence,
            spans=(table.span(start, end),),
            source=Source(f"charades_sta_{self.split}.txt", item.key.rsplit("/", 1)[1]),
        )


def _parts(line: str) -> tuple[Seconds, Seconds, str]:
    """Start, end and sentence of a line; SkipItem for one of another shape."""
    times, separator, sentence = line.partition("##")
    fields = times.split()
    if not separator or len(fields) != 3:
        raise SkipItem("malformed", f"{line!r} is not '<video> <start> <end>##<sentence>'")
    if not (NUMBER.fullmatch(fields[1]) and NUMBER.fullmatch(fields[2])):
        raise SkipItem("malformed", f"{fields[1]!r} or {fields[2]!r} is not a number of seconds")
    return float(fields[1]), float(fields[2]), some_words(sentence, "the sentence")
