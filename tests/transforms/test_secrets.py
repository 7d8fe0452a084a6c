from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.errors import TransformError
from transforms.secrets import SecretError, SecretRef


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("projects/p/secrets/s", "projects/p/secrets/s/versions/latest"),
        ("projects/p/secrets/s/versions/3", "projects/p/secrets/s/versions/3"),
        ("file:/etc/secret", "file:/etc/secret"),
        ("env:NAME", "env:NAME"),
    ],
)
def test_a_reference_is_read(text: str, reference: str) -> None:
    assert SecretRef.parse(text) == SecretRef(reference)


@pytest.mark.parametrize("text", ["hunter2", "", "file:", "env:", "http://hunter2", "projects/p"])
def test_what_may_be_the_secret_itself_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must be a reference") as refused:
        SecretRef.parse(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"hunter2", b"hunter2"),
        (b"hunter2\n", b"hunter2"),
        (b"hunter2\r\n", b"hunter2"),
        (b"hunter2\n\n", b"hunter2\n"),
        (b" hunter2 ", b" hunter2 "),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_a_file_s_last_line_end_is_no_part_of_it(
    tmp_path: Path, content: bytes, secret: bytes
) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert SecretRef(f"file:{tmp_path}/secret").read() == secret


def test_a_secret_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    reference = SecretRef(f"file:{file}")
    file.write_bytes(b"old")
    assert reference.read() == b"old"
    file.write_bytes(b"new")
    assert reference.read() == b"new"


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hunter2")
    assert SecretRef("env:A_SECRET").read() == b"hunter2"


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("A_SECRET", raising=False)
    with pytest.raises(SecretError, match="secret env:A_SECRET: the environment has no variable"):
        SecretRef("env:A_SECRET").read()
    with pytest.raises(SecretError, match=r"secret file:.*missing: No such file"):
        SecretRef(f"file:{tmp_path}/missing").read()
    assert issubclass(SecretError, TransformError)


def test_secret_manager_without_credentials_is_one_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(SecretError, match=r"projects/p/secrets/s.*roles/secretmanager"):
        SecretRef.parse("projects/p/secrets/s").read()


def test_a_file_is_used_where_it_is(tmp_path: Path) -> None:
    assert SecretRef(f"file:{tmp_path}/ca.pem").as_file() == f"{tmp_path}/ca.pem"


def test_a_copy_is_private_made_once_and_gone_with_the_process() -> None:
    program = (
        "import os\n"
        "from transforms.secrets import SecretRef\n"
        "path = SecretRef('env:A_SECRET').as_file()\n"
        "assert path == SecretRef('env:A_SECRET').as_file()\n"
        "print(path, oct(os.stat(path).st_mode), oct(os.stat(os.path.dirname(path)).st_mode),"
        " open(path).read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"A_SECRET": "hunter2", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    path, mode, folder_mode, content = done.stdout.split()
    assert stat.S_IMODE(int(mode, 8)) == 0o600
    assert stat.S_IMODE(int(folder_mode, 8)) == 0o700
    assert content == "hunter2"
    assert not Path(path).parent.exists()
