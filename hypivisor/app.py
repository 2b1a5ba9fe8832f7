"""The hypivisor process, wired: store and trust, registry, Link, enrolment, Console, control socket, mDNS."""

import asyncio
import getpass
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc

from hyperpi import channels, contract, discovery, runfile, secret_text, tls
from hyperpi.address import NodeId, new_id
from hyperpi.candidates import NODE_TYPE
from hyperpi.clock import rfc3339
from hyperpi.config import Home
from hyperpi.console_client import ConsoleClient, local_channel
from hyperpi.contract import Json
from hyperpi.control import ControlSocket
from hyperpi.errors import Conflict
from hyperpi.holder import held
from hyperpi.interfaces import own_addresses
from hyperpi.lasting import lasting
from hyperpi.mesh_view import MeshView
from hyperpi.roles import ADMIN, Caller
from hyperpi.wire.hyperpi.v1 import console_pb2_grpc, mesh_pb2_grpc
from hypivisor.ca import NODE_LIFE
from hypivisor.console_service import ConsoleService
from hypivisor.enroll_service import EnrolmentService, Reachable, enrol_server
from hypivisor.joins import Pending, PendingJoins
from hypivisor.link_service import LinkService
from hypivisor.methods import Methods
from hypivisor.neighbours import announcement, unjoined
from hypivisor.notices import Notices
from hypivisor.owners_console import OwnersConsole
from hypivisor.registry import LIMITS, Registry
from hypivisor.trust import Gate, open_gate
from hypivisor.trust_methods import TrustMethods, certify_into

log = logging.getLogger(__name__)

CONSOLE_S = 5.0  # to reach our own Unix socket
STOP_S = 1.5  # after Goodbye; an idle stream would take any longer grace whole

SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # or two servers would silently share a port
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # below the nodes' 10 s, or links are cut
)


@dataclass(frozen=True, slots=True)
class HypivisorConfig:
    """What one hypivisor is told. A port of 0 picks one."""

    home: Home
    node_host: str = "0.0.0.0"  # noqa: S104  machines must reach it; always mTLS
    grpc_port: int = 31416
    enrol_port: int = 31417
    mesh_name: str | None = None
    mdns: bool = True
    home_node: bool = True  # a node with the same home stores what people send
    pre_shared_token: str | None = None
    node_life: timedelta = NODE_LIFE


@dataclass(frozen=True, slots=True)
class Hypivisor:
    """A running hypivisor, as the command and a Pi-DE in the same process see it."""

    config: HypivisorConfig
    gate: Gate
    registry: Registry
    links: LinkService
    fingerprint: str  # of the mesh CA, base32
    grpc_port: int
    enrol_port: int
    addresses: tuple[str, ...]  # of this machine, for nodes; best first
    console: Path
    control: Path
    client: ConsoleClient
    neighbourhood: discovery.Neighbourhood

    @property
    def ca_path(self) -> Path:
        """The mesh CA's certificate, for browsers that are to trust it."""
        return self.config.home.hypivisor / "ca.pem"

    def write_run_json(self, extra: Json) -> None:
        """From now on the command finds this hypivisor."""
        own = {
            "pid": os.getpid(),
            "mesh": self.gate.mesh.name,
            "grpc_port": self.grpc_port,
            "enrol_port": self.enrol_port,
            "console": str(self.console),
            "control": str(self.control),
            "started": rfc3339(),
        }
        runfile.write(self.config.home.hypivisor / "run.json", {**own, **extra})


@asynccontextmanager
async def running(config: HypivisorConfig) -> AsyncIterator[Hypivisor]:
    """Run a hypivisor as long as the block lasts; on leaving, nodes are told that it will be back.

    Raises Conflict when another process holds the home or a port.
    """
    folder = config.home.make("hypivisor")
    async with AsyncExitStack() as stack:
        stack.enter_context(held(folder / "lock", "hypivisor"))
        gate = stack.enter_context(
            open_gate(folder, config.mesh_name, config.pre_shared_token, config.node_life)
        )
        registry = Registry(MeshView(gate.mesh.name, new_id("r", 8), LIMITS))
        gate.trust.remember_into(registry)
        for row in gate.store.nodes():
            certify_into(registry, row)
        hypivisor = await _serve(config, gate, registry, stack)
        async with asyncio.TaskGroup() as tasks:  # one that fails ends the hypivisor, and says why
            wanted = {
                "console-client": hypivisor.client.run(),
                "trust": gate.trust.run(registry),
                "control-socket": _serve_control(hypivisor),
                "watch-links": _watch_links(hypivisor.links),
            }
            if config.mdns:
                wanted["discovery"] = _discovery(hypivisor)
            parts = [tasks.create_task(lasting(name, part), name=name) for name, part in wanted.items()]
            await asyncio.wait_for(hypivisor.client.connected.wait(), CONSOLE_S)
            log.info("hypivisor running mesh=%s grpc=%d", gate.mesh.name, hypivisor.grpc_port)
            try:
                yield hypivisor
            finally:
                (folder / "run.json").unlink(missing_ok=True)
                for part in parts:
                    part.cancel()


async def _serve(config: HypivisorConfig, gate: Gate, registry: Registry, stack: AsyncExitStack) -> Hypivisor:
    """Start the three gRPC servers: nodes (mTLS), enrolment (TLS), front ends (a private Unix socket)."""
    notices = Notices()
    neighbourhood = discovery.Neighbourhood(NODE_TYPE, lambda: notices.tell("all", "nearby.changed"))
    gate.trust.changed = lambda: notices.tell("admins", "trust.changed")
    gate.trust.ended = lambda credential: notices.tell(f"credential:{credential}", "ended")
    home = _home_node(config)
    links = LinkService(
        registry, gate.trust, mesh_id=gate.mesh.id, mesh_name=gate.mesh.name, home=home, notice=notices.put
    )
    identity = gate.ca.server_identity(time.time())
    link_server, grpc_port = _link_server(config, gate, links, identity)
    door = _open_door(config, gate, registry, identity, grpc_port)

    def nearby() -> Json:
        return {
            "candidates": unjoined(neighbourhood.heard, [machine.machine for machine in door.joins.ls()]),
            "more": neighbourhood.heard.more,
            "listening": config.mdns,
        }

    links.methods = Methods(
        links,
        gate.trust,
        home,
        join_address=door.join_address,
        nearby=nearby,
        joins=door.joins,
        people=TrustMethods(gate, registry, door.join_address),
    )
    console = ConsoleService(links, links.methods, gate.trust, notices)
    console_pb2_grpc.add_ConsoleServicer_to_server(OwnersConsole(console, links, gate.mesh.id), link_server)
    console_server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    console_pb2_grpc.add_ConsoleServicer_to_server(console, console_server)
    sockets = config.home.socket_folder()
    console_path = sockets / "console.sock"
    console_path.unlink(missing_ok=True)
    console_server.add_insecure_port(f"unix:{console_path}")

    servers = (link_server, door.server, console_server)
    for server in servers:
        await server.start()
    console_path.chmod(0o600)
    stack.push_async_callback(_stop, links, *servers)
    return Hypivisor(
        config=config,
        gate=gate,
        registry=registry,
        links=links,
        fingerprint=door.fingerprint,
        grpc_port=grpc_port,
        enrol_port=door.port,
        addresses=door.reachable().addresses,
        console=console_path,
        control=sockets / "hypivisor.sock",
        client=ConsoleClient(local_channel(f"unix:{console_path}")),
        neighbourhood=neighbourhood,
    )


def _link_server(
    config: HypivisorConfig, gate: Gate, links: LinkService, identity: tls.Identity
) -> tuple[grpc.aio.Server, int]:
    """The server for nodes, not yet started, and its port. Raises Conflict."""
    server = grpc.aio.server(
        options=SERVER_OPTIONS,
        interceptors=[channels.NodesOnly(gate.mesh.id, gate.trust.is_revoked, gate.trust.turned_away)],
    )
    mesh_pb2_grpc.add_MeshServicer_to_server(links, server)
    credentials = channels.server_credentials(identity, client_certificates=True)
    with _port_conflict(config.grpc_port, "--grpc-port"):
        return server, server.add_secure_port(f"{config.node_host}:{config.grpc_port}", credentials)


@dataclass(frozen=True, slots=True)
class _Door:
    """Where machines come in: the enrol port, and those that wait before it."""

    server: grpc.aio.Server
    port: int
    joins: PendingJoins
    fingerprint: str  # of the mesh CA, base32
    reachable: Callable[[], Reachable]

    def join_address(self) -> Json:
        """What a machine is told to find us by."""
        return {
            "addresses": [f"{address}:{self.port}" for address in self.reachable().addresses],
            "enrol_port": self.port,
            "fingerprint": self.fingerprint,
        }


def _open_door(
    config: HypivisorConfig, gate: Gate, registry: Registry, identity: tls.Identity, grpc_port: int
) -> _Door:
    """The server for enrolment, not yet started. Raises Conflict."""

    def reachable() -> Reachable:
        return Reachable(grpc_port, tuple(own_addresses()))  # which may change while we run

    joins = PendingJoins(
        gate.ca.fingerprint,
        time.monotonic,
        changed=lambda: registry.show_pending(_waiting(joins.ls())),
    )
    enrolment = EnrolmentService(
        gate.enroller,
        gate.ca,
        lambda: gate.mesh,
        gate.thread,
        reachable,
        joins=joins,
        certified=lambda row: certify_into(registry, row),
    )
    with _port_conflict(config.enrol_port, "--enrol-port"):
        server, ports = enrol_server(enrolment, identity, [f"{config.node_host}:{config.enrol_port}"])
    fingerprint = secret_text.base32(tls.fingerprint(gate.ca.certificate_pem))
    return _Door(server, ports[0], joins, fingerprint, reachable)


def _waiting(waiting: list[Pending]) -> dict[str, contract.Node]:
    """Machines that wait for approval, as nodes of the roster."""
    now, monotonic = time.time(), time.monotonic()
    return {
        f"pending-{machine.code}": contract.Node(
            id=f"pending-{machine.code}",
            name=machine.name,
            state="pending",
            since=rfc3339(now - (monotonic - machine.since)),
            last_heard=rfc3339(now),
            version="",
            platform="",
            address=machine.machine,
            agents=0,
            load=None,
            disk=None,
            code=machine.code,
            approved=machine.approved_by is not None,
        )
        for machine in waiting
    }


async def _serve_control(hypivisor: Hypivisor) -> None:
    """The socket of this machine's owner, who is an admin; of the home node's agents, too."""
    owner = Caller(getpass.getuser(), ADMIN, "cli")
    local = _node_beside(hypivisor.config.home)
    control = ControlSocket(
        hypivisor.client, lambda: owner, lambda: hypivisor.registry.agents_by_process(local())
    )

    def notice(topic: str, method: str, params: bytes) -> None:
        for viewer in control.viewers:
            viewer.notice(topic, method, params)

    hypivisor.client.on_notice.append(notice)
    await control.serve(hypivisor.control)


async def _discovery(hypivisor: Hypivisor) -> None:
    hypivisor.neighbourhood.say(
        announcement(
            hypivisor.gate.mesh.name, hypivisor.fingerprint, hypivisor.grpc_port, hypivisor.enrol_port
        )
    )
    await hypivisor.neighbourhood.run()


def _home_node(config: HypivisorConfig) -> Callable[[], NodeId | None]:
    """The node that keeps what people send, if there is to be one."""
    return _node_beside(config.home) if config.home_node else lambda: None


def _node_beside(home: Home) -> Callable[[], NodeId | None]:
    """The node that shares our home: its id stands in its identity once it has joined."""
    path = home.node / "identity" / "mesh.json"

    def beside() -> NodeId | None:
        known = runfile.read(path)
        return NodeId(known["node_id"]) if known and "node_id" in known else None

    return beside


@contextmanager
def _port_conflict(port: int, flag: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError):  # the second is grpc's word for it
        raise Conflict(
            f"port {port} cannot be listened on: it is in use or forbidden",
            hint=f"choose another with {flag}, or 0 for any",
        ) from None


async def _watch_links(links: LinkService) -> None:
    """Cut what was silent for three heartbeats, and call lost what has been away for long."""
    while True:
        await asyncio.sleep(1)
        for node in links.registry.silent(time.monotonic()):
            log.warning("a node has gone silent node=%s", node)
            links.cut(node, "silent")
        links.registry.tick(time.time(), time.monotonic())


async def _stop(links: LinkService, *servers: grpc.aio.Server) -> None:
    for node in list(links.links):
        links.cut(node, "restart")
    await asyncio.sleep(0.05)  # one turn for the goodbyes to be written; they are a courtesy
    await asyncio.gather(*(server.stop(STOP_S) for server in servers))
