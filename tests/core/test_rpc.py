"""JSON-RPC on real Unix sockets: both sides ask, nonsense is answered, and the stream lives."""

import asyncio
import contextlib
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hyperpi import lines
from hyperpi.contract import MAX_FRAME_BYTES
from hyperpi.errors import Conflict, HyperPiError, NodeUnreachable, NotFound, Overloaded, UnknownMethod
from hyperpi.lines import Lines
from hyperpi.rpc import MAX_IN_FLIGHT, MAX_WAITING, Connection, Handler

PATIENCE_S = 10.0


def echo(method: str, raw: msgspec.Raw) -> Any:
    """A small server."""
    params = msgspec.json.decode(raw)
    match method:
        case "echo":
            return params
        case "later":
            return _later(params)
        case "fail":
            raise NotFound("no agent x", hint="look", data={"candidates": ["y"]})
        case "bug":
            raise KeyError("the secret is 42")
        case _:
            raise UnknownMethod(f"there is no method {method}")


async def _later(params: Any) -> Any:
    await asyncio.sleep(0)
    if "fail" in params:
        raise Conflict(params["fail"])
    return params


@pytest.fixture
def path() -> Any:
    with tempfile.TemporaryDirectory(prefix="hpc-") as folder:
        yield Path(folder) / "s"


Served = Callable[[Handler], Any]


@pytest.fixture
async def serve(path: Path) -> AsyncIterator[Served]:
    """Serve a handler on the socket; every connection's server side, as it comes."""
    serving: list[asyncio.Task[None]] = []

    async def begin(handler: Handler) -> "asyncio.Queue[Lines]":
        accepted: asyncio.Queue[Lines] = asyncio.Queue()
        listening = asyncio.Event()

        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _pid: int) -> None:
            peer = Lines(reader, writer, handler)
            accepted.put_nowait(peer)
            await peer.run()

        serving.append(asyncio.create_task(lines.serve(path, serve_one, listening.set)))
        waiting = asyncio.create_task(listening.wait())
        await asyncio.wait({serving[-1], waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
        waiting.cancel()
        if serving[-1].done():
            serving.pop().result()
        return accepted

    yield begin
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    assert not path.exists()


@contextlib.asynccontextmanager
async def dialled(path: Path, handler: Handler = echo) -> AsyncIterator[Lines]:
    peer = await lines.dial(path, handler)
    running = asyncio.ensure_future(peer.run())
    try:
        yield peer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Raw:
    """A peer that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, line: bytes) -> dict[str, Any]:
        self.writer.write(line + b"\n")
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.reader.readline())

    async def lives(self) -> bool:
        """Whether the stream still answers, in its order."""
        answer = await self.ask(b'{"jsonrpc":"2.0","id":99,"method":"echo","params":{"still":1}}')
        return answer == {"jsonrpc": "2.0", "id": 99, "result": {"still": 1}}


@pytest.fixture
async def raw(serve: Served, path: Path) -> AsyncIterator[Raw]:
    await serve(echo)
    reader, writer = await asyncio.open_unix_connection(str(path), limit=4 << 20)
    yield Raw(reader, writer)
    writer.close()


# --- asking ---------------------------------------------------------------------------------------------


async def test_both_sides_ask_and_are_answered(serve, path):
    accepted = await serve(echo)
    async with dialled(path) as here:
        there = await accepted.get()
        assert await here.rpc.call("echo", {"a": "é"}, PATIENCE_S) == {"a": "é"}
        assert await there.rpc.call("later", {"b": 2}, PATIENCE_S) == {"b": 2}


async def test_many_questions_at_once_get_each_its_own_answer(serve, path):
    accepted = await serve(echo)
    async with dialled(path) as here:
        there = await accepted.get()
        asked = [here.rpc.call("later", {"n": n}, PATIENCE_S) for n in range(100)]
        asked += [there.rpc.call("echo", {"n": n}, PATIENCE_S) for n in range(100)]
        answers = await asyncio.gather(*asked)
    assert [answer["n"] for answer in answers] == [*range(100), *range(100)]


async def test_an_error_arrives_as_its_class_with_hint_and_data(serve, path):
    await serve(echo)
    async with dialled(path) as here:
        with pytest.raises(NotFound, match="no agent x") as caught:
            await here.rpc.call("fail", {}, PATIENCE_S)
        assert (caught.value.hint, caught.value.data) == ("look", {"candidates": ["y"]})
        with pytest.raises(Conflict, match="taken"):
            await here.rpc.call("later", {"fail": "taken"}, PATIENCE_S)


async def test_a_bug_in_a_handler_is_an_answer_without_detail(serve, path, caplog):
    await serve(echo)
    async with dialled(path) as here:
        with pytest.raises(HyperPiError) as caught:
            await here.rpc.call("bug", {}, PATIENCE_S)
    assert "42" not in str(caught.value) and "42" in caplog.text


async def test_no_answer_in_time_is_the_peers_silence(serve, path):
    await serve(lambda _method, _raw: asyncio.Event().wait())
    async with dialled(path) as here:
        with pytest.raises(NodeUnreachable, match=r"no answer to echo within 0\.05 s"):
            await here.rpc.call("echo", {}, 0.05)
        assert not here.rpc._waiting


async def test_what_happens_at_an_answer_has_seen_nothing_of_what_came_after(serve, path):
    heard: list[int] = []

    def count(_method: str, raw: msgspec.Raw) -> None:
        heard.append(msgspec.json.decode(raw)["n"])

    accepted = await serve(echo)
    async with dialled(path, count) as here:
        there = await accepted.get()

        def answer_between(_method: str, _raw: msgspec.Raw) -> dict[str, int]:
            for n in range(3):
                there.rpc.notify("event", {"n": n})
            asyncio.get_running_loop().call_soon(
                lambda: [there.rpc.notify("event", {"n": n}) for n in (3, 4)]
            )
            return {}

        there.rpc._handler = answer_between
        _, seen = await here.rpc.call_raw("snapshot", {}, PATIENCE_S, at_answer=lambda: list(heard))
        assert seen == [0, 1, 2]
        there.rpc._handler = echo
        await here.rpc.call("echo", {}, PATIENCE_S)
        assert heard == [0, 1, 2, 3, 4]


async def test_requests_begin_in_the_order_of_their_arrival(serve, path):
    begun: list[int] = []

    def handler(_method: str, raw: msgspec.Raw) -> Any:
        begun.append(msgspec.json.decode(raw)["n"])
        return _later({}) if len(begun) % 2 else {}

    await serve(handler)
    async with dialled(path) as here:
        await asyncio.gather(*(here.rpc.call("x", {"n": n}, PATIENCE_S) for n in range(50)))
    assert begun == list(range(50))


async def test_a_lost_peer_fails_whoever_waits_and_whoever_asks_later(serve, path):
    accepted = await serve(lambda _method, _raw: asyncio.Event().wait())
    async with dialled(path) as here:
        there = await accepted.get()
        asked = [asyncio.ensure_future(here.rpc.call("echo", {}, PATIENCE_S)) for _ in range(3)]
        await asyncio.sleep(0)
        there.cut()
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, NodeUnreachable)
        with pytest.raises(NodeUnreachable, match="has ended"):
            await here.rpc.call("echo", {}, PATIENCE_S)


async def test_what_was_being_done_for_a_lost_peer_is_cancelled(serve, path):
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    accepted = await serve(lambda _method, _raw: work())
    async with dialled(path) as here:
        await accepted.get()
        asked = asyncio.ensure_future(here.rpc.call("work", {}, PATIENCE_S))
        await asyncio.sleep(0.01)
        here.cut()
        async with asyncio.timeout(PATIENCE_S):
            await cancelled.wait()
        await asyncio.gather(asked, return_exceptions=True)


async def test_a_peer_that_answers_nothing_is_not_asked_without_end():
    connection = Connection(lambda _: None, echo)
    asked = [asyncio.ensure_future(connection.call("x", {}, PATIENCE_S)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await connection.call("x", {}, PATIENCE_S)
    await connection.close()
    await asyncio.gather(*asked, return_exceptions=True)


# --- nonsense -------------------------------------------------------------------------------------------

NONSENSE = {
    "no JSON": (b"hello", -32700),
    "half a message": (b'{"jsonrpc":"2.0","id":1', -32700),
    "bytes that are no UTF-8": (b'{"id":1,"method":"echo","params":{"t":"\xff\xfe"}}', -32700),
    "a lone surrogate": (b'{"id":1,"method":"echo","params":{"t":"\\ud800"}}', -32700),
    "not a number": (b'{"id":1,"method":"echo","params":{"t":NaN}}', -32700),
    "a hundred thousand deep": (
        b'{"id":1,"method":"echo","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        -32700,
    ),
    "a batch": (b'[{"id":1,"method":"echo"}]', -32600),
    "a number": (b"3", -32600),
    "nothing in it": (b"{}", -32600),
    "a method that is no text": (b'{"id":1,"method":3}', -32600),
    "an id that is an object": (b'{"id":{},"method":"echo"}', -32600),
    "an empty error": (b'{"id":1,"error":{}}', -32600),
}


@pytest.mark.parametrize(("line", "code"), NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_gets_a_typed_answer_and_the_stream_lives(raw, line, code):
    answer = await raw.ask(line)
    assert (answer["id"], answer["error"]["code"]) == (None, code)
    assert "Traceback" not in json.dumps(answer)
    assert await raw.lives()


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","method":"echo","params":{}}',
        b'{"jsonrpc":"2.0","method":"no.such","params":{}}',
        b'{"jsonrpc":"2.0","id":7,"result":{}}',
        b'{"jsonrpc":"2.0","id":"x","result":{}}',
        b'{"jsonrpc":"2.0","id":7,"error":{"code":-1}}',
        b"",
        b"   ",
    ],
    ids=["notification", "unknown notification", "late answer", "odd id", "late error", "empty", "blank"],
)
async def test_what_needs_no_answer_gets_none(raw, line):
    raw.writer.write(line + b"\n")
    assert await raw.lives()


async def test_a_question_keeps_its_own_kind_of_id(raw):
    for number in (b'"a"', b"0", b"-5", b"null"):
        answer = await raw.ask(b'{"id":%s,"method":"echo","params":{}}' % number)
        assert answer["id"] == json.loads(number)


async def test_a_question_without_params_is_one_with_none(raw):
    assert (await raw.ask(b'{"id":1,"method":"echo"}'))["result"] == {}


async def test_a_line_of_almost_a_mebibyte_is_taken(raw):
    text = "x" * (MAX_FRAME_BYTES - 200)
    line = json.dumps({"id": 1, "method": "echo", "params": {"t": text}}).encode()
    assert (await raw.ask(line))["result"]["t"] == text


async def test_a_line_over_a_mebibyte_is_told_and_ends_the_stream(raw):
    raw.writer.write(b'{"id":1,"method":"echo","params":{"t":"' + b"x" * (MAX_FRAME_BYTES + 10) + b'"}}\n')
    answer = await raw.hear()
    assert (answer["error"]["code"], answer["id"]) == (-32700, None)
    async with asyncio.timeout(PATIENCE_S):
        assert await raw.reader.read() == b""


async def test_a_flood_is_refused_and_what_was_begun_is_finished(serve, path):
    gate = asyncio.Event()

    async def wait(_method: str, _raw: msgspec.Raw) -> dict[str, int]:
        await gate.wait()
        return {}

    await serve(wait)
    async with dialled(path) as here:
        asked = [asyncio.ensure_future(here.rpc.call("x", {}, PATIENCE_S)) for _ in range(MAX_IN_FLIGHT + 20)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 20
    assert sum(answer == {} for answer in answers) == MAX_IN_FLIGHT


# --- the socket -----------------------------------------------------------------------------------------


async def test_the_socket_is_for_its_owner_alone_and_says_who_dialled(serve, path):
    accepted = await serve(echo)
    assert path.stat().st_mode & 0o777 == 0o600
    async with dialled(path):
        there = await accepted.get()
        assert lines.peer_of(there._writer.get_extra_info("socket")) == (os.getpid(), os.getuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")
async def test_another_users_process_is_refused_although_it_can_open_the_socket(serve, tmp_path):
    with tempfile.TemporaryDirectory() as place:  # the folders above tmp_path are for their owner alone
        os.chmod(place, 0o755)
        socket_path = Path(place) / "s"
        accepted: list[int] = []

        async def serve_one(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, pid: int) -> None:
            accepted.append(pid)

        listening = asyncio.Event()
        serving = asyncio.create_task(lines.serve(socket_path, serve_one, listening.set))
        await asyncio.wait_for(listening.wait(), PATIENCE_S)
        socket_path.chmod(0o666)
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.setblocking(False)
            os.seteuid(65534)
            try:
                stranger.connect(str(socket_path))
            finally:
                os.seteuid(0)
            async with asyncio.timeout(PATIENCE_S):
                assert await asyncio.get_running_loop().sock_recv(stranger, 1) == b""
        assert accepted == []
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_socket_that_is_served_is_not_taken_over_and_a_left_over_one_is(serve, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    await serve(echo)
    with pytest.raises(Conflict, match="already served"):
        await serve(echo)
    async with dialled(path) as here:
        assert await here.rpc.call("echo", {"a": 1}, PATIENCE_S) == {"a": 1}


async def test_a_peer_that_never_reads_is_cut_off(serve, path):
    accepted = await serve(echo)
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1)
    there = await accepted.get()
    writer.transport.pause_reading()
    text = "x" * 500_000
    for _ in range(100):
        there.rpc.notify("event", {"t": text})
        await asyncio.sleep(0)
        if there._writer.transport.is_closing():
            break
    assert there._writer.transport.is_closing()
    writer.close()
    assert reader is not None
