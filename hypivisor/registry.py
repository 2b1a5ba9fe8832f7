"""The roster of the mesh: every node and agent that ever joined, with what is known of them now.

Rebuilt from the nodes' own reports after a restart; what the store remembers of absent nodes is listed as
`disconnected`. Pure: facts in, changed items out; the clock is passed in. States as in docs/states.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hyperpi import contract, strict_json
from hyperpi.address import AgentId, NodeId, parse_address
from hyperpi.clock import rfc3339
from hyperpi.errors import AmbiguousName, Conflict, NotFound
from hyperpi.mesh_view import MeshView
from hyperpi.process_tree import Relative

HEARTBEAT_S = 5.0
DISCONNECTED_S = 15.0  # three missed heartbeats
LOST_S = 120.0

LIMITS = {"heartbeat_s": HEARTBEAT_S, "disconnected_s": DISCONNECTED_S, "lost_s": LOST_S}

Fields = dict[str, Any]  # a decoded Agent of the contract, as its node reports it


@dataclass(slots=True)
class NodeRecord:
    """One machine. Wall-clock times in Unix seconds are shown; monotonic ones decide: `heard`, `away`."""

    id: NodeId
    name: str
    state: str
    since: float
    last_heard: float | None = None
    heard: float = 0.0
    away: float | None = None  # since when `tick` has seen it disconnected
    boot: int = 0
    version: str = ""
    platform: str = ""
    address: str | None = None
    clock_s: float | None = None  # how far its clock was ahead of ours when it linked, if it was off
    load: Any = None
    disk: Any = None
    agents: dict[AgentId, Fields] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """An agent and the node that has it."""

    node: NodeRecord
    agent: AgentId
    name: str

    @property
    def address(self) -> str:
        """name@node."""
        return f"{self.name}@{self.node.name}"


class Registry:
    """Nodes by id with their agents, mirrored into a MeshView for readers. No method awaits."""

    def __init__(self, view: MeshView) -> None:
        self.view = view
        self.nodes: dict[NodeId, NodeRecord] = {}
        self.watchers: dict[AgentId, int] = {}  # over the mesh; a node reports its own
        self._node_of: dict[AgentId, NodeId] = {}
        self._pending: frozenset[str] = frozenset()
        self._certificates: dict[NodeId, contract.Certificate] = {}

    # --- facts -----------------------------------------------------------------------------------------

    def remember(self, node: NodeId, name: str, roster: Mapping[str, Any], now: float) -> None:
        """A node that joined earlier and has not been heard of since this hypivisor started."""
        record = NodeRecord(
            id=node,
            name=name,
            state="left" if roster.get("state") == "left" else "disconnected",
            since=now,
            last_heard=roster.get("last_heard"),
            version=roster.get("version", ""),
            platform=roster.get("platform", ""),
            address=roster.get("address"),
            disk=roster.get("disk"),
        )
        self.nodes[node] = record
        for agent in roster.get("agents", ()):
            record.agents[agent["id"]] = agent
            self._node_of[agent["id"]] = node
        self._show(record, record.agents)

    def link(
        self, node: NodeId, name: str, boot: int, about: Mapping[str, Any], now: float, monotonic: float
    ) -> NodeRecord:
        """A node's stream has begun. Raises Conflict for a boot older than one already seen."""
        record = self.nodes.get(node)
        if record is not None and boot < record.boot:
            raise Conflict(
                f"a later start of {record.name} is known (boot {record.boot})",
                hint="another copy of this node's state is running",
            )
        if record is None:
            record = self.nodes[node] = NodeRecord(id=node, name=name, state="online", since=now)
        if record.state != "online":
            record.state, record.since, record.away = "online", now, None
        record.name, record.boot, record.heard, record.last_heard = name, boot, monotonic, now
        record.version, record.platform = about.get("version", ""), about.get("platform", "")
        record.address, record.clock_s = about.get("address") or None, about.get("clock_s")
        return record

    def certified(self, node: NodeId, certificate: contract.Certificate) -> None:
        """A node has this certificate now; perhaps it has not linked yet."""
        self._certificates[node] = certificate
        if (record := self.nodes.get(node)) is not None:
            self._show(record)

    def replace_agents(self, node: NodeId, agents: Iterable[Fields]) -> list[AgentId]:
        """A node's whole roster; returns the ids that it no longer has."""
        record = self.nodes[node]
        fresh = self._its_own(node, agents)
        gone = [agent for agent in record.agents if agent not in fresh]
        for agent in gone:
            self._node_of.pop(agent, None)
        record.agents = fresh
        self._node_of.update(dict.fromkeys(fresh, node))
        self._show(record, fresh, gone)
        return gone

    def report(self, node: NodeId, agents: Iterable[Fields], gone: Iterable[AgentId] = ()) -> None:
        """Some agents of a node are new or changed, some are forgotten."""
        record = self.nodes[node]
        changed = self._its_own(node, agents)
        count = len(record.agents)
        record.agents.update(changed)
        self._node_of.update(dict.fromkeys(changed, node))
        gone = [agent for agent in gone if record.agents.pop(agent, None) is not None]
        for agent in gone:
            self._node_of.pop(agent, None)
        self._show(record, changed, gone, with_node=len(record.agents) != count)

    def _its_own(self, node: NodeId, agents: Iterable[Fields]) -> dict[AgentId, Fields]:
        """What a node reports of its agents; another node's are not its to speak of."""
        return {agent["id"]: agent for agent in agents if self._node_of.get(agent["id"], node) == node}

    def status(self, node: NodeId, load: Any, disk: Any) -> None:
        """Load and disk of a node; also the moment at which `last_heard` is shown anew."""
        record = self.nodes[node]
        record.load, record.disk = load, disk
        self._show(record)

    def heard(self, node: NodeId, now: float, monotonic: float) -> None:
        """Any frame proves the link."""
        record = self.nodes[node]
        record.last_heard, record.heard = now, monotonic

    def unlink(self, node: NodeId, state: str, now: float) -> None:
        """The stream has ended: `disconnected`, or `left` after a goodbye for ever."""
        record = self.nodes[node]
        if record.state != state:
            record.state, record.since = state, now
        self._show(record, record.agents)

    def silent(self, monotonic: float) -> list[NodeId]:
        """Online nodes that were not heard for DISCONNECTED_S: their streams are to be cut."""
        return [
            record.id
            for record in self.nodes.values()
            if record.state == "online" and monotonic - record.heard > DISCONNECTED_S
        ]

    def tick(self, now: float, monotonic: float) -> None:
        """`disconnected` for LOST_S is `lost`; it says nothing about what runs there. Called every second."""
        for record in self.nodes.values():
            if record.state != "disconnected":
                continue
            if record.away is None:
                record.away = monotonic
            elif monotonic - record.away > LOST_S:
                record.state, record.since = "lost", now
                self._show(record, record.agents)

    def forget(self, node: NodeId) -> None:
        """A revoked node leaves the list."""
        record = self.nodes.pop(node)
        self._certificates.pop(node, None)
        for agent in record.agents:
            self._node_of.pop(agent, None)
        self.view.put(gone=[node, *record.agents])

    def show_pending(self, waiting: Mapping[str, contract.Node]) -> None:
        """The machines that wait for approval now, by an id of their own; the former ones are gone."""
        gone = [item for item in self._pending if item not in waiting]
        self._pending = frozenset(waiting)
        self.view.put({item: strict_json.encode(node) for item, node in waiting.items()}, gone=gone)

    def watched(self, agent: AgentId, count: int) -> None:
        """How many viewers follow an agent over the mesh."""
        if self.watchers.get(agent, 0) == count:
            return
        self.watchers[agent] = count
        if not count:
            del self.watchers[agent]
        node = self._node_of.get(agent)
        if node is not None:
            record = self.nodes[node]
            self._show(record, {agent: record.agents[agent]}, with_node=False)

    # --- reading ---------------------------------------------------------------------------------------

    def node(self, text: str) -> NodeRecord:
        """A node by id or name. Raises NotFound."""
        record = self.nodes.get(NodeId(text)) or next(
            (node for node in self.nodes.values() if node.name == text), None
        )
        if record is None:
            raise NotFound(f"no node {text}", hint="`hyperpi node ls` lists them")
        return record

    def node_of(self, agent: AgentId) -> NodeId | None:
        """Whose agent it is."""
        return self._node_of.get(agent)

    def is_online(self, node: str) -> bool:
        """Whether a node is linked now."""
        record = self.nodes.get(NodeId(node))
        return record is not None and record.state == "online"

    def find(self, text: str) -> Found:
        """One agent by id, name or name@node. Raises NotFound, AmbiguousName with the candidates."""
        if (node := self._node_of.get(AgentId(text))) is not None:
            record = self.nodes[node]
            return Found(record, AgentId(text), record.agents[AgentId(text)]["name"])
        address = parse_address(text)
        nodes = [self.node(address.node)] if address.node else list(self.nodes.values())
        found = [
            (Found(record, agent, address.name), fields)
            for record in nodes
            for agent, fields in record.agents.items()
            if fields["name"] == address.name
        ]
        if len(found) > 1:  # a running one wins over those that have ended
            found = [item for item in found if item[1]["state"] != "exited"] or found
        if not found:
            raise NotFound(f"no agent {text}", hint="`hyperpi ls` lists them")
        if len(found) > 1:
            addresses = sorted(item[0].address for item in found)
            raise AmbiguousName(
                f"{text} fits {len(found)} agents",
                hint="say which: " + ", ".join(addresses[:5]),
                data={"candidates": addresses},
            )
        return found[0][0]

    def agents_by_process(self, node: NodeId | None) -> dict[Relative, str]:
        """The address of every living agent of a node by its process, as last heard of."""
        record = self.nodes.get(node) if node is not None else None
        if record is None:
            return {}
        return {
            Relative(fields["pid"], fields["pid_start"]): f"{fields['name']}@{record.name}"
            for fields in record.agents.values()
            if fields["state"] != "exited" and fields.get("pid") and fields.get("pid_start")
        }

    def matching(self, text: str) -> list[Found]:
        """The recipients that a scroll names: one, `*`, `*@node` or `skill:NAME`. Raises as `find`."""
        skill = text.removeprefix("skill:") if text.startswith("skill:") else None
        address = parse_address(text) if skill is None else None
        if address is not None and address.name != "*":
            return [self.find(text)]
        nodes = [self.node(address.node)] if address and address.node else list(self.nodes.values())
        return [
            Found(record, agent, fields["name"])
            for record in nodes
            for agent, fields in record.agents.items()
            if fields["state"] != "exited" and (skill is None or skill in fields.get("skills", ()))
        ]

    def remembered(self, node: NodeId) -> Fields:
        """What the store keeps of a node, for the next start."""
        record = self.nodes[node]
        return {
            "state": record.state,
            "last_heard": record.last_heard,
            "version": record.version,
            "platform": record.platform,
            "address": record.address,
            "disk": record.disk,
            "agents": list(record.agents.values()),
        }

    # --- showing ---------------------------------------------------------------------------------------

    def _show(
        self,
        record: NodeRecord,
        agents: Mapping[AgentId, Fields] | None = None,
        gone: Iterable[AgentId] = (),
        *,
        with_node: bool = True,
    ) -> None:
        shown: dict[str, bytes] = {
            agent: self._agent_json(record, fields) for agent, fields in (agents or {}).items()
        }
        nodes: dict[str, bytes] = {record.id: self._node_json(record)} if with_node else {}
        self.view.put(nodes, shown, gone)

    def _agent_json(self, record: NodeRecord, fields: Fields) -> bytes:
        shown = {
            **fields,
            "node": record.id,
            "address": f"{fields['name']}@{record.name}",
            "watchers": self.watchers.get(fields["id"], 0) + self._on_its_machine(record, fields),
        }
        if record.state != "online" and fields["state"] != "exited":
            # Nobody can vouch for it: the light goes out, what it was doing is told as the past.
            shown["state"], shown["was"] = "unreachable", fields["state"]
            shown["detail"] = f"{record.name} is {record.state}; it was {fields['state']} when last heard of"
        return strict_json.encode(shown)

    def _on_its_machine(self, record: NodeRecord, fields: Fields) -> int:
        count = fields.get("watchers")
        return count if record.state == "online" and isinstance(count, int) else 0

    def _node_json(self, record: NodeRecord) -> bytes:
        return strict_json.encode(
            contract.Node(
                id=record.id,
                name=record.name,
                state=record.state,  # type: ignore[arg-type]  # only states of the contract are ever set
                since=rfc3339(record.since),
                last_heard=None if record.last_heard is None else rfc3339(record.last_heard),
                version=record.version,
                platform=record.platform,
                address=record.address,
                agents=len(record.agents),
                load=msgspec.convert(record.load, contract.Load | None),
                disk=msgspec.convert(record.disk, contract.DiskRoom | None),
                certificate=self._certificates.get(record.id),
                clock_s=record.clock_s,
            )
        )
