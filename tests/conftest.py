"""Hypothesis for all tests: no deadline, since a busy machine must not fail a law; the same examples in every CI run.

Elsewhere the examples are fresh each time, and a failing one is kept and tried again.
"""

import os

from hypothesis import settings

settings.register_profile("developer", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")
