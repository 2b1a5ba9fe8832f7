"""What changes trust is written down first, and is refused when that cannot be."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hyperpi.acts import AUDITED, AUDITED_ONCE
from hyperpi.address import NodeId
from hyperpi.audit import AuditUnwritable
from hyperpi.errors import BadRequest, Conflict, NotForThisRole, NotFound
from hyperpi.mesh_view import MeshView
from hyperpi.roles import ADMIN, METHOD_ROLES, OPERATOR, Caller
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from hypivisor.joins import PendingJoins
from hypivisor.link_service import LinkService
from hypivisor.methods import Methods
from hypivisor.node_link import NodeLink
from hypivisor.registry import Registry
from hypivisor.rows import Certified, NodeRow
from hypivisor.trust import Gate, open_gate
from hypivisor.trust_methods import MAX_ROWS, TrustMethods, certify_into

ANNA = Caller("anna", "admin", "cli")
ORIGIN = "http://127.0.0.1:31415"
Json = dict[str, Any]


@dataclass
class Desk:
    """The methods of one hypivisor with a machine that has joined and one that waits; no port is open."""

    gate: Gate
    methods: Methods
    joins: PendingJoins
    registry: Registry
    node: NodeRow
    code: str

    async def ask(self, method: str, caller: Caller = ANNA, **params: Any) -> Any:
        return json.loads(await self.methods.call(method, json.dumps(params).encode(), caller))

    def trail(self) -> list[tuple[str, str]]:
        """(what, result), oldest first."""
        return [(row.what, row.result) for row in reversed(self.gate.audit.ls())]

    def close_the_trail(self) -> None:
        """From now on it can be read and not be written."""
        self.gate.audit._db.execute("PRAGMA query_only = ON")


def join_address() -> Json:
    return {"addresses": ["192.0.2.1:31417"]}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_gate(tmp_path, "home", None) as gate:
        key = b"a machine's key"
        node, _ = gate.store.add_node(
            key,
            lambda *_: Certified(b"", 0.0, 60.0, 90.0),
            new_id="n-attic",
            name="attic",
            now=time.time(),
        )
        registry = Registry(MeshView("home", "r-1"))
        gate.trust.remember_into(registry)
        joins = PendingJoins(gate.ca.fingerprint, time.monotonic)
        waiting = joins.begin("192.0.2.9", "porch", lambda: None)
        joins.reveal(waiting, b"another key", bytes(32))
        links = LinkService(
            registry,
            gate.trust,
            mesh_id=gate.mesh.id,
            mesh_name="home",
            home=lambda: None,
            notice=lambda _: None,
        )
        methods = Methods(
            links,
            gate.trust,
            lambda: None,
            join_address=join_address,
            nearby=dict[str, Any],
            joins=joins,
            people=TrustMethods(gate, registry, join_address),
        )
        with gate.trust.front_end(ORIGIN):
            yield Desk(gate, methods, joins, registry, node, str(waiting.code))


def facts(desk: Desk) -> Any:
    """All that the acts below could change."""
    store = desk.gate.store
    codes = store._db.execute("SELECT count(*) FROM login_codes").fetchone()
    return store.tokens(), store.sessions(), store.nodes(), codes, desk.joins.ls(), list(desk.registry.nodes)


async def acts(desk: Desk) -> dict[str, Json]:
    """Every act of an admin that the hypivisor itself carries out, with params that would do it."""
    token = desk.gate.tokens.create("viewer")
    code = desk.gate.sessions.create_code("viewer").code
    session = desk.gate.sessions.login_with_code(code, address="192.0.2.7", origin=ORIGIN).session
    return {
        "token.create": {"role": "node", "ttl_s": 60},
        "login.create": {"role": "viewer"},
        "node.approve": {"code": desk.code},
        "token.revoke": {"id": token.id},
        "session.revoke": {"id": session.id},
        "node.revoke": {"node": "attic"},
        "node.deny": {"code": desk.code},
    }


def test_every_act_of_an_admin_that_changes_something_is_among_the_audited():
    reading = {"token.ls", "session.ls", "audit.list", "audit.verify", "node.nearby", "node.join_address"}
    of_admins = {method for method, role in METHOD_ROLES.items() if role == ADMIN}
    assert of_admins - reading <= AUDITED
    assert not reading & AUDITED


def test_every_act_of_an_operator_that_changes_something_is_among_the_audited():
    reading = {"node.folders", "node.kinds", "agent.complete"}
    of_a_window = {"agent.resize"}  # comes with every drag of its edge, and tells nothing
    of_operators = {method for method, role in METHOD_ROLES.items() if role == OPERATOR}
    assert of_operators - reading - of_a_window <= AUDITED | AUDITED_ONCE


async def test_who_types_on_another_machine_is_written_down_once_for_each_of_its_viewers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hypivisor.link_service.REDIAL_S", 0.0)  # the agent is nowhere: nobody is waited for
    links = desk.methods._links
    links.methods = desk.methods
    for viewer in ("v-one", "v-one", "v-two"):
        who = mesh_pb2.Caller(name="river@attic", role="operator", source="cli", connection=viewer)
        typed = mesh_pb2.Call(method="agent.input", params_json=b'{"agent":"x","data":""}', caller=who)
        await links.answer_owner(NodeId("n-attic"), typed)
    assert desk.trail().count(("agent.input", "asked")) == 2


async def test_the_trail_says_which_code_was_approved_or_turned_away(desk: Desk):
    with pytest.raises(NotFound):
        await desk.ask("node.deny", code="nothing")
    await desk.ask("node.approve", code=desk.code)
    asked = [row.details["code"] for row in desk.gate.audit.ls() if row.result == "asked"]
    assert asked == [desk.code, "nothing"]


async def test_an_act_is_written_down_before_it_is_done_and_when_it_is_done(desk: Desk):
    for method, params in (await acts(desk)).items():
        await desk.ask(method, **params)
        assert desk.trail()[-2:] == [(method, "asked"), (method, "done")]
    assert desk.gate.trust.is_revoked("n-attic")


async def test_what_cannot_be_written_down_is_not_done(desk: Desk):
    wanted = await acts(desk)
    before = facts(desk)
    desk.close_the_trail()
    for method, params in wanted.items():
        with pytest.raises(AuditUnwritable, match="refused"):
            await desk.ask(method, **params)
    assert facts(desk) == before
    assert not desk.gate.trust.is_revoked("n-attic")


async def test_an_act_that_fails_is_written_down_with_the_reason(desk: Desk):
    with pytest.raises(NotFound):
        await desk.ask("token.revoke", id="nothing")
    row = desk.gate.audit.ls(1)[0]
    assert (row.what, row.result, row.details["id"]) == ("token.revoke", "refused", "nothing")
    assert "no such token" in str(row.details["reason"])


async def test_no_secret_enters_the_trail(desk: Desk):
    made = await desk.ask("token.create", role="operator", name="bot")
    link = await desk.ask("login.create", role="admin")
    said = str(desk.gate.audit.ls())
    assert made["token"].partition(".")[2] not in said
    assert link["url"].partition("=")[2] not in said


async def test_a_login_that_cannot_be_written_down_opens_no_session(desk: Desk):
    code = desk.gate.sessions.create_code("admin").code
    desk.close_the_trail()
    asked = {"code": code, "address": "192.0.2.7", "origin": ORIGIN}
    with pytest.raises(AuditUnwritable):
        await desk.gate.trust.internal("auth.login", asked)
    assert desk.gate.store.sessions() == []


async def test_a_copy_of_a_machine_that_started_earlier_is_refused_and_written_down(desk: Desk):
    node = NodeId(desk.node.id)
    assert await desk.gate.trust.node_seen(node, 7) == "attic"
    assert await desk.gate.trust.node_seen(node, 7) == "attic"  # the same start, dialling again
    with pytest.raises(Conflict, match="boot 7, this one is 6") as refused:
        await desk.gate.trust.node_seen(node, 6)
    assert "copy" in str(refused.value.hint)
    row = desk.gate.audit.ls(1)[0]
    assert (row.who, row.what, row.result) == (node, "node.link", "refused")
    assert (row.details["boot"], row.details["newest"]) == (6, 7)


async def test_revoking_cuts_the_stream_of_a_machine_that_says_nothing_before_it_is_answered(desk: Desk):
    """One that speaks would be found out by its next word; a silent one only by this."""
    node = NodeId(desk.node.id)
    link = desk.methods._links.links[node] = NodeLink(node)
    await desk.ask("node.revoke", node="attic")
    assert link.over.is_set()
    assert link.farewell == "revoked"
    assert node not in desk.methods._links.links


async def test_a_machine_that_is_not_known_any_more_has_no_place(desk: Desk):
    with pytest.raises(NotFound):
        await desk.gate.trust.node_seen(NodeId("n-stranger"), 1)


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_who_is_no_admin_does_none_of_it(desk: Desk, role: str):
    wanted = await acts(desk)
    before = facts(desk)
    for method, params in wanted.items():
        with pytest.raises(NotForThisRole):
            await desk.ask(method, Caller("bob", role, "pide"), **params)
    assert facts(desk) == before


async def test_a_link_for_oneself_bears_ones_own_name(desk: Desk):
    async def whose(**params: Any) -> tuple[str, str]:
        url = (await desk.ask("login.create", **params))["url"]
        asked = {"code": url.partition("=")[2], "address": "192.0.2.7", "origin": ORIGIN}
        answer = await desk.gate.trust.internal("auth.login", asked)
        return answer["name"], answer["role"]

    assert await whose() == ("anna", "admin")
    assert await whose(role="viewer", name="carol") == ("carol", "viewer")
    assert await whose(role="viewer") == ("viewer", "viewer")


async def test_a_row_is_found_by_every_name_of_what_it_is_about(desk: Desk):
    desk.registry.report(
        NodeId("n-attic"), [{"id": "a-1", "name": "lead", "state": "idle", "cwd": "/", "kind": "pi"}]
    )
    trail = desk.gate.audit
    trail.append("anna", "cli", "agent.stop", "asked", {"agent": "a-1"})
    trail.append("anna", "cli", "agent.stop", "asked", {"agent": "lead@attic"})
    trail.append("anna", "cli", "node.revoke", "asked", {"node": "n-attic"})
    trail.append("anna", "cli", "node.revoke", "asked", {"node": "n-other"})

    async def about(word: str) -> list[int]:
        return [row["seq"] for row in (await desk.ask("audit.list", about=word))["rows"]]

    assert await about("lead") == await about("a-1") == await about(" lead@attic ") == [2, 1]
    assert await about("attic") == await about("n-attic") == [3, 2]
    assert await about("") == [4, 3, 2, 1]


@pytest.mark.parametrize("params", [{"since": "yesterday"}, {"until": "1 h"}, {"limit": "all"}, {"who": 7}])
async def test_a_filter_that_makes_no_sense_is_refused_in_words(desk: Desk, params: Json):
    with pytest.raises(BadRequest):
        await desk.ask("audit.list", **params)


async def test_a_page_of_the_trail_is_bounded_whatever_is_asked_for(desk: Desk):
    for number in range(MAX_ROWS + 1):
        desk.gate.audit.append("anna", "cli", "x", "done", {"n": number})
    page = await desk.ask("audit.list", limit=10**9)
    assert len(page["rows"]) == MAX_ROWS
    rest = await desk.ask("audit.list", before=page["next"], limit=-5)
    assert ([row["seq"] for row in rest["rows"]], rest["next"]) == ([1], None)


async def test_a_join_token_comes_with_its_command_and_a_code_that_a_camera_reads(desk: Desk):
    made = await desk.ask("token.create", role="node", qr=True)
    assert made["command"] == f"hyperpi node join 192.0.2.1:31417 --token {made['token']}"
    side = len(made["qr"])
    assert {len(row) for row in made["qr"]} == {side}
    assert all(row[:7] == "1111111" for row in (made["qr"][0], made["qr"][6], made["qr"][side - 7]))
    assert "qr" not in await desk.ask("token.create", role="viewer")


async def test_a_listed_token_tells_who_came_with_it_and_from_where(desk: Desk):
    store, made = desk.gate.store, desk.gate.tokens.create("node")
    store.use_token_for_node(
        made.id,
        lambda row: row,  # type: ignore[arg-type,return-value]  # it is there
        b"a third key",
        lambda *_: Certified(b"", 1.0, 2.0, 3.0),
        new_id="n-porch",
        name="porch",
        now=100.0,
        address="192.0.2.9",
    )
    [listed] = (await desk.ask("token.ls"))["tokens"]
    assert (listed["joined"], listed["last_from"], listed["uses_left"]) == ("porch", "192.0.2.9", 0)
    assert listed["last_used"] == "1970-01-01T00:01:40.000Z"


def test_the_roster_tells_how_old_a_certificate_is_as_soon_as_it_is_issued(desk: Desk):
    def shown() -> Any:
        return json.loads(desk.registry.view.nodes["n-attic"])["certificate"]

    assert shown() is None
    certify_into(desk.registry, desk.node)
    assert shown() == {
        "issued": "1970-01-01T00:00:00.000Z",
        "renews": "1970-01-01T00:01:00.000Z",
        "expires": "1970-01-01T00:01:30.000Z",
    }
    row, _ = desk.gate.store.renew_node(
        "n-attic", b"a machine's key", lambda *_: Certified(b"", 100.0, 160.0, 190.0)
    )
    certify_into(desk.registry, row)
    assert shown()["issued"] == "1970-01-01T00:01:40.000Z"
