"""CycloneDX's own word on a document."""

from __future__ import annotations

import json

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion


def validated(text: str) -> Bom:
    """Reads a bill of materials; one that breaks the schema of CycloneDX 1.6 is an error."""
    # Takes a second to import, which each test process would spend.
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom: Bom = Bom.from_json(json.loads(text))  # type: ignore[attr-defined]  # by a decorator
    return bom
