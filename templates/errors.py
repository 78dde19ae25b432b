"""What can go wrong between the facts and the words.

ValueError
└── TemplateError
    ├── BankError       a phrase bank breaks a rule; the message names the file
    ├── UnknownTask     no template is written for this task yet
    └── CannotRender    the facts of a sample cannot be said; the message begins with the sample's key
"""


class TemplateError(ValueError):
    """Any failure of this room."""


class BankError(TemplateError):
    """A phrase bank breaks a rule; the message names the file, the list and the phrase."""


class UnknownTask(TemplateError):
    """No template is written for this task yet."""


class CannotRender(TemplateError):
    """The facts of one sample cannot be said; the message begins with the sample's key."""

    def __init__(self, key: str, words: str) -> None:
        super().__init__(f"{key}: {words}")
