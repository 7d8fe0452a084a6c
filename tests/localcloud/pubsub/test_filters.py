"""Filters parse to the tree they say, and match what they say."""

import pytest

from localcloud.pubsub.errors import InvalidArgument
from localcloud.pubsub.filters import (
    And,
    Equals,
    Expression,
    Has,
    HasPrefix,
    Not,
    Or,
    parse_filter,
)

A, B, C = Has("a"), Has("b"), Has("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("attributes:a", A),
        ('attributes:"iana.org/language_tag"', Has("iana.org/language_tag")),
        ('attributes.a = "x"', Equals("a", "x")),
        ('attributes.a="x"', Equals("a", "x")),
        ('attributes."a b" != "x"', Not(Equals("a b", "x"))),
        ('hasPrefix(attributes.a, "x")', HasPrefix("a", "x")),
        ("NOT attributes:a", Not(A)),
        ("NOT NOT attributes:a", Not(Not(A))),
        ("attributes:a AND attributes:b AND attributes:c", And((A, B, C))),
        ("attributes:a OR attributes:b", Or((A, B))),
        ("attributes:a AND (attributes:b OR attributes:c)", And((A, Or((B, C))))),
        ("NOT attributes:a AND attributes:b", And((Not(A), B))),
        ("NOT (attributes:a AND attributes:b)", Not(And((A, B)))),
        ("  (  attributes:a  )  ", A),
        ('attributes.a = "AND"', Equals("a", "AND")),
        (r'attributes.a = "q\"\\\n\x41\u00e9\101"', Equals("a", 'q"\\\nAéA')),
        ("attributes:attributes", Has("attributes")),
    ],
)
def test_a_filter_is_read_as_written(text: str, tree: Expression) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("attributes:a AND attributes:b OR attributes:c", "parentheses"),
        ("attributes:a OR attributes:b AND attributes:c", "parentheses"),
        ("attributes", "expected ."),
        ("attributes:", "attribute key"),
        ("attributes:AND", "attribute key"),
        ('attributes.a.b = "x"', "= or !="),
        ('attributes.a < "x"', "cannot read"),
        ("attributes.a = x", "double quotes"),
        ('attributes.a = "x', "cannot read"),
        (r'attributes.a = "\q"', "escape"),
        (r'attributes.a = "\U00110000"', "no such character"),
        ("(attributes:a", "expected )"),
        ("attributes:a)", "AND, OR or the end"),
        ("attributes:a attributes:b", "AND, OR or the end"),
        ("attributes:a AND", "expected attributes"),
        ("not attributes:a", "expected attributes"),
        ('"attributes":a', "expected attributes"),
        ('hasPrefix(attributes:a, "x")', "expected ."),
        ("data:a", "expected attributes"),
        ("attributes:" + "a" * 246, "256"),
    ],
)
def test_a_filter_that_breaks_the_grammar_is_refused_with_the_place(text: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match="filter") as caught:
        parse_filter(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "attributes", "matches"),
    [
        ("attributes:a", {"a": ""}, True),
        ("attributes:a", {"b": "a"}, False),
        ('attributes.a = "x"', {"a": "x"}, True),
        ('attributes.a = "x"', {"a": "X"}, False),
        ('attributes.a = ""', {}, False),
        ('attributes.a != "x"', {"a": "y"}, True),
        ('attributes.a != "x"', {}, True),
        ('hasPrefix(attributes.a, "x")', {"a": "xyz"}, True),
        ('hasPrefix(attributes.a, "")', {}, False),
        ("attributes:a AND attributes:b", {"a": "", "b": ""}, True),
        ("attributes:a AND attributes:b", {"a": ""}, False),
        ("attributes:a OR attributes:b", {"b": ""}, True),
        ("attributes:a OR attributes:b", {}, False),
        ("NOT attributes:a", {}, True),
    ],
)
def test_a_filter_matches_attributes(text: str, attributes: dict[str, str], matches: bool) -> None:
    assert parse_filter(text).matches(attributes) is matches
