"""What holds for every Pub/Sub attribute: its size, its text, that it is there.

Errors are the caller's: each function takes the type to raise.
"""

from collections.abc import Mapping

# Pub/Sub's limit on an attribute's value [cloud.google.com/pubsub/quotas].
MAXIMUM_ATTRIBUTE_VALUE_BYTES = 1024


def required(attributes: Mapping[str, str], name: str, invalid: type[Exception]) -> str:
    """Return the attribute's value; one that is empty is as good as missing."""
    if value := attributes.get(name):
        return value
    raise invalid(f"attribute {name} is missing")


def check_text(what: str, value: str, invalid: type[Exception]) -> None:
    """Refuse what a Pub/Sub attribute can't carry."""
    if value.isascii():
        size = len(value)
        if 0 < size <= MAXIMUM_ATTRIBUTE_VALUE_BYTES:
            return
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise invalid(f"{what} {value[:100]!a} is not valid Unicode text") from None
        if size <= MAXIMUM_ATTRIBUTE_VALUE_BYTES:
            return
    if not size:
        raise invalid(f"{what} is empty")
    raise invalid(
        f"{what} has {size} bytes ({value[:60]!r}…): "
        f"Pub/Sub's attributes take at most {MAXIMUM_ATTRIBUTE_VALUE_BYTES}"
    )
