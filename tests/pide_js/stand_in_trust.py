"""The stand-in's tokens, browsers and audit trail: those of a real hypivisor, in a temporary folder."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scene import HOSTILE

from hyperpi import roles, strict_json
from hyperpi.mesh_view import MeshView
from hyperpi.roles import Caller
from hypivisor.registry import Registry
from hypivisor.rows import Certified, SessionRow, TokenRow
from hypivisor.tokens import check_join, secret_hash
from hypivisor.trust import Gate, open_gate
from hypivisor.trust_methods import TrustMethods

Json = dict[str, Any]
READING = frozenset({"token.ls", "session.ls", "audit.list", "audit.verify"})
OLD_ROWS = 240
ACTS = (("agent.prompt", "asked"), ("node.spawn", "done"), ("node.renew", "done"), ("login", "refused"))


def told(answer: Any) -> Any:
    """As it travels."""
    return json.loads(strict_json.encode(answer))


class StandInTrust:
    """Answers what the Mesh page asks."""

    def __init__(self, gate: Gate, origin: str) -> None:
        self.gate = gate
        self._origin = origin
        registry = Registry(MeshView("ada", "r-1"))
        methods = TrustMethods(gate, registry, lambda: {"addresses": ["192.168.1.20:31417"]})
        self._handlers = methods.handlers()
        for part in (gate.store, gate.audit):  # nothing here needs to survive the plug
            part._db.execute("PRAGMA synchronous = OFF")
        self._seed()

    def answers(self, method: str) -> bool:
        """Whether a method is one of these."""
        return method in self._handlers

    async def call(self, method: str, params: Json, me: Json, tell: Callable[[], None]) -> Any:
        """Carry it out as an admin's hypivisor does; `tell` when something has changed."""
        caller = Caller(me["name"], me["role"], "pide 127.0.0.1")
        roles.check(caller, method)
        if method in READING:
            return told(await self._handlers[method](params, caller))
        await self.gate.trust.record(caller, method, "asked", {})
        answer = await self._handlers[method](params, caller)
        asyncio.get_running_loop().call_later(0.2, tell)
        return told(answer)

    def log_in(self, role: str) -> str:
        """A session for the browser that logs in; its id."""
        code = self.gate.sessions.create_code(role, name="ada")
        opened = self.gate.sessions.login_with_code(code.code, address="127.0.0.1", origin=self._origin)
        return opened.session.id

    def join(self, token: str, name: str) -> None:
        """A machine comes with a join token."""
        token_id, _, secret = token.rpartition("-")[2].partition(".")
        now, key = time.time(), name.encode()
        self.gate.store.use_token_for_node(
            token_id,
            lambda row: check_join(row, secret, name, key, now),
            key,
            lambda *_: Certified(b"", now, now + 4.7 * 86_400, now + 7 * 86_400),
            new_id=f"n-{name}",
            name=name,
            now=now,
            address="192.168.1.31",
        )
        self.gate.audit.append(name, "192.168.1.31", "node.join", "done", {"node": f"n-{name}"})

    def add_hostile(self) -> None:
        """Names, pages and details that try to run code, or to read as something else."""
        now = time.time()
        for n, words in enumerate(HOSTILE):
            self.gate.audit.append(words, words, words, words, {words: words, "more": {"deep": [words]}})
            token = TokenRow(f"hostile{n}", "viewer", words, bytes(32), now, now + 900, None, now, None)
            self.gate.store.add_token(token)
            hashed = secret_hash(str(n))
            self.gate.store.add_session(
                SessionRow(f"hostile{n}", hashed, words, "viewer", words, words, now, now)
            )

    def _seed(self) -> None:
        now, store, tokens = time.time(), self.gate.store, self.gate.tokens
        for n in range(OLD_ROWS):
            what, result = ACTS[n % len(ACTS)]
            who = ("ada", "n-den", "somebody", "release-bot")[n % 4]
            details = {"agent": f"frontend-{n % 5}", "path": "/home/ada/src/hyper-pi"} if n % 3 else {"n": n}
            self.gate.audit.append(who, "pide 127.0.0.1" if n % 2 else "link", what, result, details)
        bot = tokens.create("operator", ttl_s=30 * 86_400, name="release-bot")
        tokens.authenticate(bot.token, "192.168.1.40")
        tokens.create("viewer", ttl_s=86_400)
        spent = tokens.create("node")
        self.join(spent.token, "attic")
        tokens.revoke(tokens.create("admin", name="old-laptop").id)
        times = now - 90_000, now - 400
        origin, address = "https://den.example", "192.168.1.77"
        store.add_session(
            SessionRow("phone234", secret_hash("phone"), "ada", "operator", origin, address, *times)
        )


@contextmanager
def stand_in_trust(origin: str) -> Iterator[StandInTrust]:
    """As long as the block lasts."""
    with (
        tempfile.TemporaryDirectory(prefix="hps-") as folder,
        open_gate(Path(folder), "ada", None) as gate,
        gate.trust.front_end(origin),
    ):
        yield StandInTrust(gate, origin)
