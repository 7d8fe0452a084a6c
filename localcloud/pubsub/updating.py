"""Update requests: a resource, and the paths of it that are to change."""

from google.protobuf.field_mask_pb2 import FieldMask

from localcloud.pubsub.errors import InvalidArgument
from localcloud.pubsub.protobufs import Protobuf


def updated(
    current: Protobuf, wanted: Protobuf, mask: FieldMask, *, kind: str, allowed: frozenset[str]
) -> Protobuf:
    """A copy of `current` with the paths of `mask` taken from `wanted`.

    A path that `wanted` leaves unset is cleared. Raises InvalidArgument for an empty mask, a path
    that is no field, or one whose first part is not in `allowed`.
    """
    request = f"Update{kind}Request"
    if not mask.paths:
        raise InvalidArgument(
            f"The update_mask in the {request} must be set, and must contain a non-empty paths list"
        )
    for path in mask.paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(current.DESCRIPTOR):
            raise InvalidArgument(
                f"Invalid update_mask provided in the {request}: {path} is not a known {kind} "
                "field. Field paths are of the form 'retry_policy', not 'retryPolicy'"
            )
        if path.split(".")[0] not in allowed:
            raise InvalidArgument(
                f"Invalid update_mask provided in the {request}: {path} cannot be changed; "
                f"these can: {', '.join(sorted(allowed))}"
            )
    copy = type(current)()
    copy.CopyFrom(current)
    mask.MergeMessage(wanted, copy, replace_message_field=True, replace_repeated_field=True)
    return copy
