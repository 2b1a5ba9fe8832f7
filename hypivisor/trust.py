"""Who is let in: tokens, login links, browser sessions, nodes and the audit trail, for the event loop.

Puts the blocking parts (store, tokens, sessions, audit) behind their one thread, and remembers nodes and
their rosters across restarts.
"""

import asyncio
import getpass
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from hyperpi import secret_text, strict_json, tls
from hyperpi.address import NodeId
from hyperpi.audit import Audit, AuditUnwritable
from hyperpi.clock import apart
from hyperpi.contract import Json
from hyperpi.database import DiskThread
from hyperpi.errors import BadRequest, Conflict, HyperPiError, Overloaded, Unusable
from hyperpi.roles import ADMIN, Caller
from hypivisor.attempts import AttemptLimiter
from hypivisor.ca import NODE_LIFE, MeshCa
from hypivisor.enroll_service import Enroller
from hypivisor.refusals import RefusalTrail
from hypivisor.registry import Registry
from hypivisor.rows import Mesh
from hypivisor.sessions import LoginCode, NewSession, Sessions
from hypivisor.store import Store
from hypivisor.tokens import NODE, PRE_SHARED, Credential, Tokens

log = logging.getLogger(__name__)

MOST_SETTLED = 1_000  # approvals that wait to be written down; while the disk is full the oldest go
MOST_TURNED_AWAY = 256  # nodes that wait to be written down; they call again
SWEEP_S = 10.0  # how exact the end of a window of refusals is
TELL_S = 0.5  # what changes together is told once
SAVE_S = 2.0  # a roster is remembered this long after its last change, at most

Handler = Callable[[Json, Caller], Awaitable[Any]]


class ClockOff(Unusable):
    """Two machines disagree about the time. `node.clock` in the trail; everything goes on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="turn on time synchronisation on both machines")


class Trust:
    """The gate of one mesh."""

    # For front ends alone: they prove their viewers with these. Not part of the contract.
    INTERNAL: ClassVar[frozenset[str]] = frozenset(
        {"auth.login", "auth.session", "auth.bearer", "auth.keep", "auth.logout"}
    )

    def __init__(
        self,
        store: Store,
        tokens: Tokens,
        sessions: Sessions,
        audit: Audit,
        refusals: RefusalTrail,
        thread: DiskThread,
        mesh_tag: str,
    ) -> None:
        self.mesh_tag = mesh_tag  # names cookies: cookies ignore ports, so meshes on one host must differ
        self._front_ends: list[str] = []  # where browsers find them, newest last
        self._store = store
        self._tokens = tokens
        self._sessions = sessions
        self._audit = audit
        self._refusals = refusals
        self._thread = thread
        self._turned_away: dict[str, HyperPiError] = {}  # nodes whose call was refused, not yet written down
        self._settled: deque[tuple[NodeId, Json]] = deque(maxlen=MOST_SETTLED)
        self._note_soon = asyncio.Event()
        self._unsaved: set[NodeId] = set()
        self._save_soon = asyncio.Event()
        self.ended: Callable[[str], None] = lambda session: None
        self.changed: Callable[[], None] = lambda: None  # what an admin is shown may be out of date
        self._changed_soon = asyncio.Event()

    # --- nodes -----------------------------------------------------------------------------------------

    def is_revoked(self, node: str) -> bool:
        """Whether a node's certificate is not honoured (any more). Does not block."""
        return self._store.is_revoked(node)

    async def node_seen(self, node: NodeId, boot: int) -> str:
        """See link_service.NodeMemory."""
        newest = await self._thread.call(self._store.node_seen, node, boot, time.time())
        if newest > boot:
            stale = Conflict(
                f"a later start of this node is known (boot {newest}, this one is {boot})",
                hint="another machine runs a copy of this node's state: on the copy, `hyperpi node stop`, "
                "remove HYPERPI_HOME/node/identity, `hyperpi node join`",
            )
            details = {"boot": boot, "newest": newest}
            await self._thread.call(self._refusals.note, node, f"link {node}", "node.link", stale, details)
            raise stale
        row = await self._thread.call(self._store.node, node)
        assert row is not None
        return row.name

    async def clock_off(self, node: NodeId, name: str, ahead_s: float) -> None:
        """See link_service.NodeMemory. Nothing is refused for it, but times and deadlines are off."""
        off = ClockOff(f"the clock of {name} is {apart(ahead_s)} this one")
        details = {"name": name, "ahead_s": round(ahead_s)}
        await self._thread.call(
            self._refusals.note, node, f"link {node}", "node.clock", off, details, result="wrong"
        )

    def turned_away(self, node: str, exc: HyperPiError) -> None:
        """A node that is not trusted called. Does not block: it is written down a moment later."""
        if len(self._turned_away) < MOST_TURNED_AWAY:
            self._turned_away[node] = exc
            self._note_soon.set()

    def approval_settled(self, node: NodeId, details: Json) -> None:
        """See link_service.NodeMemory. Does not block: it is written down a moment later."""
        known = ("agent", "approval", "state", "by", "note", "action", "hash")
        self._settled.append((node, {key: str(details[key])[:500] for key in known if details.get(key)}))
        self._note_soon.set()

    async def node_left(self, node: NodeId) -> None:
        """See link_service.NodeMemory."""
        await self._thread.call(self._store.node_left, node, time.time())
        await self.record_node(node, "node.leave", "done", {})

    def roster_changed(self, node: NodeId) -> None:
        """See link_service.NodeMemory."""
        self._unsaved.add(node)
        self._save_soon.set()

    async def revoke_node(self, node: NodeId) -> None:
        """Honour its certificate no more, from this moment on."""
        await self._thread.call(self._store.revoke_node, node, time.time())

    def remember_into(self, registry: Registry) -> None:
        """List every node that joined earlier, as it was when last heard of."""
        rosters = self._store.rosters()
        for row in self._store.nodes():
            if row.revoked_at is None:
                roster = strict_json.decode(rosters.get(row.id, b"{}"), dict[str, Any])
                if row.left_at is not None:
                    roster["state"] = "left"
                roster.setdefault("last_heard", row.last_seen)
                registry.remember(NodeId(row.id), row.name, roster, time.time())

    async def run(self, registry: Registry) -> None:
        """Save rosters as they change, end sessions whose time is over, tell of changes; until cancelled."""
        loop = asyncio.get_running_loop()

        def appended() -> None:
            loop.call_soon_threadsafe(self._changed_soon.set)

        self._audit.appended = appended
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._remember(registry), name="remember-rosters")
                tasks.create_task(self._tell(), name="tell-of-trust")
                tasks.create_task(self._note_refusals(), name="note-refusals")
        finally:
            self._audit.appended = lambda: None

    async def _tell(self) -> None:
        """Everything that changes trust is in the trail: its rows are what there is to tell of."""
        while True:
            await self._changed_soon.wait()
            await asyncio.sleep(TELL_S)
            self._changed_soon.clear()
            self.changed()

    async def _note_refusals(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._note_soon.wait()
            self._note_soon.clear()
            while self._turned_away:
                node, exc = self._turned_away.popitem()
                await self._thread.call(self._note_turned_away, node, exc)
            while self._settled:
                settled_at, details = self._settled.popleft()
                with suppress(AuditUnwritable):  # the gap in the trail tells of it
                    await self.record_node(settled_at, "approval.settled", "done", details)
            await self._thread.call(self._refusals.sweep)

    def _note_turned_away(self, node: str, exc: HyperPiError) -> None:
        row = self._store.node(node)
        details = {"name": row.name} if row is not None else {}
        self._refusals.note(node, f"link {node}", "node.link", exc, details)

    async def _remember(self, registry: Registry) -> None:
        failed = False
        try:
            while True:
                await self._save_soon.wait()
                self._save_soon.clear()
                await asyncio.sleep(SAVE_S)
                try:
                    await self._save(registry)
                    for session in await self._thread.call(self._sessions.sweep):
                        self.ended(session)
                except Overloaded as exc:  # a full disk: what is not written is kept, and tried again
                    if not failed:  # once, not every two seconds
                        log.warning("rosters are not written, it is tried on reason=%s", exc)
                    failed = True
                    self._save_soon.set()
                else:
                    failed = False
        finally:
            try:
                await self._save(registry)
            except Overloaded as exc:  # they are the nodes' to report again
                log.warning("rosters were not written reason=%s", exc)

    async def _save(self, registry: Registry) -> None:
        while self._unsaved:
            node = next(iter(self._unsaved))
            record = registry.nodes.get(node)
            if record is not None:
                roster = strict_json.encode(registry.remembered(node))
                await self._thread.call(self._store.save_roster, node, record.boot, roster, time.time())
            self._unsaved.discard(node)

    # --- for the owner, from the command that runs us ---------------------------------------------------

    async def join_token(self) -> str:
        """A join token for the node beside this hypivisor."""
        made = await self._thread.call(self._tokens.create, NODE, ttl_s=60.0)
        return made.token

    @property
    def has_front_end(self) -> bool:
        """Whether a login link would lead anywhere."""
        return bool(self._front_ends)

    def login_url(self, code: LoginCode) -> str:
        """The link that a browser opens; the code stands where no server sees it."""
        return f"{self._front_ends[-1]}/#login={code.code}"

    async def owner_login(self) -> str:
        """A login link for the owner, who is an admin."""
        code = await self._thread.call(self._sessions.create_code, ADMIN, name=getpass.getuser())
        return self.login_url(code)

    # --- the audit trail -------------------------------------------------------------------------------

    async def record(self, caller: Caller, what: str, result: str, details: Json) -> None:
        """An act of a person or program. Raises AuditUnwritable: then the act is refused."""
        await self._thread.call(self._audit.append, caller.name, caller.source, what, result, details)

    async def record_done(self, caller: Caller, what: str, details: Json) -> None:
        """What came of an act that was recorded before it was begun.

        It has happened, so whoever asked for it is told so although this row is missing.
        """
        try:
            await self.record(caller, what, "done", details)
        except AuditUnwritable:
            log.error("an act was done that the audit trail does not show as done what=%s", what)

    async def record_refused(self, caller: Caller, what: str, details: Json) -> None:
        """That an act did not happen, and why: its caller hears that, written down or not."""
        try:
            await self.record(caller, what, "refused", details)
        except AuditUnwritable:
            log.error("an act was refused that the audit trail shows as asked what=%s", what)

    async def record_node(self, node: NodeId, what: str, result: str, details: Json) -> None:
        """An act of a machine."""
        await self._thread.call(self._audit.append, node, "link", what, result, details)

    # --- front ends ------------------------------------------------------------------------------------

    @contextmanager
    def front_end(self, url: str) -> Iterator[None]:
        """While a front end is there, login links lead to it, unless a newer one has come."""
        self._front_ends.append(url)
        try:
            yield
        finally:
            self._front_ends.remove(url)

    async def internal(self, method: str, params: Json) -> Json:
        """Check a viewer's credential for a front end. Raises Unauthenticated, TooManyAttempts."""
        match method:
            case "auth.login":
                return await self._login(params)
            case "auth.session":
                row = await self._thread.call(self._sessions.check, params["cookie"], params.get("origin"))
                return {"name": row.name, "role": row.role, "credential": row.id}
            case "auth.bearer":
                found = await self._bearer(params["token"], params.get("address"))
                return {"name": found.name, "role": found.role, "credential": found.token_id or PRE_SHARED}
            case "auth.keep":
                holds = self._sessions.keep if params["session"] else self._tokens.keep
                return {"holds": await self._thread.call(holds, params["credential"])}
            case "auth.logout":
                ended = await self._thread.call(self._sessions.logout, params["cookie"])
                if ended is not None:
                    self.ended(ended.id)
                    person = Caller(ended.name, ended.role, f"pide {params.get('address', '')}".strip())
                    await self.record_done(person, "logout", {"session": ended.id})
                return {}
            case _:
                raise BadRequest(f"there is no method {method}")

    async def _bearer(self, token: str, address: str | None) -> Credential:
        try:
            return await self._thread.call(self._tokens.authenticate, token, address)
        except HyperPiError as exc:
            await self._thread.call(self._refusals.note, "?", address or "control socket", "token.use", exc)
            raise

    async def _login(self, params: Json) -> Json:
        address, origin = params["address"], params["origin"]
        by_code = "code" in params
        login = self._sessions.login_with_code if by_code else self._sessions.login_with_token
        try:
            session: NewSession = await self._thread.call(
                login, params["code" if by_code else "token"], address=address, origin=origin
            )
        except HyperPiError as exc:
            await self._thread.call(self._refusals.note, "?", address, "login", exc)
            raise
        row = session.session
        person = Caller(row.name, row.role, f"pide {address}")
        try:
            await self.record(person, "login", "done", {"session": row.id})
        except AuditUnwritable:  # nobody has the cookie yet, and nobody gets it
            await self._thread.call(self._sessions.revoke, row.id)
            raise
        return {"cookie": session.cookie, "name": row.name, "role": row.role}


@dataclass(frozen=True, slots=True)
class Gate:
    """The trusted state of one hypivisor, opened from its folder."""

    ca: MeshCa
    mesh: Mesh
    enroller: Enroller
    trust: Trust
    thread: DiskThread
    store: Store
    tokens: Tokens
    sessions: Sessions
    audit: Audit


@contextmanager
def open_gate(
    folder: Path, mesh_name: str | None, pre_shared_token: str | None, node_life: timedelta = NODE_LIFE
) -> Iterator[Gate]:
    """Open or make CA, store and audit trail. Raises StoreUnusable, CaUnusable."""
    with ExitStack() as stack:
        store = Store.open(folder / "store.db")
        stack.callback(store.close)
        audit = Audit.open(folder / "audit.db", time.time)
        stack.callback(audit.close)
        refusals = RefusalTrail(audit, time.time, time.monotonic)
        stack.callback(refusals.close)
        thread = DiskThread("store")
        stack.callback(thread.close)  # first of all: what it was asked to do is finished before files close
        wished = mesh_name or f"{getpass.getuser()}-mesh"
        ca = MeshCa.open(folder, wished, time.time(), node_life)
        mesh = store.ensure_mesh(tls.mesh_id_of(ca.certificate_pem), wished)
        if mesh_name and mesh.name != mesh_name:
            store.rename_mesh(mesh_name)
            mesh = Mesh(mesh.id, mesh_name)
        limiter = AttemptLimiter("login", store, time.time)
        fingerprint = tls.fingerprint(ca.certificate_pem)
        tokens = Tokens(store, fingerprint, time.time, limiter, pre_shared=pre_shared_token)
        sessions = Sessions(store, tokens, time.time, limiter)
        trust = Trust(
            store, tokens, sessions, audit, refusals, thread, secret_text.base32(fingerprint)[:8].lower()
        )
        enroller = Enroller(store, ca, audit, refusals, time.time)
        yield Gate(ca, mesh, enroller, trust, thread, store, tokens, sessions, audit)
