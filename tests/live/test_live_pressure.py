"""Guards while a lot happens: a thousand logins, one link for fifty, a machine revoked as it speaks."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Iterator

import grpc
import pytest
from live import PATIENCE_S, SOON_S, TOKEN, System, http, join, new_system, until
from test_live_gate import login, login_code, new_cookie

from hyperpi import channels, tls
from hyperpi.wire.hyperpi.v1 import console_pb2, console_pb2_grpc
from node import identity

AT_ONCE = 50
TRIES = 1_000
LOOKED_AT = 10  # wrong guesses of one address, before it has to wait


@pytest.fixture
def besieged() -> Iterator[System]:
    """A system of its own: nobody can log in there afterwards."""
    with new_system() as system:
        system.start()
        yield system


async def test_of_fifty_at_once_one_gets_in_and_of_a_thousand_guesses_ten_are_looked_at(besieged: System):
    cookie, code = await new_cookie(besieged), await login_code(besieged)
    answers = await asyncio.gather(*(login(besieged, code=code) for _ in range(AT_ONCE)))
    statuses = Counter(answer.status for answer in answers)
    assert statuses[200] == 1
    assert statuses[401] + statuses[429] == AT_ONCE - 1
    assert [answer.header("set-cookie") != "" for answer in answers].count(True) == 1

    for number in range(0, TRIES, AT_ONCE):
        guesses = (login(besieged, code=f"guess-{number + n}") for n in range(AT_ONCE))
        statuses += Counter(answer.status for answer in await asyncio.gather(*guesses))
    assert statuses == {200: 1, 401: LOOKED_AT, 429: TRIES + AT_ONCE - 1 - LOOKED_AT}
    # Nor does the right one work now, from there; loopback is no exception.
    assert (await login(besieged, code=await login_code(besieged))).status == 429
    assert (await login(besieged, token=TOKEN)).status == 429
    # Who was inside stays, and the owner is never kept out.
    assert (await http(f"{besieged.url}/me", ("Cookie", cookie))).status == 200
    async with besieged.owner() as owner:
        assert len((await owner.call("session.ls", {}, 10))["sessions"]) == 2
        wanted = {"what": "login", "result": "refused", "limit": 500}
        assert len((await owner.call("audit.list", wanted, 10))["rows"]) == 10  # the others are counted
        assert (await owner.call("audit.verify", {}, 10))["broken_at"] is None


async def test_the_limit_outlives_a_restart(besieged: System):
    for number in range(LOOKED_AT):
        assert (await login(besieged, code=f"guess-{number}")).status == 401
    await asyncio.to_thread(besieged.end_up)
    await asyncio.to_thread(besieged.start)
    assert (await login(besieged, code=await login_code(besieged))).status == 429


async def test_a_revoked_machine_is_cut_off_in_the_middle_of_what_it_says():
    with new_system() as system, new_system() as attic:
        await asyncio.to_thread(system.start)
        await asyncio.to_thread(join, attic, system)
        member = identity.load(attic.home / "node" / "identity")
        assert member is not None
        address = f"127.0.0.1:{system.said('hypivisor')['grpc_port']}"
        with attic.agent_process("talker") as talker:
            agent = (await asyncio.to_thread(talker.registered))["agent"]
            async with (
                system.program() as viewer,
                system.owner() as owner,
                channels.open_channel(address, identity=member.identity) as channel,
            ):
                await viewer.knows(agent)
                told = await viewer.attach("talker@attic")
                await viewer.call("agent.prompt", agent="talker@attic", text="chatter 500", id="p-1")
                await viewer.until(lambda: len(told.of_type("text_delta")) > 100, "a busy stream")
                stub = console_pb2_grpc.ConsoleStub(channel)
                watches = [stub.Watch(console_pb2.WatchRequest()) for _ in range(10)]
                await asyncio.gather(*(watch.read() for watch in watches))
                calling = [asyncio.create_task(call_on_and_on(stub)) for _ in range(10)]

                await owner.call("node.revoke", {"node": "attic"}, 10)

                # Once this is answered, so is all that was on its way before; nothing comes after it.
                assert [node["name"] for node in (await viewer.call("mesh.get"))["nodes"]] == ["den"]
                heard = len(told.of_type("text_delta"))
                said = len(talker.did("prompt"))
                for _ in range(50):
                    assert agent not in {a["id"] for a in (await viewer.call("mesh.get"))["agents"]}
                assert (len(told.of_type("text_delta")), len(talker.did("prompt"))) == (heard, said)
                async with asyncio.timeout(PATIENCE_S):
                    codes = await asyncio.gather(*calling)
                    for watch in watches:
                        with contextlib.suppress(grpc.aio.AioRpcError):
                            while await watch.read() is not grpc.aio.EOF:
                                pass
                assert set(codes) <= {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}
                assert await handshakes(address, member.identity) == {grpc.StatusCode.PERMISSION_DENIED}
        refused = until(lambda: attic.said("node").get("refused"), "the node knows why")
        assert "revoked" in refused and not attic.said("node")["linked"]


async def call_on_and_on(stub: console_pb2_grpc.ConsoleStub) -> grpc.StatusCode:
    """Ask until it is refused; how."""
    request = console_pb2.ConsoleCall(method="mesh.get", params_json=b"{}")
    while True:
        try:
            reply = await stub.Call(request, timeout=SOON_S)
        except grpc.aio.AioRpcError as exc:
            return exc.code()
        if reply.HasField("error"):
            return grpc.StatusCode.PERMISSION_DENIED


async def handshakes(address: str, who: tls.Identity) -> set[grpc.StatusCode]:
    """How twenty new connections with a revoked certificate end."""

    async def one() -> grpc.StatusCode:
        async with channels.open_channel(address, identity=who) as channel:
            return await call_on_and_on(console_pb2_grpc.ConsoleStub(channel))

    return set(await asyncio.gather(*(one() for _ in range(20))))


async def test_beyond_loopback_the_page_is_there_by_tls_alone():
    with new_system() as system:
        await asyncio.to_thread(system.start, "--host", "0.0.0.0")
        assert system.url.startswith("https://")
        port = system.said("hypivisor")["port"]
        trusted = ssl.create_default_context(cafile=str(system.home / "hypivisor" / "ca.pem"))

        async def said(context: ssl.SSLContext | None, request: str) -> str:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                async with asyncio.timeout(SOON_S):
                    writer.write(request.encode())
                    return (await reader.read(4_096)).decode("utf-8", "replace")
            finally:
                writer.close()

        host = f"127.0.0.1:{port}"
        asked = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert (await said(trusted, asked)).startswith("HTTP/1.1 200")
        with pytest.raises(ssl.SSLCertVerificationError):
            await said(ssl.create_default_context(), asked)
        assert "HTTP" not in await said(None, asked)
        body = f'{{"token": "{TOKEN}"}}'
        head = f"Host: {host}\r\nOrigin: https://{host}\r\nContent-Length: {len(body)}\r\nConnection: close"
        opened = (await said(trusted, f"POST /login HTTP/1.1\r\n{head}\r\n\r\n{body}")).lower()
        assert opened.startswith("http/1.1 200")
        assert {"; secure", "; httponly", "; samesite=strict"} <= {
            f"; {part.strip()}" for part in opened.partition("set-cookie:")[2].partition("\r\n")[0].split(";")
        }
