"""Every method of the contract that is not a stream, as the hypivisor answers it.

Methods about agents, folders and disks belong to the node that has them and are passed on; trust is ours.
The role is checked here again, whoever checked it before; what changes the world leaves an audit row.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from hyperpi import contract, roles, strict_json
from hyperpi.acts import AUDITED, AUDITED_ONCE, Begun, what_of
from hyperpi.address import NodeId
from hyperpi.contract import Json
from hyperpi.errors import HyperPiError, NodeUnreachable, NotForThisRole, NotFound, UnknownMethod
from hyperpi.roles import Caller
from hypivisor.joins import PendingJoins
from hypivisor.link_service import LinkService
from hypivisor.trust import Trust
from hypivisor.trust_methods import TrustMethods

ASK_S = 15.0  # a node answers from memory, or from its agent within 10 s
SPAWN_S = 25.0
LIST_S = 5.0
MAX_SUMMARY = 500  # characters of an approved action in the audit trail

STARTS = frozenset({"node.spawn", "agent.resume"})  # a program: that may take a while

# Of an agent only its node knows it as it is now.
SHOWN_BY_NODE = ("name", "address", "card", "evidence", "last_event", "approvals", "last_output", "queue")

Handler = Callable[[Json, Caller], Awaitable[Any]]


class Methods:
    """Answers calls from front ends and from the local control socket."""

    def __init__(
        self,
        links: LinkService,
        trust: Trust,
        home: Callable[[], NodeId | None],
        *,
        join_address: Callable[[], Json],
        nearby: Callable[[], Json],
        joins: PendingJoins,
        people: TrustMethods,
    ) -> None:
        self._links = links
        self._trust = trust
        self._home = home
        self._join_address = join_address
        self._nearby = nearby
        self._joins = joins
        self._begun = Begun()
        self._own: dict[str, Handler] = {
            "agent.show": self._agent_show,
            "node.approve": self._node_approve,
            "node.deny": self._node_deny,
            "node.revoke": self._node_revoke,
            "node.join_address": self._node_join_address,
            "node.nearby": self._node_nearby,
            "scroll.send": self._scroll_send,
            "scroll.list": self._scroll_list,
            "scroll.get": self._scroll_get,
            "approval.list": self._approval_list,
            "mesh.get": self._mesh_get,
            "disk.restore": self._disk_restore,
            **people.handlers(),
        }

    async def call_from_front_end(self, method: str, params_json: bytes, caller: Caller) -> bytes:
        """As `call`; a front end, and nobody else, also checks its viewers' credentials here."""
        if method in Trust.INTERNAL:
            return strict_json.encode(await self._trust.internal(method, msgspec.json.decode(params_json)))
        return await self.call(method, params_json, caller)

    async def call(self, method: str, params_json: bytes, caller: Caller) -> bytes:
        """The encoded result. Raises HyperPiError."""
        params = roles.narrowed(caller, method, msgspec.json.decode(params_json))
        if method not in roles.METHOD_ROLES:
            raise UnknownMethod(f"there is no method {method}")
        roles.check(caller, method)
        if (shape := contract.METHOD_PARAMS.get(method)) is not None:
            contract.params_of(shape, params)
        if method in AUDITED_ONCE and self._begun.is_new(caller, method, params):
            await self._trust.record(caller, method, "asked", what_of(params))
            self._begun.began(caller, method, params)
        if method not in AUDITED:
            return await self._answer(method, params, caller)
        await self._trust.record(caller, method, "asked", what_of(params))
        try:
            result = await self._answer(method, params, caller)
        except HyperPiError as exc:
            await self._trust.record_refused(caller, method, {**what_of(params), "reason": str(exc)})
            raise
        if method not in self._own:  # those tell themselves what came of them
            await self._trust.record_done(caller, method, {**what_of(params), **_outcome(method, result)})
        return result

    async def _answer(self, method: str, params: Json, caller: Caller) -> bytes:
        if (own := self._own.get(method)) is not None:
            return strict_json.encode(await own(params, caller))
        return await self._forward(method, params, caller)

    async def _forward(self, method: str, params: Json, caller: Caller) -> bytes:
        registry = self._links.registry
        if method.startswith("agent."):
            found = await self._links.find_soon(str(params.get("agent", "")))
            node, params = found.node.id, {**params, "agent": found.agent}
        elif "node" in params:
            node = registry.node(str(params["node"])).id
            params = {**params, "node": node}
        else:
            raise UnknownMethod(f"{method} cannot be asked of the mesh")
        timeout_s = SPAWN_S if method in STARTS else ASK_S
        link = await self._links.link_soon(node)
        return await link.call(method, strict_json.encode(params), caller, timeout_s)

    # --- the mesh ------------------------------------------------------------------------------------

    async def _mesh_get(self, _params: Json, caller: Caller) -> Any:
        return msgspec.Raw(self._links.registry.view.whole_json({"name": caller.name, "role": caller.role}))

    async def _agent_show(self, params: Json, caller: Caller) -> Any:
        """The Agent with its card; of an absent node what is remembered."""
        registry = self._links.registry
        found = registry.find(str(params.get("agent", "")))
        shown: Json = msgspec.json.decode(registry.view.agents[found.agent])
        try:
            link = self._links.link(found.node.id)
            asked = strict_json.encode({"agent": found.agent})
            fresh: Json = msgspec.json.decode(await link.call("agent.show", asked, caller, ASK_S))
            # The roster is told of changes, a moment later; how recent the evidence is only the node knows.
            shown |= {key: fresh[key] for key in SHOWN_BY_NODE if key in fresh}
        except NodeUnreachable:
            shown["card"] = None
        return shown

    async def _node_join_address(self, _params: Json, _caller: Caller) -> Json:
        return self._join_address()

    async def _node_nearby(self, _params: Json, _caller: Caller) -> Json:
        return self._nearby()

    async def _node_approve(self, params: Json, caller: Caller) -> Json:
        """An admin's half of a join without a token; the person at the machine confirms the other half."""
        code = contract.params_of(contract.CodeParams, params).code
        waiting = self._joins.approve(code, caller.name)
        await self._trust.record_done(caller, "node.approve", {"name": waiting.name})
        return {"name": waiting.name, "confirmed": waiting.confirmed}

    async def _node_deny(self, params: Json, caller: Caller) -> Json:
        waiting = self._joins.deny(contract.params_of(contract.CodeParams, params).code)
        await self._trust.record_done(caller, "node.deny", {"name": waiting.name})
        return {"name": waiting.name}

    async def _node_revoke(self, params: Json, caller: Caller) -> Json:
        node = self._links.registry.node(contract.params_of(contract.NodeParams, params).node)
        await self._trust.revoke_node(node.id)
        self._links.cut(node.id, "revoked")
        self._links.registry.forget(node.id)
        await self._trust.record_done(caller, "node.revoke", {"node": node.id, "name": node.name})
        return {}

    async def _disk_restore(self, params: Json, caller: Caller) -> Any:
        """Done by the node. That it may have the copies of another one's disk is said here, by an admin."""
        wanted = contract.params_of(contract.DiskRestore, params)
        if wanted.of is not None:
            if not roles.allows(caller.role, roles.ADMIN):
                raise NotForThisRole(
                    "only an admin hands the copy of one machine's disk to another",
                    hint="`hyperpi disk restore --of …` where the hypivisor runs",
                )
            registry = self._links.registry
            heir = registry.node(wanted.node).id
            # One that was revoked, maybe for its heir of the same name, only the holder of its copies knows.
            with contextlib.suppress(NotFound):
                if (found := registry.node(wanted.of).id) != heir:
                    params = {**params, "of": found}
            self._links.grants.allow(params["of"], heir)
        result = await self._forward("disk.restore", params, caller)
        await self._trust.record_done(caller, "disk.restore", what_of(params))
        return msgspec.Raw(result)

    async def _approval_list(self, params: Json, caller: Caller) -> Json:
        """Of one agent, or of every node that can be asked, in the order of time."""
        wanted = contract.params_of(contract.ApprovalList, params)
        links = list(self._links.links.values())
        if wanted.agent:
            found = self._links.registry.find(wanted.agent)
            links, params = [self._links.link(found.node.id)], {**params, "agent": found.agent}
        asked = strict_json.encode(params)
        answers = await asyncio.gather(
            *(link.call("approval.list", asked, caller, LIST_S) for link in links), return_exceptions=True
        )
        lists = [msgspec.json.decode(answer)["approvals"] for answer in answers if isinstance(answer, bytes)]
        ordered = sorted(itertools.chain.from_iterable(lists), key=lambda one: str(one["asked_at"]))
        return {"approvals": ordered[-wanted.limit :], "complete": len(lists) == len(answers)}

    # --- scrolls -------------------------------------------------------------------------------------

    async def _home_link(self) -> Any:
        home = self._home()
        if home is None:
            raise NodeUnreachable(
                "no node runs beside this hypivisor, and a scroll needs one to be stored on",
                hint="start `hyperpi up` without --no-node",
            )
        return await self._links.link_soon(home)

    async def _scroll_send(self, params: Json, caller: Caller) -> Any:
        scroll = contract.params_of(contract.Scroll, params)
        if not scroll.to.startswith(("*", "skill:", "user:")):
            await self._links.find_soon(scroll.to)  # an unknown or ambiguous name is told at once
        asked = strict_json.encode(params)
        if caller.role == roles.AGENT:  # stored where it lives, as if it had sent it by its own socket
            link = await self._links.link_soon((await self._links.find_soon(caller.name)).node.id)
        else:
            link = await self._home_link()
        return msgspec.Raw(await link.call("scroll.send", asked, caller, ASK_S))

    async def _scroll_list(self, params: Json, caller: Caller) -> Json:
        """Of one agent's node, or of every node that can be asked, in the order of time."""
        wanted = contract.params_of(contract.ScrollList, params)
        if wanted.agent and not wanted.agent.startswith("user:"):
            found = self._links.registry.find(wanted.agent)
            links = [self._links.link(found.node.id)]
            params = {**params, "agent": found.address}
        else:
            links = list(self._links.links.values())
        asked = strict_json.encode(params)
        answers = await asyncio.gather(
            *(link.call("scroll.list", asked, caller, LIST_S) for link in links), return_exceptions=True
        )
        merged: dict[str, Json] = {}
        for answer in answers:
            if isinstance(answer, bytes):
                for scroll in msgspec.json.decode(answer)["scrolls"]:
                    _merge(merged, scroll)
        ordered = sorted(merged.values(), key=lambda scroll: str(scroll["at"]))
        return {"scrolls": ordered[-wanted.limit :], "complete": len(answers) == sum(map(_is_bytes, answers))}

    async def _scroll_get(self, params: Json, caller: Caller) -> Json:
        asked = contract.params_of(contract.ScrollGet, params)
        request = strict_json.encode(params)
        answers = await asyncio.gather(
            *(link.call("scroll.get", request, caller, LIST_S) for link in self._links.links.values()),
            return_exceptions=True,
        )
        merged: dict[str, Json] = {}
        for answer in answers:
            if isinstance(answer, bytes):
                _merge(merged, msgspec.json.decode(answer))
        if asked.scroll_id not in merged or not roles.may_read(caller, merged[asked.scroll_id]):
            raise NotFound(f"no scroll {asked.scroll_id}", hint="`hyperpi scrolls` lists them")
        return merged[asked.scroll_id]


def _is_bytes(answer: object) -> bool:
    return isinstance(answer, bytes)


def _merge(into: dict[str, Json], scroll: Json) -> None:
    """A scroll is known at its sender's node and at its recipients'; the sender's account is the fuller."""
    known = into.get(scroll["scroll_id"])
    if known is None or (known.get("side") == "recipient" and scroll.get("side") == "sender"):
        into[scroll["scroll_id"]] = scroll


def _answered(result: bytes) -> Json:
    """What was approved or denied: enough to tell the very action, without all of its text."""
    approval = msgspec.json.decode(result)["approval"]
    action = approval["action"]
    return {
        "state": approval["state"],
        "action": f"{action['kind']}: {action['summary'][:MAX_SUMMARY]}",
        "hash": action["hash"],
    }


def _outcome(method: str, result: bytes) -> Json:
    """What came of an act, as far as the trail wants to know."""
    match method:
        case "node.spawn":
            return {"agent": msgspec.json.decode(result)["agent"]}
        case "agent.resume":
            return {"resumed_as": msgspec.json.decode(result)["agent"]}
        case "agent.answer":
            return _answered(result)
        case "agent.policy":
            told: Json = msgspec.json.decode(result)
            return told
        case _:
            return {}
