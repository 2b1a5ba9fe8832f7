"""Who is let in, from where, and for how long: HTTP and WebSocket alike."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from live import TOKEN, Answer, Json, Refused, System, handshake, http, socket_to

FOREIGN = "https://evil.example"


@dataclass(frozen=True)
class Guests:
    """Credentials of one system by their names."""

    headers: dict[str, tuple[str, str]]

    def __getitem__(self, name: str) -> tuple[tuple[str, str], ...]:
        return () if name == "none" else (self.headers[name],)


async def create(system: System, **wanted: Any) -> Json:
    """A token, as the owner makes it."""
    async with system.owner() as owner:
        made: Json = await owner.call("token.create", wanted, 10)
        return made


async def login_code(system: System) -> str:
    """The code in a new login link."""
    async with system.owner() as owner:
        link = await owner.call("login.create", {}, 10)
    assert link["url"].startswith(f"{system.url}/#login=")
    return str(link["url"].partition("#login=")[2])


async def login(system: System, **body: str) -> Answer:
    """POST /login from our own page."""
    return await http(f"{system.url}/login", ("Origin", system.url), method="POST", body=body)


async def new_cookie(system: System) -> str:
    """A session's cookie as a browser sends it back."""
    answer = await login(system, code=await login_code(system))
    assert answer.status == 200
    return answer.header("set-cookie").partition(";")[0]


@pytest.fixture
async def guests(system: System) -> Guests:
    """One of each; the sessions and tokens end with the system."""
    viewer = (await create(system, role="viewer"))["token"]
    cookie = await new_cookie(system)
    name = cookie.partition("=")[0]
    return Guests(
        {
            "wrong": ("Authorization", "Bearer wrong"),
            "viewer": ("Authorization", f"Bearer {viewer}"),
            "operator": ("Authorization", f"Bearer {TOKEN}"),
            "basic": ("Authorization", f"Basic {TOKEN}"),
            "cookie": ("Cookie", cookie),
            "wrong cookie": ("Cookie", f"{name}=wrong"),
            "other cookie": ("Cookie", cookie.replace(name, "another-mesh")),
            "protocol": ("Sec-WebSocket-Protocol", f"hyperpi, bearer.{viewer}"),
            "wrong protocol": ("Sec-WebSocket-Protocol", "hyperpi, bearer.wrong"),
        }
    )


def place(system: System, name: str) -> tuple[tuple[str, str], ...]:
    """Where a request says that it comes from, and to whom."""
    port = system.said("hypivisor")["port"]
    return {
        "no page": (),
        "our page": (("Origin", system.url),),
        "localhost": (("Origin", f"http://localhost:{port}"), ("Host", f"localhost:{port}")),
        "foreign page": (("Origin", FOREIGN),),
        "our name, other port": (("Origin", "http://127.0.0.1:1"),),
        "our place by TLS": (("Origin", system.url.replace("http", "https")),),
        "page from disk": (("Origin", "null"),),
        "foreign host": (("Host", "evil.example"),),
        "foreign host, our port": (("Host", f"evil.example:{port}"),),
        "foreign host and page": (("Host", "evil.example"), ("Origin", FOREIGN)),
    }[name]


NOT_OURS = {
    "foreign page": 403,
    "our name, other port": 403,
    "our place by TLS": 403,
    "foreign host": 400,
    "foreign host, our port": 400,
    "foreign host and page": 400,
}
GOOD = ("viewer", "operator", "cookie")
BAD = ("none", "wrong", "basic", "wrong cookie", "other cookie")


async def test_http_lets_in_whoever_brings_a_credential_to_our_place(system: System, guests: Guests):
    async def status(who: str, where: str) -> int:
        return (await http(f"{system.url}/me", *guests[who], *place(system, where))).status

    for where in ("no page", "our page"):
        assert {who: await status(who, where) for who in GOOD} == dict.fromkeys(GOOD, 200)
    assert {who: await status(who, "no page") for who in BAD} == dict.fromkeys(BAD, 401)
    for where, refusal in NOT_OURS.items():
        found = {who: await status(who, where) for who in ("none", *GOOD)}
        assert found == dict.fromkeys(("none", *GOOD), refusal), where
    # A page from disk has an origin that every such page shares: a cookie alone is never enough.
    assert {who: await status(who, "page from disk") for who in ("none", "cookie")} == {
        "none": 403,
        "cookie": 403,
    }
    # A session belongs to the origin that it was opened from.
    assert [await status(who, "localhost") for who in ("operator", "cookie")] == [200, 401]


async def test_a_websocket_is_refused_before_the_upgrade(system: System, guests: Guests):
    async def status(who: str, where: str) -> int:
        return (await handshake(system.ws, *guests[who], *place(system, where))).status

    good, bad = (*GOOD, "protocol"), (*BAD, "wrong protocol")
    assert {who: await status(who, "our page") for who in good} == dict.fromkeys(good, 101)
    # A cookie counts only from our own pages; a token is a program's, which has none.
    assert {who: await status(who, "no page") for who in good} == dict.fromkeys(good, 101) | {"cookie": 403}
    assert {who: await status(who, "our page") for who in bad} == dict.fromkeys(bad, 401)
    for where, refusal in NOT_OURS.items():
        found = {who: await status(who, where) for who in ("none", *good)}
        assert found == dict.fromkeys(("none", *good), refusal), where
    assert await status("protocol", "page from disk") == 101
    assert await status("wrong protocol", "page from disk") == 401
    assert {who: await status(who, "page from disk") for who in ("none", "cookie")} == {
        "none": 403,
        "cookie": 403,
    }
    assert [await status(who, "localhost") for who in ("protocol", "cookie")] == [101, 401]
    assert "ERROR" not in (system.folder / "up.out").read_text()  # a refusal is no error of ours


async def test_the_subprotocol_that_is_chosen_never_shows_the_token(system: System, guests: Guests):
    answer = await handshake(system.ws, *guests["protocol"])
    assert answer.header("sec-websocket-protocol") == "hyperpi"
    assert (await handshake(system.ws, *guests["operator"])).header("sec-websocket-protocol") == ""


async def test_a_refusal_is_one_line_that_says_what_to_do(system: System):
    answer = await http(f"{system.url}/me")
    assert (answer.status, set(answer.json)) == (401, {"error", "hint"})
    assert "hyperpi login" in answer.json["hint"]


async def test_what_is_public_holds_no_data_and_the_rest_needs_a_credential(system: System, guests: Guests):
    for path in ("", "healthz", "static/main.js"):
        answer = await http(f"{system.url}/{path}")
        assert answer.status == 200, path
        assert "default-src 'self'" in answer.header("content-security-policy")
        assert answer.header("x-content-type-options") == "nosniff"
    for path in ("me", "metrics", "nodes/den/8.png"):
        assert (await http(f"{system.url}/{path}")).status == 401, path
        assert (await http(f"{system.url}/{path}", *guests["viewer"])).status == 200, path
    for path in ("nothing", "static/../app.py", "static/%2e%2e/app.py", "nodes/den/x.png", ".env"):
        assert (await http(f"{system.url}/{path}")).status == 404, path
    assert (await http(f"{system.url}/nodes/den/9.png", *guests["viewer"])).status == 404
    assert (await http(f"{system.url}/me", ("Origin", system.url), method="DELETE")).status == 405


async def test_no_other_site_is_ever_told_that_it_may_read_an_answer(system: System, guests: Guests):
    asks = (("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization"))
    for path in ("", "healthz", "me", "metrics", "login", "logout", "ws", "static/main.js", "nothing"):
        for origin in (FOREIGN, system.url, "null"):
            for method in ("OPTIONS", "GET", "POST"):
                headers = (("Origin", origin), *asks, *guests["viewer"])
                answer = await http(f"{system.url}/{path}", *headers, method=method)
                told = [name for name, _ in answer.headers if name.startswith("access-control-")]
                assert told == [], (path, origin, method)
                assert method != "OPTIONS" or answer.status >= 400


async def test_me_says_who_one_is(system: System, guests: Guests):
    by_token = (await http(f"{system.url}/me", *guests["viewer"])).json
    by_cookie = (await http(f"{system.url}/me", *guests["cookie"])).json
    assert (by_token["role"], by_cookie["role"]) == ("viewer", "admin")


# --- logging in and out ----------------------------------------------------------------------------------


async def test_a_login_link_works_once(system: System):
    code = await login_code(system)
    first = await login(system, code=code)
    assert (first.status, first.json["role"]) == (200, "admin")
    flags = {part.strip().lower() for part in first.header("set-cookie").split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    second = await login(system, code=code)
    assert (second.status, second.header("set-cookie")) == (401, "")


async def test_a_login_from_a_foreign_page_is_refused_and_the_link_still_works(system: System):
    code = await login_code(system)
    url = f"{system.url}/login"
    foreign = await http(url, ("Origin", FOREIGN), method="POST", body={"code": code})
    assert foreign.status == 403
    assert (await login(system, code=code)).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"code": 7}, 400),
        ({"code": "a", "token": "b"}, 400),
        ({"code": "x" * 70_000}, 413),
    ],
    ids=["nothing", "list", "number", "both", "large"],
)
async def test_a_login_without_a_code_or_token_is_a_bad_request(system: System, body: Any, status: int):
    answer = await http(f"{system.url}/login", ("Origin", system.url), method="POST", body=body)
    assert answer.status == status


async def test_logging_out_ends_the_session_and_its_open_page(system: System):
    cookie, kept = await new_cookie(system), await new_cookie(system)
    async with system.program(cookie=cookie) as page, system.program(cookie=kept) as other:
        assert (await page.call("mesh.get"))["me"]["role"] == "admin"
        foreign = await http(f"{system.url}/logout", ("Cookie", cookie), ("Origin", FOREIGN), method="POST")
        assert foreign.status == 403
        answer = await http(f"{system.url}/logout", ("Cookie", cookie), ("Origin", system.url), method="POST")
        assert answer.status == 200
        assert await page.closed() == 4001
        assert (await http(f"{system.url}/me", ("Cookie", cookie))).status == 401
        assert (await other.call("mesh.get"))["nodes"]


async def test_revoking_a_token_ends_its_connections_and_the_sessions_opened_with_it(system: System):
    made, kept = await create(system, role="operator"), await create(system, role="operator")
    opened = await login(system, token=made["token"])
    assert (opened.status, opened.json["role"]) == (200, "operator")
    cookie = opened.header("set-cookie").partition(";")[0]
    async with (
        system.program(token=made["token"]) as program,
        system.program(cookie=cookie) as page,
        system.program(token=kept["token"]) as other,
        system.owner() as owner,
    ):
        await asyncio.gather(*(one.call("mesh.get") for one in (program, page, other)))
        await owner.call("token.revoke", {"id": made["id"]}, 10)
        assert [await program.closed(), await page.closed()] == [4001, 4001]
        assert (await other.call("mesh.get"))["nodes"]
    assert (await http(f"{system.url}/me", ("Authorization", f"Bearer {made['token']}"))).status == 401
    assert (await http(f"{system.url}/me", ("Cookie", cookie))).status == 401


async def test_a_token_ends_with_its_uses_and_with_its_time(system: System):
    once = ("Authorization", f"Bearer {(await create(system, role='viewer', uses=1))['token']}")
    assert [(await http(f"{system.url}/me", once)).status for _ in range(2)] == [200, 401]
    late = ("Authorization", f"Bearer {(await create(system, role='viewer', ttl_s=0.001))['token']}")
    assert (await http(f"{system.url}/me", late)).status == 401
    node = ("Authorization", f"Bearer {(await create(system, role='node'))['token']}")
    assert (await http(f"{system.url}/me", node)).status == 401  # a machine's right to join, and no more


# --- roles -----------------------------------------------------------------------------------------------

CHANGES = {
    "agent.prompt": {"agent": "watched", "text": "hello"},
    "agent.abort": {"agent": "watched"},
    "agent.stop": {"agent": "watched"},
    "agent.forget": {"agent": "watched"},
    "agent.resume": {"agent": "watched"},
    "agent.rename": {"agent": "watched", "name": "mine"},
    "node.folders": {"node": "den"},
    "node.spawn": {"node": "den", "path": "/", "request_id": "r1"},
    "scroll.send": {"to": "watched", "message": "hello"},
}
TRUST = {
    "token.create": {"role": "admin"},
    "token.ls": {},
    "token.revoke": {"id": "x"},
    "node.approve": {"code": "123456"},
    "node.revoke": {"node": "den"},
}


async def test_a_viewer_reads_and_changes_nothing(system: System):
    made = await create(system, role="viewer")
    async with system.agent("watched") as agent, system.program(token=made["token"]) as viewer:
        await viewer.knows(agent.id)
        told = await viewer.attach("watched")
        await agent.say("for all to see")
        await viewer.until(lambda: told.of_type("message_end"))
        for method, params in {**CHANGES, **TRUST}.items():
            with pytest.raises(Refused) as refusal:
                await viewer.call(method, **params)
            assert refusal.value.code == -32001, method
            assert "hint" in refusal.value.data, method
        assert (agent.prompts, agent.scrolls, agent.asked) == ([], [], [])


async def test_an_operator_is_no_admin_and_an_admin_is_an_operator(system: System):
    made = await create(system, role="admin")
    async with system.program() as operator, system.program(token=made["token"]) as admin:
        for method, params in TRUST.items():
            assert await operator.code_of(method, **params) == -32001, method
        assert await admin.call("token.ls")
        assert (await admin.call("node.folders", node="den"))["folders"] == []


async def test_whose_token_it_is_is_what_others_see(system: System):
    made = await create(system, role="operator", name="release-bot")
    async with system.agent("asked") as agent, system.program(token=made["token"]) as bot:
        await bot.knows(agent.id)
        assert (await bot.call("mesh.get"))["me"]["name"] == "release-bot"
        sent = await bot.call("scroll.send", to="asked", message="hello", **{"from": "user:somebody-else"})
        await agent.until(lambda: agent.scrolls, "the scroll")
        assert (agent.scrolls[0]["scroll_id"], agent.scrolls[0]["from"]) == (
            sent["scroll_id"],
            "user:release-bot",
        )


async def test_guessing_is_slowed_down_and_who_is_inside_stays_there(system: System):
    cookie = await new_cookie(system)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with socket_to(system.ws, **headers) as inside:
        statuses = [
            (await http(f"{system.url}/me", ("Authorization", f"Bearer guess-{n}"))).status for n in range(12)
        ]
        assert set(statuses) == {401, 429}
        assert statuses == sorted(statuses)
        assert (await http(f"{system.url}/me", ("Cookie", cookie))).status == 200
        await inside.send('{"jsonrpc":"2.0","id":1,"method":"mesh.get","params":{}}')
        assert json.loads(await asyncio.wait_for(inside.recv(), 10))["result"]["nodes"]
    async with system.owner() as owner:  # nor can it lock the owner out
        assert await owner.call("token.ls", {}, 10)
