"""What an admin is told over /ws about who is let in, and who is told none of it."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from live import COMMAND, PATIENCE_S, TOKEN, Json, Program, System, http, new_system
from test_live_gate import create, new_cookie

from hyperpi import roles
from hyperpi.clock import from_rfc3339
from hyperpi.holder import holder_of

ADMINS = sorted(method for method, role in roles.METHOD_ROLES.items() if role == roles.ADMIN)
PARAMS: dict[str, Json] = {
    "token.create": {"role": "admin"},
    "token.revoke": {"id": "x"},
    "session.revoke": {"id": "x"},
    "node.approve": {"code": "123456"},
    "node.deny": {"code": "123456"},
    "node.revoke": {"node": "den"},
}


def told_of_trust(program: Program) -> bool:
    return any(notice["method"] == "trust.changed" for notice in program.notices)


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_nothing_of_the_mesh_page_is_for_who_is_no_admin(system: System, role: str):
    made = await create(system, role=role)
    async with system.program(token=made["token"]) as nobody:
        for method in ADMINS:
            assert await nobody.code_of(method, **PARAMS.get(method, {})) == -32001, method
    async with system.owner() as owner:
        assert [node["name"] for node in (await owner.call("mesh.get", {}, 10))["nodes"]] == ["den"]


async def test_a_change_is_told_to_admins_and_to_nobody_else(system: System):
    admin_token = (await create(system, role="admin"))["token"]
    async with system.program() as operator, system.program(token=admin_token) as admin:
        for program in (operator, admin):
            await program.call("mesh.get")
        made = await create(system, role="viewer", name="wall")
        await admin.until(lambda: told_of_trust(admin), "a notice")
        listed = (await admin.call("token.ls"))["tokens"]
        assert made["id"] in {token["id"] for token in listed}
        await operator.call("mesh.get")  # one more answer, so that an earlier notice would have come
        assert not told_of_trust(operator)


async def test_a_token_in_use_shows_when_and_from_where(system: System):
    made = await create(system, role="viewer", name="wall")

    async def listed(admin: Any) -> Json:
        rows = (await admin.call("token.ls", {}, 10))["tokens"]
        found: Json = next(row for row in rows if row["id"] == made["id"])
        return found

    async with system.owner() as owner:
        assert (await listed(owner))["last_used"] is None
        async with system.program(token=made["token"]) as viewer:
            await viewer.call("mesh.get")
        token = await listed(owner)
        assert from_rfc3339(token["created"]) <= from_rfc3339(token["last_used"]) + 0.001
        assert (token["last_from"], token["revoked"], token["uses_left"]) == ("127.0.0.1", False, None)


async def test_a_page_knows_which_session_is_its_own(system: System):
    cookie = await new_cookie(system)
    await new_cookie(system)
    me = (await http(f"{system.url}/me", ("Cookie", cookie))).json
    async with system.program(cookie=cookie) as page:
        sessions = {row["id"]: row for row in (await page.call("session.ls"))["sessions"]}
        assert len(sessions) >= 2
        mine = sessions[me["credential"]]
        assert (mine["address"], mine["origin"], mine["role"]) == ("127.0.0.1", system.url, "admin")
        assert from_rfc3339(mine["expires"]) > from_rfc3339(mine["last_used"])
        await page.call("session.revoke", id=next(iter(sessions.keys() - {mine["id"]})))
        await page.call("session.ls")  # still there
    assert (await http(f"{system.url}/me", ("Cookie", cookie))).status == 200


async def test_a_machine_tells_how_old_its_certificate_is(system: System):
    async with system.program() as program:
        await program.call("mesh.get")
        [den] = program.nodes.values()
    issued, renews, expires = (
        from_rfc3339(den["certificate"][key]) for key in ("issued", "renews", "expires")
    )
    assert issued < renews < expires
    shown = system.run("node", "show", "den")
    assert "certificate" in shown.stdout
    assert "renewed in" in shown.stdout


async def test_the_trail_is_filtered_and_paged_by_the_server(system: System):
    async with system.agent("sought") as agent, system.program() as operator:
        await operator.knows(agent.id)
        for _ in range(5):
            await operator.call("agent.abort", agent=agent.id)
        async with system.owner() as owner:

            async def seqs(**wanted: Any) -> list[int]:
                page = await owner.call("audit.list", wanted, 10)
                return [row["seq"] for row in page["rows"]]

            by_name = await seqs(what="agent.abort", about="sought")
            assert len(by_name) == 10  # each of them asked and done
            assert len(await seqs(what="agent.abort", about="sought", result="done")) == 5
            assert await seqs(what="abort", about="sought@den") == by_name
            assert await seqs(what="abort", about=agent.id, who="operator") == by_name
            assert await seqs(what="abort", about="sought", who="nobody") == []
            first = await owner.call("audit.list", {"about": "sought", "limit": 3}, 10)
            rest = await seqs(about="sought", before=first["next"])
            assert [row["seq"] for row in first["rows"]] + rest == by_name
            assert (await owner.call("audit.verify", {}, 10))["broken_at"] is None


async def test_tokens_without_a_name_are_two_senders(system: System):
    made = await create(system, role="operator")
    async with system.agent("asked") as agent, system.program(token=made["token"]) as bot:
        await bot.knows(agent.id)
        assert (await bot.call("mesh.get"))["me"]["name"] == f"token:{made['id']}"
        sent = await bot.call("scroll.send", to="asked", message="hello")
        await agent.until(lambda: agent.scrolls, "the scroll")
        assert agent.scrolls[0]["from"] == f"user:token:{made['id']}"
        await bot.until(
            lambda: any(
                notice["method"] == "scroll.changed" and notice["params"]["scroll_id"] == sent["scroll_id"]
                for notice in bot.notices
            ),
            "a receipt",
        )
    assert TOKEN not in str(agent.scrolls)


def test_a_join_that_is_refused_leaves_the_machine_as_it_was(system: System):
    wrong = made_join_token(system)[:-4] + "aaaa"
    where = f"127.0.0.1:{system.said('hypivisor')['enrol_port']}"
    with new_system() as attic:
        stopped = attic.home / "node" / "stopped"
        stopped.parent.mkdir(parents=True)
        stopped.touch()
        (attic.folder / "token").write_text(wrong)
        done = attic.run("node", "join", where, "--token-file", str(attic.folder / "token"), "--no-mdns")
        assert done.returncode == 1
        assert "token" in done.stderr and "Traceback" not in done.stderr
        assert holder_of(attic.home / "node" / "lock") is None
        assert stopped.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_waits_to_be_let_in_can_give_up_and_leaves_nothing_running(system: System, number: int):
    where = f"127.0.0.1:{system.said('hypivisor')['enrol_port']}"
    with new_system() as attic:
        terminal, theirs = os.openpty()
        command = [*COMMAND, "node", "join", where, "--no-mdns"]
        asking = subprocess.Popen(
            command,
            env=attic.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            said = ""
            while "[y/N]" not in said:
                said += os.read(terminal, 4096).decode()
            asking.send_signal(number)
            assert asking.wait(PATIENCE_S) == 128 + number
            assert nodes_of(attic) == []
        finally:
            asking.kill()
            asking.wait()
            os.close(terminal)
            attic.pids |= {*nodes_of(attic)}


def nodes_of(system: System) -> list[int]:
    """Processes that run a node for a home, whether they have come up or not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            argv = path.read_bytes().decode().split("\0")
            if "run" in argv and str(system.home) in argv:
                found.append(int(path.parent.name))
    return found


def made_join_token(system: System) -> str:
    made: Json = json.loads(system.run("token", "create", "--role", "node", "--json").stdout)
    return str(made["token"])
