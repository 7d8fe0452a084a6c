"""A configuration is right as a whole or the start ends, with the key and what would be right."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from broker.config import (
    BrokerConfig,
    ClientCertificates,
    Listener,
    ListenerType,
    LogFormat,
    LogLevel,
    StoreConfig,
)
from broker.config_file import load_config
from broker.core.limits import Limits, QueueFull, QueueLimits
from broker.errors import ConfigError
from broker.store import Synchronous


def load(tmp_path: Path, text: str) -> BrokerConfig:
    path = tmp_path / "broker.yaml"
    path.write_text(text)
    return load_config(path)


def test_an_empty_file_listens_on_this_machine_alone_and_knows_nobody(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert config.listeners == (Listener(type=ListenerType.TCP, host="127.0.0.1", port=1883),)
    assert config.registry_file is None


def test_a_registry_may_be_a_database(tmp_path: Path) -> None:
    url = load(tmp_path, "registry: {url: 'sqlite:///registry.db'}").registry_url
    assert url is not None
    assert url.database == str(tmp_path / "registry.db")


def test_everything_can_be_set(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        listeners:
          - {port: 0}
          - {type: tls, host: "::1", port: 8884, certificate_file: c.pem, key_file: /k.pem}
        registry: {file: devices/registry.yaml}
        tokens: {audiences: [my-project]}
        scram: {decoy_key_file: decoys.key}
        limits:
          receive_maximum: 20000
          connect_timeout_seconds: 3
          server_keep_alive_seconds: 60
          response_information: responses/%client
          queue_full: drop_oldest
          device_queue: {messages: 7}
        shutdown_seconds: 1.5
        log: {level: warning, format: json}
        """,
    )
    assert config.listeners[1] == Listener(
        type=ListenerType.TLS,
        host="::1",
        port=8884,
        certificate_file=tmp_path / "c.pem",
        key_file=Path("/k.pem"),
    )
    assert config.registry_file == tmp_path / "devices/registry.yaml"
    assert config.token_audiences == ("my-project",)
    assert config.scram_decoy_key_file == tmp_path / "decoys.key"
    assert config.limits == Limits(
        receive_maximum=20_000,
        connect_timeout_seconds=3.0,
        server_keep_alive_seconds=60,
        response_information="responses/%client",
        queue_full=QueueFull.DROP_OLDEST,
        device_queue=QueueLimits(messages=7, bytes=Limits().device_queue.bytes),
    )
    assert (config.shutdown_seconds, config.log_level) == (1.5, LogLevel.WARNING)
    assert config.log_format is LogFormat.JSON


def test_a_store_is_synchronous_unless_it_is_asked_not_to_be(tmp_path: Path) -> None:
    config = load(tmp_path, "store: {file: broker.db}")
    assert config.store == StoreConfig(
        file=tmp_path / "broker.db", synchronous=Synchronous.FULL, commit_delay_ms=0
    )
    config = load(tmp_path, "store: {file: b.db, synchronous: normal, commit_delay_ms: 2}")
    assert config.store is not None
    assert (config.store.synchronous, config.store.commit_delay_ms) == (Synchronous.NORMAL, 2.0)
    assert load(tmp_path, "{}").store is None


def test_websocket_listeners_have_ports_a_path_and_no_browser_s_site_by_default(
    tmp_path: Path,
) -> None:
    config = load(
        tmp_path,
        """
        listeners:
          - {type: ws}
          - {type: wss, path: /, allowed_origins: ["*"], certificate_file: c.pem, key_file: k.pem}
        """,
    )
    plain, secured = config.listeners
    assert plain == Listener(type=ListenerType.WS, port=8083, path="/mqtt", allowed_origins=())
    assert (secured.type, secured.port) == (ListenerType.WSS, 8084)
    assert (secured.path, secured.allowed_origins) == ("/", ("*",))


def test_a_listener_may_stand_behind_a_proxy_ask_for_certificates_and_take_guests(
    tmp_path: Path,
) -> None:
    config = load(
        tmp_path,
        """
        listeners:
          - type: tls
            host: 0.0.0.0
            certificate_file: c.pem
            key_file: k.pem
            client_certificates: required
            proxy_protocol: {from: [10.0.0.5, "2001:db8::/32"], common_name: "dev-{name}"}
            anonymous: guest
            anonymous_beyond_loopback: true
          - {anonymous: guest}
        """,
    )
    one, other = config.listeners
    assert one.client_certificates is ClientCertificates.REQUIRED
    assert [str(network) for network in one.proxies] == ["10.0.0.5/32", "2001:db8::/32"]
    assert (one.proxy_common_name, one.anonymous) == ("dev-{name}", "guest")
    assert (other.client_certificates, other.proxies) == (ClientCertificates.NONE, ())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("listeners: [{client_certificates: optional}]", "use type tls"),
        (
            "listeners: [{type: tls, client_certificates: off}]",
            "is False; it must be one of: none,",
        ),
        ("listeners: [{proxy_protocol: {}}]", "[0].proxy_protocol.from: is missing; it must be a"),
        ("listeners: [{proxy_protocol: {from: [lb]}}]", "from[0]: 'lb' does not appear to be"),
        ("listeners: [{proxy_protocol: {from: [10.0.0.1/8]}}]", "has host bits set"),
        (
            "listeners: [{proxy_protocol: {from: [10.0.0.1], common_name: x}}]",
            "listeners[0].proxy_protocol: proxy_protocol.common_name is 'x'; it must have",
        ),
        ("listeners: [{host: 0.0.0.0, anonymous: guest}]", "`anonymous_beyond_loopback: true` too"),
        (
            "listeners: [{ignore_credentials: true}]",
            "makes everyone the service that `anonymous` names; name one",
        ),
        ("limits: {refused_filters: ['a/#/b']}", "limits.refused_filters: topic filter 'a/#/b'"),
        (
            "listeners: [{proxy_protocol: {from: [10.0.0.1]}, anonymous: guest}]",
            "`anonymous_beyond_loopback: true` too",
        ),
        ("store: {}", "store.file: is missing; it must be a path, such as broker.db"),
        ("store: {file: b.db, synchronous: off}", "store.synchronous: is False; it must be"),
        ("store: {file: b.db, synchronous: extra}", "must be one of: full, normal"),
        (
            "store: {file: b.db, commit_delay_ms: -1}",
            "is -1.0; it must be 0 to 1000",
        ),
        ("store: {file: b.db, commit: 5}", "store.commit: is not known here"),
        ("stor: {}", "stor: is not known here; known are: "),
        ("listener: []", "listener: is not known here; known are: "),
        ("listeners: []", "listeners: is empty; give at least one"),
        ("listeners: 5", "listeners: is 5; it must be a list"),
        ("listeners: [5]", "listeners[0]: is 5; it must be a mapping"),
        ("listeners: [{prot: 1}]", "listeners[0].prot: is not known here"),
        ("listeners: [{port: 70000}]", "listeners[0].port: is 70000; it must be 0 to 65535"),
        ("listeners: [{host: ''}]", "listeners[0].host: is empty"),
        (f"listeners: [{{host: {'a' * 64}.example}}]", "listeners[0].host: is 'aaa"),
        ("listeners: [{host: a..b}]", "a name of parts with 1 to 63 characters each"),
        (r'listeners: [{host: "a\0b"}]', "listeners[0].host: is 'a\\x00b'"),
        (r'listeners: [{key_file: "a\0"}]', "listeners[0].key_file: is 'a\\x00'; the name of a"),
        ("registry: {url: registry.db}", "registry.url: is no URL of a database; it must be"),
        ("registry: {file: r, url: 'sqlite:///r'}", "registry.url: stands beside file"),
        (r'registry: {file: "a\0"}', "registry.file: is 'a\\x00'; the name of a file holds no NUL"),
        ("listeners: [{port: '1'}]", "listeners[0].port: is '1'; it must be a whole number"),
        ("listeners: [{port: true}]", "listeners[0].port: is True; it must be a whole number"),
        ("listeners: [{type: udp}]", "[0].type: is 'udp'; it must be one of: tcp, tls, ws, wss"),
        ("listeners: [{type: wss}]", "[0].type: wss needs certificate_file and key_file"),
        ("listeners: [{type: ws, key_file: k}]", "and no key_file; use type wss"),
        ("listeners: [{path: /mqtt}]", "listeners[0].path: is for types ws and wss; this one is"),
        ("listeners: [{type: tls, allowed_origins: []}]", "allowed_origins: is for types ws and"),
        ("listeners: [{type: ws, path: mqtt}]", "listeners[0].path: is 'mqtt'; it must be"),
        ("listeners: [{type: ws, path: '/a?b'}]", "listeners[0].path: is '/a?b'; it must be"),
        (
            "listeners: [{type: ws, allowed_origins: ['https://a.example/']}]",
            "listeners[0].allowed_origins: has 'https://a.example/'; it must be",
        ),
        ("listeners: [{type: ws, allowed_origins: ['*', 'http://a']}]", "has '*'; it must be"),
        ("listeners: [{type: ws, allowed_origins: [1]}]", "allowed_origins[0]: is 1; it must be"),
        ("listeners: [{type: tls}]", "[0].type: tls needs certificate_file and key_file"),
        ("listeners: [{key_file: k}]", "[0].type: tcp takes no certificate_file"),
        ("limits: {recieve_maximum: 1}", "limits.recieve_maximum: is not known here"),
        ("limits: {receive_maximum: 0}", "limits.receive_maximum: is 0; it must"),
        ("limits: {receive_maximum: 70000}", "at most 65535 is possible"),
        ("limits: {device_queue: {messages: 0}}", "limits.device_queue: messages is 0"),
        ("limits: {queue_full: newest}", "must be one of: drop_newest, drop_oldest"),
        ("limits: 1", "limits: is 1; it must be a mapping"),
        ("shutdown_seconds: 1.0e+300", "shutdown_seconds: is 1e+300; it must be above 0, and at"),
        (f"shutdown_seconds: 1{'0' * 400}", "shutdown_seconds: is too large for a number"),
        ("system_topics_seconds: 1.0e-9", "is 1e-09; it must be 0, for never, or 0.05 to 86400"),
        ("system_topics_seconds: -1", "is -1.0; it must be 0, for never, or 0.05 to 86400"),
        ("system_topics_seconds: .nan", "is nan; it must be 0, for never, or 0.05 to 86400"),
        ("events: {keep_days: 1.0e+300}", "keep_days: is 1e+300; it must be above 0, and at most"),
        ("limits: {connect_timeout_seconds: 1.0e+300}", "is 1e+300; at most 86400 is possible"),
        ("limits: {failed_logins_seconds: .inf}", "is inf; at most 86400 is possible"),
        (f"limits: {{connections: 1{'0' * 30}}}", "at most 10000000 is possible"),
        (f"limits: {{retained_bytes: 1{'0' * 30}}}", "at most 1125899906842624 is possible"),
        (f"limits: {{device_queue: {{bytes: 1{'0' * 30}}}}}", "1125899906842624 is possible"),
        (
            "store: {file: b.db, commit_delay_ms: 1e2}",
            "is '1e2', which is text in YAML 1.1; write 1.0e+2 or 100",
        ),
        ("limits: {connections: 2e4}", "is '2e4', which is text in YAML 1.1; write 20000"),
        (
            "store: {file: b.db, synchronous: off}",
            "store.synchronous: is False; it must be one of: full, normal",
        ),
        (
            "listeners: [{host: 0.0.0.0, anonymous: guest}]",
            "listeners[0].anonymous: clients may come from other machines",
        ),
        ("shutdown_seconds: 0", "shutdown_seconds: is 0"),
        ("shutdown_seconds: .nan", "shutdown_seconds: is nan"),
        ("log: {level: loud}", "'loud'; it must be one of: debug, info, warning, error"),
        ("log: {format: xml}", "log.format: is 'xml'; it must be one of: text, json"),
        (
            "limits: {}\nlimits: {}",
            "line 2, column 1: not valid YAML: key 'limits' stands",
        ),
        ("5: 6", "key 5 must be text"),
        ("- 1", "the top level must be a mapping"),
        ("a: [", "line 2, column 1: not valid YAML: while parsing a flow node did not find"),
        ("a: 1\n é: \x01", "line 2, column 5: not valid YAML: control characters are not allowed"),
        ("a: !own x", "line 1, column 4: not valid YAML: could not determine a constructor"),
        ("a: 2026-13-45", "line 1, column 4: not valid YAML: a value that looks like a number"),
    ],
)
def test_every_complaint_names_the_key_and_what_would_be_right(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert complaint in str(caught.value)
    assert "broker.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_utf_8_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "broker.yaml"
    path.write_bytes(b"limits: {}\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"broker\.yaml: line 2, column 6: not valid UTF-8"):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_config(tmp_path / "nowhere.yaml")


def test_every_limit_is_told_of() -> None:
    for item in fields(Limits):
        assert item.name in (Limits.__doc__ or "")


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            """
            listeners: [{port: 70000, host: "", prot: 1}, {port: 1883}, {type: udp, path: 5}]
            limits: {connections: 0, topic_levels: many, nothing: 1}
            log: {level: loud}
            shutdown_seconds: 0
            stor: {}
            """,
        )
    told = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert told == [
        *("listeners[0].prot", "listeners[0].host", "listeners[0].port"),
        *("listeners[2].type", "listeners[2].path"),
        *("limits.connections", "limits.topic_levels", "limits.nothing"),
        *("shutdown_seconds", "log.level", "stor"),
    ]
