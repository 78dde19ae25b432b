"""What annotators say of a scene: plain words that follow from its shapes and their motion."""

from collections.abc import Sequence
from typing import Final

from converters.world.scene import Scene, Shape

DIRECTIONS: Final = {(1, 0): "to the right", (-1, 0): "to the left", (0, 1): "downwards", (0, -1): "upwards"}


def squeeze(text: str) -> str:
    """The text with every run of white space as one space, and none at its ends (FORMAT: query, answer)."""
    return " ".join(text.split())


def direction(shape: Shape) -> str:
    """Where the shape goes, by the longer side of its way."""
    dx, dy = shape.stop[0] - shape.start[0], shape.stop[1] - shape.start[1]
    step = ((dx > 0) - (dx < 0), 0) if abs(dx) >= abs(dy) else (0, (dy > 0) - (dy < 0))
    return DIRECTIONS.get(step, "nowhere")


def verb(shape: Shape) -> str:
    """What the shape does over the whole clip, in the third person."""
    return {
        "stay": "stays where it is",
        "move": f"moves {direction(shape)}",
        "cross": f"slides across the picture {direction(shape)}",
        "leave": f"leaves the picture {direction(shape)}",
        "enter": f"comes into the picture {direction(shape)}",
        "blink": "vanishes and comes back",
    }[shape.act]


def expression(shape: Shape) -> str:
    """A referring expression that fits this shape of its scene alone: how it looks and what it does."""
    return f"the {shape.name} that {verb(shape)}"


def place(scene: Scene, shape: Shape, frame: int = 0) -> str:
    """Where in the picture the shape is: "top left", "bottom right", …"""
    x, y = shape.centre(frame)
    return f"{'top' if 2 * y < scene.height else 'bottom'} {'left' if 2 * x < scene.width else 'right'}"


def story(shape: Shape) -> str:
    """A detailed caption."""
    return f"The object is a {shape.name} with a plain surface. It {verb(shape)}, and its colour does not change."


def listing(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
