"""Machines that ask to join without a token: who waits, with which six digits, and what became of it.

A request goes hello -> commitment -> key -> reveal; from then on it has a code and can be approved. It is
let in once an admin approved the code *and* the person at the machine confirmed it, in any order. This
module decides; it does no I/O and reads no clock but the one it is given.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from hyperpi import join_token, secret_text
from hyperpi.errors import BadRequest, Conflict, Expired, NotFound, Overloaded

KNOCK_TTL_S = 300.0
MAX_PENDING = 16
NONCE_BYTES = 32


class JoinExpired(Expired):
    """Nobody decided in time."""


class JoinDenied(Conflict):
    """An admin said no, or two requests had the same code, so that nobody could tell which was meant."""


class JoinSuperseded(Conflict):
    """The same machine asked again; the older request is over."""


class JoinFull(Overloaded):
    """As many machines as may wait are waiting. Retry later."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A machine that waits, as an admin sees it."""

    code: str
    name: str
    machine: str  # its address, an IPv6 one as its /64
    since: float  # monotonic seconds
    expires_at: float
    approved_by: str | None
    confirmed: bool


@dataclass(slots=True, eq=False)
class Join:
    """One request. Its edge waits for `wake` and then looks at `over` and `ready`."""

    machine: str
    name: str
    since: float
    expires_at: float
    wake: Callable[[], None] = field(repr=False)
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(NONCE_BYTES), repr=False)
    public_key: bytes | None = None
    code: str | None = None  # set at the reveal; without it the request cannot be approved
    approved_by: str | None = None
    confirmed: bool = False
    over: Exception | None = None

    @property
    def commitment(self) -> bytes:
        """What is shown before the node's key is known."""
        return join_token.join_commitment(self.nonce)

    @property
    def ready(self) -> bool:
        """Whether both an admin and the person at the machine said yes."""
        return self.over is None and self.approved_by is not None and self.confirmed

    def end(self, why: Exception) -> None:
        """Nothing can make this request succeed any more."""
        if self.over is None:
            self.over = why
            self.wake()


class PendingJoins:
    """All requests of one hypivisor. `clock` is monotonic; `changed` is called after each change of `ls`."""

    def __init__(
        self,
        ca_fingerprint: bytes,
        clock: Callable[[], float],
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._ca_fingerprint = ca_fingerprint
        self._clock = clock
        self._joins: list[Join] = []
        self.changed = changed

    def begin(self, machine: str, name: str, wake: Callable[[], None]) -> Join:
        """A machine says hello; an older request of it ends. Raises JoinFull."""
        self.expire()
        for join in [join for join in self._joins if join.machine == machine]:
            join.end(JoinSuperseded("this machine asked again"))
            self._joins.remove(join)
        if len(self._joins) >= MAX_PENDING:
            raise JoinFull(
                f"{MAX_PENDING} machines are waiting already", hint="approve or deny some, or use a token"
            )
        now = self._clock()
        join = Join(machine, name, now, now + KNOCK_TTL_S, wake)
        self._joins.append(join)
        return join

    def reveal(self, join: Join, public_key: bytes, node_nonce: bytes) -> bytes:
        """The node sent its key and nonce: fix the code, and return our nonce. Raises BadRequest, JoinDenied.

        Two waiting requests with the same code are both refused: an admin could not say which one is meant.
        """
        if join.code is not None or len(node_nonce) != NONCE_BYTES:
            raise BadRequest("a key with a nonce of 32 bytes comes once, after the commitment")
        code = join_token.join_code(self._ca_fingerprint, public_key, node_nonce, join.nonce)
        twins = [other for other in self._joins if other.code == code]
        if twins:
            why = JoinDenied("two machines got the same digits", hint="ask again")
            for other in (join, *twins):
                other.end(why)
                self.remove(other)
            raise why
        join.public_key, join.code = public_key, code
        self.knock(join)
        self.changed()
        return join.nonce

    def knock(self, join: Join) -> None:
        """The machine is still there."""
        join.expires_at = self._clock() + KNOCK_TTL_S

    def left_s(self, join: Join) -> float:
        """Seconds until a request expires when nobody knocks."""
        return max(0.0, join.expires_at - self._clock())

    def confirm(self, join: Join) -> None:
        """The person at the machine says that both sides show the same digits. Raises BadRequest."""
        if join.code is None:
            raise BadRequest("there is no code to confirm yet")
        join.confirmed = True
        join.wake()
        self.changed()

    def approve(self, code: str, who: str) -> Pending:
        """An admin lets the machine with this code in. Raises NotFound."""
        join = self._with_code(code)
        join.approved_by = who
        join.wake()
        self.changed()
        return _seen(join)

    def deny(self, code: str) -> Pending:
        """An admin turns the machine with this code away. Raises NotFound."""
        join = self._with_code(code)
        join.end(JoinDenied("an admin turned this machine away"))
        self.remove(join)
        return _seen(join)

    def ls(self) -> list[Pending]:
        """The machines that show a code and wait, oldest first."""
        self.expire()
        return [_seen(join) for join in self._joins if join.code is not None]

    def expire(self) -> None:
        """End the requests whose last knock is too long ago."""
        now = self._clock()
        for join in [join for join in self._joins if join.expires_at <= now]:
            join.end(JoinExpired("nobody approved in time", hint="ask again"))
            self.remove(join)

    def remove(self, join: Join) -> None:
        """Forget a request, whatever became of it."""
        if join in self._joins:
            self._joins.remove(join)
            self.changed()

    def _with_code(self, code: str) -> Join:
        self.expire()
        digits = "".join(char for char in code if char not in " -")
        for join in self._joins:
            if join.code is not None and secret_text.same(join.code, digits):
                return join
        raise NotFound("no machine waits with this code", hint="compare the digits on both screens")


def _seen(join: Join) -> Pending:
    return Pending(
        code=join.code or "",
        name=join.name,
        machine=join.machine,
        since=join.since,
        expires_at=join.expires_at,
        approved_by=join.approved_by,
        confirmed=join.confirmed,
    )
