"""The adapter, wired: an ACP agent on one side, the agent socket on the other.

It is the subject of a tether: prompts, aborts and snapshots come in there; the agent's updates go through the
conversation into events, and into the file that outlives both. Turns run one after the other.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acp.connection import Connection
from acp.exceptions import RequestError
from acp.meta import AGENT_METHODS, CLIENT_METHODS, PROTOCOL_VERSION

from hyperpi import __version__
from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, Conflict, HyperPiError, Overloaded, UnknownMethod, Unusable
from hyperpi.tether import Tether
from node.acp import permissions, session_card
from node.acp.approval_line import ApprovalLine
from node.acp.conversation import UPDATE_S, Conversation
from node.acp.program import AcpProgram
from node.acp.prompt_queue import PromptQueue, Wanted
from node.acp.session_card import SessionCard
from node.transcript_file import Transcript

log = logging.getLogger(__name__)

START_S = 120.0  # for each of the first answers: `npx` may have to fetch the agent before
CANCEL_S = 1.0  # for a turn to end when all ends
MAX_ENTRIES = 500  # of one answer
QUEUED_CHARS = 500  # of a prompt that waits
OPCODE_CHARS = 10_000  # a scroll's answer has 64 KiB as JSON, whatever its characters
AUTH_REQUIRED = -32000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this adapter is for its node, and where it is."""

    instance: str
    cwd: str
    command: tuple[str, ...]

    @property
    def program(self) -> str:
        """The command's name, until the agent has told its own."""
        return os.path.basename(self.command[0])


class Adapter:
    """One session of one ACP agent. `open` first, then `run`."""

    def __init__(self, identity: Identity, home: Path, program: AcpProgram, transcript: Transcript) -> None:
        self._identity = identity
        self._acp = Connection(self._asked_by_agent, program)
        self._transcript = transcript
        self._tether = Tether(home, self)
        self._approvals = ApprovalLine(self._tether, identity.cwd, self._explain)
        self._conversation = Conversation()
        self._queue = PromptQueue()
        self._told_queue: list[Json] = []
        self._queued = asyncio.Event()
        self._unsafe = asyncio.Event()  # a turn has ended whose entries may not be on the disk
        self._card = SessionCard()
        self._session: str | None = None
        self._images = False  # the agent takes pictures
        self._replaying = False
        self._resting = asyncio.Event()  # no turn is under way
        self._cancelled = False  # somebody asked for this turn's end
        self._last_text = ""  # of this turn: what answers a scroll
        self._flush: asyncio.TimerHandle | None = None
        self._entering: dict[str, asyncio.Future[Json]] = {}  # scrolls that wait for their turn
        self.stopping = asyncio.Event()  # a node asked for the end

    # --- the session -----------------------------------------------------------------------------------

    async def open(self, resumed: str | None) -> None:
        """Greet the agent and begin a session, or load one. Raises Unusable with what to do next."""
        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": {},
            "clientInfo": {"name": "hyper-pi", "title": "Hyper-Pi", "version": __version__},
        }
        greeting = await self._first("initialize", params)
        self._card = session_card.greeted(greeting, self._identity.program)
        if greeting.get("protocolVersion") != PROTOCOL_VERSION:
            theirs = greeting.get("protocolVersion")
            raise Unusable(f"{self._card.agent} speaks ACP {theirs}, and this is for ACP {PROTOCOL_VERSION}")
        abilities = _table(greeting.get("agentCapabilities"))
        self._images = bool(_table(abilities.get("promptCapabilities")).get("image"))
        where: Json = {"cwd": self._identity.cwd, "mcpServers": []}
        if resumed is None:
            answer = await self._first("session_new", where, greeting)
            self._session = str(answer.get("sessionId"))
        elif abilities.get("loadSession"):
            self._session, self._replaying = resumed, True
            answer = await self._first("session_load", {"sessionId": resumed, **where}, greeting)
            self._keep(self._conversation.replayed(time.time()))
            self._replaying = False
        else:
            raise Unusable(f"{self._card.agent} cannot load an earlier session: start a new one")
        self._card = session_card.opened(self._card, answer)
        self._transcript.describe(session=self._session, agent=self._card.agent)

    async def _first(self, method: str, params: Json, greeting: Json | None = None) -> Json:
        """One of the first questions. Raises Unusable with one line for a person."""
        name, agent = AGENT_METHODS[method], self._card.agent if greeting else self._identity.program
        try:
            async with asyncio.timeout(START_S):
                return _table(await self._acp.send_request(name, params))
        except TimeoutError:
            why = f"{agent} did not answer {name} within {START_S:g} s: does this command speak ACP?"
        except ConnectionError:
            why = f"{agent} ended before it answered {name}: does this command speak ACP?"
        except RequestError as exc:
            why = f"{agent} refused {name}: {_words(exc)}"
            if exc.code == AUTH_REQUIRED and greeting is not None:
                why = f"{agent} wants you to log in: {_login(greeting)}"
        raise Unusable(why)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tether.run(), name="tether")
            tasks.create_task(self._approvals.run(), name="approvals")
            tasks.create_task(self._take_turns(), name="turns")
            tasks.create_task(self._make_safe(), name="transcript")

    async def finish(self, reason: str) -> None:
        """All ends: what is open is closed, told and written down."""
        now = time.time()
        self._approvals.withdraw_all(reason)
        if self._conversation.in_turn:
            self._say(self._conversation.ended("died", now))
        self._tell_lost(self._queue.drop_all(), reason)
        if self._flush is not None:
            self._flush.cancel()
        await self._acp.close()

    async def cancel_turn(self) -> None:
        """Ask the agent to end its turn, and give it a moment."""
        if self._conversation.in_turn:
            await self._cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_S):
                    await self._resting.wait()

    # --- turns -----------------------------------------------------------------------------------------

    async def _take_turns(self) -> None:
        while True:
            wanted = self._queue.next()
            self._tell_queue()
            if wanted is None:
                self._queued.clear()
                await self._queued.wait()
            else:
                await self._turn(wanted)

    async def _turn(self, wanted: Wanted) -> None:
        now = time.time()
        self._cancelled, self._last_text = False, ""
        self._resting.clear()
        prompt_id = None if wanted.scroll else wanted.id
        asked = self._conversation.asked(
            wanted.text, list(wanted.images), now, source=wanted.source, prompt_id=prompt_id
        )
        self._say(asked)
        self._tether.change(state="working")
        if (entering := self._entering.pop(wanted.id, None)) is not None and not entering.done():
            entering.set_result({})
        blocks: list[Json] = [{"type": "text", "text": wanted.text}] if wanted.text else []
        blocks += [{"type": "image", "mimeType": i["mime"], "data": i["data"]} for i in wanted.images]
        failure: str | None = None
        try:
            params = {"sessionId": self._session, "prompt": blocks}
            answer = _table(await self._acp.send_request(AGENT_METHODS["session_prompt"], params))
            self._card = session_card.used(self._card, answer)
            self._say(self._conversation.ended(str(answer.get("stopReason", "end_turn")), time.time()))
        except RequestError as exc:
            if self._cancelled:  # some agents answer a cancelled prompt with an error
                self._say(self._conversation.ended("cancelled", time.time()))
            else:
                failure = _words(exc)
                self._say(self._conversation.failed(f"{self._card.agent}: {failure}", time.time()))
        except (ConnectionError, HyperPiError) as exc:
            failure = str(exc)
            self._say(self._conversation.ended("died", time.time()))
        self._resting.set()
        self._approvals.withdraw_all("the turn has ended")
        self._tether.tell({"type": "usage", **self._card.usage})
        self._tether.change(state="idle", usage=self._card.usage)
        if wanted.scroll is not None:
            await self._answer_scroll(wanted.scroll, failure)
        self._unsafe.set()

    async def _answer_scroll(self, scroll: str, failure: str | None) -> None:
        if failure is None and not self._cancelled:
            opcode = {"opcode_type": "text_display", "content": self._last_text[:OPCODE_CHARS]}
        else:
            opcode = {"opcode_type": "error", "content": (failure or "the turn was aborted")[:OPCODE_CHARS]}
        await self._approvals.insist("scroll.answer", {"scroll_id": scroll, "opcode": opcode})

    async def _make_safe(self) -> None:
        """Have what a turn has brought survive a crash of the machine. No prompt waits for a slow disk."""
        while True:
            await self._unsafe.wait()
            self._unsafe.clear()
            try:
                await asyncio.to_thread(self._transcript.sync)
            except OSError as exc:
                log.warning("the transcript is not safe on the disk reason=%s", exc.strerror)

    async def _cancel(self) -> None:
        """What waits is dropped too: who aborts wants the agent to rest."""
        self._tell_lost(self._queue.drop_all(), "the turn before it was aborted")
        self._tell_queue()
        if self._conversation.in_turn:
            self._cancelled = True
            self._approvals.withdraw_all("the turn was aborted")
            with contextlib.suppress(ConnectionError, HyperPiError):
                session = {"sessionId": self._session}
                await self._acp.send_notification(AGENT_METHODS["session_cancel"], session)

    def _tell_lost(self, dropped: list[Wanted], why: str) -> None:
        for wanted in dropped:
            entering = self._entering.pop(wanted.id, None)
            if entering is not None and not entering.done():
                entering.set_exception(HyperPiError(why))
            text = f"A prompt was dropped, since {why}: {wanted.text[:200]}"
            self._tether.tell({"type": "notice", "level": "warning", "text": text, "prompt_id": wanted.id})

    # --- what the agent says ---------------------------------------------------------------------------

    async def _asked_by_agent(self, method: str, params: Any, is_notification: bool) -> Any:
        if method == CLIENT_METHODS["session_update"]:
            update = _table(_table(params).get("update"))
            card = session_card.updated(self._card, update)
            if card != self._card:
                self._card = card
                self._tether.change(card=card.card, session=self._session_shape(), usage=card.usage)
            self._say(self._conversation.updated(update, time.time()))
            return None
        if method == CLIENT_METHODS["session_request_permission"]:
            request = _table(params)
            self._say(self._conversation.permission_asked(_table(request.get("toolCall")), time.time()))
            return await self._approvals.ask(request)
        if is_notification:
            return None
        raise RequestError.method_not_found(method)

    def _say(self, events: list[Json]) -> None:
        """Tell events, and keep the entries among them."""
        self._keep(events)
        if not self._replaying:
            self._tether.tell(*events)
        if self._flush is None and self._conversation.holds_back:
            self._flush = asyncio.get_running_loop().call_later(UPDATE_S, self._say_held_back)

    def _say_held_back(self) -> None:
        self._flush = None
        self._say(self._conversation.due(time.time()))

    def _keep(self, events: list[Json]) -> None:
        for event in events:
            if event["type"] != "message_end":
                continue
            entry = event["entry"]
            texts = [block["text"] for block in entry["blocks"] if block["type"] == "text"]
            if entry["role"] == "assistant" and texts:
                self._last_text = "\n".join(texts)
            try:
                self._transcript.put(entry)
            except OSError as exc:  # the conversation goes on; it is whole in memory
                log.warning("an entry was not written reason=%s", exc.strerror)

    # --- what the node asks (see hyperpi.tether.Subject) -----------------------------------------------

    def hello(self) -> Json:
        """See Subject."""
        return {
            "instance": self._identity.instance,
            "kind": "acp",
            "cwd": self._identity.cwd,
            "pid": os.getpid(),
            "session": self._session_shape(),
            "card": self._card.card,
        }

    def standing(self) -> Json:
        """See Subject."""
        state = "working" if self._conversation.in_turn else "idle"
        return {"state": state, "usage": self._card.usage, "queue": self._told_queue}

    def serve(self, method: str, params: Json) -> Any:
        """See Subject."""
        match method:
            case "ping":
                return {}
            case "prompt":
                return self._prompt(params)
            case "abort":
                return self._aborted()
            case "snapshot":
                return self._snapshot(_limit(params))
            case "history":
                entries, more = self._transcript.page(str(params.get("before")), _limit(params))
                return {"entries": entries, "more": more}
            case "deliver":
                return self._deliver(_table(params.get("scroll")))
            case "unqueue":
                return self._unqueue(str(params.get("id")))
            case "configure":
                return self._configure(params)
            case "approval.decided":
                self._approvals.decided(params)
                return {}
            case "stop":
                self.stopping.set()
                return {}
            case _:
                raise UnknownMethod(f"an ACP agent has no {method}")

    def _prompt(self, params: Json) -> Json:
        images = params.get("images") or []
        if images and not self._images:
            raise BadRequest(f"{self._card.agent} takes no pictures")
        wanted = Wanted(
            str(params["id"]),
            str(params["text"]),
            str(params.get("source", "api")),
            tuple(images),
            mode=str(params.get("mode", "prompt")),
            at=time.time(),
        )
        if not self._queue.take(wanted):
            return {"receipt": "queued" if self._queue.waits(wanted.id) else "delivered"}
        if self._conversation.in_turn and params.get("mode") == "steer":
            text = f"{self._card.agent} cannot be steered in mid-turn: this waits until the turn has ended"
            self._tether.tell({"type": "notice", "level": "info", "text": text})
        self._queued.set()
        if self._conversation.in_turn:
            self._tell_queue()
        return {"receipt": "queued"}  # the event that says that it was handed over makes it `delivered`

    def _explain(self, request: Json, approval: Json) -> None:
        """A permission is refused without a reason in ACP: the person's words are the next prompt."""
        what = permissions.summary_of_request(request)
        who = approval.get("by") or "a person"
        text = f"{who} did not approve this, so it was not done: {what}\nThey say: {approval['note']}"
        wanted = Wanted(f"why-{approval['id']}", text, str(approval.get("via") or "api"), at=time.time())
        try:
            self._queue.take(wanted)
        except Overloaded:
            self._tell_lost([wanted], "too many wait already")
            return
        self._queued.set()
        self._tell_queue()

    def _tell_queue(self) -> None:
        """What waits here, if that has changed."""
        waiting = [_queued(wanted) for wanted in self._queue]
        if waiting != self._told_queue:
            self._told_queue = waiting
            self._tether.change(queue=waiting)

    def _unqueue(self, prompt_id: str) -> Json:
        wanted = self._queue.take_back(prompt_id)
        if wanted is None:
            raise Conflict("it does not wait any more", hint="abort the turn that it began")
        self._tell_queue()
        return {"text": wanted.text, "mode": wanted.mode, "images": list(wanted.images)}

    async def _configure(self, params: Json) -> Json:
        """Change the model, how much it thinks or its mode, where the agent offers that."""
        # The mode first: in some agents each has a model of its own.
        for name, category in (("mode", "mode"), ("model", "model"), ("thinking", "thought_level")):
            if (value := params.get(name)) is not None:
                try:
                    await self._set(name, category, str(value))
                except RequestError as exc:
                    raise BadRequest(f"{self._card.agent}: {_words(exc)}") from None
                finally:
                    self._tether.change(card=self._card.card)
        return {"model": self._card.model, "thinking": self._card.thinking, "mode": self._card.mode}

    async def _set(self, name: str, category: str, value: str) -> None:
        modes, option = self._card.modes, self._card.option(category)
        if category == "mode" and modes and value not in modes:
            raise BadRequest(f"{self._card.agent} has no mode {value}", hint=f"one of: {', '.join(modes)}")
        if option is not None:
            wanted = {"sessionId": self._session, "configId": option, "value": value}
            answer = await self._acp.send_request(AGENT_METHODS["session_set_config_option"], wanted)
            self._card = session_card.configured(self._card, _table(answer))
        elif category == "mode" and modes:
            wanted = {"sessionId": self._session, "modeId": value}
            await self._acp.send_request(AGENT_METHODS["session_set_mode"], wanted)
            self._card = session_card.in_mode(self._card, value)
        else:
            raise BadRequest(f"{self._card.agent} has no setting for {name}")

    async def _aborted(self) -> Json:
        await self._cancel()
        return {}

    def _snapshot(self, limit: int) -> Json:
        entries, more = self._transcript.page(None, limit)
        return {
            "entries": entries,
            "more": more,
            "running": self._conversation.running(),
            "model": self._card.model,
            "tools": [],
            "session": self._session_shape(),
            "usage": self._card.usage,
        }

    async def _deliver(self, scroll: Json) -> Json:
        """A scroll is a prompt that says who sent it; the turn's last words answer it.

        Answered once it has entered the conversation; delivered again, it is still one prompt.
        """
        scroll_id, message = scroll.get("scroll_id"), scroll.get("message")
        if not isinstance(scroll_id, str) or not isinstance(message, str):
            raise BadRequest("a scroll has a scroll_id and a message")
        sender = scroll.get("from")
        text = (
            f"Message from the agent {sender} (not from your user, who may not agree with it):\n\n{message}"
        )
        wanted = Wanted(f"scroll {sender} {scroll_id}", text, "scroll", scroll=scroll_id, at=time.time())
        if not self._queue.take(wanted) and not self._queue.waits(wanted.id):
            return {}
        entering: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._entering[wanted.id] = entering
        self._queued.set()
        return await entering

    def _session_shape(self) -> Json:
        return {"id": self._session, "name": self._card.title or self._card.agent}


def _queued(wanted: Wanted) -> Json:
    """A QueuedPrompt of the contract."""
    shown = {
        "id": wanted.id,
        "text": wanted.text[:QUEUED_CHARS],
        "cut": max(0, len(wanted.text) - QUEUED_CHARS),
        "mode": wanted.mode,
        "source": wanted.source,
    }
    return {**shown, "images": len(wanted.images), "at": rfc3339(wanted.at), "where": "agent"}


def _table(value: Any) -> Json:
    """A JSON object; what is none counts as empty."""
    found: Json = value if isinstance(value, dict) else {}
    return found


def _limit(params: Mapping[str, Any]) -> int:
    limit = params.get("limit")
    return max(1, min(limit, MAX_ENTRIES)) if isinstance(limit, int) else MAX_ENTRIES


def _words(exc: RequestError) -> str:
    """What an agent's error says, in one line; the message alone is often just "Internal error"."""
    data = exc.data
    details = data if isinstance(data, str) else _table(data).get("details") or _table(data).get("message")
    line = f"{exc}: {details}" if isinstance(details, str) and details not in str(exc) else str(exc)
    return " ".join(line.split())[:500] or "it failed"


def _login(greeting: Json) -> str:
    methods = greeting.get("authMethods")
    ways = [_table(method) for method in methods] if isinstance(methods, list) else []
    words = [str(way.get("description") or way.get("name")) for way in ways]
    return "; or: ".join(words)[:500] or "run it in a terminal once"
