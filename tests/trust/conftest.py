"""Fixtures of the trust tests: see trust_world."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from trust_world import Clock, Serve, World, make_world

from hyperpi import channels
from hypivisor.enroll_service import enrol_server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trust(tmp_path: Path, clock: Clock) -> Iterator[World]:
    """The parts without any port."""
    world = make_world(tmp_path / "hypivisor", clock)
    yield world
    assert world.audit.verify().broken_at is None
    world.disk.close()
    world.audit.close()
    world.store.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start gRPC servers that end with the test."""
    running: list[grpc.aio.Server] = []

    async def start(server: grpc.aio.Server) -> None:
        await server.start()
        running.append(server)

    yield start
    for server in running:
        await server.stop(0)


@pytest.fixture
async def mesh(trust: World, serve: Serve) -> World:
    """The parts with their two ports open."""
    server, ports = enrol_server(trust.service, trust.identity(), ["127.0.0.1:0"])
    await serve(server)
    trust.enrol_port = ports[0]
    nodes = grpc.aio.server(
        interceptors=[channels.NodesOnly(trust.ca.mesh_id, trust.store.is_revoked)],
        options=[("grpc.so_reuseport", 0)],
    )
    nodes.add_generic_rpc_handlers((trust.nodes,))
    trust.grpc_port = nodes.add_secure_port(
        "127.0.0.1:0", channels.server_credentials(trust.identity(), client_certificates=True)
    )
    await serve(nodes)
    return trust
