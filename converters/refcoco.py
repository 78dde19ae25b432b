"""RefCOCO, RefCOCO+ and RefCOCOg: referring expressions for objects in COCO train2014 images.

Citation: Yu et al., Modeling Context in Referring Expressions (ECCV 2016) for RefCOCO/+; Mao et al., Generation and
Comprehension of Unambiguous Object Descriptions (CVPR 2016) for RefCOCOg; splits by Nagaraja et al. (umd).

The root is REFER's ``data`` folder::

    refcoco/{instances.json, refs(unc).p, refs(google).p}      refcoco+/{instances.json, refs(unc).p}
    refcocog/{instances.json, refs(umd).p, refs(google).p}     images/mscoco/images/train2014/COCO_train2014_*.jpg

Known faults: ``file_name`` of a ref ends in ``_<annotation id>.jpg`` and is no file, so the image is found by
``image_id`` in instances.json; ``raw`` is as typed, ``sent`` is the cleaned expression that every benchmark uses, and
the one taken here; several polygons are one object; a crowd is an uncompressed RLE; the google split of RefCOCOg
shares images between train and val.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

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
from shards.record import Clip, Sample, Source
from shards.rle import from_coco
from shards.skips import SkipItem, Skipped

SPLIT_BY = "whose split of the images"
IMAGES = "images/mscoco/images/train2014"


class RefCOCO(Converter):
    name = "refcoco"
    title = "RefCOCO: referring expressions on COCO images"
    citation = "Yu et al., Modeling Context in Referring Expressions, ECCV 2016, arXiv:1608.00272"
    homepage = "https://github.com/lichengunc/refer"
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
        instances = self.files.json(f"{self.folder}/instances.json")
        if not isinstance(refs, list) or not isinstance(instances, dict):
            raise self.files.unreadable(refs_file, "or its instances.json is not REFER's")
        annotations = _by_id(instances.get("annotations"))
        images = _by_id(instances.get("images"))
        found = {str(ref.get("split")) for ref in refs if isinstance(ref, dict)}
        if self.split not in found:
            splits = ", ".join(sorted(found)) or "none"
            raise UnknownSplit(f"{self.root / refs_file} has no split {self.split!r}; it has {splits}")
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
                yield self._clip(ref, annotations, images)

    def _refs_file(self) -> str:
        return f"{self.folder}/refs({self.chosen['split_by']}).p"

    def _broken(self, ref: dict[str, Any], position: int) -> Iterator[Skipped]:
        """The sentences that have no key: of a ref without id, or no objects."""
        for number, sentence in enumerate(ref["sentences"]):
            if not _has_key(ref, sentence):
                words = "the ref has no ref_id, or the sentence is not an object"
                yield Skipped(self.key(f"@{position}-{number}"), "malformed", words)

    def _clip(self, ref: dict[str, Any], annotations: dict[str, Any], images: dict[str, Any]) -> RawClip:
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
            "image": {key: images.get(image_id, {}).get(key) for key in ("file_name", "width", "height")},
            f"annotation {ann_id}": {key: annotations.get(ann_id, {}).get(key) for key in ("image_id", "segmentation")},
        }
        return RawClip(image_id, items, shared)

    def media(self, raw: RawClip) -> MediaRef:
        name = raw.shared["image"]["file_name"]
        if not isinstance(name, str):
            raise SkipItem("missing_annotation", f"image {raw.id} is not in instances.json")
        return StillFile(self.chosen["images"] or IMAGES, name)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        query = some_words(item.raw["sent"], "the sentence")
        if not is_int(item.raw["sent_id"]):
            raise SkipItem("malformed", f"sent_id is {item.raw['sent_id']!r}, not a number")
        ann_id = item.raw["ann_id"]
        annotation = raw.shared[f"annotation {ann_id}"]
        if annotation["segmentation"] is None:
            raise SkipItem("missing_annotation", f"annotation {ann_id} is not in instances.json")
        if str(annotation["image_id"]) != raw.id:
            raise SkipItem("malformed", f"annotation {ann_id} is of image {annotation['image_id']}, not {raw.id}")
        image = raw.shared["image"]
        same_size(image["width"], image["height"], clip, f"image {raw.id} in instances.json")
        counts = from_coco(annotation["segmentation"], clip.height, clip.width)
        return Sample(
            key=item.key,
            task="referring_segmentation",
            query=query,
            targets=((table.masklet(ann_id, {0: counts}),),),
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


def _by_id(rows: Any) -> dict[str, Any]:
    if not isinstance(rows, list):
        return {}
    return {str(row["id"]): row for row in rows if isinstance(row, dict) and is_int(row.get("id"))}


def _has_key(ref: dict[str, Any], sentence: Any) -> bool:
    return is_int(ref.get("ref_id")) and isinstance(sentence, dict)
