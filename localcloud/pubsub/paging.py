"""List requests: a page of a sorted list, and the token for the next one."""

from collections.abc import Iterable

from localcloud.pubsub.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 1_000


def page(names: Iterable[str], *, page_size: int, page_token: str) -> tuple[list[str], str]:
    """The names after `page_token` in sorted order, and the next token ('' at the end).

    The token is the last name already given, so pages stay right while resources come and go.
    A page size of 0 means the default. Raises InvalidArgument for a negative one.
    """
    if page_size < 0:
        raise InvalidArgument(f"page_size must not be negative, not {page_size}")
    size = min(page_size or DEFAULT_PAGE_SIZE, DEFAULT_PAGE_SIZE)
    left = sorted(name for name in names if name > page_token)
    return left[:size], left[size - 1] if len(left) > size else ""
