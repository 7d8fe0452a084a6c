"""Lock files as lists of pins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.templates.image.dockerfile import PROJECT

WHOLE = PROJECT / "requirements.lock"
REQUIREMENTS = PROJECT / "templates" / "requirements.lock"
BUILD = PROJECT / "templates" / "build.lock"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One package in one version; the same name may be pinned again under another marker."""

    name: str
    specifier: SpecifierSet
    marker: Marker | None
    extras: frozenset[str]
    hashes: frozenset[str]


def pins(path: Path) -> list[Pin]:
    """Every pin of a lock file."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        words, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        requirement = Requirement(words)
        found.append(
            Pin(
                name=requirement.name,
                specifier=requirement.specifier,
                marker=requirement.marker,
                extras=frozenset(requirement.extras),
                hashes=frozenset(hashes),
            )
        )
    return found
