"""Faulty items of VideoRefer-700K, each at the end of the file of its subset."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from converters.world.media import truncate
from converters.world.raw import JsonFile
from converters.world.scene import Scene
from converters.world.truth import Ledger, TruthClip
from converters.world.videorefer_items import Item, Turns, best_frame, film, item_of, mark, sample_of
from shards import rle

SHORT: Final = "short_caption"
ASKED: Final = "<video>\nGive a short caption of <region>."
CAPTION: Final[Turns] = [(ASKED, "A thing.")]


def write_faults(root: Path, files: dict[str, JsonFile], seed: int, ledger: Ledger) -> None:
    """Adds faulty items to ``files`` (by subset), and one good clip that they talk about."""
    faults = _Faults(root, files, seed, ledger)
    faults.write_media()
    clip, video = film(root, 4, f"{seed}/videorefer/fault/good", "goodVideo00_0:00:00.000_0:00:02.000")
    faults.write_facts(clip.scene, video)
    faults.write_repeats(clip, video)


@dataclass(slots=True)
class _Faults:
    root: Path
    files: dict[str, JsonFile]
    seed: int
    ledger: Ledger

    def put(self, subset: str, reason: str, item: Item) -> None:
        item = {"id": self.files[subset].count} | item
        self.files[subset].append(item)
        self.ledger.skip(("videorefer", "train"), f"videorefer/train/{subset}/{item['id']}", reason)

    def write_media(self) -> None:
        gone: tuple[tuple[str, int, Callable[[Path], object]], ...] = (
            ("missing_media", 0, Path.unlink),
            ("bad_media", 1, truncate),
            ("bad_media", 2, lambda path: truncate(path, 0)),
            ("bad_media", 3, lambda path: truncate(path / "00001.jpg")),
        )
        for place, (reason, number, spoil) in enumerate(gone):
            clip, video = film(self.root, number, f"{self.seed}/videorefer/fault/{place}")
            spoil(self.root / clip.source)
            self.put(SHORT, reason, self._item(clip.scene, video))

    def _item(self, scene: Scene, video: str, turns: Turns = CAPTION, **changes: Any) -> Item:
        """An item about one object, without its id, with ``changes`` of its fields."""
        marked = mark(scene, 0, [best_frame(scene, 0)], "compressed")
        item = item_of(0, video, turns, [marked], None)
        del item["id"]
        return item | changes

    def write_facts(self, scene: Scene, video: str) -> None:
        self.put(SHORT, "unsafe_path", self._item(scene, "videos/../../../outside.mp4"))
        self.put(SHORT, "unsafe_path", self._item(scene, "/outside.mp4"))
        size = [scene.height, scene.width]

        def on_frame(segmentation: Any, frame: str = "0") -> Item:
            return self._item(scene, video, annotation=[{frame: {"segmentation": segmentation}}])

        good = {"size": size, "counts": rle.encode(scene.mask(0, best_frame(scene, 0)))}
        blank = {"size": size, "counts": rle.empty(*size)}
        two = [{"0": {"segmentation": good}}] * 2
        self.put(SHORT, "size_mismatch", on_frame({"size": [8, 8], "counts": rle.empty(8, 8)}))
        doubled = {"height": scene.height * 2, "width": scene.width * 2}
        square = [[4.0, 4.0, 40.0, 4.0, 40.0, 40.0, 4.0, 40.0]]
        self.put(SHORT, "size_mismatch", on_frame(square) | doubled)
        self.put(SHORT, "bad_mask", on_frame({"size": size, "counts": "~not an RLE~"}))
        self.put(SHORT, "bad_mask", on_frame({"size": size, "counts": [7, 10**9]}))
        self.put(SHORT, "bad_mask", on_frame([[1.0, 2.0, 3.0, 4.0]]))
        self.put("detailed_caption", "empty_region", on_frame(None))
        self.put("detailed_caption", "empty_region", on_frame(blank))
        self.put("detailed_caption", "bad_frame", on_frame(good, "9999"))
        self.put("detailed_caption", "bad_frame", on_frame(good, str(scene.num_frames)))
        self.put("qa", "region_count", self._item(scene, video, annotation=two))
        asked = [("<video>\nWhat are <region> and <region>?", "Two things.")]
        self.put("qa", "region_count", self._item(scene, video, turns=asked))
        self.put("qa", "malformed", self._without(scene, video, "conversations"))
        self.put("qa", "malformed", self._without(scene, video, "annotation"))
        self.put("qa", "malformed", self._item(scene, video, conversations=[]))

    def _without(self, scene: Scene, video: str, name: str) -> Item:
        item = self._item(scene, video)
        del item[name]
        return item

    def write_repeats(self, clip: TruthClip, video: str) -> None:
        """Two good items, then the first once more and the second with another answer."""
        files, reasons = self.files[SHORT], ("duplicate", "key_conflict")
        marked = mark(clip.scene, 0, [best_frame(clip.scene, 0)], "compressed")
        turns = [(ASKED, "A good thing.")]
        for reason in reasons:
            place = files.count
            files.append(item_of(place, video, turns, [marked], None))
            self.ledger.add(("videorefer", "train"), sample_of(SHORT, place, clip, turns, [marked]))
            again = turns if reason == "duplicate" else [(ASKED, "Something else.")]
            files.append(item_of(place, video, again, [marked], None))
            self.ledger.skip(("videorefer", "train"), f"videorefer/train/{SHORT}/{place}", reason)
