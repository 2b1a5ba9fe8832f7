"""The command against a real hypivisor, a real Pi-DE and a real node, with agents that repeat."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_process import COMMAND, Done, Running, run_alone
from websockets.sync.client import connect

PATIENCE_S = 30.0
AGENT = Path(__file__).with_name("scripted_agent.py")


@dataclass(frozen=True)
class Parts:
    """What runs."""

    home: Path
    url: str
    sockets: str = ""

    def run(self, *argv: str, **environment: str) -> Done:
        return run_alone(*argv, HYPERPI_HOME=str(self.home), **environment)

    def json(self, *argv: str, **environment: str) -> Any:
        done = self.run(*argv, "--json", **environment)
        assert (done.code, done.err) == (0, "")
        return done.json


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    home = tmp_path_factory.mktemp("real") / "home"
    environment = {k: v for k, v in os.environ.items() if k not in ("HYPI_TOKEN", "HYPIVISOR", "HYPERPI_LOG")}
    sockets = tempfile.mkdtemp(prefix="hp-cli-")  # their paths are limited to about 100 bytes
    environment |= {"HYPERPI_HOME": str(home), "XDG_RUNTIME_DIR": sockets}
    ports = ["--port", "0", "--grpc-port", "0", "--enrol-port", "0", "--no-mdns"]
    up = subprocess.Popen(
        [*COMMAND, "up", *ports, "--name", "den"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    agents: list[subprocess.Popen[bytes]] = []
    try:
        url = _until(lambda: json.loads((home / "hypivisor" / "run.json").read_text())["url"])
        _until(lambda: (home / "node" / "run.json").exists())
        agents += [
            subprocess.Popen([sys.executable, str(AGENT), name], env=environment)
            for name in ("frontend", "backend")
        ]
        found = Parts(home, url, sockets)
        _until(lambda: len(found.run("ls", "--json").json) == 2)
        yield found
    finally:
        for agent in agents:
            agent.kill()
            agent.wait(PATIENCE_S)
        subprocess.run([*COMMAND, "node", "stop"], env=environment, capture_output=True, check=False)
        up.send_signal(signal.SIGINT)
        up.wait(PATIENCE_S)
        shutil.rmtree(sockets)


def _until(look: Callable[[], Any]) -> Any:
    """The first result that is no error and not empty."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if found := look():
                return found
        except (OSError, ValueError, KeyError):
            pass
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def test_agents_are_listed_and_shown(parts: Parts):
    listed = parts.json("ls")
    assert [(one["address"], one["state"]) for one in listed] == [
        ("backend@den", "idle"),
        ("frontend@den", "idle"),
    ]
    shown = parts.json("show", "frontend")
    assert shown["card"]["tools"][0]["name"] == "repeat"
    assert parts.json("node", "ls")[0]["name"] == "den"


def test_a_conversation_is_read_and_gone_on_with(parts: Parts):
    with Running("attach", "frontend", HYPERPI_HOME=str(parts.home)) as attached:
        attached.wait_for("frontend is idle")
        attached.type("typed here")
        attached.wait_for("you said: typed here")
        assert parts.json("prompt", "frontend", "said elsewhere")["receipt"] == "delivered"
        attached.wait_for("you said: said elsewhere")
        done = attached.end(signal.SIGINT)
    assert "what do you do?" in done.out
    assert (done.code, done.err) == (130, "")


def test_events_can_be_taken_up_where_they_were_left(parts: Parts):
    with Running("attach", "backend", "--json", HYPERPI_HOME=str(parts.home)) as attached:
        attached.wait_for("\n")
        first = json.loads(attached.end(signal.SIGINT).out.splitlines()[0])
    parts.json("prompt", "backend", "meanwhile")
    cursor = f"{first['epoch']}:{first['seq']}"
    with Running("attach", "backend", "--json", "--from", cursor, HYPERPI_HOME=str(parts.home)) as attached:
        attached.wait_for("message_end")
        head, *events = map(json.loads, attached.end(signal.SIGINT).out.splitlines())
    assert head["resume"] == "ok"
    assert events[0].get("first_seq", events[0]["seq"]) == first["seq"] + 1
    assert (
        "".join(event["delta"] for event in events if event["type"] == "text_delta") == "you said: meanwhile"
    )


def test_a_scroll_is_answered_and_stands_in_the_disk(parts: Parts):
    assert parts.run("send", "backend", "schema changed", "--wait").out == "read: schema changed\n"
    assert parts.json("scrolls")[-1]["state"] == "answered"
    rows = parts.json("disk", "rows")
    assert {"scroll_out", "scroll_in", "opcode"} <= {row["kind"] for row in rows}
    place = next(str(row["row"]) for row in rows if row["kind"] == "scroll_in")
    assert "schema changed" in parts.run("disk", "read", place).out
    assert parts.run("disk", "verify").code == 0


def test_a_program_elsewhere_comes_with_a_token_and_its_role(parts: Parts, tmp_path: Path):
    made = parts.json("token", "create", "--role", "viewer", "--ttl", "5m")
    there = Parts(tmp_path / "empty", parts.url)
    who = {"HYPIVISOR": parts.url, "HYPI_TOKEN": made["token"]}
    assert len(there.json("ls", **who)) == 2
    refused = there.run("prompt", "frontend", "hello", **who)
    assert refused.code == 1
    assert "not for the role viewer" in refused.err
    assert parts.run("token", "revoke", made["id"]).code == 0
    assert there.run("ls", **who).code == 1


def test_an_agent_ends_and_is_forgotten(parts: Parts):
    extra = subprocess.Popen(
        [sys.executable, str(AGENT), "extra"], env={**os.environ, "HYPERPI_HOME": str(parts.home)}
    )
    try:
        _until(lambda: parts.run("show", "extra").code == 0)
        assert parts.run("stop", "extra").code == 0
        _until(lambda: parts.json("show", "extra")["state"] == "exited")
        assert parts.run("rename", "extra", "for mer").out == "extra is now for-mer\n"
        assert parts.run("forget", "for-mer").code == 0
        assert parts.run("show", "for-mer").code == 1
    finally:
        extra.kill()
        extra.wait(PATIENCE_S)


def test_the_doctor_finds_all_in_order(parts: Parts):
    asked = parts.run("doctor", "--json", XDG_RUNTIME_DIR=parts.sockets)
    found = {check["name"]: check["state"] for check in asked.json}
    assert "fail" not in found.values()
    assert (found["hypivisor"], found["node"], found["link"], found["ports"]) == ("ok", "ok", "ok", "ok")


def test_an_agent_is_given_another_model_and_the_audit_trail_says_by_whom(parts: Parts) -> None:
    told = parts.json("model", "backend")
    assert (told["model"], told["models"]) == ("acme/parrot", ["acme/parrot", "acme/owl"])
    assert (told["mode"], told["modes"]) == ("loud", ["loud", "quiet"])
    assert parts.run("model", "backend", "acme/owl").out == "backend uses acme/owl, mode: loud\n"
    _until(lambda: parts.json("show", "backend")["model"] == "acme/owl")
    used = {"model": "acme/owl", "thinking": "high", "mode": "loud"}
    assert parts.json("model", "backend", "--thinking", "high") == used
    assert parts.json("model", "backend", "--mode", "quiet")["mode"] == "quiet"
    _until(lambda: parts.json("show", "backend")["mode"] == "quiet")
    assert parts.run("model", "backend").out.count("quiet") == 2
    rows = [row for row in parts.json("audit") if row["what"] == "agent.configure"]
    assert [row["details"]["model"] for row in rows if "model" in row["details"]] == 2 * ["acme/owl"]
    assert parts.run("model", "backend", "").code in {1, 2}


def test_an_uploaded_picture_goes_with_the_prompt_of_whoever_uploaded_it(parts: Parts) -> None:
    token, other = (parts.json("token", "create", "--uses", "0")["token"] for _ in range(2))
    png = b"\x89PNG\r\n\x1a\n" + bytes(64)
    told = _post(f"{parts.url}/uploads", png, token)
    assert (told["mime"], told["bytes"]) == ("image/png", len(png))
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _post(f"{parts.url}/uploads", b"<svg/>", token)
    with pytest.raises(urllib.error.HTTPError, match="413"):
        _post(f"{parts.url}/uploads", png + bytes(600_000), token)
    prompt = {"agent": "backend", "text": "look", "images": [{"upload": told["upload"]}], "id": "p-picture"}
    assert _asked(parts.url, other, "agent.prompt", prompt)["error"]["code"] == -32004
    assert _asked(parts.url, token, "agent.prompt", prompt)["result"]["receipt"] == "delivered"
    snapshot = _asked(parts.url, token, "agent.snapshot", {"agent": "backend"})["result"]["snapshot"]
    assert snapshot["entries"][-1]["blocks"][0]["text"] == "you said: look and showed image/png"


def _post(url: str, body: bytes, token: str) -> Any:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/octet-stream"}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def _asked(url: str, token: str, method: str, params: dict[str, Any]) -> Any:
    headers = {"authorization": f"Bearer {token}"}
    with connect(url.replace("http", "ws", 1) + "/ws", additional_headers=headers) as viewer:
        viewer.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        return json.loads(viewer.recv(PATIENCE_S))


def test_a_file_of_the_agents_folder_completes_a_word_and_a_prompt_that_is_done_cannot_be_taken_back(
    parts: Parts,
) -> None:
    token = parts.json("token", "create", "--uses", "0")["token"]
    folder = Path(parts.json("show", "backend")["cwd"])
    (name, *_) = sorted(path.name for path in folder.iterdir() if path.suffix == ".md")
    asked = {"agent": "backend", "text": f"read @{name[:-3]}"}
    told = _asked(parts.url, token, "agent.complete", asked)["result"]
    assert told["word"] == f"@{name[:-3]}"
    assert told["items"][0] == {"text": f"@{name} ", "kind": "file", "description": ""}
    assert _asked(parts.url, token, "agent.complete", {**asked, "text": "/x"})["result"]["items"] == []
    viewer = parts.json("token", "create", "--uses", "0", "--role", "viewer")["token"]
    assert _asked(parts.url, viewer, "agent.complete", asked)["error"]["code"] == -32001
    said = parts.json("prompt", "backend", "hello")
    assert parts.json("queue", "backend") == []
    assert parts.run("queue", "backend", "--cancel", said["id"]).code == 1


def test_a_picture_from_a_file_goes_with_a_prompt(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "screen.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    done = parts.run("prompt", "backend", "see", "--image", str(tmp_path / "screen.png"))
    assert (done.code, done.out) == (0, "backend has it\n")
    with Running("attach", "backend", HYPERPI_HOME=str(parts.home)) as attached:
        attached.wait_for("you said: see and showed image/png")


# --- the node is restarted: those before it have agents that do not dial again ---------------------------


def test_a_joined_machine_whose_node_was_stopped_starts_it_again_by_joining(parts: Parts) -> None:
    for flags in ([], ["127.0.0.1:9"]):
        done = parts.run("node", "join", *flags, "--no-mdns")
        named = "in the mesh" if flags else "already, as den; its node runs"
        assert named in (done.err if flags else done.out)
        assert done.code == (1 if flags else 0)
    stopped = parts.run("node", "stop")
    assert stopped.out.startswith("the node has ended; its agents go on")
    assert "hyperpi node join" in stopped.out
    assert parts.run("node", "join", "--json", "--no-mdns").json["name"] == "den"
    assert [one["state"] for one in parts.json("node", "ls")] == ["online"]
