"""The steps of a job: a contract with the jobs that run.

An update in place finds the state of a running job (what was read and not yet acknowledged, what
is buffered) by the names of its steps, and reads it with their coders. Dataflow refuses an update
in which a name is gone, unless a transform name mapping says what became of it, and one in which a
step of the same name has other coders.
https://cloud.google.com/dataflow/docs/guides/updating-a-pipeline#CCheck

``graph.json`` beside each template holds, for each variant of the graph, the steps that were
released, each with its coders, and the mapping of those that were renamed; an empty name there
means removed on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from templates.catalog import Template
from templates.errors import TemplateError
from templates.job import Job

Steps = Mapping[str, str]
"""The coders of each step, in words, by its name; see ``steps_of``."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Released steps by variant, and what released names were renamed to."""

    variants: Mapping[str, Steps] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    def became(self, name: str) -> str:
        """Returns what a released name is now; a mapping of a composite holds for its parts."""
        for old, new in self.renamed.items():
            if name == old or (not new and name.startswith(f"{old}/")):
                return new
            if name.startswith(f"{old}/"):
                return new + name.removeprefix(old)
        return name

    def broken_by(self, variant: str, steps: Steps) -> Iterator[str]:
        """Gives why a running job of that variant can't be updated to one with these steps."""
        for released, coders in self.variants.get(variant, {}).items():
            name = self.became(released)
            if name and name not in steps:
                yield (
                    f"step {released!r} is gone, so a running job can't be updated; give it back"
                    " its name, or say in graph.json what it was renamed to"
                )
            elif name and steps[name] != coders:
                yield (
                    f"step {name!r} has other coders, so a running job can't be updated:"
                    f" {steps[name]!r} for {coders!r}; give it back its types, or a new name, and"
                    " map the old one to nothing in graph.json, which drops what it holds"
                )

    def unrecorded(self, variant: str, steps: Steps) -> list[str]:
        """Returns the names that the contract doesn't have yet."""
        released = set(map(self.became, self.variants.get(variant, {})))
        return sorted(set(steps) - released)

    def with_steps(self, variant: str, steps: Steps) -> Contract:
        """Returns the contract with new steps added; none is ever taken away or changed."""
        new = {name: steps[name] for name in self.unrecorded(variant, steps)}
        released = {**self.variants.get(variant, {}), **new}
        variants = {**self.variants, variant: dict(sorted(released.items()))}
        return Contract(variants=variants, renamed=self.renamed)

    def mapping_to(self, steps: Steps) -> dict[str, str]:
        """Returns the transform name mapping for an update to a job with these steps.

        One entry a step: a composite's stands for its parts here, and nobody promises that it does
        for Dataflow. A name that was removed is mapped to an empty one.
        """
        released = {name for variant in self.variants.values() for name in variant}
        became = {name: self.became(name) for name in sorted(released)}
        return {old: new for old, new in became.items() if old != new and (not new or new in steps)}

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
    return Contract(variants=record["variants"], renamed=record["renamed"])


def write_contract(template: Template, contract: Contract) -> None:
    """Writes a template's contract beside its entry point."""
    (template.folder / "graph.json").write_text(contract.to_json(), encoding="utf-8")


def steps_of(job: Job) -> dict[str, str]:
    """Returns a job's steps by their names, sorted, each with its coders in words.

    In words: those of its outputs, then what it keeps: a restriction, state, timers. A composite
    has none of its own.
    """
    return {name: job.coders(step) for name, step in sorted(job.transforms.items())}
