"""Round figures, so that a test's arithmetic can be done by head."""

import pytest

from templates.capacity import Measured


@pytest.fixture
def measured() -> Measured:
    return Measured(
        telemetry_messages_per_second=100_000,
        telemetry_cpu_seconds=0.1,
        commands_messages_per_second=50_000,
        commands_cpu_seconds=0.1,
        warehouse_cpu_seconds=0.4,
    )
