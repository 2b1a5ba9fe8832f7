"""The rules that hold the code in shape: which way imports point, and that no table has a hole."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import hyperpi.errors
from hyperpi import contract, roles, status
from hypivisor.methods import Methods
from hypivisor.trust_methods import TrustMethods
from node.backend import Backend
from node.disk_methods import DiskMethods

ROOT = Path(__file__).resolve().parents[2]
OURS = frozenset({"hyperpi", "hypivisor", "node", "pide", "pxldisk"})
MAY_IMPORT = {
    "pxldisk": set(),
    "hyperpi": set(),
    "hypivisor": {"hyperpi"},
    "node": {"hyperpi", "pxldisk"},
    "pide": {"hyperpi"},
}
# The command may import everything, and `python -m node` and `hypivisor` are names of the command.
ANYTHING = ("hyperpi/cli/", "hypivisor/__main__.py", "node/__main__.py")


def imported_by(path: Path) -> set[str]:
    found: set[str] = set()
    for part in ast.walk(ast.parse(path.read_text())):
        if isinstance(part, ast.Import):
            found |= {alias.name.split(".")[0] for alias in part.names}
        elif isinstance(part, ast.ImportFrom) and part.module and part.level == 0:
            found.add(part.module.split(".")[0])
    return found & OURS


@pytest.mark.parametrize("package", sorted(OURS))
def test_imports_point_one_way(package: str):
    backward = {
        path.relative_to(ROOT).as_posix(): sorted(extra)
        for path in (ROOT / package).rglob("*.py")
        if not path.relative_to(ROOT).as_posix().startswith(ANYTHING)
        and (extra := imported_by(path) - MAY_IMPORT[package] - {package})
    }
    assert backward == {}


def test_the_error_tree_imports_nothing():
    assert imported_by(Path(hyperpi.errors.__file__)) == set()


def every_error() -> list[type[hyperpi.errors.HyperPiError]]:
    for package in ("hyperpi", "hypivisor", "node", "pide"):
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, waiting = [], [hyperpi.errors.HyperPiError]
    while waiting:
        children = waiting.pop().__subclasses__()
        found += children
        waiting += children
    return found


def test_every_error_has_a_row_on_every_wire():
    without = [
        error.__name__
        for error in every_error()
        if error.__module__.split(".")[0] in OURS
        and not error.__module__.startswith("hyperpi.cli")
        and not any(cls in status.WIRE_STATUS for cls in error.__mro__)
    ]
    assert without == []


@pytest.mark.parametrize("error", status.WIRE_STATUS, ids=lambda error: error.__name__)
def test_an_error_keeps_its_class_over_the_wire_when_its_kind_is_told(
    error: type[hyperpi.errors.HyperPiError],
):
    raised = error("why", hint="what next", data={"more": 1})
    back = status.from_json_rpc(status.to_json_rpc(raised), status.kind_of(raised))
    assert (type(back), str(back), back.hint, back.data) == (error, "why", "what next", {"more": 1})


def test_what_the_table_does_not_know_shows_no_detail():
    assert status.to_json_rpc(ValueError("a secret")) == {"code": -32603, "message": "internal error"}


def methods_in(cls: type) -> set[str]:
    """The methods of the contract in a class's dispatch table, read from its source."""
    source = Path(importlib.import_module(cls.__module__).__file__ or "").read_text()
    keys = {
        key.value
        for table in ast.walk(ast.parse(source))
        if isinstance(table, ast.Dict)
        for key in table.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    return {key for key in keys if "." in key}


def test_no_method_is_answered_without_a_row_in_the_table_of_roles():
    answered = methods_in(Methods) | methods_in(TrustMethods) | methods_in(Backend) | methods_in(DiskMethods)
    assert answered
    assert answered <= roles.METHOD_ROLES.keys()


def test_every_method_with_params_of_its_own_has_a_row_in_the_table_of_roles():
    assert contract.METHOD_PARAMS.keys() <= roles.METHOD_ROLES.keys()


@pytest.mark.parametrize("method", sorted(roles.METHOD_ROLES))
def test_a_role_may_do_what_it_needs_and_no_more(method: str):
    needed = roles.ROLES.index(roles.METHOD_ROLES[method])
    for rank, role in enumerate(roles.ROLES):
        caller = roles.Caller("somebody", role, "api")
        if rank >= needed:
            roles.check(caller, method)
        else:
            with pytest.raises(hyperpi.errors.NotForThisRole):
                roles.check(caller, method)


@pytest.mark.parametrize("role", ["", "owner", "root", "ADMIN"])
def test_an_unknown_role_may_do_nothing(role: str):
    with pytest.raises(hyperpi.errors.NotForThisRole):
        roles.check(roles.Caller("somebody", role, "api"), "mesh.get")


@pytest.mark.parametrize("method", sorted(roles.METHOD_ROLES))
def test_an_agents_tools_may_look_at_the_roster_and_send_scrolls_and_nothing_else(method: str):
    caller = roles.Caller("river@den", roles.AGENT, "agent")
    if method in {"mesh.get", "scroll.send", "scroll.list", "scroll.get"}:
        roles.check(caller, method)
    else:
        with pytest.raises(hyperpi.errors.NotForThisRole, match="river@den"):
            roles.check(caller, method)


def test_an_agent_reads_only_scrolls_that_it_sent_or_was_sent():
    agent, person = roles.Caller("river@den", roles.AGENT, "agent"), roles.Caller("ana", roles.VIEWER, "cli")
    asked = {"agent": "shore@den", "limit": 5}
    assert roles.narrowed(agent, "scroll.list", asked) == {"agent": "river@den", "limit": 5}
    assert roles.narrowed(person, "scroll.list", asked) == asked

    def scroll(sender: str, to: str, *recipients: str) -> dict[str, object]:
        return {"from": sender, "to": to, "receipts": [{"to": name} for name in recipients]}

    readable = [
        scroll("river@den", "shore"),
        scroll("user:ana", "river@den"),
        scroll("user:ana", "*", "river@den"),
    ]
    assert all(roles.may_read(agent, found) for found in readable)
    other = scroll("user:ana", "*", "shore@den")
    assert not roles.may_read(agent, other) and roles.may_read(person, other)


def test_an_agent_sends_in_its_own_name_and_a_person_in_theirs():
    assert roles.Caller("river@den", roles.AGENT, "agent").sender == "river@den"
    assert roles.Caller("ana@den", roles.OPERATOR, "cli").sender == "user:ana@den"


def test_a_method_without_a_row_is_denied_to_everybody():
    with pytest.raises(hyperpi.errors.NotForThisRole):
        roles.check(roles.Caller("owner", roles.ADMIN, "cli"), "agent.become")


# What decides does not wait: the domain and the values, as the architecture lists them.
SANS_IO = [
    "hyperpi/address.py",
    "hyperpi/candidates.py",
    "hyperpi/event.py",
    "hyperpi/mesh_view.py",
    "hyperpi/ring.py",
    "hyperpi/roles.py",
    "hyperpi/row_changes.py",
    "hypivisor/demand.py",
    "hypivisor/registry.py",
    "hypivisor/router.py",
    "node/agent_record.py",
    "node/eventlog.py",
    "node/outbox.py",
    "node/roster.py",
]
WORLD = {"asyncio", "grpc", "os", "socket", "sqlite3", "subprocess", "threading", "time"}


@pytest.mark.parametrize("name", SANS_IO)
def test_domain_modules_neither_wait_nor_look_at_the_world(name: str):
    tree = ast.parse((ROOT / name).read_text())
    imported = {
        alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
    }
    imported |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & WORLD
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef | ast.Await)]


def test_only_the_configuration_reads_the_environment():
    def reads(path: Path) -> bool:
        return any(
            isinstance(part, ast.Attribute)
            and isinstance(part.value, ast.Name)
            and (part.value.id, part.attr) in {("os", "environ"), ("os", "getenv"), ("os", "environb")}
            for part in ast.walk(ast.parse(path.read_text()))
        )

    readers = {
        p.relative_to(ROOT).as_posix() for package in OURS for p in (ROOT / package).rglob("*.py") if reads(p)
    }
    # The disk and a keeper import nothing of ours; the adapter is a program.
    allowed = {
        "hyperpi/config.py",
        "pxldisk/failpoint.py",
        "node/keeping/child.py",
        "node/acp/__main__.py",
    }
    assert readers <= allowed
