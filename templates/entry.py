"""What the launcher runs: reads a template's parameters, checks what must be there, submits.

It returns when the job is submitted; a launcher that waited for a streaming job would never end.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)

from mqtt.errors import MqttError
from pipelines.errors import PipelineError
from pipelines.launch import run
from pipelines.options import OptionError
from templates.catalog import Template, template_named
from templates.errors import TemplateError
from templates.preflight import launcher_failures
from transforms.errors import TransformError


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """Launches the template of that name; returns the exit status and has said why on stderr.

    Exit status: 0 submitted or ``--help``, 1 failed, 2 wrong parameters.
    """
    gc.freeze()  # as pipelines.launch.main does
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    template = template_named(name)
    arguments = sys.argv[1:] if argv is None else argv
    if "--help" in arguments:
        print(help_of(template))  # noqa: T201  # asked for
        return 0
    try:
        options, beam_options = template.read_arguments(arguments)
        prepare(template, beam_options)
        wrong = look(template, options)
        for each in wrong:
            _say(f"{name}: {each}")
        if wrong:
            return 1
        run(lambda pipeline: template.build(pipeline, options), beam_options, name=name)
    except (TemplateError, OptionError) as error:
        return _failed(name, error, 2)
    except (PipelineError, MqttError, TransformError) as error:
        return _failed(name, error, 1)
    return 0


def look(template: Template, options: Any) -> list[str]:
    """Returns everything for which the job would not work, each in a sentence with what mends it.

    The pipeline looks first: it waits for what is not up yet, and tries what it can. Then what it
    can't try is asked for, and all of it is told: a launch takes minutes, and would fail anew.

    Raises:
      OptionError: what is there contradicts the options.
    """
    try:
        template.check(options)
    except (PipelineError, MqttError, TransformError) as error:
        first = str(error)
    else:
        first = ""
    others = [
        f"{finding.resource}: {finding.words}"
        + (f"; mend it with `{finding.command}`" if finding.command else "")
        for finding in launcher_failures(template, options, os.environ)
        if finding.resource not in first
    ]
    return [first, *others] if first else others


def help_of(template: Template) -> str:
    """Returns what a template does and which parameters it has, for a terminal."""
    lines = [template.title, "", template.description, ""]
    for parameter in template.parameters:
        lines.append(f"{parameter.name}{'' if parameter.optional else '  (required)'}")
        lines.append(f"    {parameter.help}")
        words = ", one of " + ", ".join(parameter.form.words) if parameter.form.words else ""
        lines.append(f"    Type: {parameter.metadata()['paramType']}{words}")
        if parameter.only_with is not None:
            other, triggers = parameter.only_with
            values = f"={' or '.join(triggers)}" if triggers else ""
            lines.append(f"    Only with {other}{values}")
        if parameter.default is not None:
            lines.append(f"    Default: {parameter.default}")
        lines.append(f"    Example: {parameter.example}")
    return "\n".join(lines)


def prepare(template: Template, options: PipelineOptions) -> None:
    """Adds the experiments that a template needs to what the launcher asked for.

    Raises:
      OptionError: the runner isn't Dataflow, or the workers would come up without our packages.
    """
    if options.view_as(StandardOptions).runner != "DataflowRunner":
        raise OptionError(
            "a template is launched on Dataflow (--runner=DataflowRunner); elsewhere run the"
            " pipeline itself: python -m pipelines.NAME --help"
        )
    if not options.view_as(WorkerOptions).sdk_container_image:
        raise OptionError(
            "--sdk_container_image is missing: the workers need the template's own image; launch"
            " with the specification that `mqttbeam templates spec` writes, which names it"
        )
    for experiment in template.experiments:
        options.view_as(DebugOptions).add_experiment(experiment)


def _failed(name: str, error: Exception, status: int) -> int:
    _say(f"{name}: {error}")
    return status


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # the launcher's log
