"""`make image-lock`, against a registry on loopback that speaks the real protocol. A second."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.endpoints import free_ports
from templates.errors import ImageError
from templates.image.locked import BaseImage, read_lock, write_lock
from templates.image.registry import digest_of
from tests.templates.image.served import Registry, serving

BOTH = ("linux/amd64", "linux/arm64")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as served:
        yield served


def image(registry: Registry, *, role: str = "python") -> BaseImage:
    return BaseImage(role=role, image=f"{registry.address}/library/{role}", tag="3.11-slim")


def refusal(registry: Registry) -> str:
    with pytest.raises(ImageError) as raised:
        digest_of(image(registry))
    return str(raised.value)


def test_the_digest_of_an_image_for_several_platforms_is_its_indexs(registry: Registry) -> None:
    digest = registry.put_index("library/python:3.11-slim", *BOTH)
    assert digest_of(image(registry)) == digest


def test_an_anonymous_token_is_fetched_where_the_registry_says(registry: Registry) -> None:
    registry.put_index("library/python:3.11-slim", *BOTH)
    digest_of(image(registry))
    assert [each.partition("?")[0] for each in registry.requests] == [
        "/v2/library/python/manifests/3.11-slim",
        "/token",
        "/v2/library/python/manifests/3.11-slim",
    ]


def test_a_registry_that_asks_for_no_token_gets_none(registry: Registry) -> None:
    registry.challenge = False
    digest = registry.put_index("library/python:3.11-slim", *BOTH)
    assert digest_of(image(registry)) == digest
    assert len(registry.requests) == 1


def test_the_digest_of_an_image_for_one_platform_is_its_manifests(registry: Registry) -> None:
    digest = registry.put_manifest("library/python:3.11-slim", "linux/amd64")
    assert digest_of(image(registry)) == digest


@pytest.mark.parametrize("several", [True, False])
def test_an_image_for_other_machines_is_refused(several: bool, registry: Registry) -> None:
    put = registry.put_index if several else registry.put_manifest
    put("library/python:3.11-slim", "linux/arm64")
    assert "is for linux/arm64, not for linux/amd64" in refusal(registry)


def test_a_registry_that_misnames_what_it_sends_is_refused(registry: Registry) -> None:
    registry.put_index("library/python:3.11-slim", *BOTH)
    registry.false_digest = f"sha256:{'0' * 64}"
    assert f"it calls sha256:{'0' * 64} what is sha256:" in refusal(registry)


def test_who_is_redirected_to_gets_no_token(registry: Registry) -> None:
    digest = registry.put_manifest("library/python:3.11-slim", "linux/amd64")
    (config,) = registry.blobs
    path = f"/v2/library/python/blobs/{config}"
    with serving() as storage:
        storage.challenge = False
        storage.blobs = registry.blobs
        registry.redirects[path] = f"http://{storage.address}{path}"
        assert digest_of(image(registry)) == digest
        assert storage.tokens == [None]
    assert registry.tokens[-1] is not None


def test_a_config_that_is_another_is_refused(registry: Registry) -> None:
    registry.put_manifest("library/python:3.11-slim", "linux/amd64")
    (digest,) = registry.blobs
    registry.blobs[digest] += b" "
    assert f"what it sends as {digest} is something else" in refusal(registry)


def test_a_tag_that_is_not_there_is_named(registry: Registry) -> None:
    assert "library/python:3.11-slim: of its registry: it has no such image" in refusal(registry)


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "asks for an account"), (429, "try again later"), (500, "refuses (HTTP status 500)")],
)
def test_a_refusal_says_what_it_means(status: int, words: str, registry: Registry) -> None:
    registry.put_index("library/python:3.11-slim", *BOTH)
    registry.statuses["/v2/library/python/manifests/3.11-slim"] = status
    assert words in refusal(registry)


def test_a_page_instead_of_a_manifest_is_refused(registry: Registry) -> None:
    registry.manifests["library/python:3.11-slim"] = (
        "application/vnd.oci.image.index.v1+json",
        b"<html>sign in to this network</html>",
    )
    assert "answers with no JSON" in refusal(registry)


def pin(lock: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "templates.image.pin", str(lock)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_lock_file_is_filled(registry: Registry, tmp_path: Path) -> None:
    lock = tmp_path / "images.lock"
    write_lock([image(registry), image(registry, role="beam")], lock)
    digests = [
        registry.put_index("library/python:3.11-slim", *BOTH),
        registry.put_manifest("library/beam:3.11-slim", "linux/amd64"),
    ]
    done = pin(lock)
    assert done.returncode == 0, done.stderr
    assert [each.digest for each in read_lock(lock)] == digests
    assert "(was unresolved)" in done.stderr
    assert "(as before)" in pin(lock).stderr


def test_one_that_fails_leaves_the_lock_file_as_it_was(registry: Registry, tmp_path: Path) -> None:
    lock = tmp_path / "images.lock"
    write_lock([image(registry), image(registry, role="beam")], lock)
    registry.put_index("library/python:3.11-slim", *BOTH)
    before = lock.read_text()
    done = pin(lock)
    assert done.returncode == 1
    assert lock.read_text() == before
    assert done.stderr.splitlines()[-1] == f"{lock} is as it was."


def test_a_registry_out_of_reach_is_said_in_a_sentence(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    lock = tmp_path / "images.lock"
    write_lock([BaseImage(role="python", image=f"127.0.0.1:{port}/python", tag="3")], lock)
    done = pin(lock)
    assert done.returncode == 1
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"127.0.0.1:{port}/python: its registry can't be reached from here (")
    assert "Run `make image-lock` where it can" in first
    assert "Traceback" not in done.stderr
