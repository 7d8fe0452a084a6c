"""What a login is worth after a change: every reason to go, and what is left of its time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.auth.identity import PROXY, Authority, Identity, Login, Password, Validity, Vouched
from broker.auth.judging import judge
from tests.broker.auth.directory import NOW, identity, password
from tests.broker.registry.contents import CA_PEM, revocation_list_pem

WHO = identity("d1", password("x", id="d1/p"))
LOGIN = Login(principal=WHO.principal, credential="d1/p")
SITE = Authority(id="site", pem=CA_PEM)
BY_SITE = Login(
    principal=WHO.principal, credential="site", vouched=Vouched(authority=SITE, serial=7)
)


def expiring(not_after: float) -> Identity:
    [credential] = WHO.credentials
    assert isinstance(credential, Password)
    return replace(WHO, credentials=(replace(credential, validity=Validity(not_after=not_after)),))


def test_who_is_blocked_is_worth_nothing() -> None:
    assert judge(LOGIN, replace(WHO.standing, blocked=True), {}, NOW) == "it is blocked"


def test_a_login_lasts_as_long_as_its_credential_and_no_longer_than_before() -> None:
    for before, until in ((None, NOW + 5), (NOW + 3, NOW + 3), (NOW + 9, NOW + 5)):
        judged = judge(replace(LOGIN, until=before), expiring(NOW + 5).standing, {}, NOW)
        assert isinstance(judged, Login)
        assert judged.until == until
    assert isinstance(judge(LOGIN, expiring(NOW).standing, {}, NOW), str)
    assert isinstance(judge(LOGIN, replace(WHO, credentials=()).standing, {}, NOW), str)


def test_a_proxy_s_word_holds_as_long_as_there_is_somebody() -> None:
    login = replace(LOGIN, credential=PROXY)
    assert isinstance(judge(login, replace(WHO, credentials=()).standing, {}, NOW), Login)


def test_a_certificate_holds_as_long_as_its_authority_stands_by_it() -> None:
    listed = replace(SITE, revocation_list=revocation_list_pem("site", 8))
    now = 0.0
    for authority in (SITE, listed, replace(SITE, validity=Validity(not_after=9.0))):
        assert isinstance(judge(BY_SITE, WHO.standing, {"site": authority}, now), Login)


@pytest.mark.parametrize(
    "authority",
    [
        None,
        replace(SITE, revocation_list=revocation_list_pem("site", 7)),
        replace(SITE, revocation_list="none"),
        replace(SITE, pattern="x-{name}"),
        replace(SITE, validity=Validity(not_before=NOW)),
    ],
)
def test_a_certificate_that_its_authority_left_is_worth_nothing(
    authority: Authority | None,
) -> None:
    authorities = {} if authority is None else {"site": authority}
    assert isinstance(judge(BY_SITE, WHO.standing, authorities, 0.0), str)
