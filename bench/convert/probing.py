"""What probing costs in earnest, on videos and stills that are given: real ones decode slower than made-up ones."""

from pathlib import Path

from bench.convert.media import plain_probe, probe_in_earnest, seconds_of


def probing_costs(path: Path) -> str:
    """A line on a video, a still, or a folder of frames; milliseconds of the processor, the best of three."""
    found = probe_in_earnest(path)
    ours, plain = seconds_of(probe_in_earnest, path), seconds_of(plain_probe, path)
    size = f"{found.width}x{found.height}, {found.num_frames} frames"
    return f"probing {path.name}: {size}, ours {ours * 1e3:,.1f} ms, plain {plain * 1e3:,.1f} ms"
