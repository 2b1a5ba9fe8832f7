"""The node process, wired: agents, keepers, disk, scrolls, local endpoint, Link, discovery.

It owns this machine's agents but not their lives: whatever ends it, they go on, dial again, and are found.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from watchfiles import awatch

from hyperpi import __version__, contract, runfile, strict_json
from hyperpi.address import AgentId, clean_name
from hyperpi.clock import rfc3339
from hyperpi.config import LOCAL_PORT, Home
from hyperpi.contract import Json
from hyperpi.control import ControlSocket
from hyperpi.errors import HyperPiError
from hyperpi.holder import held
from hyperpi.interfaces import own_addresses
from hyperpi.lasting import lasting
from node import identity
from node.agent_socket import AgentSocket
from node.agents import Agents
from node.approval_desk import ApprovalDesk
from node.backend import Backend, Desks
from node.bank_feeds import BankFeeds
from node.files import Files, open_files
from node.folders import project_of
from node.histories import Histories
from node.keeper_files import Ended, Kept, end_of
from node.keepers import KeeperBook
from node.keeping.link import TERMINALS
from node.leavings import Leavings
from node.link import Link
from node.load import LoadMeter
from node.local_endpoint import LocalEndpoint, local_token
from node.masters import Masters
from node.mirrors import Mirrors
from node.owner import OwnersBackend
from node.policy import Policy, load_policy
from node.prompts import Prompts
from node.recorded import RecordedBackend
from node.renewal import Renewal
from node.scroll_desk import ScrollDesk
from node.snapshots import Snapshots
from node.spawn import start_heir
from node.spawning import Spawning
from node.terminals import Terminals
from node.watching import Watching
from node.whereabouts import Whereabouts

log = logging.getLogger(__name__)

UNJOINED = "local"  # the node's id in its own roster, before a mesh has given it one
GOODBYE_S = 1.0


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What one node is told."""

    home: Home
    environment: Mapping[str, str]  # the owner's, for agents that are started here
    user_home: Path
    name: str | None = None
    local_port: int = LOCAL_PORT
    mdns: bool = True
    ready: Callable[[], None] = lambda: None  # called once it serves


class Node:
    """One machine's node; `opened` gives it its files, `run` serves until cancelled."""

    def __init__(self, config: NodeConfig, files: Files) -> None:
        self.config = config
        self.folder = config.home.node
        self.boot = files.boot
        self.disk = disk = files.disk
        self.receipts = files.receipts
        self.store = files.roster
        self._prompt_store = files.prompts
        self._approval_store = files.approvals
        self.since = time.time()
        self.restart = asyncio.Event()  # set when all of this is to begin anew, with another disk
        self.policy: Policy = load_policy(self.folder / "node.toml", config.user_home)
        known = identity.load(self.folder / "identity")
        self.whereabouts = Whereabouts(known, lambda: self.agents.node_name, self._hypivisor_appeared)
        name = known.node_name if known else clean_name(config.name or socket.gethostname(), "node")
        histories = Histories(config.home.make("node", "transcripts"))
        self.agents = Agents(self.store.load(), node=known.node_id if known else UNJOINED, node_name=name)
        self.prompts = Prompts(self.agents, self._notify, files.prompts)
        self.approvals = ApprovalDesk(
            self.agents, files.approvals, lambda: self.policy.approvals, self._notify
        )
        self.scrolls = ScrollDesk(disk, files.receipts, self.agents, self._notify, files.restored_below)
        self.keepers = KeeperBook(config.home.make("node", "keepers"), self._agent_ended, self._new_keeper)
        self.masters = Masters(self._keeper_of)
        self.terminals = Terminals(
            config.home.make("node", "terminals"), self.keepers.follow, self._terminal_resized
        )
        self.spawning = Spawning(
            self.agents,
            self.keepers,
            lambda: self.policy,
            saved=self.store.saved,
            home=config.home,
            environment=config.environment,
            user_home=config.user_home,
        )
        self.banks = BankFeeds(disk)
        self.mirrors = Mirrors(
            disk,
            self.folder,
            policy=lambda: self.policy.mirrors,
            shape=lambda: self.policy.disk,
            own_id=lambda: self.agents.node,
            restart=self.restart.set,
        )
        desks = Desks(
            self.agents,
            Snapshots(self.agents, histories),
            self.prompts,
            self.approvals,
            self.scrolls,
            self.spawning,
            self.keepers,
            self.terminals,
            disk,
            self.banks,
            self.mirrors,
            self.store.saved,
        )
        self.backend = Backend(desks, self.shape)
        self.meter = LoadMeter()
        self.watching = Watching(self.agents, lambda: self.policy.watch)
        self.link = Link(
            self.agents,
            self.terminals,
            self.scrolls,
            self.banks,
            mirrors=self.mirrors,
            targets=self.whereabouts.targets,
            boot=files.boot,
            restored=files.restored_below > 0,
            address=lambda: own_addresses()[0],
            call=self.backend.call,
            status=lambda: (self.meter.read(), self._disk_room()),
            welcomed=self._welcomed,
            changed=self._tell_state,
        )
        self.renewal = Renewal(
            self.folder / "identity",
            self.link,
            current=lambda: self.whereabouts.membership,
            renewed=self._renewed,
            changed=self._tell_state,
        )
        self.scrolls.use(self.link)
        self.mirrors.use(self.link)
        here = RecordedBackend(self.backend, files.trail)
        self.owner = OwnersBackend(here, self.agents, self.link, self._notify_owner)
        self.local = LocalEndpoint(here, local_token(self.folder / "token"))
        self.control = ControlSocket(self.owner, self.owner.owner, self.agents.by_process)
        self.agents.observers += [self.store, self.backend, self.link, self.scrolls, self.prompts]
        self.leavings = Leavings(self.agents)
        self.agents.observers += [self.approvals, self.terminals, histories, self.watching, self.leavings]
        self.approvals.use(self.keepers.answer_dialog)

    # --- what it looks like ----------------------------------------------------------------------------

    def shape(self) -> contract.Node:
        """This node as it lists itself."""
        return contract.Node(
            id=self.agents.node,
            name=self.agents.node_name,
            state="online",
            since=rfc3339(self.since),
            last_heard=rfc3339(),
            version=__version__,
            platform=f"{os.uname().sysname} {os.uname().machine}",
            address=own_addresses()[0],
            agents=len(self.agents.roster),
            load=None,
            disk=msgspec.convert(self._disk_room(), contract.DiskRoom),
        )

    def _disk_room(self) -> Json:
        stats = self.disk.stats()
        zones = stats.zones.values()
        return {
            "banks": len(stats.banks),
            "live_rows": sum(zone.live for zone in zones),
            "free_rows": sum(zone.free for zone in zones),
        }

    def _notify(self, topic: str, method: str, params: Json) -> None:
        """A notice for whoever follows its topic, here or in the mesh."""
        encoded = strict_json.encode(params)
        for viewer in (*self.local.viewers, *self.control.viewers):
            viewer.notice(topic, method, encoded)
        self.link.send(notice={"topic": topic, "method": method, "params_json": encoded})

    def _notify_owner(self, topic: str, method: str, params: bytes) -> None:
        """A notice of the mesh for whoever looks at it through us."""
        for viewer in self.control.viewers:
            viewer.notice(topic, method, params)

    # --- running ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled."""
        sockets = self.config.home.socket_folder()
        agent_socket = AgentSocket(
            self.agents,
            self.scrolls,
            self.approvals,
            self.keepers,
            self.terminals,
            url_of=lambda record: self.local.url_of(record.name),
            project_of=self._project_of,
            peers=self._peers,
        )
        self.agents.recover()
        await self.keepers.recover()  # first: a keeper that dials is then known
        listening = await self.local.listen(self.config.local_port)
        self.backend.node_changed()
        self.whereabouts.announce()
        for record in self.agents.roster:
            self.backend.agent_changed(record.id)
        try:
            async with asyncio.TaskGroup() as tasks:
                self.prompts.use(lambda work: tasks.create_task(work, name="prompts-again"))
                parts = {
                    "agents": self.agents.run(),
                    "keepers": self.keepers.run(),
                    "receipts": self.receipts.run(),
                    "roster": self.store.run(),
                    "prompts": self._prompt_store.run(),
                    "approval-store": self._approval_store.run(),
                    "approvals": self.approvals.run(),
                    "watching": self.watching.run(),
                    "leavings": self.leavings.run(),
                    "scrolls": self.scrolls.run(),
                    "mirrors": self.mirrors.run(),
                    "banks": self.banks.run(),
                    "agent-socket": agent_socket.serve(sockets / "agents.sock", self.folder / "agent.addr"),
                    "masters": self.masters.serve(sockets / TERMINALS),
                    "control": self.control.serve(sockets / "node.sock"),
                    "window": self.owner.window.run(self.control.occupancy),
                    "link": self.link.run(),
                    "files": self._watch_files(),
                    "renewal": self.renewal.run(),
                }
                if self.config.mdns:
                    parts["discovery"] = self.whereabouts.run()
                for name, part in parts.items():
                    tasks.create_task(lasting(name, part), name=name)
                self._write_run_json(sockets)
                self.config.ready()
                log.info("node running name=%s boot=%d", self.agents.node_name, self.boot)
        finally:
            listening.close()
            (self.folder / "run.json").unlink(missing_ok=True)

    async def say_goodbye(self) -> None:
        """Tell the hypivisor that this is no crash."""
        self.link.say_goodbye("stop")
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self.link.down.wait()

    def _write_run_json(self, sockets: Path) -> None:
        runfile.write(
            self.folder / "run.json",
            {
                "pid": os.getpid(),
                "boot": self.boot,
                "name": self.agents.node_name,
                "node": self.agents.node,
                "agent_socket": str(sockets / "agents.sock"),
                "control": str(sockets / "node.sock"),
                "port": self.local.port,
                "ws": f"ws://127.0.0.1:{self.local.port}/ws",
                "started": rfc3339(self.since),
                "linked": self.link.up,
                "refused": self.link.refused.reason if self.link.refused else None,
                "refused_hint": self.link.refused.hint if self.link.refused else None,
                "trouble": str(self.renewal.trouble) if self.renewal.trouble else None,
                "trouble_hint": self.renewal.trouble.hint if self.renewal.trouble else None,
                "clock_ahead_s": round(self.link.clock_ahead_s, 1),
            },
        )

    # --- facts from its parts --------------------------------------------------------------------------

    def _keeper_of(self, agent: str) -> int | None:
        kept = self.keepers.kept(agent)
        return kept.keeper_pid if kept is not None else None

    async def _new_keeper(self, kept: Kept) -> Kept | None:
        """For an agent whose keeper was killed, while we hold its terminal open."""
        master = self.masters.of(kept.agent)
        if master is None:
            return None
        pid, start = await start_heir(kept.agent, master, self.config.home)
        return replace(kept, keeper_pid=pid, keeper_start=start)

    def _terminal_resized(self, agent: AgentId) -> None:
        if (size := self.terminals.size(agent)) is not None:
            self.agents.has_terminal(agent, contract.TerminalSize(cols=size.cols, rows=size.rows))

    async def _agent_ended(self, ended: Ended) -> None:
        """A keeper's report: written down before the keeper may forget it."""
        agent = AgentId(ended.agent)
        self.masters.drop(agent)
        try:
            self.agents.exited(agent, end_of(ended))
        except HyperPiError:
            return  # forgotten meanwhile
        await self.store.saved(agent)

    def _project_of(self, cwd: Path) -> str | None:
        project = project_of(str(cwd), self.config.user_home)
        return project.name if project else None

    def _peers(self) -> list[Json]:
        return [msgspec.to_builtins(self.agents.shape(record.id)) for record in self.agents.roster]

    def _welcomed(self, node: str, name: str, mesh: str, address: str) -> None:
        self.renewal.trouble = None
        self.backend.view.mesh = mesh
        if (node, name) != (self.agents.node, self.agents.node_name):
            old = self.agents.node
            self.agents.set_name(node, name)
            if old != node:
                self.backend.view.put(gone=[old])
        self.backend.node_changed()
        self.whereabouts.welcomed(address)
        self._tell_state()

    def _tell_state(self) -> None:
        """Bring run.json up to date. A full disk is no reason to end: what it tells is a convenience."""
        try:
            self._write_run_json(self.config.home.socket_folder())
        except OSError as exc:
            log.warning("run.json was not written reason=%s", exc)

    # --- the mesh --------------------------------------------------------------------------------------

    def _hypivisor_appeared(self) -> None:
        """One of our mesh that has just been heard of is worth an attempt at once."""
        if not self.link.up:
            self.link.retry_now()

    async def _watch_files(self) -> None:
        """Take up a changed policy, and a mesh joined or left, without a restart."""
        identity_folder = self.config.home.make("node", "identity")
        watched = {self.folder / "node.toml", identity_folder / "mesh.json"}
        # `up` joins the node that it has just started, so the files may have changed since they were read.
        # This runs when the loop below waits for the first time: the watch stands by then.
        asyncio.get_running_loop().call_soon(self._reload)
        async for changes in awatch(
            self.folder, identity_folder, watch_filter=lambda _, path: Path(path) in watched, recursive=False
        ):
            names = {Path(path).name for _, path in changes}
            if "node.toml" in names:
                self._reload_policy()
            if "mesh.json" in names:
                self._reload_membership()

    def _reload(self) -> None:
        self._reload_policy()
        self._reload_membership()

    def _reload_policy(self) -> None:
        try:
            self.policy = load_policy(self.folder / "node.toml", self.config.user_home)
            log.info("policy reloaded")
        except HyperPiError as exc:
            log.warning("node.toml is not usable, the former policy holds reason=%s", exc)
            return
        self._policy_changed()

    def _policy_changed(self) -> None:
        """Agents are told what holds for them; those that have not met this node yet read the strictest."""
        try:
            runfile.write(self.folder / "approvals.json", self.approvals.before_told())
        except OSError as exc:
            log.warning("approvals.json was not written reason=%s", exc)
        self.approvals.tell_policies()

    def _reload_membership(self) -> None:
        try:
            membership = identity.load(self.folder / "identity")
        except HyperPiError as exc:
            log.warning("the identity is not usable, the former one holds reason=%s", exc)
            return
        self.link.refused = None  # that was said of the former membership
        if membership is None:
            self.link.say_goodbye("leave")
        self.whereabouts.moved(membership)
        self.link.retry_now()
        self.renewal.look_now()

    def _renewed(self, member: identity.Membership) -> None:
        self.whereabouts.membership = member
        self.link.retry_now()  # with the old certificate it may be waiting to be let in


@asynccontextmanager
async def opened(config: NodeConfig) -> AsyncIterator[Node]:
    """A node with its files open. The caller holds the home's lock. Raises as open_files does."""
    async with open_files(config.home.make("node"), config.user_home) as found:
        yield Node(config, found)


async def run(config: NodeConfig, stop: asyncio.Event) -> None:
    """Run a node until told to stop. Raises Conflict, and whatever ends one of its parts."""
    # Held between two starts as well: a pi that misses its node would start another one.
    with held(config.home.make("node") / "lock", "node"):
        while await _run_once(config, stop):
            log.info("the node starts again")


async def _run_once(config: NodeConfig, stop: asyncio.Event) -> bool:
    """From one start to its end; whether another is to follow. To agents it is a blip, as any restart."""
    async with opened(config) as node:
        running = asyncio.ensure_future(node.run())
        ends = [asyncio.ensure_future(event.wait()) for event in (stop, node.restart)]
        try:
            await asyncio.wait({running, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
            await node.say_goodbye()
        finally:
            for task in (running, *ends):
                task.cancel()
            await asyncio.gather(running, *ends, return_exceptions=True)
        return node.restart.is_set() and not stop.is_set()
