"""The service's filter language: an expression over a message's attributes.

    attributes:key                      the message has the attribute
    attributes.key = "value"            … with exactly this value
    attributes.key != "value"           not `=`: so also true where the attribute is missing
    hasPrefix(attributes.key, "pre")    … with a value that starts so
    NOT, AND, OR, ( )                   upper case; AND and OR are mixed only with parentheses

A key of letters, digits, `-` and `_` is written as it is, any other as a string:
`attributes."iana.org/language_tag"`. The source text has at most 256 bytes.
Source: https://cloud.google.com/pubsub/docs/subscription-message-filter#filtering_syntax
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from localcloud.pubsub.errors import InvalidArgument

MAXIMUM_FILTER_BYTES = 256


@dataclass(frozen=True, slots=True)
class Has:
    """`attributes:key`."""

    key: str

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether the attribute is there."""
        return self.key in attributes


@dataclass(frozen=True, slots=True)
class Equals:
    """`attributes.key = "value"`."""

    key: str
    value: str

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether the attribute is there with this value."""
        return self.key in attributes and attributes[self.key] == self.value


@dataclass(frozen=True, slots=True)
class HasPrefix:
    """`hasPrefix(attributes.key, "prefix")`."""

    key: str
    prefix: str

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether the attribute is there and starts so."""
        return self.key in attributes and attributes[self.key].startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT term`; `!=` is read as NOT of `=`."""

    term: "Expression"

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether the term does not match."""
        return not self.term.matches(attributes)


@dataclass(frozen=True, slots=True)
class And:
    """`term AND term …`."""

    terms: tuple["Expression", ...]

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether all terms match."""
        return all(term.matches(attributes) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Or:
    """`term OR term …`."""

    terms: tuple["Expression", ...]

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether one term matches."""
        return any(term.matches(attributes) for term in self.terms)


Expression = Has | Equals | HasPrefix | Not | And | Or

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<word>[A-Za-z0-9_-]+)
      | (?P<symbol>!=|[=:.,()])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{3})|(.))", re.DOTALL
)
_SIMPLE_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "?": "?", "`": "`",
}  # fmt: skip
_RESERVED = frozenset({"AND", "OR", "NOT"})


def parse_filter(text: str) -> Expression:
    """Parse a filter; raises InvalidArgument with the place and what was expected there."""
    size = len(text.encode())
    if size > MAXIMUM_FILTER_BYTES:
        raise InvalidArgument(f"filter: {size} bytes, the limit is {MAXIMUM_FILTER_BYTES}")
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens; each method reads one rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenize()
        self._next = 0

    def parse(self) -> Expression:
        expression = self._expression()
        if self._kind() != "end":
            raise self._error("expected AND, OR or the end")
        return expression

    def _tokenize(self) -> list[tuple[str, str, int]]:
        tokens = []
        position = 0
        end = len(self._text.rstrip())
        while position < end:
            match = _TOKEN.match(self._text, position)
            if match is None:
                raise InvalidArgument(
                    f"filter: cannot read {self._text[position : position + 20]!r} "
                    f"at character {position} of {self._text!r}"
                )
            kind = str(match.lastgroup)
            tokens.append((kind, match[kind], match.start(kind)))
            position = match.end()
        tokens.append(("end", "", end))
        return tokens

    def _expression(self) -> Expression:
        first = self._term()
        joiner = self._value()
        if joiner not in ("AND", "OR"):
            return first
        terms = [first]
        while self._value() in ("AND", "OR"):
            if self._value() != joiner:
                raise self._error("AND and OR can only be mixed with parentheses")
            self._next += 1
            terms.append(self._term())
        return And(tuple(terms)) if joiner == "AND" else Or(tuple(terms))

    def _term(self) -> Expression:
        value = self._value()
        if value == "NOT":
            self._next += 1
            return Not(self._term())
        if value == "(":
            self._next += 1
            inner = self._expression()
            self._expect(")")
            return inner
        if value == "hasPrefix":
            self._next += 1
            self._expect("(")
            self._expect("attributes")
            self._expect(".")
            key = self._key()
            self._expect(",")
            prefix = self._string()
            self._expect(")")
            return HasPrefix(key, prefix)
        return self._comparison()

    def _comparison(self) -> Expression:
        self._expect("attributes")
        if self._value() == ":":
            self._next += 1
            return Has(self._key())
        self._expect(".")
        key = self._key()
        operator = self._value()
        if operator not in ("=", "!="):
            raise self._error("expected = or !=")
        self._next += 1
        equals = Equals(key, self._string())
        return equals if operator == "=" else Not(equals)

    def _key(self) -> str:
        kind, value, _ = self._tokens[self._next]
        if kind == "string":
            return self._string()
        if kind != "word" or value in _RESERVED:
            raise self._error("expected an attribute key")
        self._next += 1
        return value

    def _string(self) -> str:
        if self._kind() != "string":
            raise self._error('expected a string in double quotes, as in "value"')
        literal = self._value()[1:-1]
        text = _ESCAPE.sub(self._unescape, literal)
        self._next += 1
        return text

    def _unescape(self, match: re.Match[str]) -> str:
        *digits, octal, simple = match.groups()
        for hexadecimal in digits:
            if hexadecimal is not None:
                code = int(hexadecimal, 16)
                if code > 0x10FFFF:
                    raise self._error(f"no such character: {match[0]}")
                return chr(code)
        if octal is not None:
            return chr(int(octal, 8))
        if simple not in _SIMPLE_ESCAPES:
            raise self._error(f"unknown escape {match[0]}")
        return _SIMPLE_ESCAPES[simple]

    def _expect(self, value: str) -> None:
        if self._value() != value or self._kind() == "string":
            raise self._error(f"expected {value}")
        self._next += 1

    def _kind(self) -> str:
        return self._tokens[self._next][0]

    def _value(self) -> str:
        return self._tokens[self._next][1]

    def _error(self, expected: str) -> InvalidArgument:
        _, value, position = self._tokens[self._next]
        found = repr(value) if value else "the end"
        return InvalidArgument(
            f"filter: {expected}, found {found} at character {position} of {self._text!r}"
        )
