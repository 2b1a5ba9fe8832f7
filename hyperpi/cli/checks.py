"""What `hyperpi doctor` looks at, one thing at a time. Each check says what it found and how to mend it.

Looking makes the home and its socket folder if they are missing, and changes nothing else.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hyperpi import __version__, pi_install
from hyperpi.cli.client import Client, Reach, connect, connect_local
from hyperpi.cli.local import has_hypivisor, hypivisor_run, local_node, node_run
from hyperpi.cli.words import Json, duration, one_line, rows_of, size
from hyperpi.clock import OFF_S, apart, from_rfc3339
from hyperpi.config import (
    ENROL_PORT,
    GRPC_PORT,
    PIDE_PORT,
    Home,
    owners_environment,
    read_environment,
)
from hyperpi.errors import HyperPiError

if TYPE_CHECKING:
    from hyperpi.candidates import Candidate

OK, WARN, FAIL = "ok", "warn", "fail"

OLDEST_PYTHON = (3, 11)
FULL_BYTES = 1 << 20  # SQLite and the journals need some to write a row
LEAST_FREE_BYTES = 200 << 20  # a node keeps 64 MiB of log; below this a full disk is near
PI_S = 15.0  # for `pi --version`: a cold Node.js on a slow disk
CONNECT_S = 2.0
HEAR_S = 1.5  # mDNS answers within one
MOST_NAMED = 5


class Check(NamedTuple):
    """One finding."""

    name: str
    state: str  # ok | warn | fail
    found: str
    fix: str | None = None


class Facts:
    """What several checks need to know, asked once."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.home: Home = reach.home
        self.node = node_run(self.home)
        self.hypivisor = hypivisor_run(self.home)
        self.mesh: Json | None = None  # the roster, of whoever has the authority

    @property
    def own_node(self) -> Json | None:
        """The node of this home as the mesh lists it."""
        own = local_node(self.home).id
        nodes = rows_of(self.mesh, "nodes") if self.mesh else []
        return next((node for node in nodes if node.get("id") == own), None)


def findings(reach: Reach) -> Iterator[Check]:
    """All checks in their order."""
    facts = Facts(reach)
    for name, check in CHECKS.items():
        try:
            yield check(facts)._replace(name=name)
        except HyperPiError as exc:
            yield Check(name, FAIL, one_line(exc), exc.hint)
        except OSError as exc:
            yield Check(name, FAIL, one_line(f"{exc.filename or ''} {exc.strerror or exc}"))


def _check(state: str, found: str, fix: str | None = None) -> Check:
    return Check("", state, found, fix)


# --- this machine ---------------------------------------------------------------------------------------


def _python(_facts: Facts) -> Check:
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if sys.version_info < OLDEST_PYTHON:
        return _check(FAIL, f"{found} is too old", "install Python 3.11 or later, and Hyper-Pi in it")
    return _check(OK, f"{found}, hyperpi {__version__}")


def _home(facts: Facts) -> Check:
    path = facts.home.path
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as exc:
        fix = f"make {path} writable for you, or choose another with HYPERPI_HOME or --home"
        return _check(FAIL, f"{path} cannot be written: {exc.strerror}", fix)
    folders = [one for one in (path, facts.home.hypivisor, facts.home.node) if one.is_dir()]
    free, least = min((shutil.disk_usage(one).free, one) for one in folders)
    if free < FULL_BYTES:
        found = (
            f"the disk of {least} is full ({size(free)} free): joins, logins, spawns and scrolls are refused"
        )
        return _check(FAIL, found, "make room there; everything goes on by itself")
    if path.stat().st_mode & 0o077:
        fix = f"chmod 700 {path}, and ask who could read it"
        return _check(WARN, f"{path} can be read by others", fix)
    if free < LEAST_FREE_BYTES:
        return _check(
            WARN, f"{least}: only {size(free)} are free", "free some space; a full disk stops scrolls"
        )
    return _check(OK, f"{path} ({size(free)} free)")


def _sockets(facts: Facts) -> Check:
    return _check(OK, str(facts.home.socket_folder()))


def _policy(facts: Facts) -> Check:
    from node.policy import load_policy

    policy = load_policy(facts.home.node / "node.toml", Path.home())
    roots = ", ".join(str(root) for root in policy.roots)
    return _check(OK, f"agents may be started below {roots}; kinds: {', '.join(policy.kinds)}")


def _disk(facts: Facts) -> Check:
    folder = facts.home.node / "disk"
    banks = sorted(folder.glob("[0-9]*.png"))
    banks = [bank for bank in banks if bank.stem.isdigit()]
    if not banks:
        return _check(OK, "none yet: a node makes it at its first start")
    from pxldisk import PxlDiskError, verify

    try:
        problems = [problem for bank in banks for problem in verify(bank)]
    except PxlDiskError as exc:
        return _check(FAIL, str(exc), "`hyperpi disk verify` says more")
    if problems:
        return _check(FAIL, one_line(problems[0]), "`hyperpi node stop`, then `hyperpi disk repair`")
    return _check(OK, f"{len(banks)} bank{'s' if len(banks) > 1 else ''}, sound")


# --- parts ----------------------------------------------------------------------------------------------


def _hypivisor(facts: Facts) -> Check:
    ca_key = facts.home.hypivisor / "ca-key.pem"
    if ca_key.exists() and ca_key.stat().st_mode & 0o077:
        return _check(
            FAIL, f"{ca_key} can be read by others", f"chmod 600 {ca_key}, and ask who could read it"
        )
    if facts.reach.hypivisor:
        with connect(facts.reach) as client:
            return _greeted(facts, client, facts.reach.hypivisor)
    if facts.hypivisor is None:
        if has_hypivisor(facts.home):
            return _check(WARN, "the one of this home does not run", "`hyperpi up` starts it")
        if (facts.home.node / "identity" / "mesh.json").exists() and facts.node is not None:
            return _check(OK, "none in this home; the node asks its mesh's")
        return _check(
            WARN, "none runs in this home", "`hyperpi up` starts one, or join one: `hyperpi node join`"
        )
    found = connect_local("hypivisor", facts.home.hypivisor)
    if found is None:
        return _check(
            FAIL, f"pid {facts.hypivisor['pid']}: nobody listens", "end it and start `hyperpi up` again"
        )
    with found as client:
        return _greeted(facts, client, str(facts.hypivisor.get("url") or "without Pi-DE"))


def _greeted(facts: Facts, client: Client, where: str) -> Check:
    facts.mesh = client.call("mesh.get")
    assert facts.mesh is not None
    me = facts.mesh.get("me") or {}
    return _check(OK, f"{one_line(facts.mesh.get('mesh'))} at {where}; you are {one_line(me.get('role'))}")


def _node(facts: Facts) -> Check:
    if facts.node is None:
        stopped = (facts.home.node / "stopped").exists()
        return _check(
            WARN,
            "stopped, and stays so" if stopped else "not running",
            "`hyperpi node run` or `hyperpi up` starts it",
        )
    found = connect_local("node", facts.home.node)
    if found is None:
        return _check(
            FAIL, f"pid {facts.node['pid']}: nobody listens", "`hyperpi node stop`, then `node run`"
        )
    with found as client:
        mesh = client.call("mesh.get")
    facts.mesh = facts.mesh or mesh
    own = facts.own_node
    version = str(own.get("version")) if own else __version__
    if version != __version__:
        found_version = f"it runs version {one_line(version)}, installed is {__version__}"
        return _check(WARN, found_version, "`hyperpi node stop`, then `hyperpi node run`; agents stay")
    return _check(
        OK, f"{one_line(facts.node.get('name'))}, pid {facts.node['pid']}, boot {facts.node.get('boot')}"
    )


def _link(facts: Facts) -> Check:
    from node import identity

    member = identity.load(facts.home.node / "identity")
    if member is None:
        return _check(
            WARN, "this machine is in no mesh", "`hyperpi up` here, or `hyperpi node join` to one elsewhere"
        )
    key = facts.home.node / "identity" / "key.pem"
    if key.stat().st_mode & 0o077:
        return _check(FAIL, f"{key} can be read by others", f"chmod 600 {key}, and ask who could read it")
    left_s = member.expires_at - time.time()
    if left_s < 0 and not (facts.node or {}).get("refused"):
        fix = "it renews itself once its node runs and reaches the enrol port; else `hyperpi node join` again"
        return _check(FAIL, f"the certificate ended {duration(-left_s)} ago", fix)
    where = f"{one_line(member.mesh_name)} at {', '.join(member.hypivisors) or 'an unknown address'}"
    if facts.node is None:
        return _check(WARN, f"in the mesh {where}; the node does not run", "`hyperpi node run`")
    if facts.node.get("refused"):
        return _check(
            FAIL,
            f"{where} refuses it: {one_line(facts.node['refused'], 200)}",
            one_line(facts.node.get("refused_hint") or "`hyperpi node join` again", 200),
        )
    if not facts.node.get("linked") and facts.node.get("trouble"):
        return _check(
            FAIL,
            f"not linked to {where}: {one_line(facts.node['trouble'], 250)}",
            one_line(facts.node.get("trouble_hint") or "", 200),
        )
    if not facts.node.get("linked"):
        return _check(
            FAIL, f"not linked to {where}", "is the hypivisor running, and its gRPC port reachable from here?"
        )
    return _check(OK, f"linked to {where}; its certificate is good for {duration(left_s)}")


def _ports(facts: Facts) -> Check:
    wanted = {"Pi-DE": PIDE_PORT, "gRPC": GRPC_PORT, "enrol": ENROL_PORT}
    if facts.hypivisor is None:
        taken = [f"{port} ({name})" for name, port in wanted.items() if _listens(port)]
        if taken:
            fix = "end what holds them, or choose others: `hyperpi up --port 0 --grpc-port 0 --enrol-port 0`"
            return _check(WARN, f"in use by something else: {', '.join(taken)}", fix)
        return _check(OK, f"{', '.join(map(str, wanted.values()))} are free")
    keys = {"Pi-DE": "port", "gRPC": "grpc_port", "enrol": "enrol_port"}
    ports = {name: facts.hypivisor.get(key) for name, key in keys.items()}
    silent = [
        f"{port} ({name})" for name, port in ports.items() if isinstance(port, int) and not _listens(port)
    ]
    said = ", ".join(f"{name} {port}" for name, port in ports.items() if port)
    if silent:
        return _check(FAIL, f"nobody answers on {', '.join(silent)}", "does a local firewall block loopback?")
    return _check(OK, said)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_S).close()
    except OSError:
        return False
    return True


# --- pi -------------------------------------------------------------------------------------------------


def _pi(_facts: Facts) -> Check:
    path = shutil.which("pi")
    if path is None:
        return _check(
            WARN,
            "no pi on PATH",
            "npm install -g @earendil-works/pi-coding-agent, or list its path in node.toml",
        )
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=PI_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _check(FAIL, f"{path} --version says nothing within {PI_S:g} s", "run it by hand and see")
    said = one_line(done.stdout or done.stderr, 120)
    if done.returncode != 0:
        return _check(
            FAIL, f"{path} --version fails: {said}", "does its Node.js fit? pi 1.x needs 22.19 or later"
        )
    return _check(OK, f"{said} ({path})")


def _pi_socket(facts: Facts) -> Check:
    found = pi_install.status(pi_install.agent_dir(owners_environment()))
    if not found.installed:
        return _check(
            WARN, f"not in {found.folder.parent}: a pi that you type is not listed", "`hyperpi pi install`"
        )
    if not found.current:
        return _check(
            WARN, f"{found.folder} holds other files than this hyperpi", "`hyperpi pi install` again"
        )
    if found.home != facts.home.path.absolute():
        return _check(WARN, f"installed for the home {found.home}", "`hyperpi pi install` for this one")
    return _check(OK, f"current, in {found.folder}")


# --- the network ----------------------------------------------------------------------------------------


def _mdns(facts: Facts) -> Check:
    import asyncio

    from hyperpi import discovery
    from hyperpi.candidates import HYPIVISOR_TYPE, NODE_TYPE, UNJOINED, Candidate

    if not read_environment(str(facts.home.path)).mdns:
        return _check(OK, "turned off in config.toml: machines are found by address alone")

    async def heard(kind: str) -> list[Candidate]:
        return [candidate async for candidate in discovery.browse(kind, HEAR_S)]

    async def listen() -> tuple[list[Candidate], list[Candidate]]:
        return await asyncio.gather(heard(HYPIVISOR_TYPE), heard(NODE_TYPE))

    try:
        hypivisors, nodes = asyncio.run(listen())
    except OSError as exc:
        fix = "give addresses by hand: `hyperpi node join HOST`"
        return _check(WARN, f"not possible on this network: {exc.strerror or exc}", fix)
    alone = [one for one in nodes if one.properties.get("state") == UNJOINED]
    found = f"hypivisors heard: {_named(hypivisors)}"
    return _check(OK, found + (f"; machines in no mesh: {_named(alone)}" if alone else ""))


def _named(candidates: "Iterable[Candidate]") -> str:
    names = sorted({f"{one.name} ({one.addresses[0]})" for one in candidates})
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more if names else "none"


def _clock(facts: Facts) -> Check:
    """What the link told of the two clocks; else a mesh that tells of something in our future has another."""
    fix = "turn on time synchronisation on all of its machines"
    nodes = rows_of(facts.mesh, "nodes") if facts.mesh else []
    off = [
        f"{one_line(row.get('name'))} is {apart(float(row['clock_s']))}"
        for row in nodes
        if row.get("clock_s")
    ]
    if off:
        return _check(WARN, f"clocks differ: {', '.join(off[:MOST_NAMED])} the hypivisor's", fix)
    ahead_s = float((facts.node or {}).get("clock_ahead_s") or 0.0)
    if abs(ahead_s) >= OFF_S:
        return _check(WARN, f"this machine is {apart(ahead_s)} the hypivisor", fix)
    seen = [
        str(row[key])
        for name in ("nodes", "agents")
        for row in (rows_of(facts.mesh, name) if facts.mesh else [])
        for key in ("since", "last_heard", "last_event")
        if row.get(key)
    ]
    if not seen:
        return _check(OK, "nothing to compare with")
    behind_s = max(from_rfc3339(at) for at in seen) - time.time()
    if behind_s > OFF_S:
        return _check(WARN, f"the mesh is {duration(behind_s)} ahead of this machine", fix)
    return _check(OK, "nothing in the mesh is later than now")


CHECKS: dict[str, Callable[[Facts], Check]] = {
    "python": _python,
    "home": _home,
    "sockets": _sockets,
    "hypivisor": _hypivisor,
    "node": _node,
    "link": _link,
    "policy": _policy,
    "disk": _disk,
    "ports": _ports,
    "pi": _pi,
    "pi-socket": _pi_socket,
    "mdns": _mdns,
    "clock": _clock,
}
