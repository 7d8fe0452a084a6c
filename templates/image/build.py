"""The images of templates: each the same but for the entry point that Google's launcher runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from templates.catalog import Template
from templates.image.engine import Engine, find_engine
from templates.image.locked import BaseImage, digests, read_lock
from templates.specification import specification


def build_images(
    templates: Sequence[Template],
    *,
    repository: str,
    tag: str,
    push: bool = False,
    as_root: bool = False,
    images: Callable[[], Sequence[BaseImage]] = read_lock,
    engine: Callable[[], Engine] = find_engine,
) -> Iterator[tuple[Template, str]]:
    """Builds, and pushes where asked to, one template after another.

    Gives each with the reference of its image, REPOSITORY/NAME:TAG, or REPOSITORY/NAME@DIGEST if it
    was pushed. What can be known is checked before the first is built.

    Raises:
      TemplateError: a reference is none.
      ImageError: a base image has no digest, there is no engine, or it failed.
    """
    references = {each.name: f"{repository}/{each.name}:{tag}" for each in templates}
    for each in templates:
        specification(each, image=references[each.name])
    known = digests(images())
    builder = engine()
    for each in templates:
        reference = references[each.name]
        builder.build(each, reference, digests=known, as_root=as_root)
        yield each, builder.push(reference) if push else reference
