"""The words: samples become conversations.

A converter states facts, this room says them: ``render`` fills in ``turns`` and ``wordings`` of a sample from the
phrase banks in ``banks/``. The way of the words: ``tasks/<task>.py`` takes phrases of its bank (``phrases``) in the
sample's own order (``phrase_order``) and fills in what the annotator said (``material``); ``rendering`` adds the
media placeholder and checks that the special tokens equal the attachments.
"""

from templates.errors import BankError, CannotRender, TemplateError, UnknownTask
from templates.rendering import render
from templates.tasks import TASKS_WITH_TEMPLATES

__all__ = ["TASKS_WITH_TEMPLATES", "BankError", "CannotRender", "TemplateError", "UnknownTask", "render"]
