"""What a pipeline needs on Flink: set where it isn't given, refused where it can't work.

On Flink bundles are finalized when a checkpoint is complete, and messages acknowledged at the next
one (:mod:`transforms.held_back`). So without checkpoints nothing is ever acknowledged; with bundles
as long as the time between two, none ends in time and nothing is either; with checkpoints so far
apart that a message counts as forgotten, everything comes again and again. Between two checkpoints
passes half of ``receive_maximum`` times the shards. How users run it on their own Flink stands in
docs/flink.md.
"""

from __future__ import annotations

import argparse

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.transforms.userstate import is_stateful_dofn

from pipelines.errors import PipelineFailed
from pipelines.options import OptionError
from transforms.inbox import ReadInbox

CHECKPOINTING_MILLISECONDS = 1_000
LONGEST_CHECKPOINTING_MILLISECONDS = 120_000
"""A message is acknowledged after two of them, and sent again after 600 s without."""
BUNDLE_MILLISECONDS = 100

_ASK_SECONDS = 30.0
_PORTABLE = ("PortableRunner",)
_FLINK = ("FlinkRunner",)
_OWN_MASTERS = ("[auto]", "[local]", "[collection]")


class FlinkJobOptions(PipelineOptions):
    """Options of Beam's Flink runner that are Java's own, and so unknown to Beam's Python."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        def add(name: str, help: str, kind: type = int) -> None:
            parser.add_argument(f"--{name}", type=kind, default=None, help=help)

        add("checkpointing_interval", "Flink: milliseconds between two checkpoints.")
        add("max_bundle_time_mills", "Flink: milliseconds after which a bundle ends.")
        add("max_bundle_size", "Flink: elements after which a bundle ends.")
        add("min_pause_between_checkpoints", "Flink: milliseconds from one's end to the next.")
        add("num_concurrent_checkpoints", "Flink: checkpoints that may be under way at once.")
        add("checkpoint_timeout_millis", "Flink: after so long a checkpoint is given up.")
        add(
            "number_of_execution_retries", "Flink: restarts before the job fails; -1: as set there."
        )
        add("execution_retry_delay", "Flink: milliseconds before a restart.")
        add("savepoint_path", "Flink: a checkpoint or savepoint to begin from.", str)
        add("state_backend_storage_path", "Flink: where checkpoints go; else as set there.", str)


def on_flink(options: PipelineOptions) -> bool:
    """Whether the pipeline goes to Flink; a job server is asked what it is.

    Raises:
      PipelineFailed: the job server does not answer.
    """
    runner = options.view_as(StandardOptions).runner or ""
    if runner in _FLINK:
        return True
    endpoint = options.view_as(PortableOptions).job_endpoint
    if runner not in _PORTABLE or not endpoint or endpoint == "embed":
        return False
    with grpc.insecure_channel(endpoint) as channel:
        try:
            answer = beam_job_api_pb2_grpc.JobServiceStub(channel).DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(),
                timeout=_ASK_SECONDS,
                wait_for_ready=True,
            )
        except grpc.RpcError as error:
            raise PipelineFailed(
                f"no job server answers at --job_endpoint={endpoint} within {_ASK_SECONDS:g} s:"
                f" {error.details()}"
            ) from error
    return any(option.name == "flink_master" for option in answer.options)


def prepare(options: PipelineOptions, *, shards: int) -> None:
    """Sets what a pipeline with so many shards needs on Flink, where it isn't given.

    Raises:
      OptionError: an option is given with a value that would stand still or lose; it names the
        option, the value, and what to give.
    """
    _check_environment(options)
    _set_times(options)
    _set_parallelism(options, shards)


def _set_times(options: PipelineOptions) -> None:
    job = options.view_as(FlinkJobOptions)
    if job.checkpointing_interval is None:
        job.checkpointing_interval = CHECKPOINTING_MILLISECONDS
    interval = job.checkpointing_interval
    if interval < 1:
        raise OptionError(
            f"--checkpointing_interval={interval} turns checkpoints off, and on Flink messages are"
            " acknowledged when a checkpoint is complete: nothing would be acknowledged, and the"
            f" pipeline stand still; give --checkpointing_interval={CHECKPOINTING_MILLISECONDS}"
            " (milliseconds) or leave it out"
        )
    if interval > LONGEST_CHECKPOINTING_MILLISECONDS:
        raise OptionError(
            f"--checkpointing_interval={interval}: a message is acknowledged after two checkpoints,"
            " and what is unacknowledged for ten minutes is sent again; give"
            f" --checkpointing_interval={CHECKPOINTING_MILLISECONDS} (milliseconds), or"
            f" {LONGEST_CHECKPOINTING_MILLISECONDS} at most"
        )
    if job.num_concurrent_checkpoints is not None and job.num_concurrent_checkpoints != 1:
        raise OptionError(
            f"--num_concurrent_checkpoints={job.num_concurrent_checkpoints}: which checkpoint holds"
            " a message is known only while there is one at a time, and what none holds would be"
            " lost; give --num_concurrent_checkpoints=1 or leave it out"
        )
    if job.min_pause_between_checkpoints is None:
        job.min_pause_between_checkpoints = interval // 2
    fitting = max(1, min(BUNDLE_MILLISECONDS, interval // 2))
    if job.max_bundle_time_mills is None:
        job.max_bundle_time_mills = fitting
    if not 1 <= job.max_bundle_time_mills <= max(1, interval // 2):
        raise OptionError(
            f"--max_bundle_time_mills={job.max_bundle_time_mills} with"
            f" --checkpointing_interval={interval}: bundles must end well before the next"
            " checkpoint, else the pipeline stands still without an error; give"
            f" --max_bundle_time_mills={fitting} or leave it out"
        )


def _set_parallelism(options: PipelineOptions, shards: int) -> None:
    flink = options.view_as(FlinkRunnerOptions)
    if flink.parallelism < 1:
        flink.parallelism = shards
    if flink.parallelism < shards:
        raise OptionError(
            f"--parallelism={flink.parallelism} with --shards={shards}: a shard without a slot of"
            " its own would wait for the others, which never end; give"
            f" --parallelism={shards} or more, or --shards={flink.parallelism}"
        )


def _check_environment(options: PipelineOptions) -> None:
    portable = options.view_as(PortableOptions)
    kind = (portable.environment_type or "").upper()
    master = options.view_as(FlinkRunnerOptions).flink_master
    if options.view_as(StandardOptions).runner in _FLINK and master in _OWN_MASTERS:
        raise OptionError(
            f"--flink_master={master} starts a Flink in this process, which has no checkpoints to"
            " go on from when it ends; give your cluster's address, as in"
            " --flink_master=http://flink.example.com:8081, or --runner=DirectRunner"
        )
    if kind == "LOOPBACK":
        raise OptionError(
            "--environment_type=LOOPBACK makes this process the worker of every task manager: the"
            " job would end with it, and task managers mistake each other's workers; give"
            " --environment_type=EXTERNAL --environment_config=localhost:50000, with"
            " `python -m pipelines.flink_pool --port 50000` beside each task manager"
        )
    if kind == "EXTERNAL" and not portable.environment_config:
        raise OptionError(
            "--environment_config is missing: with --environment_type=EXTERNAL it is where each"
            " task manager finds its worker pool, as in --environment_config=localhost:50000"
        )


def check_fused(pipeline: beam.Pipeline) -> None:
    """Looks for work that is done apart from the read whose messages it is done for.

    Raises:
      PipelineFailed: names the read, what comes between, and the step behind it.
    """
    pipeline.visit(_Fusion())


class _Fusion(PipelineVisitor):
    """Follows what reads give, through all that Flink runs in their own stage, and beyond."""

    def __init__(self) -> None:
        self._fused: dict[beam.PCollection, str] = {}
        self._parted: dict[beam.PCollection, tuple[str, str]] = {}

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        """Sees a step that has no steps within; those that it depends on were seen before."""
        transform, label = transform_node.transform, transform_node.full_label
        outputs = transform_node.outputs.values()
        works = isinstance(transform, beam.ParDo)
        if works and isinstance(transform.fn, ReadInbox):
            self._fused.update(dict.fromkeys(outputs, label))
            return
        for collection in transform_node.inputs:
            if works and collection in self._parted:
                read, between = self._parted[collection]
                raise PipelineFailed(
                    f"step {label!r} is parted by {between!r} from {read!r}, whose messages it is"
                    " for: Flink would acknowledge them while they are in its memory, and a job"
                    f" that is started anew would not have them; put {label!r} before {between!r}"
                )
            if collection in self._parted:
                self._parted.update(dict.fromkeys(outputs, self._parted[collection]))
            elif collection in self._fused:
                read = self._fused[collection]
                if works and not is_stateful_dofn(transform.fn):
                    self._fused.update(dict.fromkeys(outputs, read))
                else:
                    self._parted.update(dict.fromkeys(outputs, (read, label)))
