"""A server inside a test: it starts, goes away, comes back and stops as asked."""

import socket

import grpc
import pytest

from localcloud.pubsub import LocalPubSub
from tests.localcloud.pubsub.service import Service, texts


def test_a_stopped_server_has_told_its_streams_and_freed_its_port() -> None:
    with LocalPubSub() as pubsub:
        service = Service(endpoint=pubsub.endpoint, project="local")
        service.create()
        service.publish("one")
        stream = service.stream()
        stream.receive()
    assert stream.status() == "UNAVAILABLE"
    service.close()
    host, port = pubsub.endpoint.split(":")
    with socket.create_server((host, int(port))):
        pass


def test_messages_and_leases_outlast_an_outage() -> None:
    with LocalPubSub() as pubsub:
        service = Service(endpoint=pubsub.endpoint, project="local")
        service.create()
        service.publish("leased", "waiting")
        (leased,) = service.pull_now(1)
        with pubsub.refusing_connections(), pytest.raises(grpc.RpcError) as refused:
            service.publish("refused")
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        service.close()
        again = Service(endpoint=pubsub.endpoint, project="local")
        (waiting,) = again.pull(1)
        assert texts([leased, waiting]) == ["leased", "waiting"]
        again.acknowledge([leased, waiting])
        assert again.pull_now() == []
        again.close()


def test_two_servers_in_one_process_know_nothing_of_each_other() -> None:
    with LocalPubSub() as one, LocalPubSub() as other:
        services = [Service(endpoint=each.endpoint, project="local") for each in (one, other)]
        for service in services:
            service.create()
        services[0].publish("for one")
        assert texts(services[0].pull(1)) == ["for one"]
        assert services[1].pull_now() == []
        for service in services:
            service.close()


def test_a_port_in_use_is_an_error_of_the_one_who_starts() -> None:
    with LocalPubSub() as pubsub:
        port = int(pubsub.endpoint.split(":")[1])
        with pytest.raises(OSError, match=f"cannot bind 127.0.0.1:{port}"), LocalPubSub(port=port):
            pass
