"""What can go wrong when a pipeline is launched.

::

    PipelineError
    ├── RunnerMissing   the runner asked for can't be had here
    ├── RunnerDied      the runner's process ended under the pipeline
    └── PipelineFailed  the pipeline ended by an error of its own
"""

from __future__ import annotations


class PipelineError(Exception):
    """Root of this package's errors; the message is all that a user is shown."""


class RunnerMissing(PipelineError):
    """The runner is not installed."""


class RunnerDied(PipelineError):
    """The runner's process ended; nothing that was unacknowledged is lost."""


class PipelineFailed(PipelineError):
    """A worker raised, or the runner refused the pipeline."""
