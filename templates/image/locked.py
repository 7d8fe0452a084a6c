"""The base images of templates/images.lock: which they are, and by which digest they are taken."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from templates.errors import ImageError

LOCK = Path(__file__).parent.parent / "images.lock"
UNRESOLVED = "unresolved"
# Dataflow's workers and launchers, unless ARM machines are asked for.
PLATFORM = "linux/amd64"

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
# With the registry's host first, which has a dot, a port or the name localhost; so nobody guesses.
_IMAGE = re.compile(r"(localhost|[a-z0-9.-]+[.:][a-z0-9.:-]+)(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
_TAG = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """An image that ours is made from.

    Args:
      role: what it is for, as in PYTHON_DIGEST of the Dockerfile.
      image: registry and path, without tag.
      tag: what was asked for.
      digest: what it was, ``sha256:`` and 64 hexadecimal digits; None until it is resolved.

    Raises:
      ImageError: names the image and what would be right.
    """

    role: str
    image: str
    tag: str
    digest: str | None = None

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise ImageError(f"{self.role}: {self.image!r} is no HOST/PATH of an image")
        if not _TAG.fullmatch(self.tag):
            raise ImageError(f"{self.role}: {self.tag!r} is no tag")
        if self.digest is not None and not _DIGEST.fullmatch(self.digest):
            raise ImageError(
                f"{self.role}: {self.digest!r} is no digest: sha256: and 64 hexadecimal digits, or"
                f" {UNRESOLVED}"
            )

    @property
    def argument(self) -> str:
        """The argument of the Dockerfile that takes its digest."""
        return f"{self.role.upper()}_DIGEST"


def read_lock(path: Path = LOCK) -> tuple[BaseImage, ...]:
    """Reads the lock file.

    Raises:
      ImageError: it isn't there, or is no lock file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            BaseImage(
                role=role,
                image=entry["image"],
                tag=entry["tag"],
                digest=None if entry["digest"] == UNRESOLVED else entry["digest"],
            )
            for role, entry in content.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{path} is no lock file of base images: {error!r}") from error


def write_lock(images: Iterable[BaseImage], path: Path = LOCK) -> None:
    """Writes the lock file, whole or not at all."""
    content = {
        each.role: {"image": each.image, "tag": each.tag, "digest": each.digest or UNRESOLVED}
        for each in images
    }
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, path)


def digests(images: Iterable[BaseImage]) -> Mapping[str, str]:
    """Returns the digests by the Dockerfile's arguments.

    Raises:
      ImageError: some are not resolved; says what to run.
    """
    found: dict[str, str] = {}
    missing = []
    for each in images:
        if each.digest is None:
            missing.append(f"{each.image}:{each.tag}")
        else:
            found[each.argument] = each.digest
    if missing:
        raise ImageError(
            f"not built: templates/images.lock has no digest of {', '.join(missing)}. Run `make"
            " image-lock` where their registries can be reached, and commit the file"
        )
    return found
