"""Asking a Pi-DE elsewhere: addresses, tokens, and what is said when it does not let us in."""

import http
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_mesh import Mesh, Refused, agent
from cli_process import Run
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from hyperpi.cli.remote import parse_remote
from hyperpi.errors import BadRequest, RefusedByPolicy

TOKEN = "hp1u-abc.secret"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:4000", "ws://127.0.0.1:4000/ws"),
        ("localhost", "ws://localhost:31415/ws"),
        ("[::1]:4000", "ws://[::1]:4000/ws"),
        ("http://127.0.0.1:4000", "ws://127.0.0.1:4000/ws"),
        ("http://localhost:4000/", "ws://localhost:4000/ws"),
        ("ws://127.0.0.1:4000/ws", "ws://127.0.0.1:4000/ws"),
        ("https://me.example", "wss://me.example/ws"),
        ("https://me.example/pi/", "wss://me.example/pi/ws"),
        ("wss://me.example:8443", "wss://me.example:8443/ws"),
        ("den.local:31415", "wss://den.local:31415/ws"),
        ("den.local", "wss://den.local:31415/ws"),
    ],
)
def test_every_form_of_an_address_is_read(text: str, url: str):
    assert parse_remote(text).url == url


@pytest.mark.parametrize(
    "text",
    ["", "ftp://x", "http://", "http://u:p@x", "127.0.0.1:port", "x?y=1", "127.0.0.1:99999", "http://[bad"],
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(BadRequest):
        parse_remote(text)


@pytest.mark.parametrize("text", ["http://den.local", "ws://10.0.0.7:31415", "http://127.evil.example"])
def test_a_token_never_travels_in_clear_text(text: str):
    with pytest.raises(RefusedByPolicy, match="clear text"):
        parse_remote(text)


@dataclass
class Front:
    """A stand-in for Pi-DE: /ws behind a token, over a stand-in mesh."""

    address: str
    mesh: Mesh
    headers: list[str]
    status: int = 0  # answers this instead of letting anybody in


@pytest.fixture
def front(home: Path) -> Iterator[Front]:
    mesh = Mesh()
    mesh.add(agent("far"))
    found = Front("", mesh, [])

    def admit(connection: ServerConnection, request: Request) -> Response | None:
        found.headers.append(request.headers.get("Authorization", ""))
        if found.status:
            return connection.respond(http.HTTPStatus(found.status), '{"error": "not so"}')
        if request.headers.get("Authorization") != f"Bearer {TOKEN}" or request.path != "/ws":
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED, '{"error": "the token is not known here"}'
            )
        return None

    def answer(connection: ServerConnection) -> None:
        for message in connection:
            request = json.loads(message)
            try:
                result = {"result": mesh.answer(request["method"], request["params"])}
            except Refused as exc:
                result = {"error": exc.error}
            connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], **result}))

    with serve(answer, "127.0.0.1", 0, process_request=admit) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found.address = f"127.0.0.1:{server.socket.getsockname()[1]}"
        yield found
        server.shutdown()
    thread.join()


def test_hypivisor_and_token_of_the_environment_are_used(
    front: Front, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HYPIVISOR", front.address)
    monkeypatch.setenv("HYPI_TOKEN", TOKEN)
    done = run("ls", "--json")
    assert done.err == ""
    assert [one["name"] for one in done.json] == ["far"]
    assert run("show", "far").code == 0


def test_flags_name_the_address_and_a_file_with_the_token(front: Front, run: Run, tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    done = run("ls", "--json", "--hypivisor", f"http://{front.address}", "--token-file", str(file))
    assert [one["name"] for one in done.json] == ["far"]


def test_without_a_token_nobody_is_asked(front: Front, run: Run):
    done = run("ls", "--hypivisor", front.address)
    assert done.code == 1
    assert "no token for 127.0.0.1" in done.err
    assert front.headers == []


def test_a_wrong_token_is_told_in_the_servers_words(front: Front, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HYPI_TOKEN", "hp1u-wrong.secret")
    done = run("ls", "--hypivisor", front.address)
    assert done.code == 1
    assert "does not accept this token: the token is not known here" in done.err
    assert "hp1u-wrong" not in done.err


@pytest.mark.parametrize(("status", "code"), [(403, 1), (429, 1), (404, 3), (502, 3)])
def test_other_answers_are_told(
    front: Front, run: Run, monkeypatch: pytest.MonkeyPatch, status: int, code: int
):
    monkeypatch.setenv("HYPI_TOKEN", TOKEN)
    front.status = status
    done = run("ls", "--hypivisor", front.address)
    assert done.code == code
    assert "not so" in done.err


def test_nobody_there_is_exit_code_3(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HYPI_TOKEN", TOKEN)
    done = run("ls", "--hypivisor", "127.0.0.1:1")
    assert done.code == 3
    assert "no Pi-DE answers at ws://127.0.0.1:1/ws" in done.err


@pytest.mark.parametrize("content", ["", "two words", "x" * 5_000])
def test_a_file_that_holds_no_token_is_told(front: Front, run: Run, tmp_path: Path, content: str):
    file = tmp_path / "token"
    file.write_text(content)
    done = run("ls", "--hypivisor", front.address, "--token-file", str(file))
    assert done.code == 1
    assert "does not hold a token" in done.err


def test_a_token_with_a_newline_in_it_is_no_header(front: Front, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HYPI_TOKEN", "x\r\nHost: elsewhere")
    assert run("ls", "--hypivisor", front.address).code == 1
    assert front.headers == []
