"""Rights of a role are those of its holder, and what one grant denies no other allows."""

from __future__ import annotations

from broker.auth.principal import Grant, Principal, PrincipalKind, Rights, Rules
from mqtt.topics import TopicFilter


def rules(allow: str, deny: str = "") -> Rules:
    made = (tuple(map(TopicFilter.parse, texts.split())) for texts in (allow, deny))
    return Rules(allow=next(made), deny=next(made))


def device(*names: str, allow: str, deny: str = "") -> Principal:
    """The first, who speaks for the others; all have one role."""
    given = rules(allow, deny)
    rights = Rights(publish=given, subscribe=given, will=given)
    grants = tuple(Grant(role="role", rights=rights, device=name) for name in names)
    return Principal(name=names[0], kind=PrincipalKind.DEVICE, client_id=names[0], grants=grants)


def test_a_device_has_the_rights_of_its_role_under_its_own_name() -> None:
    one = device("d1", allow="a/%device/# b/+", deny="a/%device/secret/#")
    for topic, may in (
        ("a/d1", True),
        ("a/d1/x/y", True),
        ("a/d2/x", False),
        ("a/%device/x", False),
        ("a/d1/secret", False),
        ("b/d2", True),
        ("x/d1", False),
    ):
        assert one.may_publish(topic) is may, topic
        assert one.may_leave_will(topic) is may, topic
    for pattern, may in (
        ("a/d1/x/#", True),
        ("$share/g/a/d1/+", False),
        ("$share/g/a/d1/x", True),
        ("a/d1/#", False),
        ("a/+/x", False),
        ("a/#", False),
        ("b/+", True),
    ):
        assert one.may_subscribe(TopicFilter.parse(pattern)) is may, pattern


def test_a_gateway_has_the_rights_of_each_that_it_speaks_for_denials_included() -> None:
    gateway = device("g", "d1", "d2", allow="a/%device/#", deny="a/+/x/%device")
    for name in ("g", "d1", "d2"):
        assert gateway.may_publish(f"a/{name}/y")
        # Another's denial, too.
        assert not gateway.may_publish(f"a/g/x/{name}")
        assert not gateway.may_subscribe(TopicFilter.parse(f"a/{name}/#"))
    assert not gateway.may_publish("a/d3/y")


def test_a_service_is_no_device() -> None:
    rights = Rights(publish=rules("a/%device b"), subscribe=rules("a/%device b"))
    service = Principal(
        name="s",
        kind=PrincipalKind.SERVICE,
        client_id="s-",
        grants=(Grant(role="role", rights=rights),),
    )
    for name in ("%device", "s", ""):
        assert not service.may_publish(f"a/{name}")
        assert not service.may_subscribe(TopicFilter.parse(f"a/{name}"))
    assert service.may_publish("b")


def test_other_rights_of_a_role_are_those_of_all_that_have_it() -> None:
    gateway = device("g", "d1", allow="a/%device")
    after = gateway.regranted({"role": Rights(publish=rules("b/%device"))})
    for name in ("g", "d1"):
        assert not after.may_publish(f"a/{name}")
        assert after.may_publish(f"b/{name}")
    assert not after.may_subscribe(TopicFilter.parse("a/g"))
