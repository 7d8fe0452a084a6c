"""The names of a job's steps: a contract with the jobs that run.

An update in place finds the state of a running job (what was read and not yet acknowledged, what
is buffered) by the names of its steps. A name that is gone takes its state along, and Dataflow
refuses the update, unless a transform name mapping says what became of it.
https://cloud.google.com/dataflow/docs/guides/updating-a-pipeline#MappingFile

``graph.json`` beside each template holds the names that were released, for each variant of the
graph, and the mapping of those that were renamed; an empty name there means removed on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from templates.catalog import Template
from templates.errors import TemplateError
from templates.job import Job


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Released names by variant, and what released names were renamed to."""

    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    def became(self, name: str) -> str:
        """Returns what a released name is now; a mapping of a composite holds for its parts."""
        for old, new in self.renamed.items():
            if name == old:
                return new
            if new and name.startswith(f"{old}/"):
                return new + name.removeprefix(old)
        return name

    def broken_by(self, variant: str, names: Iterable[str]) -> list[str]:
        """Returns the released names without which an update of a running job fails."""
        now = {*names, ""}
        return [name for name in self.variants.get(variant, ()) if self.became(name) not in now]

    def unrecorded(self, variant: str, names: Iterable[str]) -> list[str]:
        """Returns the names that the contract doesn't have yet."""
        released = set(map(self.became, self.variants.get(variant, ())))
        return sorted(set(names) - released)

    def with_names(self, variant: str, names: Iterable[str]) -> Contract:
        """Returns the contract with new names added; none is ever taken away."""
        released = {*self.variants.get(variant, ()), *self.unrecorded(variant, names)}
        variants = {**self.variants, variant: tuple(sorted(released))}
        return Contract(variants=variants, renamed=self.renamed)

    def to_json(self) -> str:
        """Returns the file's text."""
        record = {"renamed": self.renamed, "variants": self.variants}
        return json.dumps(record, indent=2) + "\n"


def contract_of(template: Template) -> Contract:
    """Returns a template's contract.

    Raises:
      TemplateError: it isn't there; without it an update could not be told what was renamed.
    """
    path = template.folder / "graph.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TemplateError(
            f"{path} is missing: a new template gets it by `mqttbeam templates check"
            f" {template.name} --record`, an old one comes with it"
        ) from error
    variants = {variant: tuple(names) for variant, names in record["variants"].items()}
    return Contract(variants=variants, renamed=record["renamed"])


def write_contract(template: Template, contract: Contract) -> None:
    """Writes a template's contract beside its entry point."""
    (template.folder / "graph.json").write_text(contract.to_json(), encoding="utf-8")


def names_of(job: Job) -> list[str]:
    """Returns the names of a job's steps, sorted."""
    return sorted(job.transforms)
