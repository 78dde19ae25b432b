"""Spans as words: seconds become time tokens, relative to the sample's window."""

from shards.record import Span
from shards.tokens import taus_of, time_token
from templates.material import Material, listed


def window_of(material: Material) -> Span:
    """The part of the clip that τ counts in: the sample's window, or else the whole clip from second 0.

    Raises CannotRender where neither is known (a frame folder without a rate).
    """
    if material.sample.window is not None:
        return material.sample.window
    if material.clip.duration is None:
        raise material.fail("the clip has no duration and the sample no window, so its times have no tokens")
    return 0.0, material.clip.duration


def taus(material: Material) -> list[int]:
    """The time tokens of all spans, in order; none where there are no spans."""
    return [tau for span in _tokens(material) for tau in span]


def span_slots(material: Material) -> dict[str, str]:
    """The spans in the two ways that phrases use them, the same tokens in each.

    ``{spans}`` continues a sentence: "from <Temp-3> to <Temp-9> and at <Temp-20>"; ``{times}`` stands alone:
    "<Temp-3> <Temp-9> and <Temp-20>". A single time [t, t] is one token.
    """
    spans = [[time_token(tau) for tau in span] for span in _tokens(material)]
    if not spans:
        raise material.fail("there is no span to answer with")
    return {
        "spans": listed([f"from {span[0]} to {span[1]}" if len(span) > 1 else f"at {span[0]}" for span in spans]),
        "times": listed([" ".join(span) for span in spans]),
    }


def _tokens(material: Material) -> list[list[int]]:
    if not material.sample.spans:
        return []
    window = window_of(material)
    try:
        return [taus_of([span], window) for span in material.sample.spans]
    except ValueError as error:
        raise material.fail(str(error)) from None
