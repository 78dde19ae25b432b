"""The conformance kit: the laws that every converter keeps, as one pytest class that any converter passes by name.

A converter of your own needs a function that writes a small raw release of its kind and says what must become of it
(``converters.world.expected`` shows one), and five lines:

    from kitchen_world import write
    from pipelines.conformance import ConverterLaws

    class TestKitchen(ConverterLaws):
        converter = "kitchen:Kitchen"
        write = write

or none, from the command line: ``python -m pipelines.conformance kitchen:Kitchen`` (``--world`` names the function
where it is not ``kitchen_world:write``). ``multigrain new`` writes all of it.

``suite.py`` is the list of the laws. Hypothesis draws worlds and faults; ``MULTIGRAIN_EXAMPLES`` says how many of them
a law tries (12), ``MULTIGRAIN_GOLDENS=write`` writes the goldens anew. Needs pytest and hypothesis.
"""

from converters.world.expected import Expected, World
from pipelines.conformance.suite import ConverterLaws

__all__ = ["ConverterLaws", "Expected", "World"]
