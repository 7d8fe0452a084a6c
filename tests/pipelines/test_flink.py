from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.transforms.window import FixedWindows

from pipelines import commands, direct, telemetry, warehouse
from pipelines.errors import PipelineFailed
from pipelines.flink import FlinkJobOptions, check_fused, on_flink, prepare
from pipelines.options import OptionError, parse_options
from transforms.pubsubio import ReadFromPubSub

_RUNNER = ("--runner=FlinkRunner", "--flink_master=http://localhost:8081")
_WORKERS = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")
_SUBSCRIPTION = "projects/local/subscriptions/telemetry"


def options(*flags: str) -> PipelineOptions:
    return PipelineOptions([*_RUNNER, *_WORKERS, *flags])


def test_what_is_not_given_is_set() -> None:
    prepared = options()
    prepare(prepared, shards=4)
    job = prepared.view_as(FlinkJobOptions)
    assert job.checkpointing_interval == 1_000
    assert job.max_bundle_time_mills == 100
    assert job.min_pause_between_checkpoints == 500
    assert prepared.view_as(FlinkRunnerOptions).parallelism == 4


def test_what_is_given_and_can_work_is_left_alone() -> None:
    prepared = options(
        "--checkpointing_interval=5000",
        "--max_bundle_time_mills=2000",
        "--min_pause_between_checkpoints=10",
        "--parallelism=6",
    )
    prepare(prepared, shards=4)
    job = prepared.view_as(FlinkJobOptions)
    assert job.checkpointing_interval == 5_000
    assert job.max_bundle_time_mills == 2_000
    assert job.min_pause_between_checkpoints == 10
    assert prepared.view_as(FlinkRunnerOptions).parallelism == 6


@pytest.mark.parametrize(
    ("flags", "named", "instead"),
    [
        (("--checkpointing_interval=-1",), "--checkpointing_interval=-1", "=1000"),
        (("--checkpointing_interval=0",), "--checkpointing_interval=0", "=1000"),
        (("--checkpointing_interval=600000",), "--checkpointing_interval=600000", "120000"),
        (("--max_bundle_time_mills=1000",), "--max_bundle_time_mills=1000", "=100"),
        (
            ("--max_bundle_time_mills=1000", "--checkpointing_interval=1000"),
            "--checkpointing_interval=1000",
            "--max_bundle_time_mills=100",
        ),
        (("--max_bundle_time_mills=0",), "--max_bundle_time_mills=0", "=100"),
        (("--num_concurrent_checkpoints=2",), "--num_concurrent_checkpoints=2", "=1"),
        (("--parallelism=3",), "--parallelism=3 with --shards=4", "--parallelism=4"),
        (("--environment_type=LOOPBACK",), "--environment_type=LOOPBACK", "EXTERNAL"),
        (("--environment_config=",), "--environment_config", "localhost:50000"),
        (("--flink_master=[local]",), "--flink_master=[local]", "http://"),
    ],
)
def test_what_would_stand_still_or_lose_is_refused(
    flags: tuple[str, ...], named: str, instead: str
) -> None:
    with pytest.raises(OptionError) as refused:
        prepare(options(*flags), shards=4)
    assert named in str(refused.value)
    assert "give" in str(refused.value) or "missing" in str(refused.value)
    assert instead in str(refused.value)


def test_flinks_own_options_are_known_on_the_command_line() -> None:
    _, beam_options = parse_options(
        warehouse.WarehouseOptions,
        [
            f"--input_subscription={_SUBSCRIPTION}",
            "--output_table=local:data.telemetry",
            "--savepoint_path=file:///checkpoints/chk-7",
            "--number_of_execution_retries=10",
        ],
        program="warehouse",
        about="",
    )
    assert beam_options.view_as(FlinkJobOptions).savepoint_path == "file:///checkpoints/chk-7"


class _JobServer(beam_job_api_pb2_grpc.JobServiceServicer):
    def __init__(self, option: str) -> None:
        self._option = option

    def DescribePipelineOptions(self, request: Any, context: Any) -> Any:
        described = beam_job_api_pb2.PipelineOptionDescriptor(name=self._option)
        return beam_job_api_pb2.DescribePipelineOptionsResponse(options=[described])


@contextmanager
def job_server(option: str) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(_JobServer(option), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.mark.parametrize(("option", "flink"), [("flink_master", True), ("spark_master_url", False)])
def test_a_job_server_is_asked_whether_it_is_flinks(option: str, flink: bool) -> None:
    with job_server(option) as address:
        flags = ["--runner=PortableRunner", f"--job_endpoint={address}"]
        assert on_flink(PipelineOptions(flags)) is flink


def test_a_job_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.flink._ASK_SECONDS", 0.2)
    with job_server("flink_master") as address:
        pass
    with pytest.raises(PipelineFailed, match=f"--job_endpoint={address}"):
        on_flink(PipelineOptions(["--runner=PortableRunner", f"--job_endpoint={address}"]))


@pytest.mark.parametrize("runner", ["DirectRunner", "DataflowRunner", "PrismRunner"])
def test_other_runners_are_not_flink(runner: str) -> None:
    assert not on_flink(PipelineOptions([f"--runner={runner}"]))


_BROKER = ("--broker=mqtt://localhost:1883", "--client_id=client")
_PIPELINES: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "telemetry": (
        telemetry.TelemetryOptions,
        telemetry.build,
        (*_BROKER, "--output_topic=projects/local/topics/telemetry", "--shards=4"),
    ),
    "warehouse": (
        warehouse.WarehouseOptions,
        warehouse.build,
        (f"--input_subscription={_SUBSCRIPTION}", "--output_table=local:data.telemetry"),
    ),
    "warehouse with archive": (
        warehouse.WarehouseOptions,
        warehouse.build,
        (
            f"--input_subscription={_SUBSCRIPTION}",
            "--output_table=local:data.telemetry",
            "--archive_subscription=projects/local/subscriptions/archive",
            "--archive_folder=/archive",
        ),
    ),
    "direct": (
        direct.DirectOptions,
        direct.build,
        (*_BROKER, "--output_table=local:data.telemetry", "--shards=4"),
    ),
    "commands": (
        commands.CommandsOptions,
        commands.build,
        (
            *_BROKER,
            f"--input_subscription={_SUBSCRIPTION}",
            "--results_topic=projects/local/topics/results",
        ),
    ),
}


@pytest.mark.parametrize("name", _PIPELINES)
def test_every_pipeline_is_done_in_its_reads_own_stage(name: str) -> None:
    kind, build, flags = _PIPELINES[name]
    ours, beam_options = parse_options(kind, [*_RUNNER, *flags], program=name, about="")
    pipeline = beam.Pipeline(options=beam_options)
    build(pipeline, ours)
    check_fused(pipeline)


def parted_by(between: beam.PTransform) -> beam.Pipeline:
    pipeline = beam.Pipeline(options=options())
    read = pipeline | "Read" >> ReadFromPubSub(_SUBSCRIPTION)
    _ = read | "Between" >> between | "Sink" >> beam.Map(print)
    return pipeline


@pytest.mark.parametrize(
    "between",
    [
        beam.Reshuffle(),
        beam.Map(lambda message: (1, message))
        | beam.WindowInto(FixedWindows(60))
        | beam.GroupByKey(),
        beam.Map(lambda message: (1, message)) | beam.GroupIntoBatches(10),
    ],
    ids=["Reshuffle", "GroupByKey", "GroupIntoBatches"],
)
def test_a_step_behind_a_shuffle_is_refused(between: beam.PTransform) -> None:
    with pytest.raises(PipelineFailed, match=r"is parted by 'Between.* from 'Read/"):
        check_fused(parted_by(between))


def test_a_step_behind_a_flatten_of_two_reads_is_refused() -> None:
    pipeline = beam.Pipeline(options=options())
    reads = [
        pipeline | name >> ReadFromPubSub(f"projects/local/subscriptions/{name}") for name in "ab"
    ]
    _ = reads | "Together" >> beam.Flatten() | "Sink" >> beam.Map(print)
    with pytest.raises(PipelineFailed, match="'Sink' is parted by 'Together'"):
        check_fused(pipeline)
