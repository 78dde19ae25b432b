"""``python -m pipelines.conformance NAME``: pytest with the laws of one converter; further words are pytest's."""

import subprocess
import sys

USAGE = "usage: python -m pipelines.conformance CONVERTER [--world MODULE:FUNCTION] [--goldens DIR] [pytest's options]"


def main(argv: list[str]) -> int:
    """The exit code of pytest, which runs in a process of its own; 2 where no converter is named."""
    if not argv or argv[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    kit = ["-p", "pipelines.conformance.plugin", "--pyargs", "pipelines.conformance", "--converter", argv[0]]
    return subprocess.call([sys.executable, "-m", "pytest", *kit, *argv[1:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
