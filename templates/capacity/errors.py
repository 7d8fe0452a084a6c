"""What can be wrong with a plan.

CapacityError
├── InvalidAssumption  a value that no fleet, machine, price or quota can have: the caller's fault
└── UnreadableResults  bench/RESULTS.md lacks a figure: run the bench again
"""


class CapacityError(Exception):
    """A plan that can't be made; the message names the thing, its value and what is right."""


class InvalidAssumption(CapacityError):
    """A value out of its range. `name` is the field's, as `Fleet` and the others spell it."""

    def __init__(self, name: str, value: float, expected: str) -> None:
        super().__init__(f"{name} is {value}: expected {expected}")
        self.name = name
        self.value = value
        self.expected = expected


class UnreadableResults(CapacityError):
    """The page of measurements has no such table, row or column."""
