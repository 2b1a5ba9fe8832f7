"""Every method by every kind of caller, at each place that answers: the list of methods is the table itself.

A new method is here as soon as it has a row, and is refused to everybody until then.
"""

import ast
import asyncio
import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
import pytest
from test_audited_acts import Desk, desk  # noqa: F401  a fixture

import hyperpi.cli
from hyperpi import contract, roles
from hyperpi.address import NodeId
from hyperpi.errors import HyperPiError, NotForThisRole, NotFound
from hyperpi.mesh_view import MeshView
from hyperpi.roles import AGENT, UNSEEN, Caller
from hyperpi.viewer import Viewer, serve_viewer
from hyperpi.wire.hyperpi.v1 import mesh_pb2

Json = dict[str, Any]
REFUSED = -32001  # NotForThisRole on JSON-RPC
STRANGERS = ("", "none", "root", "node", "ADMIN", "public")
CALLERS = (AGENT, UNSEEN, *roles.ROLES, *STRANGERS)
METHODS = sorted({*roles.METHOD_ROLES, *contract.METHOD_PARAMS})
UNKNOWN = ("agent.become", "auth.login", "auth.bearer", "", "mesh.get ", "MESH.GET", "__class__")


def caller(role: str) -> Caller:
    """Somebody with a role, as an edge would make them."""
    return Caller("river@den" if role == AGENT else "ann", role, "agent" if role == AGENT else "cli")


def may(role: str, method: str) -> bool:
    """What the rules say, said once more: an agent has its four methods, others what their rung includes."""
    if role == AGENT:
        return method in {"mesh.get", "scroll.send", "scroll.list", "scroll.get"}
    if role not in ("viewer", "operator", "admin"):
        return False
    rungs = {"viewer": 0, "operator": 1, "admin": 2}
    return rungs[role] >= rungs[roles.METHOD_ROLES[method]]


# --- in the hypivisor ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", CALLERS)
async def test_the_hypivisor_answers_whoever_may_ask_and_nobody_else(
    desk: Desk,  # noqa: F811
    role: str,
) -> None:
    for method in METHODS:
        before = len(desk.trail())
        try:
            await desk.methods.call(method, b"{}", caller(role))
        except NotForThisRole:
            assert not may(role, method), method
            assert len(desk.trail()) == before, "what is refused for its role is not even begun"
        except HyperPiError:
            assert may(role, method), method
        else:
            assert may(role, method), method


@pytest.mark.parametrize("role", CALLERS)
async def test_a_machine_speaks_for_its_owner_or_an_agent_whatever_role_it_claims(
    desk: Desk,  # noqa: F811
    role: str,
) -> None:
    desk.methods._links.methods = desk.methods
    for method in METHODS:
        claimed = mesh_pb2.Caller(name="river@attic", role=role, source="cli")
        call = mesh_pb2.Call(method=method, params_json=b"{}", caller=claimed)
        reply = await desk.methods._links.answer_owner(NodeId("n-attic"), call)
        allowed = may(AGENT if role == AGENT else roles.OPERATOR, method)
        assert (reply.error.kind == "NotForThisRole") is not allowed, (method, reply)


async def test_what_is_no_method_is_none_for_anybody(desk: Desk) -> None:  # noqa: F811
    for method in UNKNOWN:
        for role in CALLERS:
            with pytest.raises(HyperPiError):
                await desk.methods.call(method, b"{}", caller(role))


async def test_the_disk_of_one_machine_is_handed_to_another_by_an_admin_alone(
    desk: Desk,  # noqa: F811
) -> None:
    asked = json.dumps({"node": "attic", "from": "attic", "of": "n-gone"}).encode()
    for role in (AGENT, UNSEEN, "viewer", "operator"):
        with pytest.raises(NotForThisRole):
            await desk.methods.call("disk.restore", asked, caller(role))
    with pytest.raises(NotFound, match="nowhere"):  # past the role
        await desk.methods.call("disk.restore", asked.replace(b"attic", b"nowhere"), caller("admin"))


# --- at every socket ---------------------------------------------------------------------------------------


class Backend:
    """A backend that has nothing and remembers what it was asked."""

    def __init__(self) -> None:
        self.view = MeshView("home")
        self.asked: list[str] = []

    async def mesh(self, _caller: Caller) -> bytes:
        self.asked.append("mesh.get")
        return b"{}"

    async def call(self, method: str, _params: Mapping[str, Any], _caller: Caller) -> bytes:
        self.asked.append(method)
        return b"{}"

    async def feed(self, agent: str, _cursor: object) -> Any:
        self.asked.append("agent.attach")
        raise NotFound(f"no agent {agent}")

    async def watch_bank(self, node: str, _bank: int, _wake: Callable[[], None]) -> Any:
        self.asked.append("disk.watch")
        raise NotFound(f"no node {node}")


class Outlet:
    """Keeps what a viewer is told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Json] = asyncio.Queue()

    async def send(self, message: bytes) -> None:
        self.told.put_nowait(json.loads(message))

    async def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"closed with {code}: {reason}")


def params_for(method: str) -> Json:
    """Params that a method accepts, made from its shape: what it demands and no more."""
    shape = contract.METHOD_PARAMS.get(method)
    if shape is None:
        return {"agent": "river", "node": "den"}
    fields = msgspec.inspect.type_info(shape).fields
    return {field.encode_name: sample(field.type) for field in fields if field.required}


def sample(kind: msgspec.inspect.Type) -> Any:
    """A value of a type of the contract."""
    match kind:
        case msgspec.inspect.StrType():
            return "x"
        case msgspec.inspect.IntType():
            return kind.ge if kind.ge is not None else 1
        case msgspec.inspect.FloatType():
            return 1.0
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.LiteralType():
            return kind.values[0]
        case msgspec.inspect.ListType():
            return []
        case msgspec.inspect.UnionType():
            return sample(kind.types[0])
    raise AssertionError(f"a sample of {kind} is missing here")


@pytest.mark.parametrize("method", METHODS)
async def test_a_viewer_gets_as_far_as_the_backend_if_it_may_and_no_further_than_the_table_if_not(
    method: str,
) -> None:
    for role in CALLERS:
        backend, outlet = Backend(), Outlet()
        viewer = Viewer(backend, caller(role), outlet)
        done = asyncio.Event()
        serving = asyncio.create_task(serve_viewer(viewer, lambda done=done: done.wait()))
        try:
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params_for(method)}
            viewer.rpc.receive(json.dumps(request))
            async with asyncio.timeout(10):
                answer = await outlet.told.get()
        finally:
            done.set()
            await serving
        refused = answer.get("error", {}).get("code") == REFUSED
        assert refused is not may(role, method), (role, answer)
        if refused:
            assert backend.asked == [], role
        elif method != "disk.unwatch":  # of what is not watched there is nothing to ask anybody
            assert backend.asked, (role, answer)


# --- what the command asks ---------------------------------------------------------------------------------


def asked_by_the_command() -> dict[str, set[str]]:
    """Methods that `hyperpi/cli` calls, by the module: the first argument of every .call( and .ask(."""
    found: dict[str, set[str]] = {}
    for module in pkgutil.iter_modules(hyperpi.cli.__path__, "hyperpi.cli."):
        source = Path(importlib.util.find_spec(module.name).origin or "").read_text()
        for part in ast.walk(ast.parse(source)):
            if not isinstance(part, ast.Call) or not isinstance(part.func, ast.Attribute | ast.Name):
                continue
            name = part.func.attr if isinstance(part.func, ast.Attribute) else part.func.id
            for argument in part.args:
                if (
                    isinstance(argument, ast.Constant)
                    and isinstance(argument.value, str)
                    and argument.value.partition(".")[0] in {m.partition(".")[0] for m in METHODS}
                    and argument.value.count(".") == 1
                    and argument.value.replace(".", "").replace("_", "").isalpha()
                ):
                    found.setdefault(f"{module.name}:{name}", set()).add(argument.value)
    return found


def test_every_verb_of_the_command_asks_for_methods_that_have_a_row() -> None:
    asked = set().union(*asked_by_the_command().values())
    assert len(asked) > 25, "the calls of the command were not found"
    assert asked <= roles.METHOD_ROLES.keys()
