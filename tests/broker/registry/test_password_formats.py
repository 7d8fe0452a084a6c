"""Hashes of passwords in other brokers' formats are in a registry only where those were chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.auth.identity import Password, Validity
from broker.auth.password_formats import OtherHash, format_named, hashed_in
from broker.auth.password_hash import PasswordHash
from broker.auth.passwords import PasswordAuthenticator
from broker.auth.principal import PrincipalKind
from broker.errors import RegistryError
from broker.registry import load_registry
from broker.registry.entries import Content, Entry
from broker.registry.exporting import password_file
from broker.registry.issuing import CredentialKind, issue, rotated
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from broker.registry.yaml_writing import content_text
from tests.broker.registry.contents import CHEAP, HASH, OTHER

CHOSEN = frozenset({"mosquitto"})
MOSQUITTO = format_named("mosquitto")


def password(identifier: str, *others: OtherHash, **validity: float) -> Password:
    return Password(
        id=identifier,
        hash=PasswordHash(encoded=HASH),
        others=others,
        validity=Validity(**validity),
    )


def with_other(**validity: float) -> Password:
    return password("d1/a", OTHER, **validity)


def add(registry: SqlRegistry, name: str, *credentials: Password) -> None:
    registry.edit(name, lambda entry: Entry(name=name, credentials=credentials))


def kept(registry: SqlRegistry, name: str = "d1") -> list[tuple[OtherHash, ...]]:
    entry = registry.entry(name)
    assert entry is not None
    return [each.others for each in entry.credentials if isinstance(each, Password)]


def test_only_what_was_chosen_is_kept(registry: SqlRegistry) -> None:
    add(registry, "d1", with_other())
    assert kept(registry) == [()]
    assert registry.choose_password_format("mosquitto")
    assert not registry.choose_password_format("mosquitto")
    assert kept(registry) == [()]
    add(registry, "d1", with_other())
    assert kept(registry) == [(OTHER,)]
    assert registry.content().password_formats == CHOSEN


def test_with_the_format_all_its_hashes_go_and_nothing_else(registry: SqlRegistry) -> None:
    registry.choose_password_format("mosquitto")
    add(registry, "d1", with_other())
    add(registry, "d2", password("d2/a"))
    assert registry.count_passwords(0.0) == (2, {"mosquitto": 1})
    assert registry.drop_password_format("mosquitto") == 1
    assert registry.drop_password_format("mosquitto") is None
    assert kept(registry) == [()]
    assert registry.content().password_formats == frozenset()
    registry.choose_password_format("mosquitto")
    assert registry.count_passwords(0.0) == (2, {})


def test_passwords_that_have_ended_are_not_counted(registry: SqlRegistry) -> None:
    registry.choose_password_format("mosquitto")
    add(registry, "d1", with_other(not_after=100.0))
    assert registry.count_passwords(99.0) == (1, {"mosquitto": 1})
    assert registry.count_passwords(100.0) == (0, {})


def test_a_hash_goes_with_its_credential_and_with_its_device(registry: SqlRegistry) -> None:
    registry.choose_password_format("mosquitto")
    add(registry, "d1", with_other())
    add(registry, "d1")
    add(registry, "d2", password("d2/a", OTHER))
    registry.edit("d2", lambda entry: None)
    assert registry.count_passwords(0.0) == (0, {})


def test_brokers_hear_of_no_change_and_never_see_the_hash(registry: SqlRegistry) -> None:
    add(registry, "d1", with_other())
    version = registry.changes(0).version
    registry.choose_password_format("mosquitto")
    registry.drop_password_format("mosquitto")
    registry.choose_password_format("mosquitto")
    changed = registry.changes(version)
    assert changed.version == version + 3
    assert not changed
    add(registry, "d1", with_other())
    found = registry.find("d1")
    assert found is not None
    assert found.credentials == (password("d1/a"),)


def test_a_login_is_proved_by_argon2id_alone(registry: SqlRegistry) -> None:
    registry.choose_password_format("mosquitto")
    argon2id = PasswordHash.of("mine", hasher=CHEAP)
    others = hashed_in(CHOSEN, "another")
    add(registry, "d1", Password(id="d1/a", hash=argon2id, others=others))
    authenticator = PasswordAuthenticator(registry)
    assert authenticator.verify("d1", b"mine", 0.0) is not None
    for wrong in (b"another", others[0].encoded.encode()):
        assert authenticator.verify("d1", wrong, 0.0) is None


def test_what_is_taken_in_is_hashed_as_both_sides_have_chosen(registry: SqlRegistry) -> None:
    content = Content(
        entries={"d1": Entry(name="d1", credentials=(with_other(),))}, password_formats=CHOSEN
    )
    registry.take_in(content)
    assert kept(registry) == [(OTHER,)]
    registry.take_in(Content(entries={"d2": Entry(name="d2")}))
    assert registry.password_formats() == CHOSEN
    registry.take_in(Content(entries=content.entries), instead=True)
    assert registry.password_formats() == frozenset()
    assert kept(registry) == [()]


def test_a_removed_hash_is_nowhere_in_the_file(tmp_path: Path) -> None:
    registry = SqlRegistry(registry_url("sqlite:///registry.db", folder=tmp_path))
    registry.choose_password_format("mosquitto")
    add(registry, "d1", with_other())
    digest = OTHER.encoded.rsplit("$", 1)[1].encode()

    def holds_it() -> bool:
        return any(digest in file.read_bytes() for file in tmp_path.iterdir())

    assert holds_it()
    registry.drop_password_format("mosquitto")
    registry.close()
    assert not holds_it()


def test_what_is_issued_has_a_hash_in_each_chosen_format() -> None:
    def issued(kind: CredentialKind, formats: frozenset[str]) -> Any:
        return issue(kind, "d1", validity=Validity(), formats=formats).credential

    assert [each.format for each in issued(CredentialKind.PASSWORD, CHOSEN).others] == ["mosquitto"]
    assert issued(CredentialKind.PASSWORD, frozenset()).others == ()
    assert not hasattr(issued(CredentialKind.SCRAM, CHOSEN), "others")


def read(folder: Path, text: str, environment: dict[str, str] | None = None) -> Content:
    (folder / "registry.yaml").write_text(f"version: 1\n{text}")
    return load_registry(folder / "registry.yaml", environment=environment or {}).content


def test_a_clear_password_is_hashed_in_the_formats_of_the_file(tmp_path: Path) -> None:
    device = "devices: {d1: {password_env: D1}}\n"
    path = tmp_path / "registry.yaml"
    for formats, expected in (("", []), ("password_formats: [mosquitto]\n", ["mosquitto"])):
        path.write_text(f"version: 1\n{formats}{device}")
        registry = load_registry(path, environment={"D1": "secret"})
        [made] = registry.content.entries["d1"].credentials
        assert isinstance(made, Password)
        assert [each.format for each in made.others] == expected
        again = registry.content_with(())
        assert again == registry.content
        [made] = registry.content_with(CHOSEN).entries["d1"].credentials
        assert isinstance(made, Password)
        assert [each.format for each in made.others] == ["mosquitto"]


def test_a_format_that_is_chosen_in_a_file_changes_no_credentials_id(tmp_path: Path) -> None:
    hashed = f'password_hash: "{HASH}"'
    before = read(tmp_path, f"devices: {{d1: {{{hashed}}}}}\n")
    after = read(
        tmp_path,
        "password_formats: [mosquitto]\n"
        f'devices: {{d1: {{{hashed}, other_hashes: {{mosquitto: "{OTHER.encoded}"}}}}}}\n',
    )
    [old], [new] = (each.entries["d1"].credentials for each in (before, after))
    assert old != new
    assert old.id == new.id


def test_a_file_that_ends_a_format_while_entries_have_hashes_in_it_is_wrong(
    tmp_path: Path,
) -> None:
    path = tmp_path / "registry.yaml"
    content = Content(
        entries={"d1": Entry(name="d1", credentials=(with_other(),))}, password_formats=CHOSEN
    )
    text = content_text(content)
    path.write_text(text)
    registry = load_registry(path, environment={})
    path.write_text(text.replace("password_formats:\n- mosquitto\n", ""))
    with pytest.raises(RegistryError, match="'d1/a' has a hash for mosquitto, which is none of"):
        registry.changes(0)
    assert registry.content == content


def test_a_format_that_a_file_chooses_later_is_for_its_clear_passwords(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    text = f'version: 1\ndevices:\n  d1: {{password_env: D1}}\n  d2: {{password_hash: "{HASH}"}}\n'
    path.write_text(text)
    registry = load_registry(path, environment={"D1": "secret"})
    path.write_text(f"{text}password_formats: [mosquitto]\n")
    assert registry.changes(1).names == frozenset({"d1"})
    formats = {
        name: [one.format for each in entry.credentials for one in getattr(each, "others", ())]
        for name, entry in registry.content.entries.items()
    }
    assert formats == {"d1": ["mosquitto"], "d2": []}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("password_formats: [other]\n", r"password_formats\[0\]: is 'other'; the password formats"),
        (
            "devices: {d1: {"
            f'password_hash: "{HASH}", other_hashes: {{mosquitto: "{OTHER.encoded}"}}}}}}\n',
            r"devices\.d1\.credentials: 'd1/password-\w+' has a hash for mosquitto, which is none",
        ),
        (
            "password_formats: [mosquitto]\n"
            f'devices: {{d1: {{password_hash: "{HASH}", other_hashes: {{mosquitto: "x"}}}}}}\n',
            r"d1\.other_hashes\.mosquitto: not a password's hash as mosquitto has it",
        ),
        (
            "password_formats: [mosquitto]\n"
            "devices: {d1: {password_env: D1, other_hashes: {mosquitto: x}}}\n",
            r"d1\.other_hashes: are made of password_env; give them beside password_hash",
        ),
    ],
)
def test_what_is_wrong_with_formats_in_a_file_is_told(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(RegistryError, match=words):
        read(tmp_path, text, {"D1": "secret"})


def test_nothing_is_written_of_formats_where_there_are_none() -> None:
    text = content_text(Content(entries={"d1": Entry(name="d1", credentials=(password("d1/a"),))}))
    assert "formats" not in text
    assert "other_hashes" not in text


def test_a_password_has_one_hash_in_a_format() -> None:
    with pytest.raises(ValueError, match="two hashes in one format"):
        password("d1/a", OTHER, OTHER)


def test_who_may_not_log_in_now_is_in_no_exported_file() -> None:
    entries = [
        Entry(name="now", credentials=(password("n/a", OTHER),)),
        Entry(name="blocked", blocked=True, credentials=(password("b/a", OTHER),)),
        Entry(name="over", credentials=(password("o/a", OTHER, not_after=100.0),)),
        Entry(name="soon", credentials=(password("s/a", OTHER, not_before=101.0),)),
        Entry(name="none"),
        Entry(name="earlier", credentials=(password("e/a"),)),
        Entry(name="a:b", credentials=(password("c/a", OTHER),)),
        Entry(
            name="pipeline",
            kind=PrincipalKind.SERVICE,
            role="observer",
            client_id_prefix="pipeline-",
            credentials=(password("p/a", OTHER, not_after=200.0),),
        ),
    ]
    made = password_file(MOSQUITTO, entries, 100.0)
    assert made.text == f"now:{OTHER.encoded}\npipeline:{OTHER.encoded}\n"
    assert made.names == ("now", "pipeline")
    assert made.without == ("earlier",)
    assert made.unfit == {"a:b": "mosquitto takes no name with a colon"}
    assert (made.several, made.ends) == ({}, 200.0)
    assert OTHER.encoded not in repr(made)


def test_of_two_passwords_the_newest_is_exported_and_told() -> None:
    [newer] = hashed_in(CHOSEN, "newer")
    old, new = password("d1/z", OTHER), password("d1/a", newer)
    overlapping = rotated(Entry(name="d1", credentials=(old,)), old, new, until=200)
    made = password_file(MOSQUITTO, [overlapping], 100.0)
    assert made.text == f"d1:{newer.encoded}\n"
    assert (made.several, made.ends) == ({"d1": "d1/a"}, None)
    begins = Entry(name="d1", credentials=(old, password("d1/a", newer, not_before=50.0)))
    assert password_file(MOSQUITTO, [begins], 100.0).text == f"d1:{newer.encoded}\n"
    assert password_file(MOSQUITTO, [begins], 49.0).text == f"d1:{OTHER.encoded}\n"
    without = Entry(name="d1", credentials=(old, password("d1/a", not_before=50.0)))
    made = password_file(MOSQUITTO, [without], 100.0)
    assert (made.text, made.several) == (f"d1:{OTHER.encoded}\n", {"d1": "d1/z"})
