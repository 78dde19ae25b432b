"""Time and memory of a stream's plan, from index tables made up in memory.

.venv/bin/python bench/stream_plan.py --samples 1000000
"""

import argparse
import time
import tracemalloc

import pyarrow as pa

from shards.index import SAMPLES_SCHEMA
from shards.mixture import Mixture, Source, plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    count = parser.parse_args().samples
    table = index_of(count)
    sources = tuple(Source("memory", entry=f"entry{n}") for n in range(5))
    weighted = tuple(Source("memory", entry=source.entry, weight=n + 1.0) for n, source in enumerate(sources))
    measure(f"repeat 1, {count:,} draws", table, Mixture(sources), None)
    measure(f"weights, {count:,} draws", table, Mixture(weighted), count // 64)


def index_of(count: int) -> pa.Table:
    columns = {
        "sample_key": pa.array([f"key/{i}" for i in range(count)]),
        "record_key": pa.array([f"record-{i // 5}" for i in range(count)]),
        "entry": pa.array([f"entry{i % 5}" for i in range(count)]),
    }
    for field in SAMPLES_SCHEMA:
        if field.name not in columns:
            blank = [] if pa.types.is_list(field.type) else ("" if field.type == pa.string() else 0)
            columns[field.name] = pa.array([blank] * count, field.type)
    return pa.table([columns[name] for name in SAMPLES_SCHEMA.names], SAMPLES_SCHEMA)


def measure(name: str, table: pa.Table, mixture: Mixture, steps: int | None) -> None:
    tables = [table] * len(mixture.sources)
    best = min(timed(tables, mixture, steps) for _ in range(3))
    tracemalloc.start()
    plan(tables, mixture, seed=1, batch_size=64, steps=steps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{name}: {best:.2f} s (best of 3), peak {peak / 1e6:.0f} MB")


def timed(tables: list[pa.Table], mixture: Mixture, steps: int | None) -> float:
    start = time.perf_counter()
    plan(tables, mixture, seed=1, batch_size=64, steps=steps)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
