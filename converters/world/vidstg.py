"""VidSTG on VidOR as the releases lay them out: relations between objects, their times, and a box a frame.

``temporal_gt`` is half-open, ``used_segment`` has an inclusive end, and both count frames from 0. Every other clip
has a twin entry that repeats a relation and its caption without the questions, as the real release does.
"""

from pathlib import Path

from converters.world.raw import JsonFile, write_json
from converters.world.truth import Ledger
from converters.world.vidstg_entries import Film, entry_of, key_of, make_film, samples_of, vidor_of
from converters.world.vidstg_faults import write_faults


def write_vidstg(root: Path, clips: int, extra: int, seed: int, faults: bool, ledger: Ledger) -> None:
    """Writes ``annotations/`` and ``vidor/`` below ``root``."""
    for code, (split, count) in enumerate((("train", clips), ("val", extra), ("test", extra)), 2):
        vids: list[str] = []
        with JsonFile(root / "annotations" / f"{split}_annotations.json") as entries:
            for number in range(count):
                film = make_film(root, f"{code}{number:09}", f"{seed}/vidstg/{split}/{number}", number)
                write_json(root / film.annotation_path(split), vidor_of(film))
                _write_entries(entries, split, film, number, ledger)
                vids.append(film.vid)
            if faults and split == "train":
                vids += write_faults(root, entries, seed, ledger)
        write_json(root / "annotations" / f"{split}_files.json", vids)


def _write_entries(entries: JsonFile, split: str, film: Film, number: int, ledger: Ledger) -> None:
    for place, relation in enumerate(film.relations):
        entry = entry_of(film, relation, whole=(number + place) % 2 == 0, style=number + place)
        entries.append(entry)
        for sample in samples_of(split, film, entry):
            ledger.add(("vidstg", split), sample)
        if number % 2 == 1 and place == 0:
            entries.append(entry | {"questions": []})
            for query in entry["captions"]:
                ledger.skip(("vidstg", split), key_of(split, entry, query), "duplicate")
