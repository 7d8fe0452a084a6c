"""What an option's text looks like, for those who must say so before it is read.

A reader says whether a text is right by reading it. A console, a template's specification or a
form on a page wants to know beforehand: the kind of thing it is, a regular expression, the words
to choose from. ``reads`` gives a reader such a :class:`Form`. A form may refuse what the reader
takes, and never describes what it refuses for good: that its examples pass is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

ValueT = TypeVar("ValueT", covariant=True)


class Kind(StrEnum):
    """What an option names."""

    TEXT = "text"
    WORD = "word"
    NUMBER = "number"
    BOOLEAN = "boolean"
    SECRET = "secret"  # noqa: S105  # the kind of a reference
    TOPIC = "Pub/Sub topic"
    SUBSCRIPTION = "Pub/Sub subscription"
    TABLE = "BigQuery table"
    FOLDER = "folder"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of an option's text.

    ``pattern`` is a regular expression for the whole text, without look-around and references, so
    that every engine takes it; None: any text. ``says`` is what it asks for in words, which follow
    "must be": nobody reads such an expression. ``words`` are all that there are, in their order.
    """

    kind: Kind = Kind.TEXT
    pattern: str | None = None
    says: str | None = None
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.pattern is None) != (self.says is None):
            raise ValueError("pattern and says: an expression, and nothing else, is put in words")
        if bool(self.words) != (self.kind is Kind.WORD):
            raise ValueError("words: a word, and nothing else, has some to choose from")


class Reader(Generic[ValueT]):
    """A function that reads an option's text, and the form of what it reads."""

    def __init__(self, read: Callable[[str], ValueT], form: Form) -> None:
        self._read = read
        self.form = form
        self.__doc__ = read.__doc__

    def __call__(self, text: str) -> ValueT:
        """Reads the text. Raises ValueError with what would be right."""
        return self._read(text)


def reads(
    kind: Kind,
    *,
    pattern: str | None = None,
    says: str | None = None,
    words: tuple[str, ...] = (),
) -> Callable[[Callable[[str], ValueT]], Reader[ValueT]]:
    """Returns a decorator that gives a function that reads a text its form."""
    form = Form(kind=kind, pattern=pattern, says=says, words=words)
    return lambda read: Reader(read, form)


def form_of(parse: Callable[[str], Any]) -> Form:
    """Returns the form of what ``parse`` reads: any text where it doesn't say."""
    return parse.form if isinstance(parse, Reader) else Form()
