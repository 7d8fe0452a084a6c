"""What is built from libyaml's events is what its library makes of the text, errors included."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.yaml_loading import Unusual, load, load_usual

SCALARS = st.one_of(
    st.text(max_size=8),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.datetimes(),
    st.sampled_from(["yes", "0x1F", "1_000", "~", "<<", "=", "1e3", "2026-01-01", "# x", "&a"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_what_is_read_is_what_the_library_reads(value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    assert load(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# a comment\n",
        "---\na: 1\n",
        "a:\nb: ~\nc: yes\nd: 2026-01-01T00:00:00Z\n",
        "a: |\n  x\n  y\nb: >\n  x\n  y\n",
        "a: 'x\n  y'\n? b\n: c\n",
        "- 1\n- '1'\n- [0o7, 1.5, .inf]\n",
    ],
)
def test_the_usual_needs_no_library(text: str) -> None:
    assert load_usual(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x 1\nb: *x\n", {"a": 1, "b": 1}),
        ("a: !!str 1\n", {"a": "1"}),
    ],
)
def test_what_is_unusual_is_left_to_the_library(text: str, value: object) -> None:
    with pytest.raises(Unusual):
        load_usual(text)
    assert load(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "key 'a' stands here twice"),
        ("a:\n  b: 1\n  b: 2\n", "key 'b' stands here twice"),
        ("a: 1\n2: b\n", "key 2 must be text"),
        ("a: 2026-13-45\n", "a value that looks like a number or a date and is none"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "could not determine a constructor"),
        ("a: [1\n", "did not find expected"),
        ("a: 1\n---\nb: 1\n", "expected a single document"),
        ("a: 1\n[b]: 1\n", "must be text|unhashable|did not find"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(yaml.YAMLError, match=words) as caught:
        load(text)
    assert isinstance(caught.value, yaml.MarkedYAMLError)
    assert caught.value.problem_mark is not None or caught.value.context_mark is not None
