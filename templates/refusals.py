"""What is wrong with parameters that are each right: together, by name, or to the pipeline.

All of it is said in the parameters' names, and with an example.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from templates.errors import ParameterError
from templates.parameters import Parameter

# Beam's options have an underscore, or are one word; none is in camel case.
_UNKNOWN = re.compile(r"unknown option '--([a-z]+[A-Z][A-Za-z]*)'")


def check_together(parameters: Sequence[Parameter], values: Mapping[str, str]) -> None:
    """Raises ParameterError for a value that does nothing, as what it belongs to isn't given.

    A default is let through: the console may send it along for a field that it doesn't show. What
    is missing the options tell themselves.
    """
    named = {parameter.name: parameter for parameter in parameters}
    for name, value in values.items():
        parameter = named[name]
        if parameter.only_with is None or value == parameter.default:
            continue
        other, triggers = parameter.only_with
        given = values.get(other, named[other].default)
        if triggers and given not in triggers:
            raise ParameterError(f"{name}: is of use only with {other}={' or '.join(triggers)}")


def unknown(name: str, parameters: Sequence[Parameter], *, template: str) -> ParameterError:
    """Returns the error for a parameter that a template doesn't have."""
    words = f"{name}: {template} has no such parameter"
    names = {parameter.name: parameter for parameter in parameters}
    subscription = names.get("inputSubscription")
    if name == "inputTopic" and subscription is not None:
        return ParameterError(
            f"{words}: it reads a subscription of your own. One that Dataflow makes for a topic"
            " goes with its job, and what comes until the next one runs would be lost; an example"
            f" is {subscription.name}={subscription.example}"
        )
    options = {parameter.option: parameter.name for parameter in parameters}
    near = difflib.get_close_matches(name, [*names, *options], n=1)
    if near:
        meant = names[options.get(near[0], near[0])]
        return ParameterError(f"{words}; did you mean {meant.name}={meant.example}?")
    return ParameterError(f"{words}; it has {', '.join(names)}")


def in_their_names(words: str, parameters: Sequence[Parameter], *, template: str) -> str:
    """Returns what the options say of ``--option`` with the parameters' names, and an example."""
    found_unknown = _UNKNOWN.match(words)
    if found_unknown is not None:
        return str(unknown(found_unknown[1], parameters, template=template))
    named = {parameter.option: parameter for parameter in parameters}
    found = [named[option] for option in re.findall(r"--(\w+)", words) if option in named]
    for parameter in found:
        words = re.sub(rf"--{parameter.option}\b", parameter.name, words)
    # What says what to give needs no example.
    if found and not any(f"{parameter.name}=" in words for parameter in found):
        words += f"; an example is {found[0].name}={found[0].example}"
    return words
