"""Kill builds at random moments, finish them, and compare every byte with a build that was left alone.

    .venv/bin/python bench/kills.py --kills 20 --clips 60

Each round starts a build of a generated world in a fresh place, sends SIGKILL to the driver again and again at random
moments (sometimes with Ray, sometimes without), lets the last attempt finish, and compares the corpora.
"""

import argparse
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from converters.world import write_world
from pipelines.demo import RECIPE

HERE = Path(__file__).parents[1]
FOR_PEOPLE = {"report.html", "build.json"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clips", type=int, default=60, help="per dataset")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_world(place / "raw", clips=args.clips, seed=1)
        (place / "five.toml").write_text(RECIPE)
        start = time.monotonic()
        subprocess.run(command(place, "clean", 0), cwd=HERE, check=True, stdout=subprocess.DEVNULL)
        whole = time.monotonic() - start
        print(f"a clean build takes {whole:.1f} s in one process", flush=True)
        kills = rounds = different = 0
        while kills < args.kills:
            kills += killed_build(place, whole, chance, args.kills - kills)
            different += not same(place / "clean", place / "killed")
            rounds += 1
            print(f"{kills} kills in {rounds} builds, {different} differ from the clean one", flush=True)
            shutil.rmtree(place / "killed")
    return 1 if different else 0


def command(place: Path, out: str, workers: int) -> list[str]:
    recipe, corpus = str(place / "five.toml"), str(place / out)
    changes = ["--set", "max_skip_share=0.5"]
    return [
        sys.executable,
        "-m",
        "pipelines.cli",
        "build",
        recipe,
        "--out",
        corpus,
        "--workers",
        str(workers),
        *changes,
    ]


def killed_build(place: Path, whole: float, chance: random.Random, most: int) -> int:
    """Kill one build up to three times, then let it finish; the number of kills that met a running build."""
    kills = 0
    for _ in range(min(most, chance.randint(1, 3))):
        workers = chance.choice([0, 0, 2])
        process = subprocess.Popen(
            command(place, "killed", workers),
            cwd=HERE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(0.3, whole + (6 if workers else 0)))
        if process.poll() is None:
            kills += 1
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(
        command(place, "killed", 0), cwd=HERE, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return kills


def same(one: Path, other: Path) -> bool:
    names = [sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (one, other)]
    names = [[name for name in found if name.name not in FOR_PEOPLE] for found in names]
    return names[0] == names[1] and all(filecmp.cmp(one / n, other / n, shallow=False) for n in names[0])


if __name__ == "__main__":
    sys.exit(main())
