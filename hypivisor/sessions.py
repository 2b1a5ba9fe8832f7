"""How a browser gets in and stays in: one-use login codes, and sessions that live on the server.

The browser holds nothing but a random value in a cookie; who it is and for how long stands here. All methods
block on the store and belong to its thread.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from hyperpi import secret_text
from hyperpi.address import clean_name
from hyperpi.errors import BadRequest, NotFound, Unauthenticated
from hyperpi.roles import ADMIN, ROLES
from hypivisor.attempts import AttemptLimiter
from hypivisor.rows import CodeRow, SessionRow
from hypivisor.store import Store
from hypivisor.tokens import MAX_CREDENTIAL_CHARS, Tokens, secret_hash

CODE_TTL_S = 300.0
IDLE_S = 12 * 3600.0
MAX_S = 7 * 86400.0
TOUCH_S = 60.0  # how exact "last used" is; each step costs a write that reaches the disk
MAX_SESSIONS = 1000  # the oldest unused one goes; a person has a handful


class NoSession(Unauthenticated):
    """No such session, or its time is over: log in again."""


@dataclass(frozen=True, slots=True)
class LoginCode:
    """A one-use code for a login link, at the only moment when it is known."""

    code: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session at the only moment when the value of its cookie is known."""

    cookie: str = field(repr=False)
    session: SessionRow


class Sessions:
    """Opens, checks, lists and ends browser sessions."""

    def __init__(
        self, store: Store, tokens: Tokens, clock: Callable[[], float], limiter: AttemptLimiter
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._limiter = limiter

    def create_code(
        self, role: str = ADMIN, *, name: str | None = None, ttl_s: float = CODE_TTL_S
    ) -> LoginCode:
        """A one-use code that opens a session with this role. Raises BadRequest."""
        if role not in ROLES:
            raise BadRequest(f"no role {role!r}", hint=f"one of {', '.join(ROLES)}")
        if not 0 < ttl_s <= 3600:
            raise BadRequest("a login code lives more than 0 s and at most an hour")
        now = self._clock()
        self._store.remove_codes(now)
        code = secret_text.base32(secrets.token_bytes(secret_text.TOKEN_SECRET_BYTES))
        whose = clean_name(name, role) if name else role
        self._store.add_code(CodeRow(secret_hash(code), whose, role, now + ttl_s))
        return LoginCode(code, now + ttl_s)

    def login_with_code(self, code: str, *, address: str, origin: str) -> NewSession:
        """Exchange a login code for a session. Raises Unauthenticated, TooManyAttempts."""
        self._limiter.check(address)
        found = None
        if len(code) <= MAX_CREDENTIAL_CHARS:
            found = self._store.take_code(secret_hash(code.strip().lower()))
        if found is None:
            self._limiter.failed(address)
            raise Unauthenticated(
                "the login code is unknown or was used", hint="get a new link with `hyperpi login`"
            )
        if found.expires_at <= self._clock():
            raise Unauthenticated("the login link has expired", hint="get a new one with `hyperpi login`")
        return self._open(found.name, found.role, address, origin, None)

    def login_with_token(self, token: str, *, address: str, origin: str) -> NewSession:
        """Exchange a token (one of its uses) for a session. Raises Unauthenticated, TooManyAttempts."""
        credential = self._tokens.authenticate(token, address)
        return self._open(credential.name, credential.role, address, origin, credential.token_id)

    def check(self, cookie: str, origin: str | None) -> SessionRow:
        """The session of a cookie, which counts as used now. Raises NoSession.

        `origin` is the request's Origin header, None where browsers send none. A session belongs to the
        origin it was opened from: cookies ignore ports, so another server on this host would get it too.
        """
        row = None
        if len(cookie) <= MAX_CREDENTIAL_CHARS:
            row = self._store.session(secret_hash(cookie))
        if row is None or (origin is not None and origin != row.origin):
            raise NoSession("you are not logged in", hint="get a login link with `hyperpi login`")
        if not self._alive(row):
            self._store.remove_session(row.id)
            raise NoSession("the session has ended", hint="get a login link with `hyperpi login`")
        self._touch(row)
        return row

    def keep(self, session_id: str) -> bool:
        """Whether a session still holds; an open connection counts as using it."""
        row = next((row for row in self._store.sessions() if row.id == session_id), None)
        if row is None or not self._alive(row):
            return False
        self._touch(row)
        return True

    def ls(self) -> list[SessionRow]:
        """The sessions that hold now, oldest first."""
        return [row for row in self._store.sessions() if self._alive(row)]

    def revoke(self, session_id: str) -> None:
        """End a session. Raises NotFound."""
        if not self._store.remove_session(session_id):
            raise NotFound("no such session", hint="`hyperpi sessions ls` lists them")

    def logout(self, cookie: str) -> SessionRow | None:
        """End the session of a cookie; what it was, or None when there was none."""
        row = self._store.session(secret_hash(cookie[:MAX_CREDENTIAL_CHARS]))
        if row is not None:
            self._store.remove_session(row.id)
        return row

    def sweep(self) -> list[str]:
        """Remove the sessions whose time is over; their ids."""
        now = self._clock()
        return self._store.remove_sessions(used_before=now - IDLE_S, created_before=now - MAX_S)

    def _open(self, name: str, role: str, address: str, origin: str, token_id: str | None) -> NewSession:
        now = self._clock()
        self.sweep()
        for row in sorted(self._store.sessions(), key=lambda row: row.used_at)[: -MAX_SESSIONS + 1]:
            self._store.remove_session(row.id)
        cookie = secrets.token_urlsafe(32)
        session = SessionRow(
            id=secret_text.base32(secrets.token_bytes(5)),
            secret_hash=secret_hash(cookie),
            name=name,
            role=role,
            origin=origin,
            address=address,
            created_at=now,
            used_at=now,
            token_id=token_id,
        )
        self._store.add_session(session)
        return NewSession(cookie, session)

    def _alive(self, row: SessionRow) -> bool:
        return self._clock() < ends_at(row)

    def _touch(self, row: SessionRow) -> None:
        now = self._clock()
        if now - row.used_at >= TOUCH_S:
            self._store.touch_session(row.id, now)


def ends_at(row: SessionRow) -> float:
    """When a session ends if it is not used again, Unix seconds."""
    return min(row.used_at + IDLE_S, row.created_at + MAX_S)
