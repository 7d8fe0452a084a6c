"""What can go wrong when a pipeline is launched.

::

    PipelineError
    ├── RunnerMissing   the runner asked for can't be had here
    ├── RunnerDied      the runner's process ended under the pipeline
    ├── PipelineFailed  the pipeline ended by an error of its own
    └── AskError        something could not be found out before the start
        ├── CannotAsk   nobody could be asked: no credentials, no way there
        └── ApiRefused  Google answered, and not with what was asked for
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


class AskError(PipelineError):
    """Something could not be found out; that does not say that it is wrong."""


class CannotAsk(AskError):
    """Nobody could be asked; ``command`` is what would mend that, None where it isn't known."""

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command


class ApiRefused(AskError):
    """One of Google's services refused; ``status`` is HTTP's."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
