"""Tokens: the right of a machine to join once, and of a person or program to come in with a role.

A token is `<prefix>-<id>.<secret>`. Only a hash of the secret is stored; the id finds the row, and the
comparison takes the same time for a wrong secret and for no row. All methods block on the store and belong
to its thread.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from hyperpi import join_token, secret_text
from hyperpi.address import clean_name
from hyperpi.clock import rfc3339
from hyperpi.errors import BadRequest, Conflict, Expired, Unauthenticated
from hyperpi.roles import OPERATOR, ROLES
from hypivisor.attempts import AttemptLimiter
from hypivisor.rows import TokenRow
from hypivisor.store import Store

NODE = "node"
PRE_SHARED = "pre-shared"  # in place of an id: HYPI_TOKEN
TOKEN_TTL_S = 900.0
MAX_TTL_S = 366 * 86400.0
MAX_USES = 10_000
REMEMBERED_S = 30 * 86400.0  # ended tokens stay listed that long, so that "used" is not said as "unknown"
TOUCH_S = 60.0  # how exact "last used" is; each step costs a write that reaches the disk
MAX_CREDENTIAL_CHARS = 512  # longer texts are not hashed

_PERSONAL = re.compile(r"hp1u-([a-z2-7]{8})\.([a-z2-7]{32})")
_NO_HASH = bytes(32)


class TokenUnknown(Unauthenticated):
    """No such token, or a wrong secret: the same to whoever asks."""

    def __init__(self) -> None:
        super().__init__("the token is not known here", hint="copy it again, whole, or make a new one")


class TokenUsed(Conflict):
    """The token's uses are gone. Not retryable."""


class TokenExpired(Expired):
    """The token's time is over, or it was revoked. Not retryable."""


class TokenOtherName(Conflict):
    """The join token is for a node of another name."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token at the only moment when its secret is known."""

    id: str
    token: str = field(repr=False)
    role: str
    expires_at: float

    def as_contract(self) -> dict[str, object]:
        """`{id, token, role, expires}` of token.create."""
        return {"id": self.id, "token": self.token, "role": self.role, "expires": rfc3339(self.expires_at)}


@dataclass(frozen=True, slots=True)
class Credential:
    """Whom a credential is for, once it was checked. `token_id` None: the pre-shared HYPI_TOKEN."""

    name: str
    role: str
    token_id: str | None


class Tokens:
    """Makes, lists, revokes and checks tokens."""

    def __init__(
        self,
        store: Store,
        ca_fingerprint: bytes,
        clock: Callable[[], float],
        limiter: AttemptLimiter,
        *,
        pre_shared: str | None = None,
    ) -> None:
        self._store = store
        self._ca_fingerprint = ca_fingerprint
        self._clock = clock
        self._limiter = limiter
        self._pre_shared = secret_hash(pre_shared) if pre_shared else None

    def create(
        self,
        role: str = OPERATOR,
        *,
        ttl_s: float = TOKEN_TTL_S,
        uses: int | None = None,
        name: str | None = None,
    ) -> NewToken:
        """Make a token. `uses` 0: any number until it expires; None: one for a node, else any number.

        `name` binds a join token to that node name; otherwise it says whose token it is. Raises BadRequest.
        """
        if role not in (NODE, *ROLES):
            raise BadRequest(f"no role {role!r}", hint=f"one of {', '.join((NODE, *ROLES))}")
        if not 0 < ttl_s <= MAX_TTL_S:
            raise BadRequest("a token lives more than 0 s and at most 366 days")
        if uses is not None and not 0 <= uses <= MAX_USES:
            raise BadRequest(f"uses go from 0 (until it expires) to {MAX_USES}")
        now = self._clock()
        self._store.forget_tokens(now - REMEMBERED_S)
        wanted = (1 if role == NODE else 0) if uses is None else uses
        token_id = secret_text.base32(secrets.token_bytes(5))
        secret = secret_text.base32(secrets.token_bytes(secret_text.TOKEN_SECRET_BYTES))
        row = TokenRow(
            id=token_id,
            role=role,
            name=clean_name(name, "node") if name else None,
            secret_hash=secret_hash(secret),
            created_at=now,
            expires_at=now + ttl_s,
            uses_left=wanted or None,
        )
        self._store.add_token(row)
        if role == NODE:
            text = join_token.format_join_token(join_token.JoinToken(self._ca_fingerprint, token_id, secret))
        else:
            text = f"hp1u-{token_id}.{secret}"
        return NewToken(token_id, text, role, row.expires_at)

    def ls(self) -> list[TokenRow]:
        """Every token that is remembered, ended ones too."""
        return self._store.tokens()

    def revoke(self, token_id: str) -> list[str]:
        """End a token and the browser sessions opened with it; their ids. Raises NotFound."""
        return self._store.revoke_token(token_id, self._clock())

    def keep(self, token_id: str) -> bool:
        """Whether whoever came with a token may stay: a connection uses it as long as it is open.

        Its uses were counted when they came.
        """
        if token_id == PRE_SHARED:
            return self._pre_shared is not None
        now = self._clock()
        row = self._store.token(token_id)
        if row is None or row.revoked_at is not None or row.expires_at <= now:
            return False
        self._store.touch_token(row, now, address=None, exact_s=TOUCH_S)
        return True

    def authenticate(self, text: str, address: str | None) -> Credential:
        """Who comes with this token; takes one of its uses. Raises Unauthenticated, TooManyAttempts.

        `address` is where the caller comes from; None for the local control socket, which is never limited.
        """
        if address is not None:
            self._limiter.check(address)
        try:
            return self._authenticate(text, address)
        except TokenUnknown:
            if address is not None:
                self._limiter.failed(address)
            raise

    def _authenticate(self, text: str, address: str | None) -> Credential:
        if len(text) > MAX_CREDENTIAL_CHARS:
            raise TokenUnknown()
        if self._pre_shared is not None and secret_text.same(self._pre_shared, secret_hash(text)):
            return Credential("operator", OPERATOR, None)
        match = _PERSONAL.fullmatch(text.strip().lower())
        if match is None:
            raise TokenUnknown()
        now = self._clock()
        try:
            row = self._store.use_token(
                match[1],
                lambda found: check_personal(found, match[2], now),
                now,
                address=address,
                exact_s=TOUCH_S,
            )
        except (TokenUsed, TokenExpired) as exc:
            # The secret was right, so this is no guess; but whoever comes is not let in: 401, not 409 or 410.
            raise Unauthenticated(str(exc), hint=exc.hint) from None
        # Two tokens without a name are two comers: what they do must not read as one's doing.
        return Credential(row.name or f"token:{row.id}", row.role, row.id)


def check_personal(row: TokenRow | None, secret: str, now: float) -> TokenRow:
    """The row, if this secret opens it for a person or program now. Raises TokenUnknown, -Expired, -Used."""
    known = _with_secret(row, secret)
    if known.role not in ROLES:
        raise TokenUnknown()
    return _alive(known, now)


def check_join(
    row: TokenRow | None, secret: str, wished_name: str, public_key: bytes, now: float
) -> TokenRow:
    """The row, if this secret lets a machine with this key join now.

    The key that a token let in may come again with it until it expires: its first answer was lost. Raises
    TokenUnknown, TokenUsed, TokenExpired, TokenOtherName.
    """
    known = _with_secret(row, secret)
    if known.role != NODE:
        raise TokenUnknown()
    again = known.used_by_key == public_key
    _alive(known, now, used_is_fine=again)
    if known.name and wished_name and wished_name != known.name:
        raise TokenOtherName(
            f"the token is for a node named {known.name}", hint=f"join with --name {known.name}, or without"
        )
    return known


def secret_hash(secret: str) -> bytes:
    """What is stored of a secret: SHA-256, enough for 128 random bits and more."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _with_secret(row: TokenRow | None, secret: str) -> TokenRow:
    stored = row.secret_hash if row else _NO_HASH
    if not secret_text.same(stored, secret_hash(secret)) or row is None:
        raise TokenUnknown()
    return row


def _alive(row: TokenRow, now: float, *, used_is_fine: bool = False) -> TokenRow:
    if row.revoked_at is not None:
        raise TokenExpired("the token was revoked", hint="make a new one with `hyperpi token create`")
    if row.expires_at <= now:
        raise TokenExpired("the token has expired", hint="make a new one with `hyperpi token create`")
    if row.uses_left == 0 and not used_is_fine:
        raise TokenUsed("the token has been used", hint="make a new one with `hyperpi token create`")
    return row
