"""Whether an account may do what the pipeline does, asked of the resource itself.

Every resource of Google's tells an account which of some permissions it has (TestIamPermissions),
inherited ones included, and nothing else need be granted for asking. A policy read by somebody
else would have to be reckoned through groups, folders and conditions, and is never conclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines.errors import ApiRefused, CannotAsk
from schemas.finding import Finding, failed, found, untold


def rights(
    who: str,
    resource: str,
    asked: str,
    wanted: Sequence[str],
    held: Callable[[], set[str]],
    *,
    command: Callable[[], str],
) -> Finding:
    """Returns whether ``who`` has the permissions ``wanted``.

    ``held`` asks for them and raises CannotAsk or ApiRefused; ``command`` gives what grants the
    least role that has them all, and is called after it: who asks is known only then.
    """
    try:
        given = held()
    except CannotAsk as error:
        return untold(resource, asked, f"{who} could not be asked for its rights: {error}")
    except ApiRefused as error:
        return untold(resource, asked, f"its rights were not told: {error}")
    missing = [each for each in wanted if each not in given]
    if missing:
        return failed(resource, asked, f"{who} lacks {', '.join(missing)}", command())
    return found(resource, asked)
