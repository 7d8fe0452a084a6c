"""The worker of a local pipeline: this process itself, asked for over loopback, once.

Beam's own loopback worker listens on every interface and starts a worker for whoever asks, and
what a worker runs are pickles. This one listens on 127.0.0.1 and starts the one worker that our
own job needs.
"""

from __future__ import annotations

import threading
from typing import Any

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker import bundle_processor, sdk_worker_main, statesampler
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor

_STOP_SECONDS = 1.0


class LoopbackWorkerPool:
    """Serves the environment type EXTERNAL at ``address`` until :meth:`stop`."""

    def __init__(self, options: PipelineOptions) -> None:
        _measure_less()
        self._server = grpc.server(
            thread_pool_executor.shared_unbounded_instance(),
            options=[("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)],
        )
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
            _OneWorker(
                use_process=False,
                state_cache_size=sdk_worker_main._get_state_cache_size_bytes(options=options),
            ),
            self._server,
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends the server, and with it the worker's instructions."""
        self._server.stop(_STOP_SECONDS)


class _OneWorker(BeamFnExternalWorkerPoolServicer):
    """Starts one worker and no more."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._lock = threading.Lock()
        self._asked = False

    def StartWorker(  # noqa: N802  # the service's name
        self, start_worker_request: Any, unused_context: Any
    ) -> Any:
        with self._lock:
            first, self._asked = not self._asked, True
        if not first:
            return beam_fn_api_pb2.StartWorkerResponse(
                error="this process works for its own pipeline alone"
            )
        return super().StartWorker(start_worker_request, unused_context)


def _measure_less() -> None:
    """Has bundles measure what somebody can see, which is the metrics of our own steps.

    Beam samples what a bundle is at in a thread that sleeps ever longer, up to 200 ms; the end of
    the bundle waits until it wakes, a twelfth of each bundle on average. Then it reports times,
    counts and sizes of every step, some 16 KB: more work than a bundle of a few messages has
    otherwise. Prism shows nobody either, and keeps a core busy meanwhile.
    """
    statesampler.StateSampler.start = _start
    statesampler.StateSampler.stop = _stop
    bundle_processor.BundleProcessor.monitoring_infos = _monitoring_infos


def _start(sampler: statesampler.StateSampler) -> None:
    sampler.tracked_thread = threading.current_thread()
    statesampler.set_current_tracker(sampler)
    sampler.started = True


def _stop(sampler: statesampler.StateSampler) -> None:
    statesampler.set_current_tracker(None)
    sampler.finished = True


_all_monitoring_infos = bundle_processor.BundleProcessor.monitoring_infos


def _monitoring_infos(processor: bundle_processor.BundleProcessor) -> list[Any]:
    if not processor.state_sampler.finished:
        # A report of progress, by which Prism tells a slow bundle from one that stands still.
        return list(_all_monitoring_infos(processor))
    infos: dict[Any, Any] = {}
    for transform_id, operation in processor.ops.items():
        infos.update(operation.user_monitoring_infos(transform_id))
    return list(infos.values())
