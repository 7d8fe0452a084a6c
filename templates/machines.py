"""The standard machines of Compute Engine that workers are mostly made of.

https://cloud.google.com/compute/docs/general-purpose-machines
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)+")
_STANDARD = re.compile("([a-z0-9]+)-standard-([0-9]+)")
_SIZES = {
    "n1": (1, 2, 4, 8, 16, 32, 64, 96),
    "n2": (2, 4, 8, 16, 32, 48, 64, 80, 96, 128),
    "n2d": (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224),
    "e2": (2, 4, 8, 16, 32),
    "c3": (4, 8, 22, 44, 88, 176),
    "t2d": (1, 2, 4, 8, 16, 32, 48, 60),
}
"""vCPUs of each family's standard machines."""
_GB_PER_VCPU = {"n1": 3.75}
"""Of the family's standard machines; 4 where it isn't here."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a machine has."""

    vcpus: int
    memory_gb: float


def size_of(machine_type: str) -> Size | None:
    """Returns what a standard machine of a known family has; None for any other."""
    found = _STANDARD.fullmatch(machine_type)
    if found is None or int(found[2]) not in _SIZES.get(found[1], ()):
        return None
    vcpus = int(found[2])
    return Size(vcpus=vcpus, memory_gb=vcpus * _GB_PER_VCPU.get(found[1], 4.0))


def refusal(machine_type: str) -> str | None:
    """Returns what a machine type must be, if it is none; other families are Dataflow's to know."""
    if not _FORM.fullmatch(machine_type):
        return "must be like n1-standard-2"
    found = _STANDARD.fullmatch(machine_type)
    if found is None or found[1] not in _SIZES or size_of(machine_type) is not None:
        return None
    return f"{found[1]}-standard has {', '.join(map(str, _SIZES[found[1]]))} vCPUs"
