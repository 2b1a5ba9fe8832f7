"""The methods of the contract that are about trust: tokens, login links, browser sessions, the audit trail.

Who may call them is checked before, by `methods`, which also writes down what is asked; here it is done, and
written down as done.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from hyperpi import contract
from hyperpi.address import NodeId
from hyperpi.audit import AuditRow, Verdict, Wanted
from hyperpi.clock import from_rfc3339, rfc3339
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, NotForThisRole, NothingThere
from hyperpi.roles import ADMIN, Caller
from hypivisor.registry import Registry
from hypivisor.rows import NodeRow, SessionRow, TokenRow
from hypivisor.sessions import ends_at
from hypivisor.tokens import NODE
from hypivisor.trust import Gate

MAX_ROWS = 500  # of one answer of audit.list
VERIFIED_AT_ONCE = 5_000  # rows; others use the file in between

Handler = Callable[[Json, Caller], Awaitable[Any]]


class TrustMethods:
    """Answers what admins ask about people, programs and machines that are let in."""

    def __init__(self, gate: Gate, registry: Registry, join_address: Callable[[], Json]) -> None:
        self._trust = gate.trust
        self._thread = gate.thread
        self._store, self._tokens = gate.store, gate.tokens
        self._sessions, self._audit = gate.sessions, gate.audit
        self._registry = registry
        self._join_address = join_address

    def handlers(self) -> dict[str, Handler]:
        """By their names."""
        return {
            "token.create": self._token_create,
            "token.ls": self._token_ls,
            "token.revoke": self._token_revoke,
            "login.create": self._login_create,
            "session.ls": self._session_ls,
            "session.revoke": self._session_revoke,
            "audit.list": self._audit_list,
            "audit.verify": self._audit_verify,
        }

    # --- tokens ----------------------------------------------------------------------------------------

    async def _token_create(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.TokenCreate, params)
        made = await self._thread.call(
            self._tokens.create, wanted.role, ttl_s=wanted.ttl_s, uses=wanted.uses, name=wanted.name
        )
        await self._trust.record_done(caller, "token.create", {"id": made.id, "role": made.role})
        answer = made.as_contract()
        shown = made.token
        if made.role == NODE:
            where = (self._join_address()["addresses"] or ["HOST"])[0]
            shown = answer["command"] = f"hyperpi node join {where} --token {made.token}"
        return {**answer, "qr": _qr(shown)} if wanted.qr else answer

    async def _token_ls(self, _params: Json, _caller: Caller) -> Json:
        rows = await self._thread.call(self._tokens.ls)
        nodes = await self._thread.call(self._store.nodes)
        return {"tokens": _tokens_told(rows, nodes)}

    async def _token_revoke(self, params: Json, caller: Caller) -> Json:
        token = contract.params_of(contract.IdParams, params).id
        for session in await self._thread.call(self._tokens.revoke, token):
            self._trust.ended(session)
        self._trust.ended(token)
        await self._trust.record_done(caller, "token.revoke", {"id": token})
        return {}

    # --- browsers --------------------------------------------------------------------------------------

    async def _login_create(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.LoginCreate, params)
        role = wanted.role or ADMIN
        if role == ADMIN and caller.role != ADMIN:
            raise NotForThisRole("only an admin makes a login link for an admin")
        if not self._trust.has_front_end:
            raise NothingThere("no Pi-DE runs for this mesh", hint="start one: `hyperpi pide run`")
        # Without a name, a link with the caller's own rights is for the caller.
        whose = wanted.name or (caller.name if role == caller.role else None)
        code = await self._thread.call(self._sessions.create_code, role, name=whose)
        await self._trust.record_done(caller, "login.create", {"role": role, "name": whose or role})
        url = self._trust.login_url(code)
        answer = {"url": url, "expires": rfc3339(code.expires_at)}
        return {**answer, "qr": _qr(url)} if wanted.qr else answer

    async def _session_ls(self, _params: Json, _caller: Caller) -> Json:
        rows = await self._thread.call(self._sessions.ls)
        return {"sessions": [_session_told(row) for row in rows]}

    async def _session_revoke(self, params: Json, caller: Caller) -> Json:
        session = contract.params_of(contract.IdParams, params).id
        await self._thread.call(self._sessions.revoke, session)
        self._trust.ended(session)
        await self._trust.record_done(caller, "session.revoke", {"id": session})
        return {}

    # --- the audit trail -------------------------------------------------------------------------------

    async def _audit_list(self, params: Json, _caller: Caller) -> Json:
        asked = contract.params_of(contract.AuditList, params)
        wanted = Wanted(
            who=asked.who or "",
            what=asked.what or "",
            result=asked.result or "",
            about=self._words_for(asked.about.strip()) if asked.about else (),
            since=_time(asked.since, "since"),
            until=_time(asked.until, "until"),
        )
        limit = max(1, min(asked.limit, MAX_ROWS))
        page = await self._thread.call(self._audit.search, wanted, limit, before=asked.before)
        return {"rows": [_row_told(row) for row in page.rows], "next": page.next}

    def _words_for(self, text: str) -> tuple[str, ...]:
        """The word, and the other names under which what it names stands in the trail: rows have ids."""
        if not text:
            return ()
        words = {text}
        for node in self._registry.nodes.values():
            if text in (node.id, node.name):
                words |= {node.id, node.name}
            for agent, fields in node.agents.items():
                address = f"{fields['name']}@{node.name}"
                if text in (agent, fields["name"], address):
                    words |= {agent, address}
        return tuple(words)

    async def _audit_verify(self, _params: Json, _caller: Caller) -> Any:
        verdict, done = Verdict.start(), False
        while not done:
            verdict, done = await self._thread.call(self._audit.verify_some, verdict, VERIFIED_AT_ONCE)
        return verdict


def certificate_of(row: NodeRow) -> contract.Certificate | None:
    """What is known of a node's certificate."""
    if row.certificate_expires_at is None:
        return None
    return contract.Certificate(
        issued=_at(row.certificate_issued_at),
        renews=_at(row.certificate_renews_at),
        expires=rfc3339(row.certificate_expires_at),
    )


def certify_into(registry: Registry, row: NodeRow) -> None:
    """Show a node's certificate with the node."""
    if row.revoked_at is None and (certificate := certificate_of(row)) is not None:
        registry.certified(NodeId(row.id), certificate)


def _tokens_told(rows: Iterable[TokenRow], nodes: Iterable[NodeRow]) -> list[contract.Token]:
    names = {node.public_key: node.name for node in nodes}
    return [
        contract.Token(
            id=row.id,
            role=row.role,  # type: ignore[arg-type]  # only roles of the contract are ever stored
            name=row.name,
            created=rfc3339(row.created_at),
            expires=rfc3339(row.expires_at),
            uses_left=row.uses_left,
            last_used=_at(row.used_at),
            last_from=row.used_from,
            joined=names.get(row.used_by_key) if row.used_by_key else None,
            revoked=row.revoked_at is not None,
        )
        for row in rows
    ]


def _session_told(row: SessionRow) -> contract.LoginSession:
    return contract.LoginSession(
        id=row.id,
        name=row.name,
        role=row.role,  # type: ignore[arg-type]  # as above
        origin=row.origin,
        address=row.address,
        created=rfc3339(row.created_at),
        last_used=rfc3339(row.used_at),
        expires=rfc3339(ends_at(row)),
        token=row.token_id,
    )


def _row_told(row: AuditRow) -> contract.AuditRow:
    return contract.AuditRow(
        seq=row.seq,
        at=rfc3339(row.at),
        who=row.who,
        origin=row.origin,
        what=row.what,
        result=row.result,
        details=dict(row.details),
    )


def _at(unix_s: float | None) -> str | None:
    return None if unix_s is None else rfc3339(unix_s)


def _time(text: str | None, name: str) -> float | None:
    if not text:
        return None
    try:
        return from_rfc3339(text)
    except ValueError:
        raise BadRequest(f"{name} is not a time: {text[:40]!r}", hint="write 2026-01-31T12:00:00Z") from None


def _qr(text: str) -> list[str]:
    """Rows of 0 and 1, without a margin."""
    import segno  # where it is needed: most hypivisors never draw one

    matrix = segno.make(text, error="l", micro=False).matrix
    return ["".join("1" if module else "0" for module in row) for row in matrix]
