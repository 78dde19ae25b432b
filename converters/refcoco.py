"""RefCOCO, RefCOCO+ and RefCOCOg: referring expressions for objects in COCO train2014 images.

Citation: Yu et al., Modeling Context in Referring Expressions (ECCV 2016) for RefCOCO/+; Mao et al., Generation and
Comprehension of Unambiguous Object Descriptions (CVPR 2016) for RefCOCOg; splits by Nagaraja et al. (umd).

The root is REFER's ``data`` folder::

    refcoco/{instances.json, refs(unc).p, refs(google).p}      refcoco+/{instances.json, refs(unc).p}
    refcocog/{instances.json, refs(umd).p, refs(google).p}     images/mscoco/images/train2014/COCO_train2014_*.jpg

Known faults: ``file_name`` of a ref ends in ``_<annotation id>.jpg`` and is no file, so the image is found by
``image_id`` in instances.json; ``raw`` is as typed, ``sent`` is the cleaned expression that every benchmark uses, and
the one taken here; several polygons are one object; a crowd is an uncompressed RLE; the google split of RefCOCOg
shares images between train and val. Where EXIF turns an image, the masks are taken to be of the picture as it is
shown, whose size instances.json must state. A mask that covers no pixel is a ``bad_mask``.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Final

from converters.base import (
    Converter,
    Item,
    MediaRef,
    Option,
    RawClip,
    StillFile,
    UnknownSplit,
    is_int,
    same_size,
    some_words,
)
from converters.clip_table import ClipTable
from converters.release import Needed
from shards.record import Clip, Sample, Source
from shards.rle import checked_area, from_coco
from shards.skips import SkipItem, Skipped

SPLIT_BY = "whose split of the images"
IMAGES = "images/mscoco/images/train2014"

Instances = dict[str, dict[str, Any]]
TABLES: Final = {"images": "image_id", "annotations": "ann_id"}
"""The tables of instances.json, and the field of a ref that names a row."""
KEPT: Final = {"images": ("file_name", "width", "height"), "annotations": ("image_id", "segmentation")}
"""What an item needs of a row; the file has ten times as much."""


class RefCOCO(Converter):
    name = "refcoco"
    title = "RefCOCO: referring expressions on COCO images"
    citation = "Yu et al., Modeling Context in Referring Expressions, ECCV 2016, arXiv:1608.00272"
    homepage = "https://github.com/lichengunc/refer"
    pictures = "coco"
    tasks = ("referring_segmentation",)
    splits = ("train", "val", "testA", "testB", "test")
    folder: ClassVar[str] = "refcoco"
    options: ClassVar[Mapping[str, Option]] = {
        "split_by": Option(SPLIT_BY, ("unc", "google")),
        "images": Option(f"another image folder than {IMAGES}"),
    }

    def scan(self) -> Iterator[RawClip | Skipped]:
        refs_file = self._refs_file()
        refs = self.files.pickle(refs_file)
        if not isinstance(refs, list) or not refs:
            raise self.files.unreadable(refs_file, "is not REFER's list of refs, or has none")
        found = {str(ref.get("split")) for ref in refs if isinstance(ref, dict)}
        if self.split not in found:
            splits = ", ".join(sorted(found)) or "none"
            raise UnknownSplit(f"{self.root / refs_file} has no split {self.split!r}; it has {splits}")
        instances = self._instances(refs)
        for position, ref in enumerate(refs):
            if isinstance(ref, dict) and ref.get("split") in self.splits and ref["split"] != self.split:
                continue
            sentences = ref.get("sentences") if isinstance(ref, dict) else None
            if not isinstance(ref, dict) or not isinstance(sentences, list) or not sentences:
                yield Skipped(self.key(f"@{position}"), "malformed", "the ref has no sentences")
            elif ref.get("split") != self.split:
                yield Skipped(self.key(f"@{position}"), "malformed", f"split {ref.get('split')!r} is unknown")
            else:
                yield from self._broken(ref, position)
                yield self._clip(ref, instances)

    def _refs_file(self) -> str:
        return f"{self.folder}/refs({self.chosen['split_by']}).p"

    def _instances(self, refs: list[Any]) -> Instances:
        """The rows of instances.json that this split's refs name."""
        ours = [ref for ref in refs if isinstance(ref, dict) and ref.get("split") == self.split]
        wanted = {table: {str(ref.get(field)) for ref in ours} for table, field in TABLES.items()}
        found: Instances = {table: {} for table in TABLES}
        for table, row in self.files.rows(f"{self.folder}/instances.json", *TABLES):
            id = str(row["id"]) if isinstance(row, dict) and is_int(row.get("id")) else ""
            if id in wanted[table]:
                kept = {key: row.get(key) for key in KEPT[table]}
                same = found[table].setdefault(id, kept) == kept
                found[table][id] = kept if same else {**dict.fromkeys(kept), "twice": True}
        return found

    def _broken(self, ref: dict[str, Any], position: int) -> Iterator[Skipped]:
        """The sentences that have no key: of a ref without id, or no objects."""
        for number, sentence in enumerate(ref["sentences"]):
            if not _has_key(ref, sentence):
                words = "the ref has no ref_id, or the sentence is not an object"
                yield Skipped(self.key(f"@{position}-{number}"), "malformed", words)

    def _clip(self, ref: dict[str, Any], instances: Instances) -> RawClip:
        image_id, ann_id = str(ref.get("image_id")), str(ref.get("ann_id"))
        items = tuple(
            Item(
                self.key(f"{ref['ref_id']}-{sentence.get('sent_id')}"),
                {"image_id": image_id, "ann_id": ann_id} | {key: sentence.get(key) for key in ("sent", "sent_id")},
            )
            for sentence in ref["sentences"]
            if _has_key(ref, sentence)
        )
        shared = {
            "image": instances["images"].get(image_id),
            f"annotation {ann_id}": instances["annotations"].get(ann_id),
        }
        return RawClip(image_id, items, shared)

    def release(self) -> tuple[Needed, ...]:
        page, archive = "https://github.com/lichengunc/refer", f"{self.folder}.zip"
        return (
            Needed(self._refs_file(), "referring expressions and their split", page, archive),
            Needed(f"{self.folder}/instances.json", "the COCO annotations they point to", page, archive),
            Needed(
                path=self.chosen["images"] or IMAGES,
                what="COCO's training images of 2014",
                page="https://cocodataset.org/#download",
                archive="train2014.zip",
                holds="*.jpg",
                media=True,
                also=("train2014", "images/train2014", "mscoco/images/train2014", "images/mscoco/train2014"),
                count=82_783,
                option="images",
            ),
        )

    def media(self, raw: RawClip) -> MediaRef:
        name = _row(raw.shared["image"], f"image {raw.id}")["file_name"]
        if not isinstance(name, str):
            raise SkipItem("missing_annotation", f"image {raw.id} has no file_name in instances.json")
        return StillFile(self.chosen["images"] or IMAGES, name)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        query = some_words(item.raw["sent"], "the sentence")
        if not is_int(item.raw["sent_id"]):
            raise SkipItem("malformed", f"sent_id is {item.raw['sent_id']!r}, not a number")
        ann_id = item.raw["ann_id"]
        annotation = _row(raw.shared[f"annotation {ann_id}"], f"annotation {ann_id}")
        if annotation["segmentation"] is None:
            raise SkipItem("missing_annotation", f"annotation {ann_id} has no segmentation in instances.json")
        if str(annotation["image_id"]) != raw.id:
            raise SkipItem("malformed", f"annotation {ann_id} is of image {annotation['image_id']}, not {raw.id}")
        image = raw.shared["image"]
        same_size(image["width"], image["height"], clip, f"image {raw.id} in instances.json")
        return Sample(
            key=item.key,
            task="referring_segmentation",
            query=query,
            targets=((table.masklet(ann_id, partial(_mask, ann_id, annotation["segmentation"], clip)),),),
            source=Source(self._refs_file(), item.key.rsplit("/", 1)[1]),
        )


class RefCOCOPlus(RefCOCO):
    name = "refcoco_plus"
    title = "RefCOCO+: referring expressions without words of place"
    folder = "refcoco+"
    options: ClassVar[Mapping[str, Option]] = {**RefCOCO.options, "split_by": Option(SPLIT_BY, ("unc",))}


class RefCOCOg(RefCOCO):
    name = "refcocog"
    title = "RefCOCOg: longer referring expressions"
    citation = (
        "Mao et al., Generation and Comprehension of Unambiguous Object Descriptions, CVPR 2016, arXiv:1511.02283"
    )
    folder = "refcocog"
    options: ClassVar[Mapping[str, Option]] = {**RefCOCO.options, "split_by": Option(SPLIT_BY, ("umd", "google"))}


def _mask(ann_id: str, segmentation: Any, clip: Clip) -> dict[int, str]:
    counts = from_coco(segmentation, clip.height, clip.width)
    if not checked_area(counts, clip.height, clip.width):
        raise SkipItem("bad_mask", f"the segmentation of annotation {ann_id} covers no pixel of the image")
    return {0: counts}


def _row(row: dict[str, Any] | None, what: str) -> dict[str, Any]:
    if row is None:
        raise SkipItem("missing_annotation", f"{what} is not in instances.json")
    if "twice" in row:
        raise SkipItem("malformed", f"{what} stands twice in instances.json, in two different ways")
    return row


def _has_key(ref: dict[str, Any], sentence: Any) -> bool:
    return is_int(ref.get("ref_id")) and isinstance(sentence, dict)
