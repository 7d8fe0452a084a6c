"""YAML text to values, strictly: a key twice, or one that is no text, is an error.

What nearly all files are made of is built straight from libyaml's events, in a fifth of the time
that its library takes for it: mappings, lists and scalars. Where there is anything else (aliases,
tags), or an error, the library reads the whole text, and says what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml


class Unusual(Exception):
    """The text is wrong, or has something that is left to the library."""


def load(text: str) -> Any:
    """The values of a text. Raises YAMLError, with its place where there is one."""
    try:
        return load_usual(text)
    except Unusual:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader


def load_usual(text: str) -> Any:
    """The same of a text without anything unusual. Raises Unusual."""
    events = yaml.CSafeLoader(text)
    try:
        return _document(events)
    except yaml.YAMLError as problem:
        raise Unusual from problem
    finally:
        events.dispose()


class _StrictLoader(yaml.CSafeLoader):
    """Refuses a mapping with the same key twice, where YAML libraries silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} must be text; put it in quotes", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, OverflowError) as problem:
            # Not repeated: it may be a secret.
            raise yaml.constructor.ConstructorError(
                None,
                None,
                "a value that looks like a number or a date and is none; put text in quotes",
                node.start_mark,
            ) from problem


def _document(events: yaml.CSafeLoader) -> Any:
    """The values of the one document that there is, event by event."""
    get: Callable[[], Any] = events.get_event
    get()
    if isinstance(get(), yaml.StreamEndEvent):
        return None
    # Outermost first; each with its keys that wait for their values.
    within: list[tuple[Any, str | None]] = []
    plain: dict[str, Any] = {}
    container: Any = None
    key: str | None = None
    while True:
        event = get()
        kind = type(event)
        value: Any
        if kind is yaml.ScalarEvent:
            if event.tag is not None:
                raise Unusual
            value = event.value
            if event.implicit[0]:
                if value not in plain:
                    plain[value] = _plain(value)
                value = plain[value]
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if event.tag is not None:
                raise Unusual
            within.append((container, key))
            container, key = {} if kind is yaml.MappingStartEvent else [], None
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            value = container
            container, key = within.pop()
        else:
            raise Unusual
        if container is None:
            break
        if type(container) is list:
            container.append(value)
        elif key is None:
            if type(value) is not str or value in container:
                raise Unusual
            key = value
        else:
            container[key] = value
            key = None
    get()
    if not isinstance(get(), yaml.StreamEndEvent):
        raise Unusual
    return value


def _plain(text: str) -> Any:
    """What a scalar without quotes is."""
    tag = next((tag for tag, form in _FORMS.get(text[:1], ()) if form.match(text)), None)
    if tag is None:
        return text
    try:
        return yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(tag, text))
    except (ValueError, OverflowError, yaml.YAMLError) as problem:
        raise Unusual from problem


_FORMS = yaml.CSafeLoader.yaml_implicit_resolvers
"""By a scalar's first character: tags, and what has them."""
