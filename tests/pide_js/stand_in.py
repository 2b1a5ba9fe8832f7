"""A small working Pi-DE server with a scripted mesh, to look at the web app and to drive it in a browser.

    python tests/pide_js/stand_in.py --port 8765 [--agents 3000] [--empty] [--hostile] [--interrupted]

It speaks the public contract for what the app uses: login, /me, /ws with mesh.get, attach with resume from a
cursor, events, prompts with receipts, folders, spawn, scrolls, the PXLDisk picture. Log in with the code
`letmein` (admin) or a token named after its role (`viewer`, `operator`, `admin`). `POST /scene/{name}` plays
what goes wrong: close codes, a node that goes away, a reset conversation, a hole in the stream.
"""

import argparse
import asyncio
import contextlib
import inspect
import itertools
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from scene import (
    ANSWER,
    HOSTILE,
    PUSHING,
    THOUGHT,
    TOOLS,
    approvals,
    at,
    call,
    conversation,
    dialog,
    entry,
    hostile_conversation,
    long_conversation,
    result,
    text,
    thinking,
)
from stand_in_disk import StandInDisk, stand_in_disk
from stand_in_trust import StandInTrust, stand_in_trust
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from hyperpi.address import clean_name
from hyperpi.errors import HyperPiError
from hyperpi.status import to_json_rpc

Json = dict[str, Any]
STATIC = Path(__file__).resolve().parents[2] / "pide" / "static"
CSP = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'"
SNAPSHOT_ENTRIES = 200
BETWEEN_TURNS_S = 2.0  # of the agent that works without being asked
USAGE = {"input_tokens": 48_211, "output_tokens": 9_304, "cost_usd": 0.4127}


class Failed(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


class Talk:
    """One agent's conversation: entries, and a ring of events with an epoch."""

    def __init__(self, entries: list[Json]) -> None:
        self.entries = entries
        self.epoch = uuid.uuid4().hex[:8]
        self.seq = 0
        self.ring: list[Json] = []
        self.running: Json | None = None
        self.pending: list[Json] = []
        self.decisions: list[Json] = []
        self.queue: list[Json] = []
        self.whole: dict[str, str] = {}  # texts of lost prompts, of which the queue has the beginnings
        self.viewers: set[Viewer] = set()

    def emit(self, agent: str, *events: Json) -> None:
        """Give events their seq and send them to those who watch."""
        for event in events:
            self.seq += 1
            event["seq"], event["at"] = self.seq, at()
        self.ring = (self.ring + list(events))[-5_000:]
        for viewer in list(self.viewers):
            viewer.notify("agent.events", {"agent": agent, "epoch": self.epoch, "events": list(events)})

    def attached(self, params: Json, state: str, tools: list[Json], model: str) -> Json:
        """What agent.attach answers: the missing events will follow, or a snapshot."""
        oldest = self.ring[0]["seq"] - 1 if self.ring else self.seq
        if params.get("epoch") == self.epoch and oldest <= params.get("seq", -1) <= self.seq:
            return {"resume": "ok", "epoch": self.epoch, "seq": params["seq"]}
        return {
            "resume": "gap" if params.get("epoch") else "fresh",
            "epoch": self.epoch,
            "seq": self.seq,
            "snapshot": {
                "entries": self.entries[-SNAPSHOT_ENTRIES:],
                "more": len(self.entries) > SNAPSHOT_ENTRIES,
                "running": self.running,
                "state": state,
                "tools": tools,
                "model": model,
                "session": {"id": "0199-4d", "file": "/home/ada/.pi/agent/sessions/0199-4d.jsonl"},
                "usage": USAGE,
                "pending": self.pending,
                "decisions": self.decisions,
                "queue": self.queue,
            },
        }


class Viewer:
    """One /ws connection with a bounded queue."""

    def __init__(self, ws: WebSocket, me: Json) -> None:
        self.ws, self.me = ws, me
        self.queue: asyncio.Queue[str] = asyncio.Queue(10_000)

    def notify(self, method: str, params: Json) -> None:
        """Queue a notification."""
        self.queue.put_nowait(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))


class Mesh:
    """The scripted mesh and everybody who looks at it."""

    def __init__(self, *, empty: bool, many: int, hostile: bool) -> None:
        self.epoch, self.rev = uuid.uuid4().hex[:8], 1
        self.viewers: set[Viewer] = set()
        self.nodes: dict[str, Json] = {}
        self.agents: dict[str, Json] = {}
        self.talks: dict[str, Talk] = {}
        self.prompts: dict[str, str] = {}
        self.scrolls: list[Json] = []
        self.spawned: dict[str, str] = {}
        self.numbers = itertools.count(10_000)
        self.inboxes: dict[str, asyncio.Queue[Json]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.disk: StandInDisk  # while the server runs
        self.trust: StandInTrust  # likewise
        self.hostile = hostile
        self.nearby: Json = {"candidates": [], "more": False, "listening": True}
        self.node("n1", "den", "online", 1.2)
        if empty:
            return
        self.node("n2", "attic", "disconnected", 93)
        self.node("n3", "pi5-workshop", "pending", 4, code="402 917")
        home = "/home/ada"
        self.agent("a1", "frontend", "n1", "working", cwd=f"{home}/src/hyper-pi", last=1, watchers=2)
        self.agent("a2", "server", "n1", "idle", cwd=f"{home}/src/hyper-pi", last=340)
        self.agent(
            "a3", "release", "n1", "waiting", cwd=f"{home}/src/hyper-pi", last=75, detail="asks to push"
        )
        self.agent("a4", "archive", "n1", "idle", cwd=f"{home}/src/archive", last=86_400 * 2)
        self.agent("a5", "migrate", "n1", "working", cwd=f"{home}/src/postgres-tools", last=1_560)
        self.agent("a6", "blog", "n1", "unreachable", cwd=f"{home}/blog", last=420)
        self.agents["a6"]["detail"] = "connected, but not answering"
        self.agent("a7", "crawler", "n1", "stuck", cwd=f"{home}/src/archive", last=610)
        self.agents["a7"]["detail"] = "same tool call 12 times"
        self.agent("a8", "client", "n2", "working", cwd=f"{home}/src/hyper-pi-client", last=95)
        self.agent("a9", "photos", "n2", "idle", cwd=f"{home}/photos", last=7_300)
        self.agent("a10", "scratch", "n1", "exited", cwd=f"{home}/tmp", last=5_000, detail="quit")
        self.agent("a11", "old-blog", "n1", "exited", cwd=f"{home}/blog", last=90_000, detail="SIGKILL")
        for agent in ("a1", "a8"):
            self.talks[agent].entries = conversation()
        for agent in ("a2", "a3"):
            self.talks[agent].entries = conversation()[:6]
        self.talks["a3"].entries = [*conversation()[:6], PUSHING]
        self.talks["a3"].pending = approvals()
        self.talks["a5"].pending = [dialog()]
        for agent in ("a3", "a5"):
            self.agents[agent]["pending"] = len(self.talks[agent].pending)
        self.talks["a4"].entries = long_conversation(2_500)
        self.scrolls = self.old_scrolls()
        if hostile:
            self.add_hostile()
        self.add_many(many)

    def interrupt(self, *agents: str) -> None:
        """Their machine was restarted while they worked."""
        ending = {"why": "reboot", "at": at(60), "interrupted": True}
        detail = "the machine was restarted; it was in the middle of a turn"
        for agent in agents:
            self.agents[agent].update(resume="offered", ending=ending, detail=detail)

    def add_hostile(self) -> None:
        """A machine and agents whose every word tries to run code."""
        self.node("nx", HOSTILE[0], "online", 1)
        for n, words in enumerate(HOSTILE):
            self.agent(f"x{n}", words, "nx", "idle", cwd=f"/home/{words}", detail=words)
        self.talks["x0"].entries = hostile_conversation()
        self.agents["x0"].update(model=HOSTILE[2], session={"id": HOSTILE[1], "name": HOSTILE[0]})

    def add_many(self, many: int) -> None:
        """This many agents more, ten on each machine."""
        for n in range(many):
            node = f"m{n // 10}"
            if n % 10 == 0:
                self.node(node, f"machine-{n // 10:04}", "online", 2)
            state = ("idle", "working", "idle")[n % 3]
            self.agent(f"many{n}", f"worker-{n}", node, state, cwd=f"/srv/project-{n % 7}", last=n % 4_000)

    def old_scrolls(self) -> list[Json]:
        """One that was answered, one on its way."""
        opcode = {"opcode_type": "text_display", "content": "Seen. The fixture is adapted."}
        return [
            {
                "scroll_id": "SCROLL-1",
                "from": "server@den",
                "to": "frontend@den",
                "message": "schema changed: sessions.epoch is text now",
                "at": at(300),
                "state": "answered",
                "opcode": opcode,
            },
            {
                "scroll_id": "SCROLL-2",
                "from": "frontend@den",
                "to": "client@attic",
                "message": "banner text moved to banner.js",
                "at": at(40),
                "state": "accepted",
            },
        ]

    def node(self, id: str, name: str, state: str, heard_ago_s: float, **more: Any) -> None:
        """Add a machine."""
        self.nodes[id] = {
            "id": id,
            "name": name,
            "state": state,
            "since": at(4_000),
            "last_heard": at(heard_ago_s),
            "version": "0.1.0",
            "platform": "Linux x86_64, Python 3.12",
            "address": "192.168.1.24:31416",
            "agents": 0,
            "load": {"cpu": 0.03, "mem_bytes": 61 << 20},
            "disk": {"banks": 1, "live_rows": 23, "free_rows": 224},
            "certificate": {
                "issued": at(2 * 86_400),
                "renews": at(-2.7 * 86_400),
                "expires": at(-5 * 86_400),
            },
            **more,
        }

    def agent(
        self, id: str, name: str, node: str, state: str, *, cwd: str, last: float = 10, **more: Any
    ) -> None:
        """Add an agent with an empty conversation."""
        alive = state != "exited"
        self.agents[id] = {
            "id": id,
            "name": name,
            "node": node,
            "address": f"{name}@{self.nodes[node]['name']}",
            "kind": "pi",
            "state": state,
            "detail": None,
            "cwd": cwd,
            "project": cwd,
            "pid": 4_211 + len(self.agents),
            "model": "anthropic/claude-sonnet-4-5",
            "session": {"id": "0199-4d", "file": None, "name": None},
            "tools": len(TOOLS),
            "since": at(last),
            "last_event": at(last),
            "evidence": {"process": at(2) if alive else None, "stream": at(min(last, 4)), "turn": at(last)},
            "watchers": 0,
            "usage": USAGE,
            **more,
        }
        self.nodes[node]["agents"] += 1
        self.talks[id] = Talk([])

    def changed(
        self,
        *,
        nodes: list[str] | None = None,
        agents: list[str] | None = None,
        gone: list[str] | None = None,
    ) -> None:
        """Tell every viewer of one revision."""
        self.rev += 1
        change: Json = {"epoch": self.epoch, "from": self.rev - 1, "rev": self.rev}
        if nodes:
            change["nodes"] = [self.nodes[id] for id in nodes]
        if agents:
            change["agents"] = [self.agents[id] for id in agents]
        if gone:
            change["gone"] = gone
        for viewer in list(self.viewers):
            viewer.notify("mesh.changed", change)

    def trust_changed(self) -> None:
        """Tell admins that tokens, browsers or the trail may have changed."""
        for viewer in self.viewers:
            if viewer.me["role"] == "admin":
                viewer.notify("trust.changed", {})

    def set_state(self, agent: str, state: str, detail: str | None = None) -> None:
        """Change an agent's state, in its stream and in the mesh."""
        self.agents[agent].update(state=state, detail=detail, since=at(), last_event=at())
        self.agents[agent]["evidence"].update(process=at(), stream=at(), turn=at())
        self.talks[agent].emit(agent, {"type": "state", "state": state, "detail": detail})
        self.changed(agents=[agent])

    # --- what an agent does ---

    async def turn(self, agent: str, words: str, *, pause_s: float = 0.02) -> None:
        """One scripted turn: thinking, a tool with progress, an answer in small deltas."""
        self.set_state(agent, "working")
        first, tool = f"m{next(self.numbers)}", f"call{next(self.numbers)}"
        plan = "I look at the tests first."
        await self.stream(agent, first, [("thinking_delta", THOUGHT), ("text_delta", plan)], pause_s)
        command = "for i in $(seq 8); do echo line $i; sleep 0.1; done"
        self.end(agent, first, thinking(THOUGHT), text(plan), call(tool, "bash", command=command))
        await self.run_tool(agent, first, tool, {"command": command})
        reply = f"You asked: {words[:80]}\n\n{ANSWER}"
        second = f"m{next(self.numbers)}"
        await self.stream(agent, second, [("text_delta", reply)], pause_s)
        self.end(agent, second, text(reply))
        self.talks[agent].emit(agent, {"type": "usage", **USAGE, "output_tokens": 9_911})
        self.set_state(agent, "idle")

    async def run_tool(self, agent: str, message_id: str, tool: str, args: Json) -> None:
        """A tool that prints eight lines."""
        talk = self.talks[agent]
        running = {"call_id": tool, "message_id": message_id, "name": "bash", "args": args}
        talk.running = {"message_id": None, "role": "assistant", "blocks": [], "tools": [running]}
        talk.emit(agent, {"type": "tool_start", **running})
        started = time.monotonic()
        output = ""
        for n in range(8):
            await asyncio.sleep(0.1)
            output += f"line {n + 1}\n"
            talk.emit(agent, {"type": "tool_update", "call_id": tool, "result": output})
        duration_ms = int((time.monotonic() - started) * 1_000)
        ended = {"call_id": tool, "result": output, "is_error": False, "duration_ms": duration_ms}
        talk.emit(agent, {"type": "tool_end", **ended})
        self.end(agent, f"m{next(self.numbers)}", result(tool, output), role="tool")

    async def stream(self, agent: str, message_id: str, parts: list[tuple[str, str]], pause_s: float) -> None:
        """The deltas of one message."""
        talk = self.talks[agent]
        blocks: list[Json] = []
        talk.running = {"message_id": message_id, "role": "assistant", "blocks": blocks, "tools": []}
        talk.emit(agent, {"type": "message_start", "message_id": message_id, "role": "assistant"})
        rng = random.Random(3)
        for index, (kind, words) in enumerate(parts):
            blocks.append({"type": kind.split("_")[0], "text": ""})
            while words:
                size = rng.randint(2, 12)
                delta, words = words[:size], words[size:]
                blocks[index]["text"] += delta
                talk.emit(agent, {"type": kind, "message_id": message_id, "block": index, "delta": delta})
                await asyncio.sleep(pause_s)

    def end(self, agent: str, message_id: str, *blocks: Json, role: str = "assistant") -> None:
        """A message is in the session."""
        talk = self.talks[agent]
        said = entry(next(self.numbers), role, *blocks, message_id=message_id)
        talk.entries.append(said)
        talk.running = None
        talk.emit(agent, {"type": "message_end", "message_id": message_id, "entry": said})

    async def work(self, agent: str, forever: bool) -> None:
        """Take prompts one by one, as an agent does; one agent also works without being asked."""
        inbox = self.inboxes.setdefault(agent, asyncio.Queue())
        while True:
            if forever and inbox.empty():
                await self.turn(agent, "Now make the banner say how long it waits.", pause_s=0.03)
                await asyncio.sleep(BETWEEN_TURNS_S)
                continue
            prompt = await inbox.get()
            message_id = f"m{next(self.numbers)}"
            echo = {"message_id": message_id, "text": prompt["text"], "prompt_id": prompt["id"]}
            self.talks[agent].emit(agent, {"type": "user_message", "source": "pide", **echo})
            shown = [{"type": "image", **image} for image in prompt.get("images", ())]
            self.end(agent, message_id, text(prompt["text"]), *shown, role="user")
            self.prompts[prompt["id"]] = "delivered"
            for viewer in list(self.viewers):
                changed = {"agent": agent, "id": prompt["id"], "receipt": "delivered"}
                viewer.notify("prompt.changed", changed)
            await self.turn(agent, prompt["text"])

    def start_work(self, agent: str, *, forever: bool = False) -> None:
        """Let an agent take prompts."""
        task = asyncio.get_running_loop().create_task(self.work(agent, forever))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


# --- JSON-RPC ---


class Calls:
    """The methods that a viewer may call."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.methods: dict[str, Callable[[Viewer, Json], Any]] = {
            "mesh.get": self.mesh_get,
            "agent.attach": self.attach,
            "agent.detach": self.detach,
            "agent.history": self.history,
            "agent.show": self.show,
            "agent.prompt": self.prompt,
            "agent.complete": self.complete,
            "agent.unqueue": self.unqueue,
            "agent.abort": lambda viewer, params: {},
            "agent.stop": self.stop,
            "agent.forget": self.forget,
            "agent.rename": self.rename,
            "agent.resume": self.resume,
            "agent.answer": self.answer,
            "approval.list": self.approvals,
            "node.folders": self.folders,
            "node.kinds": self.kinds,
            "node.spawn": self.spawn,
            "node.approve": self.approve,
            "node.deny": self.deny,
            "node.revoke": self.revoke,
            "node.nearby": lambda viewer, params: self.mesh.nearby,
            "scroll.list": lambda viewer, params: {"scrolls": self.mesh.scrolls},
            "scroll.send": self.scroll_send,
        }

    def call(self, viewer: Viewer, method: str, params: Json) -> Any:
        """Run one method; Failed for what goes wrong."""
        if method.startswith("disk."):
            if self.mesh.nodes.get(params["node"], {}).get("state") != "online":
                raise Failed(-32011, "attic is disconnected", "it comes back by itself")
            return self.mesh.disk.call(method, params, viewer.notify)
        if self.mesh.trust.answers(method):
            return self.mesh.trust.call(method, params, viewer.me, self.mesh.trust_changed)
        run = self.methods.get(method)
        if run is None:
            raise Failed(-32601, f"no method {method}")
        if viewer.me["role"] == "viewer" and method in {"agent.prompt", "node.spawn", "scroll.send"}:
            raise Failed(-32001, f"{method} is not for the role viewer")
        return run(viewer, params)

    def found(self, params: Json) -> str:
        """The agent that the params name."""
        if params["agent"] not in self.mesh.agents:
            raise Failed(-32004, "no such agent")
        return str(params["agent"])

    def mesh_get(self, viewer: Viewer, params: Json) -> Json:
        mesh = self.mesh
        limits = {"heartbeat_s": 10, "disconnected_s": 15, "lost_s": 120}
        listed = {"nodes": list(mesh.nodes.values()), "agents": list(mesh.agents.values())}
        return {
            "mesh": "ada",
            "epoch": mesh.epoch,
            "rev": mesh.rev,
            "me": viewer.me,
            "limits": limits,
            **listed,
        }

    def attach(self, viewer: Viewer, params: Json) -> Json:
        agent = self.found(params)
        card, talk = self.mesh.agents[agent], self.mesh.talks[agent]
        if self.mesh.nodes[card["node"]]["state"] != "online":
            raise Failed(-32011, "attic is not reachable", "it was heard 93 s ago; its agents go on")
        answer = talk.attached(params, card["state"], TOOLS, card["model"])
        talk.viewers.add(viewer)
        if answer["resume"] == "ok":
            missing = [event for event in talk.ring if event["seq"] > params["seq"]]
            if missing:
                replay = {"agent": agent, "epoch": talk.epoch, "events": missing}
                asyncio.get_running_loop().call_soon(viewer.notify, "agent.events", replay)
        return {"agent": agent, **answer}

    def show(self, viewer: Viewer, params: Json) -> Json:
        card = self.mesh.agents[self.found(params)]
        online = self.mesh.nodes[card["node"]]["state"] == "online"
        evidence = {"process": at(1), "stream": at(3), "turn": card["evidence"]["turn"]}
        talk = self.mesh.talks[card["id"]]
        queue = [
            {**one, "text": talk.whole[one["id"]], "cut": 0} if one["id"] in talk.whole else one
            for one in talk.queue
        ]
        return {
            **card,
            "evidence": evidence,
            "card": {"tools": TOOLS} if online else None,
            **({"queue": queue} if online else {}),
        }

    def detach(self, viewer: Viewer, params: Json) -> Json:
        self.mesh.talks[self.found(params)].viewers.discard(viewer)
        return {}

    def history(self, viewer: Viewer, params: Json) -> Json:
        entries = self.mesh.talks[self.found(params)].entries
        end = next(n for n, entry in enumerate(entries) if entry["id"] == params["before"])
        first = max(0, end - params.get("limit", 100))
        return {"entries": entries[first:end], "more": first > 0}

    def prompt(self, viewer: Viewer, params: Json) -> Json:
        agent, mesh = self.found(params), self.mesh
        if params["text"].startswith("/refuse"):
            raise Failed(-32012, "refused by the policy of den", "ask its owner")
        if params["id"] not in mesh.prompts:
            busy = mesh.agents[agent]["state"] == "working"
            mesh.prompts[params["id"]] = "queued" if busy else "stored"
            if params["text"].startswith("wait:"):  # until it is taken back
                self.queue(agent, [*mesh.talks[agent].queue, {**params, "where": "agent", "images": 0}])
                return {"id": params["id"], "receipt": "queued"}
            if agent not in mesh.inboxes:
                mesh.inboxes[agent] = asyncio.Queue()
                mesh.start_work(agent)
            asyncio.get_running_loop().call_later(0.4, mesh.inboxes[agent].put_nowait, params)
        return {"id": params["id"], "receipt": mesh.prompts[params["id"]]}

    def queue(self, agent: str, prompts: list[Json]) -> None:
        """What waits for an agent from now on."""
        self.mesh.talks[agent].queue = prompts
        self.mesh.talks[agent].emit(agent, {"type": "queue", "prompts": prompts})

    def unqueue(self, viewer: Viewer, params: Json) -> Json:
        agent = self.found(params)
        waiting = self.mesh.talks[agent].queue
        taken = next((one for one in waiting if one["id"] == params["id"]), None)
        if taken is None:
            raise Failed(-32004, "no such prompt waits")
        self.queue(agent, [one for one in waiting if one is not taken])
        return {"id": taken["id"], "text": taken["text"], "mode": taken["mode"], "images": 0}

    def complete(self, viewer: Viewer, params: Json) -> Json:
        self.found(params)
        word = params["text"].rpartition(" ")[2]
        known = [
            ("/review ", "prompt"),
            ("/remember ", "command"),
            ("@src/", "folder"),
            ("@src/main.py ", "file"),
        ]
        items = [
            {"text": one, "kind": kind, "description": ""} for one, kind in known if one.startswith(word)
        ]
        return {"word": word, "items": items, "more": False}

    def stop(self, viewer: Viewer, params: Json) -> Json:
        self.mesh.set_state(self.found(params), "exited", f"stopped by {viewer.me['name']}")
        return {}

    def forget(self, viewer: Viewer, params: Json) -> Json:
        agent = self.found(params)
        del self.mesh.agents[agent]
        self.mesh.changed(gone=[agent])
        return {}

    def resume(self, viewer: Viewer, params: Json) -> Json:
        agent, mesh = self.found(params), self.mesh
        old = mesh.agents[agent]
        new, name = f"{agent}r", old["name"]
        mesh.agent(new, name, old["node"], "idle", cwd=old["cwd"], resumed_from=agent)
        mesh.talks[new].entries = list(mesh.talks[agent].entries)
        old.update(resume=None, name=f"{name}-2")
        mesh.changed(agents=[agent, new])
        return {"agent": new, "address": mesh.agents[new]["address"]}

    def rename(self, viewer: Viewer, params: Json) -> Json:
        agent = self.found(params)
        self.mesh.agents[agent]["name"] = clean_name(params["name"])
        self.mesh.changed(agents=[agent])
        return {}

    def answer(self, viewer: Viewer, params: Json) -> Json:
        agent = self.found(params)
        talk = self.mesh.talks[agent]
        found = [one for one in talk.pending if one["id"] == params["approval"]]
        if not found:
            raise Failed(-32009, "too late: approved by bob")
        talk.pending.remove(found[0])
        [choice] = [one for one in found[0]["choices"] if one["id"] == params["choice"]]
        state = "denied" if choice["kind"].startswith("reject") else "approved"
        told = {"state": state, "by": viewer.me["name"], "via": "pide", "choice": choice["id"]}
        answered = {**found[0], **told, "note": params.get("note"), "text": params.get("text")}
        talk.emit(agent, {"type": "approval", "approval": answered})
        if call_id := answered["action"]["detail"].get("call_id"):
            decision = {"call_id": call_id, "state": state, "by": told["by"], "via": "pide"}
            talk.decisions.append({**decision, "note": params.get("note")})
            if state == "denied":
                told_why = f"{told['by']} did not approve this, so it was not done."
                ended = result(call_id, told_why, is_error=True)
                self.mesh.end(agent, f"m{next(self.mesh.numbers)}", ended, role="tool")
        self.mesh.agents[agent]["pending"] = len(talk.pending)
        self.mesh.set_state(agent, "waiting" if talk.pending else "idle")
        return {"approval": answered}

    def approvals(self, viewer: Viewer, params: Json) -> Json:
        listed = [one for talk in self.mesh.talks.values() for one in talk.pending]
        return {"approvals": sorted(listed, key=lambda one: str(one["asked_at"])), "complete": True}

    def folders(self, viewer: Viewer, params: Json) -> Json:
        path = (params.get("path") or "/home/ada").rstrip("/") or "/"
        names: dict[str, list[tuple[str, str | None, int]]] = {
            "/": [("etc", None, 0), ("home", None, 0), ("srv", None, 0)],
            "/home": [("ada", None, 0)],
            "/home/ada": [("blog", "git", 1), ("photos", None, 0), ("src", None, 0), ("tmp", None, 0)],
            "/home/ada/src": [("archive", "git", 2), ("hyper-pi", "git", 3), ("postgres-tools", "git", 1)],
        }
        found = names.get(path, [])
        if params.get("hidden") and path == "/home/ada":
            found = [(".config", None, 0), (".pi", None, 0), *found]
        parent = None if path == "/" else (path.rsplit("/", 1)[0] or "/")
        folders = [
            {"name": name, "path": f"{path.rstrip('/')}/{name}", "project": project, "agents": n}
            for name, project, n in found
        ]
        return {"path": path, "parent": parent, "folders": folders, "allowed": path.startswith("/home/ada")}

    def kinds(self, viewer: Viewer, params: Json) -> Json:
        """What any node can start."""
        pi = {"name": "pi", "command": False, "prompts": True, "headless": True}
        terminal = {"name": "terminal", "command": True, "prompts": False, "headless": False}
        return {"kinds": [pi, terminal]}

    def spawn(self, viewer: Viewer, params: Json) -> Json:
        mesh = self.mesh
        if params["request_id"] not in mesh.spawned:
            agent = f"s{next(mesh.numbers)}"
            path = f"{params['path']}/{params['new_folder']}" if params.get("new_folder") else params["path"]
            mesh.agent(
                agent, clean_name(params.get("name") or "pi"), params["node"], "starting", cwd=path, last=0
            )
            mesh.spawned[params["request_id"]] = agent
            mesh.changed(agents=[agent], nodes=[params["node"]])
            asyncio.get_running_loop().call_later(1.0, mesh.set_state, agent, "idle")
        agent = mesh.spawned[params["request_id"]]
        return {"agent": agent, "address": f"{mesh.agents[agent]['name']}@den"}

    def waiting(self, params: Json) -> str:
        """The machine that shows this code."""
        for id, node in self.mesh.nodes.items():
            if (node.get("code") or "").replace(" ", "") == params["code"].replace(" ", ""):
                return id
        raise Failed(-32004, "no machine waits with that code", "compare the digits on both screens")

    def approve(self, viewer: Viewer, params: Json) -> Json:
        id = self.waiting(params)
        self.mesh.nodes[id].update(state="online", code=None)
        self.mesh.changed(nodes=[id])
        return {}

    def deny(self, viewer: Viewer, params: Json) -> Json:
        id = self.waiting(params)
        del self.mesh.nodes[id]
        self.mesh.changed(gone=[id])
        return {}

    def revoke(self, viewer: Viewer, params: Json) -> Json:
        if params["node"] == "n2":
            raise Failed(-32029, "refused: the audit trail cannot be written", "is the disk full?")
        del self.mesh.nodes[params["node"]]
        self.mesh.changed(gone=[params["node"]])
        return {}

    def scroll_send(self, viewer: Viewer, params: Json) -> Json:
        scroll = {**params, "from": f"user:{viewer.me['name']}", "at": at(), "state": "accepted"}
        self.mesh.scrolls.append(scroll)
        loop = asyncio.get_running_loop()
        whose = {"scroll_id": params["scroll_id"], "to": params["to"]}
        opcode = {"opcode_type": "text_display", "content": "done"}
        for delay, change in (
            (0.4, {"state": "stored"}),
            (0.9, {"state": "delivered"}),
            (1.6, {"state": "answered", "opcode": opcode}),
        ):
            loop.call_later(delay, viewer.notify, "scroll.changed", {**whose, **change})
        return {"scroll_id": params["scroll_id"], "state": "accepted", "at": at()}


# --- HTTP ---


def app_of(mesh: Mesh) -> Starlette:
    """The whole server."""
    calls = Calls(mesh)
    sessions: dict[str, Json] = {}
    refusing = {"handshakes": False}

    def me_of(cookies: dict[str, str]) -> Json | None:
        return sessions.get(cookies.get("stand_in", ""))

    async def index(request: Request) -> Response:
        headers = {"Content-Security-Policy": CSP, "Cache-Control": "no-store"}
        return FileResponse(STATIC / "index.html", headers=headers)

    async def me(request: Request) -> Response:
        known = me_of(request.cookies)
        return JSONResponse({**known, "mesh": "ada"}) if known else JSONResponse({}, 401)

    async def login(request: Request) -> Response:
        body = await request.json()
        role = "admin" if body.get("code") == "letmein" else body.get("token")
        if role not in {"viewer", "operator", "admin"}:
            hint = "get a new link with `hyperpi login`"
            by_code = "code" in body
            why = "the login code is unknown or was used" if by_code else "the token is not known here"
            return JSONResponse({"error": why, "hint": hint} if by_code else {"error": why}, 401)
        session = uuid.uuid4().hex
        sessions[session] = {"name": "ada", "role": role, "credential": mesh.trust.log_in(str(role))}
        answer = JSONResponse({"name": "ada", "role": role})
        answer.set_cookie("stand_in", session, httponly=True, samesite="strict")
        return answer

    async def logout(request: Request) -> Response:
        sessions.pop(request.cookies.get("stand_in", ""), None)
        return JSONResponse({})

    async def picture(request: Request) -> Response:
        try:
            png, headers = await mesh.disk.picture(request.path_params["bank"], dict(request.query_params))
        except HyperPiError as exc:
            return JSONResponse({"error": str(exc), "hint": exc.hint}, 410)
        return Response(png, media_type="image/png", headers={"Cache-Control": "no-store", **headers})

    async def ws(websocket: WebSocket) -> None:
        known = me_of(websocket.cookies)
        if known is None or refusing["handshakes"]:
            await websocket.close()
            return
        await websocket.accept()
        viewer = Viewer(websocket, known)
        mesh.viewers.add(viewer)

        async def send() -> None:
            while True:
                await websocket.send_text(await viewer.queue.get())

        sender = asyncio.create_task(send())
        try:
            while True:
                request = json.loads(await websocket.receive_text())
                answer: Json = {"jsonrpc": "2.0", "id": request["id"]}
                try:
                    result = calls.call(viewer, request["method"], request.get("params") or {})
                    answer["result"] = await result if inspect.isawaitable(result) else result
                except HyperPiError as exc:
                    answer["error"] = to_json_rpc(exc)
                except Failed as failed:
                    extra = {"hint": failed.hint} if failed.hint else {}
                    answer["error"] = {"code": failed.code, "message": str(failed), "data": extra}
                viewer.queue.put_nowait(json.dumps(answer))
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            sender.cancel()
            mesh.viewers.discard(viewer)
            mesh.disk.left(viewer.notify)
            for talk in mesh.talks.values():
                talk.viewers.discard(viewer)

    async def scene(request: Request) -> Response:
        name = request.path_params["name"]
        if name.startswith("close"):
            for viewer in list(mesh.viewers):
                await viewer.ws.close(int(name.removeprefix("close")))
        elif name == "away":
            refusing["handshakes"] = True
            for viewer in list(mesh.viewers):
                await viewer.ws.close(1012)
        elif name == "back":
            refusing["handshakes"] = False
        elif name == "node-away":
            mesh.nodes["n1"].update(state="disconnected", last_heard=at(12))
            mesh.changed(nodes=["n1"])
        elif name == "node-back":
            mesh.nodes["n1"].update(state="online", last_heard=at())
            mesh.changed(nodes=["n1"])
        elif name == "reset":
            talk = mesh.talks["a2"]
            talk.epoch, talk.seq, talk.ring, talk.entries = uuid.uuid4().hex[:8], 0, [], []
            for viewer in talk.viewers:
                viewer.notify("agent.reset", {"agent": "a2", "epoch": talk.epoch, "reason": "new"})
        elif name == "hole":
            talk = mesh.talks["a2"]
            talk.seq += 1
            unsent = {"type": "notice", "level": "info", "text": "the event that was not sent"}
            talk.ring.append({"seq": talk.seq, "at": at(), **unsent})
            talk.emit("a2", {"type": "notice", "level": "warning", "text": "after the hole"})
        elif name == "burst":
            asyncio.get_running_loop().create_task(mesh.turn("a2", "burst", pause_s=0))
        elif name == "nearby":
            mesh.nearby["candidates"] = [
                {"name": name, "addresses": ["192.168.1.31"], "version": "0.1.0"}
                for name in ("porch", *HOSTILE)
            ]
            for viewer in mesh.viewers:
                viewer.notify("nearby.changed", {})
        elif name == "join":  # with the token that stands in the body
            mesh.trust.join((await request.body()).decode(), "porch")
            mesh.node("n-porch", "porch", "online", 0)
            mesh.changed(nodes=["n-porch"])
            mesh.trust_changed()
        elif name == "audit":
            mesh.trust.gate.audit.append("bob", "cli", "node.revoke", "refused", {"node": "attic"})
            mesh.trust_changed()
        elif name.startswith("disk-"):
            await mesh.disk.play(name)
        elif name.startswith("state-"):  # state-AGENT-STATE, its detail as the body
            _, agent, state = name.split("-")
            mesh.set_state(agent, state, (await request.body()).decode() or None)
        elif name in {"exit", "exit-of-a-node-that-was-restarted"}:
            talk = mesh.talks["a2"]
            kept = name == "exit"
            talk.whole = {one["id"]: one["text"] for one in talk.queue} if kept else {}
            talk.queue = [
                {
                    **one,
                    "text": one["text"][:1_000],
                    "cut": max(0, len(one["text"]) - 1_000),
                    "kept": kept,
                    "where": "lost",
                }
                for one in talk.queue
            ]
            mesh.agents["a2"]["resume"] = "possible"
            mesh.set_state("a2", "exited", "quit")
            talk.emit("a2", {"type": "queue", "prompts": talk.queue})
        return JSONResponse({})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if "a1" in mesh.agents:
            mesh.start_work("a1", forever=True)
        with stand_in_trust("http://127.0.0.1") as mesh.trust:
            if mesh.hostile:
                mesh.trust.add_hostile()
            async with stand_in_disk() as mesh.disk:
                yield
        for task in mesh.tasks:
            task.cancel()

    routes = [
        Route("/", index),
        Route("/me", me),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/nodes/{node}/{bank:int}.png", picture),
        Route("/scene/{name}", scene, methods=["POST"]),
        WebSocketRoute("/ws", ws),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(NoStore)], lifespan=lifespan)


class NoStore:
    """The app's files change while one looks at them."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Json, receive: Any, send: Any) -> None:
        async def with_header(event: Json) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event["headers"], (b"cache-control", b"no-cache")]
            await send(event)

        await self.app(scope, receive, with_header)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in for Pi-DE with a scripted mesh.")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--agents", type=int, default=0, help="this many more, on their own machines")
    parser.add_argument("--empty", action="store_true", help="a mesh without agents")
    parser.add_argument("--hostile", action="store_true", help="an agent that tries to run code in the page")
    parser.add_argument("--interrupted", action="store_true", help="a machine that was restarted")
    arguments = parser.parse_args()
    mesh = Mesh(empty=arguments.empty, many=arguments.agents, hostile=arguments.hostile)
    if arguments.interrupted:
        mesh.interrupt("a10", "a11")
    uvicorn.run(
        app_of(mesh), host="127.0.0.1", port=arguments.port, log_level="warning", ws="websockets-sansio"
    )


if __name__ == "__main__":
    main()
