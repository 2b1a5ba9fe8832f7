"""What the stand-in's agents have said: a real-looking conversation, a very long one, a hostile one."""

import random
import time
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

TOOLS = [
    {"name": "read", "description": "Read a file"},
    {"name": "bash", "description": "Run a command in the project folder and give its output"},
    {"name": "edit", "description": "Replace exact text in a file"},
    {"name": "write", "description": "Write a whole file"},
    {"name": "mesh_send", "description": "Send a scroll to another agent of the mesh"},
]

ANSWER = """The reconnect loop never resets its attempt counter, so after one bad evening every blip
waits the full cap. I changed two things:

1. **Reset after a stable period.** Ten seconds of an open link count as recovery.
2. **Full jitter on the upper half**, so that viewers of one hypivisor do not come back together.

```python
def backoff_ms(attempt: int, rng: Random) -> float:
    \"\"\"Half fixed, half jitter; never more than the cap.\"\"\"
    ceiling = min(CAP_MS, BASE_MS * 2**attempt)
    return ceiling / 2 + rng.random() * ceiling / 2
```

| case | before | after |
|---|---|---|
| first blip | 0.4 s | 0.2-0.4 s |
| blip after a bad evening | 15 s | 0.2-0.4 s |

The test that shows it is `test_backoff_resets_after_a_stable_period`; it failed before. See
[RFC 8305](https://www.rfc-editor.org/rfc/rfc8305) for why the jitter matters.
"""

THOUGHT = """The counter is only set to zero in the constructor. A link that opens and closes at once
should not reset it, otherwise a server that refuses us would be asked ten times a second. So: reset when the
link was open for a while, not when it opened."""

PYTEST_OUTPUT = """F..                                          [100%]
E   assert 15000.0 <= 400
\x1b[31m1 failed\x1b[0m, 2 passed in 0.31s"""

OLD_LINES = "        self._attempt += 1\n"
NEW_LINES = """        if self._was_stable():
            self._attempt = 0
        self._attempt += 1
"""

HOSTILE = [
    "<img src=x onerror=\"window.pwned='img'\">",
    "<script>window.pwned='script'</script>",
    '"><svg onload="window.pwned=\'svg\'">',
    "[click](javascript:window.pwned='link')",
    "![x](javascript:window.pwned='image')",
    "![x](https://example.org/beacon.png)",
    "<iframe srcdoc=\"<script>parent.pwned='frame'</script>\"></iframe>",
    "<a href=\"data:text/html,<script>opener.pwned='data'</script>\">x</a>",
    "<form action=/logout method=post><button>x</button></form>",
    "<style>body{display:none}</style>",
    "<math><mtext><table><mglyph><style><img src=x onerror=\"window.pwned='math'\">",
    "${window.pwned='template'} {{constructor.constructor('window.pwned=1')()}}",
    "<b id=app name=getElementById>clobber</b>",
    "javascript:window.pwned='bare'",
    "\u202egnp.exe \u2028 \x1b]8;;javascript:window.pwned='osc'\x07x\x1b]8;;\x07",
    "```<img src=x onerror=window.pwned='fence'>\ncode\n```",
    "[ref]: javascript:window.pwned='ref'\n[ref]",
    "<https://example.org/\"onmouseover=\"window.pwned='auto'>",
]


def at(seconds_ago: float = 0) -> str:
    """An RFC 3339 time with milliseconds."""
    moment = datetime.fromtimestamp(time.time() - seconds_ago, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(words: str) -> Json:
    """A block of text."""
    return {"type": "text", "text": words}


def thinking(words: str) -> Json:
    """A block of thinking."""
    return {"type": "thinking", "text": words}


def call(call_id: str, name: str, **args: Any) -> Json:
    """A call of a tool."""
    return {"type": "tool_call", "call_id": call_id, "name": name, "args": args}


def result(call_id: str, words: str, *, is_error: bool = False) -> Json:
    """What a tool gave back."""
    return {"type": "tool_result", "call_id": call_id, "text": words, "is_error": is_error}


def entry(number: int, role: str, *blocks: Json, ago_s: float = 0, message_id: str = "") -> Json:
    """An entry of a conversation."""
    return {
        "id": f"e{number}",
        "message_id": message_id or f"h{number}",
        "role": role,
        "at": at(ago_s),
        "blocks": list(blocks),
    }


def conversation() -> list[Json]:
    """A short real-looking history with tools, thinking and markdown."""
    edits = [{"oldText": OLD_LINES, "newText": NEW_LINES}]
    test = call("c1", "bash", command="pytest -q tests/test_link.py -k backoff")
    ask = "Viewers wait 15 s after a short blip. Find out why and fix it, with a test."
    plan = text("Let me run the tests that touch it first.")
    return [
        entry(1, "user", text(ask), ago_s=900),
        entry(2, "assistant", thinking(THOUGHT), plan, test, ago_s=880),
        entry(3, "tool", result("c1", PYTEST_OUTPUT, is_error=True), ago_s=879),
        entry(4, "assistant", call("c2", "edit", path="src/link.py", edits=edits), ago_s=860),
        entry(5, "tool", result("c2", "Edited src/link.py: 1 replacement."), ago_s=859),
        entry(6, "assistant", text(ANSWER), ago_s=800),
        entry(7, "user", text("Good. Now make the banner say how long it waits."), ago_s=60),
    ]


YES_NO = [
    {"id": "approve", "label": "Approve", "kind": "allow_once"},
    {"id": "deny", "label": "Deny", "kind": "reject_once"},
]


PUSH = "git push origin v0.1.0 && gh release create v0.1.0"
PUSHING = entry(9, "assistant", call("c-push", "bash", command=PUSH), ago_s=75)


def approvals() -> list[Json]:
    """What a3 waits for: a command, and an edit beyond its folder."""
    edits = [{"oldText": OLD_LINES, "newText": NEW_LINES}]
    return [
        _asked(
            "ap-push7k2m",
            PUSH,
            {"tool": "bash", "args": {"command": PUSH}, "call_id": "c-push"},
            ["git push leaves this machine"],
        ),
        _asked(
            "ap-edit9qfx",
            "edit: ../shared/link.py",
            {"tool": "edit", "args": {"path": "../shared/link.py", "edits": edits}},
            ["writes outside of its folder"],
        ),
    ]


def _asked(approval: str, summary: str, detail: Json, reasons: list[str]) -> Json:
    whole = {**detail, "cwd": "/home/ada/src/hyper-pi", "reasons": reasons}
    action = {"kind": "tool", "summary": summary, "hash": "9f", "detail": whole}
    times = {"asked_at": at(75), "expires_at": at(-525)}
    return {"id": approval, "agent": "a3", "action": action, "choices": YES_NO, "state": "pending", **times}


def dialog() -> Json:
    """What an extension of a5 asks."""
    options = ["staging", "production", "neither"]
    choices = [{"id": str(n), "label": words, "kind": "option"} for n, words in enumerate(options)]
    detail = {"method": "select", "title": "Which database?", "message": "It has users.", "options": options}
    action = {"kind": "dialog", "summary": "Which database?", "hash": "a1", "detail": detail}
    times = {"asked_at": at(30), "expires_at": at(-4_000)}
    cancel = {"id": "cancel", "label": "Cancel", "kind": "reject_once"}
    told = {"action": action, "choices": [*choices, cancel], "state": "pending", **times}
    return {"id": "ui-4f1a", "agent": "a5", **told}


def long_conversation(turns: int) -> list[Json]:
    """Four entries a turn: a prompt, a tool, its result, an answer, of many sizes."""
    rng = random.Random(8)
    entries: list[Json] = []
    for turn in range(turns):
        ago_s = 9e5 - turn * 60
        n, read = turn * 4, call(f"long{turn}", "read", path=f"src/module_{turn % 37}.py")
        words = " ".join(rng.choices(ANSWER.split(), k=rng.randint(8, 90)))
        entries += [
            entry(n, "user", text(f"Step {turn}: look at module {turn % 37}."), ago_s=ago_s),
            entry(n + 1, "assistant", read, ago_s=ago_s),
            entry(n + 2, "tool", result(f"long{turn}", "x = 1\n" * rng.randint(1, 60)), ago_s=ago_s),
            entry(
                n + 3,
                "assistant",
                text(f"### Step {turn}\n\n{words}\n\n```python\nstep = {turn}\n```"),
                ago_s=ago_s,
            ),
        ]
    return entries


def hostile_conversation() -> list[Json]:
    """Everything an agent could say to run code in a viewer's browser, in every place it can say it."""
    entries: list[Json] = []
    for n, words in enumerate(HOSTILE):
        tool = {**call(f"x{n}", words, command=words), "args": {"command": words, words: words}}
        entries.append(entry(n * 3, "assistant", text(words), thinking(words), tool))
        entries.append(entry(n * 3 + 1, "tool", result(f"x{n}", words)))
        entries.append(entry(n * 3 + 2, "user", text(words)))
    svg = {"type": "image", "mime": "image/svg+xml", "data": "PHN2Zz4="}
    entries.append(entry(5_000, "assistant", {"type": HOSTILE[0], "x": HOSTILE[1]}, svg))
    entries.append(entry(5_001, HOSTILE[0], text("a role nobody knows")))
    return entries
