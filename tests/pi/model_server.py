"""A scripted OpenAI-compatible model, for driving a real pi without one.

The script is a line of the newest user text:

    run: CMD       one turn that calls the tool bash with CMD, then one that quotes its result
    tool: NAME ARGS  the same with another tool, ARGS as JSON
    slow: N        N words, 50 ms apart
    stamps: N MS   N words, each the time when it leaves in microseconds (CLOCK_MONOTONIC), MS apart
    hold: NAME     three words, then nothing until `release(NAME)`, then one more
    think: TEXT    reasoning first, then TEXT
    error: CODE    that HTTP status
    flaky: TEXT    an overload the first time (pi itself tries again), then an echo of TEXT
    big: N         N characters in one delta
    pair: TEXT     TEXT and an emoji whose two halves come in two deltas
    (else)         "ECHO: " and the last line of the user text, word by word
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SCRIPT = re.compile(r"^(run|tool|slow|stamps|hold|think|error|flaky|big|pair): (.*)$", re.MULTILINE)
HELD_AT_MOST_S = 60.0
MODEL = "fake-1"


class ModelServer(ThreadingHTTPServer):
    """`url` is what models.json wants; `requests` are the bodies that came, oldest first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Completion)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.requests: list[dict[str, Any]] = []
        self._held: dict[str, threading.Event] = {}
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def held(self, name: str) -> threading.Event:
        """What a `hold: NAME` waits for."""
        with self._lock:
            return self._held.setdefault(name, threading.Event())

    def first_time(self, name: str) -> bool:
        with self._lock:
            known = name in self._seen
            self._seen.add(name)
            return not known

    def release(self, name: str) -> None:
        self.held(name).set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A pi that was killed or aborted hangs up in mid-answer; that is part of the tests."""


@contextmanager
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        for name in list(server._held):
            server.release(name)
        server.shutdown()
        server.server_close()
        thread.join(5)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [] if part.get("type") == "text")


class _Completion(BaseHTTPRequestHandler):
    server: ModelServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read `requests` instead."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        messages = body["messages"]
        user = next((_text_of(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")
        found = SCRIPT.search(user)
        verb, rest = (
            found.groups() if found else ("echo", user.strip().splitlines()[-1] if user.strip() else "")
        )
        if verb == "error" or (verb == "flaky" and self.server.first_time(rest)):
            # With status 400 the retry is pi's own; others are retried below it, out of its sight.
            self._refuse(
                400 if verb == "flaky" else int(rest[:3]), "overloaded" if verb == "flaky" else "scripted"
            )
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):
            if messages[-1]["role"] == "tool":
                self._words("The command printed: " + _text_of(messages[-1]["content"]).strip())
            else:
                getattr(self, f"_{verb}")(rest)

    def _refuse(self, status: int, message: str) -> None:
        body = json.dumps({"error": {"message": message, "type": "server_error"}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _echo(self, text: str) -> None:
        self._words("ECHO: " + text)

    _flaky = _echo

    def _run(self, command: str) -> None:
        self._call("bash", json.dumps({"command": command}))

    def _tool(self, call: str) -> None:
        name, _, arguments = call.partition(" ")
        self._call(name, arguments)

    def _call(self, name: str, arguments: str) -> None:
        self._delta({"content": "Running it."})
        function = {"name": name, "arguments": ""}
        call = {"index": 0, "id": f"call_{time.monotonic_ns()}", "type": "function", "function": function}
        self._delta({"tool_calls": [call]})
        for start in range(0, len(arguments), 9):
            piece = {"index": 0, "function": {"arguments": arguments[start : start + 9]}}
            self._delta({"tool_calls": [piece]})
        self._end("tool_calls")

    def _slow(self, count: str) -> None:
        self._words(" ".join(f"w{i}" for i in range(int(count.split()[0]))), pause_s=0.05)

    def _stamps(self, wanted: str) -> None:
        count, pause_ms = map(int, wanted.split()[:2])
        for _ in range(count):
            self._delta({"content": f"t{time.monotonic_ns() // 1_000} "})
            time.sleep(pause_ms / 1_000)
        self._end("stop")

    def _hold(self, name: str) -> None:
        for word in ("one", " two", " three"):
            self._delta({"content": word})
        self.server.held(name.strip()).wait(HELD_AT_MOST_S)
        self._delta({"content": " four"})
        self._end("stop")

    def _think(self, text: str) -> None:
        for word in ("let", " me", " see"):
            self._delta({"reasoning_content": word})
        self._words(text)

    def _big(self, size: str) -> None:
        self._delta({"content": "x" * int(size)})
        self._end("stop")

    def _pair(self, text: str) -> None:
        self._delta({"content": text + "\ud83e"})
        self._delta({"content": "\udd80 end"})
        self._end("stop")

    def _words(self, text: str, pause_s: float = 0.0) -> None:
        for index, word in enumerate(text.split(" ")):
            self._delta({"content": word if index == 0 else " " + word})
            time.sleep(pause_s)
        self._end("stop")

    def _delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self._send({"choices": [choice]})

    def _end(self, reason: str) -> None:
        self._delta({}, reason)
        self._send(
            {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}
        )
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, chunk: dict[str, Any]) -> None:
        body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, **chunk}
        self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
        self.wfile.flush()
