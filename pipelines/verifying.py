"""``multigrain verify``: the faults of a corpus, one line each."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from pipelines.progress import Progress
from shards.verify import verify

MOST_FAULTS = 50


def run_verify(corpus: Path, as_json: bool) -> int:
    with Progress().stage("verify", None) as bar:
        found = verify(corpus, lambda shards, total: bar.at(shards, f"of {total} shards"))
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        for fault in found.faults[:MOST_FAULTS]:
            print(f"multigrain: {fault}", file=sys.stderr)
        if len(found.faults) > MOST_FAULTS:
            print(f"multigrain: … and {len(found.faults) - MOST_FAULTS} more faults", file=sys.stderr)
        read = (
            f"{found.shards} shards, {found.records:,} records, {found.samples:,} samples, {found.bytes / 1e6:,.1f} MB"
        )
        print(f"{corpus}: {read}: {f'{len(found.faults)} faults' if found.faults else 'all right'}")
    return 1 if found.faults else 0
