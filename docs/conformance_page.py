"""docs/conformance.md: the specification's statements, and the tests that show each.

The statements are in conformance.toml; which test shows which is read from the tests' source, where
``@conforms(v5="…", v311="…")`` stands above a test.
"""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_PAGE = _ROOT / "docs" / "conformance.md"
_LIST = _ROOT / "docs" / "conformance.toml"
_TESTS = (_ROOT / "tests" / "broker", _ROOT / "tests" / "mqtt")

_VERSIONS = {"v5": "MQTT 5.0", "v311": "MQTT 3.1.1"}

_HEAD = """\
# Conformance of the broker

<!-- Made by `python -m docs.generate` of conformance.toml and the tests. -->

Every numbered conformance statement of MQTT 5.0 and 3.1.1 (Appendix B of each), in a few words of
our own, with the tests that show it. What a client alone must do is not the server's to show; what
is about things that this server never sends has the reason instead of a test.

Suites of others ask a running broker the same. With the configuration in
[For trying out clients](broker.md#for-trying-out-clients), in November 2026:

| suite | 3.1.1 | 5.0 |
|---|---|---|
| Eclipse paho.mqtt.testing, `client_test.py` and `client_test5.py` | 10 of 10 | 27 of 27 |
| mqtt-conformance (vibesrc) | 124 of 124 | 106 of 106 |
| spec of gomqtt (256dpi) | 66 of 66 | |
| testmqtt (bromq) | 77 of 77 | 137 of 139 |
| mqtt5-conformance (mqtt-lib) | | 180 of 184 |
| rmqtt-test | 62 of 64 | 60 of 64 |

mqtt-conformance and rmqtt-test want a client of 5.0 without an identifier refused unless it asks
for Clean Start, as one of 3.1.1 is; that is `limits: {assign_lasting_client_ids: false}`. Eclipse's
wants the opposite.

What is missing there: testmqtt has two cases with a CONNECT that is a byte longer than it says, and
takes no CONNACK 0x81 for it. mqtt5-conformance wants a copy of a message for each of two
overlapping subscriptions, which a server may send; here it is one with both identifiers. Two more
of its cases end in a time-out, other ones in each run, and pass alone: its client sends, and begins
to wait for the answer when that may have come.
rmqtt-test wants connections closed without the DISCONNECT that says why, 0x94 for an alias that was
never set (3.3.2.3.4 has 0x82), and clients that publish below `$SYS/`; a client of its waits 30 s
for a SUBACK when its connection is closed already.

Eclipse's asks for things that are settings, and for topics that begin with `$`, which the role
`everything` must name (`publish: {allow: ["#", "$TopicA/#", "$client_test5/#"]}`):

```yaml
limits:
  server_keep_alive_seconds: 60   # it asks for 120 s and wants to be told 60
  reveal_reasons: false           # it takes no SUBACK but 0x80 for a refusal; 5.0 has 0x87 as well
  refused_filters: [test/nosubscribe]
```

mosquitto's own sequences of bytes (`test/broker/data`, 1,817 but for those of MQTT 3.1) ask for the
answers of mosquitto to the byte: 1,448 are as it wants them. In most others a property of another
packet is 0x81 here, as 2.2.2.2 has it, and 0x82 there.
"""

Shown = dict[str, dict[str, list[tuple[Path, str]]]]
"""Version -> statement's number -> file and name of the tests that show it."""


def statements() -> dict[str, dict[str, dict[str, str]]]:
    """Version -> ``server``, ``client`` or ``unused`` -> number -> what it says."""
    with _LIST.open("rb") as file:
        return tomllib.load(file)


def shown() -> Shown:
    """Which tests show what. Raises ValueError for a ``conforms`` that can't be read."""
    found: Shown = {version: defaultdict(list) for version in _VERSIONS}
    for folder in _TESTS:
        for path in sorted(folder.rglob("test_*.py")):
            for name, version, numbers in _marked(path):
                for number in numbers:
                    found[version][number].append((path, name))
    return found


def generated() -> list[tuple[Path, str]]:
    """The page and its text."""
    tests = shown()
    parts = [_HEAD]
    for version, kinds in statements().items():
        parts.append(_section(_VERSIONS[version], kinds, tests[version]))
    return [(_PAGE, "\n".join(parts))]


def _section(
    title: str, kinds: dict[str, dict[str, str]], tests: dict[str, list[tuple[Path, str]]]
) -> str:
    lines = [f"## {title}", "", "| statement | in short | shown by |", "|---|---|---|"]
    rows = [(number, kind, words) for kind, each in kinds.items() for number, words in each.items()]
    for number, kind, words in sorted(rows, key=lambda row: _order(row[0])):
        if kind == "server":
            by = "<br>".join(_link(path, name) for path, name in tests.get(number, []))
        else:
            by = "client's duty" if kind == "client" else "not used"
        lines.append(f"| MQTT-{number} | {words} | {by} |")
    return "\n".join(lines) + "\n"


def _link(path: Path, name: str) -> str:
    return f"[{name.removeprefix('test_')}](../{path.relative_to(_ROOT).as_posix()})"


def _order(number: str) -> list[int]:
    section, _, last = number.partition("-")
    return [*map(int, section.split(".")), int(last)]


def _marked(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for call in node.decorator_list:
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            if call.func.id != "conforms":
                continue
            for keyword in call.keywords:
                value = keyword.value
                if not isinstance(value, ast.Constant) or keyword.arg is None:
                    raise ValueError(f"{path}: {node.name}: conforms() takes plain texts")
                yield node.name, keyword.arg, str(value.value).split()
