"""A stand-in for a mesh: a small one that works, behind a control socket, for the command to talk to.

It keeps agents with conversations and scrolls, answers the methods of the contract, tells of changes, and
does what a test wants of it: drops connections, falls silent, refuses. One thread serves, tests call from
another.
"""

import asyncio
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hyperpi.address import clean_name

Json = dict[str, Any]

PATIENCE_S = 15.0  # for what takes milliseconds on an idle machine


class Refused(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


def agent(name: str, node: str = "n-den", node_name: str = "den", **fields: Any) -> Json:
    """An Agent of the contract."""
    known = {
        "id": f"a-{name}-{node_name}",
        "name": name,
        "node": node,
        "address": f"{name}@{node_name}",
        "kind": "pi",
        "state": "idle",
        "detail": None,
        "cwd": f"/srv/code/{name}",
        "project": name,
        "pid": 4711,
        "model": "acme/large-1",
        "session": {"id": "s-1", "file": None, "name": None},
        "tools": 2,
        "since": "2026-01-05T10:00:00.000Z",
        "last_event": "2026-01-05T10:00:00.000Z",
        "evidence": {"process": "2026-01-05T10:00:00.000Z", "stream": None, "turn": None},
        "watchers": 0,
        "usage": {"input_tokens": 1200, "output_tokens": 34, "cost_usd": 0.5},
        "resumed_from": None,
    }
    return {**known, **fields}


def node(name: str, **fields: Any) -> Json:
    """A Node of the contract."""
    known = {
        "id": f"n-{name}",
        "name": name,
        "state": "online",
        "since": "2026-01-05T10:00:00.000Z",
        "last_heard": "2026-01-05T10:00:00.000Z",
        "version": "0.1.0",
        "platform": "Linux x86_64",
        "address": "192.0.2.7",
        "agents": 1,
        "load": {"cpu": 0.25, "mem_bytes": 70 << 20},
        "disk": {"banks": 1, "live_rows": 3, "free_rows": 251},
    }
    return {**known, **fields}


def entry(number: int, role: str = "assistant", text: str | None = None, **fields: Any) -> Json:
    """An Entry of the contract."""
    blocks = [{"type": "text", "text": text if text is not None else f"entry {number}"}]
    return {"id": f"e{number}", "role": role, "at": "2026-01-05T10:00:00.000Z", "blocks": blocks, **fields}


class Conversation:
    """One agent's entries, and its events with their numbers."""

    def __init__(self) -> None:
        self.epoch = "ep-1"
        self.seq = 0
        self.oldest = 0
        self.entries: list[Json] = []
        self.events: list[Json] = []
        self.state = "idle"


class Mesh:
    """Nodes, agents, conversations and scrolls. All methods run on the serving thread."""

    def __init__(self) -> None:
        self.rev = 1
        self.nodes = {"n-den": node("den")}
        self.agents: dict[str, Json] = {}
        self.conversations: dict[str, Conversation] = {}
        self.tokens: dict[str, Json] = {}
        self.scrolls: dict[str, Json] = {}
        self.asked: list[tuple[str, Json]] = []
        self.role = "admin"
        self.answers: dict[str, Any] = {}  # method -> what to answer instead, or an exception
        self.spawned: dict[str, str] = {}  # request_id -> agent
        self.prompts: dict[str, str] = {}  # id -> text, each once
        self.notify: Callable[[str, Json], None] = lambda method, params: None
        self.reply_to_scrolls: Callable[[Json], list[Json]] = lambda scroll: []

    def add(self, *agents: Json) -> None:
        """List agents, each with an empty conversation."""
        for one in agents:
            self.agents[one["id"]] = one
            self.conversations.setdefault(one["id"], Conversation())

    def answer(self, method: str, params: Json) -> Any:
        """The result of a method. Raises Refused."""
        self.asked.append((method, params))
        if method in self.answers:
            wanted = self.answers[method]
            if isinstance(wanted, Exception):
                raise wanted
            return wanted(params) if callable(wanted) else wanted
        handler = getattr(self, "_" + method.replace(".", "_"), None)
        if handler is None:
            raise Refused(-32601, f"there is no method {method}")
        return handler(params)

    def find(self, name: str) -> Json:
        """An agent by id, name or address. Raises Refused."""
        found = [a for a in self.agents.values() if name in (a["id"], a["name"], a["address"])]
        if not found:
            raise Refused(-32004, f"no agent {name}", hint="`hyperpi ls` lists them")
        if len(found) > 1:
            addresses = sorted(a["address"] for a in found)
            raise Refused(-32005, f"{name} fits {len(found)} agents", candidates=addresses)
        return found[0]

    # --- methods ---------------------------------------------------------------------------------------

    def _mesh_get(self, _params: Json) -> Json:
        return {
            "mesh": "home",
            "epoch": "r-1",
            "rev": self.rev,
            "me": {"name": "ann", "role": self.role},
            "nodes": list(self.nodes.values()),
            "agents": list(self.agents.values()),
            "limits": {"heartbeat_s": 10},
        }

    def _agent_show(self, params: Json) -> Json:
        tools = [{"name": "bash", "description": "run a command"}, {"name": "edit", "description": ""}]
        return {**self.find(params["agent"]), "card": {"model": "acme/large-1", "tools": tools, "skills": []}}

    def _agent_attach(self, params: Json) -> Json:
        found = self.find(params["agent"])
        talk = self.conversations[found["id"]]
        known = params.get("epoch") == talk.epoch and talk.oldest <= params.get("seq", -1) <= talk.seq
        if known:
            for event in talk.events:
                if event["seq"] > params["seq"]:
                    self._push(found["id"], [event])
            return {"agent": found["id"], "resume": "ok", "epoch": talk.epoch, "seq": params["seq"]}
        snapshot = {
            "entries": talk.entries[-PAGE:],
            "more": len(talk.entries) > PAGE,
            "running": None,
            "state": talk.state,
            "tools": [],
            "model": None,
            "session": None,
            "usage": None,
            "pending": [],
        }
        resume = "gap" if params.get("epoch") else "fresh"
        answer = {"agent": found["id"], "resume": resume, "epoch": talk.epoch, "seq": talk.seq}
        return {**answer, "snapshot": snapshot}

    def _agent_history(self, params: Json) -> Json:
        entries = self.conversations[params["agent"]].entries
        place = [one["id"] for one in entries].index(params["before"])
        first = max(0, place - params["limit"])
        return {"entries": entries[first:place], "more": first > 0}

    def _agent_prompt(self, params: Json) -> Json:
        found = self.find(params["agent"])
        if params["id"] not in self.prompts:
            self.prompts[params["id"]] = params["text"]
            said = {"type": "user_message", "message_id": f"m-{params['id']}", "text": params["text"]}
            self.say(found["id"], {**said, "source": "cli", "prompt_id": params["id"]})
        return {"id": params["id"], "receipt": "delivered"}

    def _agent_abort(self, params: Json) -> Json:
        self.find(params["agent"])
        return {}

    _agent_stop = _agent_forget = _agent_abort

    def _agent_rename(self, params: Json) -> Json:
        self.find(params["agent"])["name"] = clean_name(params["name"])
        return {}

    def _agent_resume(self, params: Json) -> Json:
        old = self.find(params["agent"])
        if old["state"] != "exited":
            raise Refused(-32009, f"{old['name']} has not ended: it is {old['state']}")
        return {"agent": f"{old['id']}-again", "address": old["address"]}

    def _node_folders(self, params: Json) -> Json:
        path = params.get("path") or "/home/ann"
        folders = [{"name": "site", "path": f"{path}/site", "project": "git", "agents": 1}]
        return {"path": path, "parent": None, "folders": folders, "allowed": True}

    def _node_spawn(self, params: Json) -> Json:
        made = self.spawned.setdefault(params["request_id"], f"a-new-{len(self.spawned)}")
        return {"agent": made, "address": f"{clean_name(params.get('name') or 'new')}@den"}

    def _agent_recording(self, params: Json) -> Json:
        self.find(params["agent"])
        lines = ['{"version":2,"width":80,"height":24}', '[0.5,"o","one\\r\\n"]', '[2.5,"o","\u202etwo"]']
        at = params["offset"]
        return {"lines": lines[at : at + 1], "next": at + 1 if at + 1 < len(lines) else None}

    def _node_approve(self, params: Json) -> Json:
        return {**self._node_deny(params), "confirmed": False}

    def _node_deny(self, params: Json) -> Json:
        if params["code"] != "482913":
            raise Refused(-32004, "no machine waits with this code")
        return {"name": "attic"}

    def _node_revoke(self, _params: Json) -> Json:
        return {}

    def _node_join_address(self, _params: Json) -> Json:
        return {"addresses": ["192.0.2.7:31417"], "enrol_port": 31417, "fingerprint": "abc"}

    def _token_create(self, params: Json) -> Json:
        made = {"id": f"t{len(self.tokens)}", "role": params["role"], "expires": "2099-01-01T00:00:00.000Z"}
        self.tokens[made["id"]] = {**made, "name": params.get("name"), "uses_left": params.get("uses")}
        return {**made, "token": f"hp1u-{made['id']}.secret"}

    def _token_ls(self, _params: Json) -> Json:
        return {"tokens": [{**t, "last_used": None, "revoked": False} for t in self.tokens.values()]}

    def _token_revoke(self, params: Json) -> Json:
        if self.tokens.pop(params["id"], None) is None:
            raise Refused(-32004, "no such token")
        return {}

    def _login_create(self, params: Json) -> Json:
        role = params.get("role", "admin")
        return {"url": f"http://127.0.0.1:31415/#login={role}", "expires": "2099-01-01T00:00:00.000Z"}

    def _session_ls(self, _params: Json) -> Json:
        known = {"id": "s1", "name": "ann", "role": "admin", "origin": "http://127.0.0.1:31415"}
        return {"sessions": [{**known, "created": "2026-01-05T10:00:00.000Z", "last_used": None}]}

    def _session_revoke(self, _params: Json) -> Json:
        return {}

    def _audit_list(self, params: Json) -> Json:
        rows = [
            {
                "seq": seq,
                "at": "2026-01-05T10:00:00.000Z",
                "who": "ann",
                "origin": "cli",
                "what": "node.spawn",
                "result": "done",
                "details": {"path": f"/srv/{seq}"},
            }
            for seq in range(9, 0, -1)
        ]
        before = params.get("before", 10)
        fitting = [row for row in rows if row["seq"] < before and params.get("who", "") in str(row["who"])]
        page = fitting[: min(4, params["limit"])]  # fewer than asked for, as a server that has looked enough
        return {"rows": page, "next": page[-1]["seq"] if len(page) < len(fitting) else None}

    def _audit_verify(self, _params: Json) -> Json:
        return {"rows": 9, "head": "q83v", "broken_at": None, "reason": ""}

    def _scroll_send(self, params: Json) -> Json:
        scroll = {**params, "from": "user:ann", "at": "2026-01-05T10:00:00.000Z", "state": "accepted"}
        known = self.scrolls.setdefault(params["scroll_id"], {**scroll, "receipts": []})
        for receipt in self.reply_to_scrolls(known):
            others = [r for r in known["receipts"] if r["to"] != receipt["to"]]
            known["receipts"], known["state"] = [*others, receipt], receipt["state"]
            self.notify("scroll.changed", {"scroll_id": params["scroll_id"], **receipt})
        return {"scroll_id": params["scroll_id"], "state": "accepted", "at": known["at"], "receipts": []}

    def _scroll_get(self, params: Json) -> Json:
        return self.scrolls[params["scroll_id"]]

    def _scroll_list(self, params: Json) -> Json:
        rows = [s for s in self.scrolls.values() if params.get("state") in (None, s["state"])]
        return {"scrolls": rows[-params["limit"] :], "complete": True}

    def _disk_list(self, _params: Json) -> Json:
        zone = {"name": "system", "first": 0, "last": 8, "free": 7, "live": 0, "consumed": 0, "damaged": 0}
        return {"banks": [{"bank": 8, "name": "8.png", "width": 256, "height": 256, "zones": [zone]}]}

    def _disk_rows(self, params: Json) -> Json:
        known = {"bank": params["bank"], "zone": "input_scrolls", "kind": "scroll_in", "seq": 4, "size": 120}
        rows = [{**known, "row": 9, "state": "live"}, {**known, "row": 10, "state": "free"}]
        return {"bank": params["bank"], "rows": rows}

    def _disk_snapshot(self, _params: Json) -> Json:
        return {"snapshots": ["/home/ann/8-1767225600.png"]}

    # --- what happens ----------------------------------------------------------------------------------

    def change(self, *agents: Json, gone: tuple[str, ...] = (), skip: int = 0) -> None:
        """Agents are new, different or gone; `skip` revisions are not told of."""
        self.rev += skip
        before, self.rev = self.rev, self.rev + 1
        self.add(*agents)
        for one in gone:
            self.agents.pop(one, None)
        change = {"epoch": "r-1", "from": before, "rev": self.rev, "agents": list(agents), "gone": list(gone)}
        self.notify("mesh.changed", change)

    def say(self, agent_id: str, *events: Json) -> None:
        """An agent's events, told to whoever listens."""
        talk = self.conversations[agent_id]
        for event in events:
            talk.seq += 1
            talk.events.append({"seq": talk.seq, "at": "2026-01-05T10:00:00.000Z", **event})
        self._push(agent_id, talk.events[-len(events) :])

    def reset(self, agent_id: str, reason: str) -> None:
        """Another conversation begins."""
        talk = self.conversations[agent_id] = Conversation()
        talk.epoch = "ep-2"
        self.notify("agent.reset", {"agent": agent_id, "epoch": "ep-2", "reason": reason})

    def _push(self, agent_id: str, events: list[Json]) -> None:
        epoch = self.conversations[agent_id].epoch
        self.notify("agent.events", {"agent": agent_id, "epoch": epoch, "events": events})


PAGE = 50


class ControlSocket:
    """Serves a Mesh as a part of a home: `run.json`, a Unix socket, one JSON message a line."""

    def __init__(self, home: Path, part: str = "hypivisor", mesh: Mesh | None = None) -> None:
        self.mesh = mesh or Mesh()
        self.run_json = home / part / "run.json"
        self.silent = False  # takes requests and answers none
        self.connections = 0
        self._part = part
        self._folder = Path(tempfile.mkdtemp(prefix="hp-cli-"))  # socket paths are limited to 100 bytes
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in mesh")
        self.mesh.notify = self._notify

    def __enter__(self) -> "ControlSocket":
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
        shutil.rmtree(self._folder)

    def do(self, work: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Run something on the serving thread; its result."""
        done: Future[Any] = Future()

        async def run() -> None:
            try:
                result = work(*args, **named)
                done.set_result(await result if asyncio.iscoroutine(result) else result)
            except BaseException as exc:
                done.set_exception(exc)

        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(run()))
        return done.result(PATIENCE_S)

    def listen(self) -> None:
        """Be there."""
        self.do(self._listen)

    def vanish(self) -> None:
        """Drop everybody and listen no more, as at a crash."""
        self.do(self._vanish)

    def drop(self) -> None:
        """Cut the connections that there are."""
        self.do(self._drop)

    def asked(self, method: str) -> list[Json]:
        """The params of every request with this method so far."""
        return [params for name, params in list(self.mesh.asked) if name == method]

    async def _listen(self) -> None:
        path = self._folder / f"{self._part}.sock"
        self._server = await asyncio.start_unix_server(self._serve, str(path), limit=1 << 20)
        self.run_json.parent.mkdir(parents=True, exist_ok=True)
        known = {"pid": os.getpid(), "control": str(path), "node": "n-den", "name": "den", "boot": 1}
        self.run_json.write_text(json.dumps(known))

    def _vanish(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        (self._folder / f"{self._part}.sock").unlink(missing_ok=True)
        self._drop()

    async def _end(self) -> None:
        self._vanish()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(others, timeout=PATIENCE_S) if others else None

    def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                if not self.silent:
                    self._answer(line, writer)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        """Answer a request. What the mesh says meanwhile comes after the answer, as in the real one."""
        request = json.loads(line)
        later: list[tuple[str, Json]] = []
        self.mesh.notify = lambda method, params: later.append((method, params))
        try:
            result = self.mesh.answer(request["method"], request.get("params", {}))
        except Refused as exc:
            writer.write(_line({"jsonrpc": "2.0", "id": request["id"], "error": exc.error}))
        else:
            raw = isinstance(result, bytes)  # what no mesh should say
            writer.write(result if raw else _line({"jsonrpc": "2.0", "id": request["id"], "result": result}))
        finally:
            self.mesh.notify = self._notify
        for method, params in later:
            self._notify(method, params)

    def _notify(self, method: str, params: Json) -> None:
        for writer in self._writers:
            writer.write(_line({"jsonrpc": "2.0", "method": method, "params": params}))


def _line(message: Json) -> bytes:
    return json.dumps(message).encode() + b"\n"
