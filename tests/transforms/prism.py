"""Pipelines of a test on Prism, in this process, ended by a stop or by a condition."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipelines.prism import Prism, cached_path
from transforms.shared import close_shared
from transforms.stop import request_stop, reset_stop


class Collected:
    """What a pipeline's last step has seen; kept by name, as steps are pickled."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def items(self) -> list[Any]:
        return _COLLECTED.setdefault(self._name, [])

    def add(self, item: Any) -> None:
        self.items.append(item)


_COLLECTED: dict[str, list[Any]] = {}


@contextmanager
def running(build: Callable[[beam.Pipeline], object]) -> Iterator[None]:
    """Runs a pipeline while the context is open; then its sources end and it must be done."""
    if not cached_path().is_file():
        pytest.skip("Beam's Prism is not there: `python -m localcloud.prism` fetches it")
    reset_stop()
    prism = Prism(cached_path())
    previous = logging.getLogger().level
    try:
        options = PipelineOptions(
            [
                "--runner=PrismRunner",
                f"--job_endpoint={prism.endpoint}",
                "--environment_type=LOOPBACK",
                "--streaming",
            ]
        )
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        result = pipeline.run()
        ended: list[Any] = []
        waiting = threading.Thread(target=lambda: ended.append(result.wait_until_finish()))
        waiting.daemon = True
        waiting.start()
        yield
        request_stop()
        waiting.join(30)
        assert ended == [PipelineState.DONE]
        close_shared(settle_seconds=2.0)
    finally:
        request_stop()
        close_shared(settle_seconds=0.0)
        prism.stop()
        reset_stop()
        logging.getLogger().setLevel(previous)
