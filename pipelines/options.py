"""Options of the pipelines: declared once, checked whole before anything starts.

A pipeline's options are a frozen dataclass whose fields are made by :func:`option`; the command
line, its ``--help`` and whatever else describes them (a template's metadata) come from there. How
the texts are read stands in :mod:`pipelines.readers`.
What is not ours is Beam's; what is neither is refused.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import enum
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import MISSING, field
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions

from mqtt.codec import ProtocolVersion
from schemas.errors import SchemaSettingError

OptionsT = TypeVar("OptionsT")


class OptionError(ValueError):
    """An option is unknown, missing, wrong, or contradicts another; the message names it."""


def option(
    help: str,
    *,
    parse: Callable[[str], Any] = str,
    example: str,
    default: Any = MISSING,
) -> Any:
    """Declares an option: what it is, how its text is read, an example that passes.

    ``parse`` raises ValueError with what would be right. Without ``default`` it is required.
    """
    return field(default=default, metadata={"help": help, "parse": parse, "example": example})


def parse_options(
    kind: type[OptionsT], argv: Sequence[str], *, program: str, about: str
) -> tuple[OptionsT, PipelineOptions]:
    """Reads ``argv`` into ``kind`` and Beam's options.

    Raises:
      OptionError: names the option and says what would be right.
      SystemExit: after ``--help``.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    ours, rest = _split(fields, argv)
    if "help" in ours:
        sys.stdout.write(_help(fields, program, about))
        raise SystemExit(0)
    _refuse_unknown(rest, list(fields))
    values = {}
    for name, item in fields.items():
        if name not in ours:
            if item.default is MISSING:
                raise OptionError(
                    f"--{name} is missing: {_first_sentence(item)},"
                    f" as in --{name}={item.metadata['example']}"
                )
            continue
        try:
            values[name] = item.metadata["parse"](ours[name])
        except (ValueError, SchemaSettingError) as error:
            raise OptionError(
                f"--{name}: {error}; an example is --{name}={item.metadata['example']}"
            ) from error
    try:
        result = kind(**values)
    except OptionError:
        raise
    except ValueError as error:
        raise OptionError(str(error)) from error
    return result, PipelineOptions(rest)


def shown_default(item: dataclasses.Field[Any]) -> str | None:
    """Returns an option's default as it would be typed; None if it has none, or an empty one."""
    default = item.default
    if default is MISSING or default in (None, "", ()):
        return None
    if isinstance(default, ProtocolVersion):
        return "3.1.1" if default is ProtocolVersion.V311 else "5"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, enum.Enum):
        return str(default.value)
    return str(getattr(default, "name", f"{default:g}" if isinstance(default, float) else default))


def _split(fields: dict[str, Any], argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Parts our options from Beam's; ``--name value`` and ``--name=value`` are both taken."""
    ours: dict[str, str] = {}
    rest: list[str] = []
    items = list(argv)
    while items:
        item = items.pop(0)
        if item in ("-h", "--help"):
            ours["help"] = ""
            continue
        name, equals, value = item.removeprefix("--").partition("=")
        if not item.startswith("--") or name not in fields:
            rest.append(item)
            continue
        if not equals:
            if not items or items[0].startswith("--"):
                raise OptionError(
                    f"--{name} has no value; an example is"
                    f" --{name}={fields[name].metadata['example']}"
                )
            value = items.pop(0)
        if name in ours:
            raise OptionError(f"--{name} is given twice")
        ours[name] = value
    return ours, rest


def _refuse_unknown(rest: list[str], ours: list[str]) -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    try:
        _, unknown = parser.parse_known_args(rest)
    except (argparse.ArgumentError, SystemExit) as error:
        raise OptionError(str(error)) from error
    if not unknown:
        return
    name = unknown[0].removeprefix("--").partition("=")[0]
    known = ours + [action.dest for action in parser._actions]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean --{near[0]}?" if near else "--help lists the options"
    raise OptionError(f"unknown option {unknown[0].partition('=')[0]!r}: {hint}")


def _help(fields: dict[str, Any], program: str, about: str) -> str:
    required = [name for name, item in fields.items() if item.default is MISSING]
    usage = " ".join(f"--{name}={fields[name].metadata['example']}" for name in required)
    lines = [about.strip(), "", "Example:", f"  {program} {usage}", "", "Options:"]
    for name, item in fields.items():
        lines.append(f"  --{name}" + ("  (required)" if name in required else ""))
        text = item.metadata["help"]
        default = shown_default(item)
        if default is not None:
            text += f" Default: {default}."
        lines += textwrap.wrap(text, 92, initial_indent="      ", subsequent_indent="      ")
    lines += ["", "Beam's own options (--runner=…, --project=…) are taken too.", ""]
    return "\n".join(lines)


def _first_sentence(item: Any) -> str:
    text: str = re.split(r"[.:;](?: |$)", item.metadata["help"])[0]
    first = text.partition(" ")[0]
    # Names stay as they are: Pub/Sub, BigQuery, MQTT.
    return text[0].lower() + text[1:] if first[1:].islower() and first.isalpha() else text
