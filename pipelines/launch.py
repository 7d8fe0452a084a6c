"""Running a pipeline to its end: on Prism as the DirectRunner, or on whatever was asked for.

SIGTERM and SIGINT ask the sources to end; what they have read is finished and acknowledged, and
only then does the process end. A second signal ends it at once, which loses nothing either: what
is unacknowledged comes again.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import apache_beam as beam
import grpc
from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineState, create_runner
from apache_beam.transforms.window import FixedWindows

from mqtt.errors import MqttError
from pipelines import flink
from pipelines.blame import advice
from pipelines.errors import PipelineError, PipelineFailed, RunnerDied
from pipelines.options import OptionError, parse_options
from pipelines.prism import Prism, cached_path
from pipelines.silence import error_of_ours, silence
from pipelines.worker_pool import LoopbackWorkerPool
from transforms.errors import TransformError
from transforms.held_back import finalizes_early
from transforms.inbox import inbox_stands
from transforms.mqttio.subscriptions import check_rivals
from transforms.shared import close_shared
from transforms.stop import request_stop, stop_requested

OptionsT = TypeVar("OptionsT")

_LOGGER = logging.getLogger(__name__)

_TICK_SECONDS = 0.1
_DRAIN_SECONDS = 30.0
_A_DECADE_SECONDS = 315_360_000
_SETTLE_SECONDS = 2.0
_DYING_SECONDS = 2.0
_LOCAL = ("", "DirectRunner", "PrismRunner", "direct", "prism")


def main(
    kind: type[OptionsT],
    build: Callable[[beam.Pipeline, OptionsT], beam.PCollection],
    check: Callable[[OptionsT], None],
    *,
    name: str,
    about: str,
    shards: Callable[[OptionsT], int] = lambda _: 1,
    figures: Callable[[MetricResults], str] | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """Parses, checks, builds and runs; returns the exit status and has said why on stderr.

    ``check`` looks for what must be there at the start (broker, topics, tables); ``build`` wires
    the pipeline and returns the PCollection at its end, which stays empty; ``shards`` says how many
    reads go on side by side. A pipeline that comes to an end by itself, as its input does, has
    ``figures``, which says of its metrics what it did. Exit status: 0 ended as asked, 1 failed, 2
    wrong options, 130 interrupted before it ran.
    """
    # What was imported stays to the end: nobody need look through it for garbage, least of all the
    # interpreter as it ends, to which Beam's modules are half a second.
    gc.freeze()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    arguments = sys.argv[1:] if argv is None else argv
    program = f"python -m pipelines.{name}"
    read: OptionsT | None = None
    try:
        options, beam_options = parse_options(kind, arguments, program=program, about=about)
        read = options
        _logging(beam_options)
        _check_runner(beam_options)
        if flink.on_flink(beam_options):
            flink.prepare(beam_options, shards=shards(options))
        check(options)
        run(lambda pipeline: build(pipeline, options), beam_options, name=name, figures=figures)
    except OptionError as error:
        _say(f"{program}: {error}")
        return 2
    except (PipelineError, MqttError, TransformError) as error:
        _say(f"{program}: {error}{advice(error, read)}")
        return 1
    except KeyboardInterrupt:
        _say(f"{program}: interrupted before it ran")
        return 130
    return 0


def runs_here(pipeline: beam.Pipeline) -> bool:
    """Whether the pipeline's worker is this process."""
    return (pipeline.options.view_as(StandardOptions).runner or "") in _LOCAL


def _check_runner(options: PipelineOptions) -> None:
    runner = options.view_as(StandardOptions).runner or ""
    if runner in _LOCAL:
        return
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise OptionError(
            f"--runner: there is no runner {runner!r}; give DirectRunner (Prism, on this machine),"
            " DataflowRunner, FlinkRunner or PortableRunner"
        ) from error


def run(
    build: Callable[[beam.Pipeline], beam.PCollection],
    options: PipelineOptions,
    *,
    name: str,
    figures: Callable[[MetricResults], str] | None = None,
) -> None:
    """Builds and runs a pipeline, one that never ends or, with ``figures``, one that does.

    On Prism until a signal ends it; on Dataflow it returns when the job is submitted, as a flex
    template's launcher must; on other runners it waits, and a signal ends the wait.

    Raises:
      PipelineError: one sentence that says what went wrong and what to do.
    """
    standard = options.view_as(StandardOptions)
    standard.streaming = figures is None
    options.view_as(SetupOptions).save_main_session = False
    # Beam 2.77 ends the stream of job states after this time, and wait_until_finish with it.
    options.view_as(PortableOptions).job_server_timeout = _A_DECADE_SECONDS
    runner = standard.runner or ""
    if runner in _LOCAL:
        location = options.view_as(PrismRunnerOptions).prism_location
        prism = Prism(Path(location) if location else cached_path())
        pool = LoopbackWorkerPool(options)
        settle_seconds = 0.0
        with silence(prism):
            try:
                standard.runner = "PrismRunner"
                portable = options.view_as(PortableOptions)
                portable.job_endpoint = prism.endpoint
                portable.environment_type = "EXTERNAL"
                portable.environment_config = pool.address
                result = _submit(lambda pipeline: _with_output(build(pipeline)), options)
                _supervise(result, name, prism, ends=figures is not None)
                if figures is not None:
                    _say(f"{name}: {figures(result.metrics())}")
                # Prism says that it is done while the last acknowledgements are still under way.
                settle_seconds = _SETTLE_SECONDS
            finally:
                close_shared(settle_seconds=settle_seconds)
                prism.stop()
                pool.stop()
        return
    result = _submit(build, options)
    if "Dataflow" not in runner:
        _follow(result, name)


def _submit(
    build: Callable[[beam.Pipeline], beam.PCollection], options: PipelineOptions
) -> beam.runners.runner.PipelineResult:
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:
        raise PipelineFailed(str(error)) from error
    build(pipeline)
    if finalizes_early(options):
        flink.check_fused(pipeline)
    try:
        return pipeline.run()
    except (RuntimeError, ValueError, grpc.RpcError) as error:
        raise PipelineFailed(f"the runner did not take the pipeline: {_words(error)}") from error


def _with_output(tail: beam.PCollection) -> beam.PCollection:
    """Gives the last stage an output that another stage reads.

    Prism 2.77 keeps a core busy while a stage without one works: it polls a channel that is
    closed already (stage.go, dataReady). Nothing ever comes out of the tail.
    """
    return (
        tail
        | "Nothing" >> beam.Map(lambda _: (0, 0)).with_output_types(tuple[int, int])
        | beam.WindowInto(FixedWindows(3_600))
        | beam.GroupByKey()
    )


def _end_of(
    result: beam.runners.runner.PipelineResult,
) -> tuple[threading.Event, list[BaseException | str]]:
    """Waits for a job's end in a thread; returns what is set then, and what has its outcome."""
    ended = threading.Event()
    outcome: list[BaseException | str] = []

    def wait() -> None:
        try:
            outcome.append(result.wait_until_finish())
        except BaseException as error:  # noqa: BLE001  # handed to the main thread
            outcome.append(error)
        ended.set()

    threading.Thread(target=wait, name="wait-until-finish", daemon=True).start()
    return ended, outcome


def _follow(result: beam.runners.runner.PipelineResult, name: str) -> None:
    """Waits for the end of a job that runs elsewhere, or for a signal. Raises PipelineError."""
    # Not cancelled: Beam 2.62's job server for Flink says that it has, and the job runs on.
    with _signals(f"{name}: the job goes on without this command; cancel it at its cluster"):
        ended, outcome = _end_of(result)
        _say(f"{name}: running")
        while not ended.wait(_TICK_SECONDS):
            if stop_requested():
                return
    last = outcome[0]
    if isinstance(last, grpc.RpcError):
        raise PipelineFailed(
            f"{_words(last)}. The job may go on without it: see the list of jobs at its cluster"
        ) from last
    if isinstance(last, BaseException):
        raise PipelineFailed(_words(last)) from last
    if last != PipelineState.DONE:
        raise PipelineFailed(f"the pipeline ended in state {last}")


def _supervise(
    result: beam.runners.runner.PipelineResult, name: str, prism: Prism, *, ends: bool
) -> None:
    """Waits for the end of a local job, passing signals on; one that ends by itself can't be
    asked to end before. Raises PipelineError.
    """
    # Messages make no cycles, and Beam's modules are a quarter of a million objects to look at.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    how = "it has not come to its end" if ends else "what was read is finished first"
    with _signals(f"{name}: stopping; {how}"):
        ended, outcome = _end_of(result)
        told = False
        while not ended.wait(_TICK_SECONDS) and not stop_requested():
            if not prism.running:
                break
            check_rivals()
            if not told and (ends or inbox_stands(_TICK_SECONDS)):
                told = True
                _say(f"{name}: running")
        if stop_requested() and not ended.wait(0.0 if ends else _DRAIN_SECONDS):
            with contextlib.suppress(grpc.RpcError):
                result.cancel()
            raise PipelineFailed(
                "stopped before its end; what it has done stays done, and a new start does all of"
                " it again"
                if ends
                else f"not drained within {_DRAIN_SECONDS:g} s; what was not acknowledged comes"
                " again"
            )
    # Its connections break a moment before its end can be seen.
    broke = bool(outcome) and isinstance(outcome[0], grpc.RpcError)
    if prism.wait_for_death(_DYING_SECONDS if broke else 0.0):
        raise RunnerDied(
            f"{prism.death()}. The pipeline ended with it; nothing that was not acknowledged is"
            " lost: start it again"
        )
    ended.wait()
    last = outcome[0]
    if isinstance(last, BaseException):
        raise PipelineFailed(_words(last)) from last
    if last != PipelineState.DONE:
        raise PipelineFailed(f"the pipeline ended in state {last}")


@contextlib.contextmanager
def _signals(words: str):  # type: ignore[no-untyped-def]  # a generator for contextmanager
    """Turns SIGTERM and SIGINT into a request to stop; the second one ends the process."""

    def stop(number: int, frame: object) -> None:
        if stop_requested():
            os._exit(128 + number)
        os.write(2, f"{words}\n".encode())
        request_stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _words(error: BaseException) -> str:
    """Returns what a person needs of an error that Beam wrapped in its own traceback."""
    text = str(error)
    ours = error_of_ours(text.replace("\\n", "\n"))
    if ours is not None:
        return ours
    if isinstance(error, grpc.RpcError) and hasattr(error, "details"):
        return f"the runner's connection broke: {error.details()}"
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _logging(options: PipelineOptions) -> None:
    # Beam's own chatter at INFO is of no use to who runs a pipeline; its warnings are.
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.getLogger("root").setLevel(logging.WARNING)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # the one place where errors are told
