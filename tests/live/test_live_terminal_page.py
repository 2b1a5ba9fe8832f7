"""A terminal in Pi-DE, in a real browser: seen, typed into, sized, found again, replayed."""

import asyncio
import base64
import json
import os
import re
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from live import Program, Refused, System, new_system
from live_page import CHROMIUM, PHONE, page_of
from model_server import model_server
from playwright.async_api import Page, expect
from rig import PI, PiRig

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

AWAY = "ERR_CONNECTION_REFUSED"  # what a browser says of a hypivisor that restarts


async def spawn(program: Program, system: System, *argv: str) -> str:
    folder = system.folder / "user" / "work"
    folder.mkdir(exist_ok=True)
    wanted = {"node": "den", "path": str(folder), "kind": "terminal", "args": argv}
    return str((await program.call("node.spawn", request_id=uuid.uuid4().hex, **wanted))["agent"])


@pytest.fixture
async def shell(system: System, program: Program) -> AsyncIterator[str]:
    """A shell in a terminal, by its id."""
    agent = await spawn(program, system, "sh")
    yield agent
    await program.call("agent.stop", agent=agent)


async def open_terminal(page: Page, agent: str) -> None:
    await page.evaluate("id => { location.hash = '#/a/' + id }", agent)
    await ready(page)


async def ready(page: Page) -> None:
    await page.wait_for_selector(".tty[data-ready=true] .xterm-rows")


def rows(page: Page) -> Any:
    return page.locator(".tty .xterm-rows")


async def run(page: Page, command: str) -> None:
    """Type a command; the terminal must have the focus."""
    await page.keyboard.type(command)
    await page.keyboard.press("Enter")


async def size_of(page: Page) -> tuple[int, int]:
    """What the page says that the terminal's columns and rows are."""
    told = await page.locator(".tty-size").get_attribute("data-size")
    assert told
    cols, lines = told.split("x")
    return int(cols), int(lines)


async def sized_anew(page: Page, cols: int, lines: int) -> tuple[int, int]:
    """Its next size, after this one."""
    await expect(page.locator(".tty-size")).not_to_have_attribute("data-size", f"{cols}x{lines}")
    return await size_of(page)


async def to_top(page: Page) -> None:
    """Drag the scroll bar as far up as it goes."""
    await page.locator(".tty-place").hover()
    await page.locator(".tty .scrollbar.vertical .slider").hover(force=True)
    await page.mouse.down()
    await page.mouse.move(700, 0)
    await page.mouse.up()


async def swipe(page: Page, *, down: bool) -> None:
    """One finger over the terminal, from its middle."""
    finger = await page.context.new_cdp_session(page)
    way = [300 + (20 if down else -20) * step for step in range(12)]
    await finger.send(
        "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": 200, "y": 300}]}
    )
    for y in way:
        await finger.send(
            "Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": 200, "y": y}]}
        )
    await finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


async def typed_to(program: Program, agent: str, text: str) -> None:
    await program.call("agent.input", agent=agent, data=base64.b64encode(text.encode()).decode())


async def takes_keys(program: Program, agent: str) -> None:
    """Return when its keeper has dialled the new node, of which nobody is told."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await typed_to(program, agent, "")
            except Refused:
                await asyncio.sleep(0.05)


async def test_what_is_typed_is_seen_and_seen_again_after_a_reload(system: System, shell: str):
    async with page_of(system) as page:
        await open_terminal(page, shell)
        await run(page, "echo he$((1+1))llo")
        await expect(rows(page)).to_contain_text("he2llo")
        await page.reload()
        await ready(page)
        await expect(rows(page)).to_contain_text("he2llo")
        await run(page, "printf '\\342\\230\\203 %s\\n' \"$(printf 'ä€😀' | wc -c)\"")
        await expect(rows(page)).to_contain_text("☃ 9")


async def test_colours_and_marks_are_drawn_without_a_weaker_policy(system: System, shell: str):
    async with page_of(system) as page:
        answer = await page.request.get(f"{system.url}/")
        assert "unsafe" not in answer.headers["content-security-policy"]
        await open_terminal(page, shell)
        await run(
            page, "printf '\\033[38;2;1;200;3mgreen\\033[0m \\033[31;1mred\\033[0m\\n'; echo do$((1+1))ne"
        )
        await expect(rows(page)).to_contain_text("do2ne")
        colours = await rows(page).evaluate(
            """(rows) => [...rows.querySelectorAll("span")]
                .filter((span) => ["green", "red"].includes(span.textContent))
                .map((span) => getComputedStyle(span).color)"""
        )
        assert colours == ["rgb(1, 200, 3)", "rgb(255, 154, 148)"]


async def test_the_terminal_has_the_size_of_the_pane_that_uses_it_and_others_show_all_of_it(
    system: System, program: Program, shell: str
):
    async with page_of(system) as page, page_of(system, viewport={"width": 900, "height": 600}) as other:
        await open_terminal(page, shell)
        await expect(page.locator(".tty")).to_have_attribute("data-ours", "true")  # nobody had sized it
        cols, lines = await sized_anew(page, 120, 40)
        await program.knows(shell, terminal={"cols": cols, "rows": lines})
        await run(page, "stty size")
        await expect(rows(page)).to_contain_text(f"{lines} {cols}")

        await open_terminal(other, shell)
        await expect(other.locator(".tty-note")).to_contain_text("another window")
        assert await size_of(other) == (cols, lines)
        shown = other.locator(".tty .xterm-screen")
        pane = await other.locator(".tty").bounding_box()
        seen = await shown.bounding_box()
        assert pane and seen
        assert seen["x"] + seen["width"] <= pane["x"] + pane["width"]
        assert seen["y"] + seen["height"] <= pane["y"] + pane["height"]

        await other.locator(".tty-place").click()  # now it is used there
        await expect(page.locator(".tty")).to_have_attribute("data-ours", "false")
        smaller = await sized_anew(other, cols, lines)
        assert smaller < (cols, lines)
        await program.knows(shell, terminal={"cols": smaller[0], "rows": smaller[1]})
        assert await size_of(page) == smaller

        await other.set_viewport_size({"width": 1200, "height": 800})
        wider = await sized_anew(other, *smaller)
        await program.knows(shell, terminal={"cols": wider[0], "rows": wider[1]})
        await expect(page.locator(".tty")).to_have_attribute("data-ours", "false")  # they do not fight


async def test_a_viewer_watches_and_is_told_that_it_cannot_type(system: System, program: Program, shell: str):
    async with page_of(system, role="viewer") as page:
        await open_terminal(page, shell)
        await expect(page.locator(".tty-note")).to_contain_text("you can watch, not type")
        await expect(page.get_by_role("button", name="Fit here")).to_have_count(0)
        await page.locator(".tty-place").click()
        await page.keyboard.type("forbidden")
        await typed_to(program, shell, "echo al$((1+1))lowed\r")
        await expect(rows(page)).to_contain_text("al2lowed")
        await expect(rows(page)).not_to_contain_text("forbidden")


async def test_a_long_paste_arrives_whole_and_in_order(system: System, shell: str):
    words = " ".join(f"word{number}" for number in range(25_000))  # 240 kB, in several pieces
    async with page_of(system) as page:
        await open_terminal(page, shell)
        # Until then it would take no more than a line of 4 kB.
        await run(page, f"stty -icanon -echo; echo re$((1+1))ady; head -c {len(words)} | cksum")
        await expect(rows(page)).to_contain_text("re2ady")
        paste = """text => {
            const told = new DataTransfer();
            told.setData("text/plain", text);
            const event = new ClipboardEvent("paste", { clipboardData: told, bubbles: true });
            document.querySelector(".xterm-helper-textarea").dispatchEvent(event);
        }"""
        await page.evaluate(paste, words)
        wanted = await asyncio.create_subprocess_exec(
            "cksum", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        sums, _ = await wanted.communicate(words.encode())
        await expect(rows(page)).to_contain_text(sums.decode().strip(), timeout=30_000)
        await run(page, "stty sane")


async def test_older_output_is_read_on_demand_and_what_was_looked_at_stays_where_it_is(
    system: System, program: Program, shell: str
):
    count = "i=0; while [ $i -lt 45000 ]; do i=$((i+1)); echo line $i; done; echo e$((1+1))nd"
    await typed_to(program, shell, f"{count}\r")
    told = await program.call("agent.scrollback", agent=shell, limit=10)
    async with asyncio.timeout(30):
        while b"e2nd" not in base64.b64decode(told["data"]):
            await asyncio.sleep(0.05)  # nobody follows it, so nobody is told
            told = await program.call("agent.scrollback", agent=shell, limit=30)
    async with page_of(system) as page:
        await open_terminal(page, shell)
        await expect(rows(page)).to_contain_text("e2nd")
        await to_top(page)
        await expect(rows(page)).not_to_contain_text("e2nd")
        seen = (await rows(page).inner_text()).split()
        older = page.locator(".tty-older")
        await older.click()
        await expect(older).to_contain_text("Older output")
        assert (await rows(page).inner_text()).split()[-20:] == seen[-20:]
        await older.click()
        await expect(older).to_have_count(0)  # all of it is here
        await to_top(page)
        await expect(rows(page)).to_contain_text(re.compile(r"line 1\s*line 2\s*line 3\s*line 4"))


async def test_the_end_of_a_flood_is_seen(system: System, shell: str):
    async with page_of(system) as page:
        await open_terminal(page, shell)
        await run(page, "yes 'a line of many' | head -c 20000000; echo fl$((1+1))ood")
        await expect(rows(page)).to_contain_text("fl2ood", timeout=30_000)
        await run(page, "echo ca$((1+1))lm")
        await expect(rows(page)).to_contain_text("ca2lm")


async def test_a_terminal_is_found_again_after_hypivisor_and_node_were_killed():
    with new_system() as system:
        system.start()
        async with system.program() as program:
            agent = await spawn(program, system, "sh")
        async with page_of(system, but=AWAY) as page:
            await open_terminal(page, agent)
            await run(page, "echo be$((1+1))fore")
            await expect(rows(page)).to_contain_text("be2fore")
            port = int(system.url.rpartition(":")[2])
            await asyncio.to_thread(system.end_up, signal.SIGKILL)
            await expect(page.locator(".tty-note")).to_contain_text("nothing can be typed")
            await page.keyboard.type("lost")
            await asyncio.to_thread(system.start, port=port)
            await ready(page)
            await expect(page.locator(".tty-note")).to_have_text("")
            await run(page, "echo af$((1+1))ter")
            await expect(rows(page)).to_contain_text("af2ter")
            shown = await rows(page).inner_text()
            assert shown.count("be2fore") == 1
            assert "lost" not in shown
            await asyncio.to_thread(system.kill_node)
            await expect(page.locator(".tty-note")).to_contain_text("nothing can be typed")
            await asyncio.to_thread(system.start_node)
            await expect(page.locator(".tty-note")).to_have_text("")
            async with system.program() as program:
                await takes_keys(program, agent)
            await run(page, "echo ag$((1+1))ain")
            await expect(rows(page)).to_contain_text("ag2ain")
            assert (await rows(page).inner_text()).count("af2ter") == 1
        async with system.program() as program:
            await program.call("agent.stop", agent=agent)


async def test_after_its_end_it_can_be_read_replayed_and_taken_along(
    system: System, program: Program, tmp_path: Path
):
    agent = await spawn(program, system, "sh", "-c", "printf 'one\\n'; sleep 0.3; printf 'two\\n'; read x")
    async with page_of(system) as page:
        await open_terminal(page, agent)
        await expect(rows(page)).to_contain_text("two")
        await page.keyboard.press("Enter")
        await expect(page.locator(".tty-note")).to_contain_text("It has ended")
        await expect(rows(page)).to_contain_text("two")
        await page.get_by_role("button", name="Replay").click()
        await page.wait_for_selector(".tty[data-player=ready]")
        await expect(rows(page)).to_contain_text("two")  # it plays by itself
        await page.get_by_label("Time").fill("0")
        await page.get_by_role("button", name=re.compile("Pause|Play")).focus()
        await expect(rows(page)).not_to_contain_text("two")
        async with page.expect_download() as coming:
            await page.get_by_role("button", name="Save").click()
        saved = await (await coming.value).path()
        header, *steps = [json.loads(line) for line in Path(saved).read_text().splitlines()]
        assert header["version"] == 2
        text = "".join(step[2] for step in steps if step[1] == "o")
        assert text.startswith("one\r\ntwo\r\n")
        by_command = tmp_path / "by-command.cast"
        done = await asyncio.to_thread(system.run, "recording", agent, "-o", str(by_command))
        assert done.returncode == 0, done.stderr
        assert by_command.read_bytes() == Path(saved).read_bytes()


async def test_a_phone_has_the_keys_that_it_lacks_and_sees_the_cursor_above_its_keyboard(
    system: System, shell: str
):
    async with page_of(system, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        await open_terminal(page, shell)
        await page.locator(".tty-place").tap()
        await page.keyboard.type("cat")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Ctrl, with the next key").tap()
        await page.keyboard.type("c")  # ends it
        await run(page, "echo ag$((1+1))ain")
        await expect(rows(page)).to_contain_text("ag2ain")
        await run(page, "seq 100")
        await expect(rows(page)).to_contain_text("100")
        await swipe(page, down=True)  # what was shown before is looked at with a finger
        await expect(rows(page)).not_to_contain_text("100")
        await swipe(page, down=False)
        await expect(rows(page)).to_contain_text("100")
        await page.set_viewport_size({"width": 390, "height": 470})  # a keyboard comes up
        await expect(page.locator(".xterm-cursor")).to_be_in_viewport()
        await page.get_by_role("button", name="Up", exact=True).tap()
        await expect(page.locator(".xterm-helper-textarea")).to_be_focused()


async def test_a_program_is_started_from_the_page(system: System, program: Program):
    (system.folder / "user" / "work").mkdir(exist_ok=True)
    async with page_of(system) as page:
        await page.keyboard.press("n")
        await page.get_by_label("Kind").select_option("terminal")
        await expect(page.get_by_label("First prompt")).to_be_disabled()
        await page.get_by_label("Command").fill("sh -c 'echo st$((1+1))arted; read x'")
        await page.get_by_role("button", name="work", exact=True).click()
        await page.get_by_role("button", name="Start here").click()
        await ready(page)
        await expect(rows(page)).to_contain_text("st2arted")
        agent = await page.evaluate("decodeURIComponent(location.hash.split('/')[2])")
        await program.call("agent.stop", agent=agent)


@pytest.mark.pi
@pytest.mark.skipif(PI is None, reason="no pi: see scripts/fetch_pi.sh")
async def test_a_pi_has_two_sides_of_one_session():
    assert PI is not None
    with new_system() as system, model_server() as model:
        user = system.folder / "user"
        user.mkdir(exist_ok=True)
        rig = PiRig(user / "rig", system.home, model.url)
        system.more["PI_CODING_AGENT_DIR"] = str(rig.agent_dir)
        system.more["PATH"] = f"{PI.parent}{os.pathsep}{os.environ['PATH']}"
        system.start()
        async with system.program() as program, page_of(system) as page:
            wanted = {"node": "den", "path": str(rig.project), "name": "writer"}
            made = await program.call("node.spawn", request_id=uuid.uuid4().hex, **wanted)
            agent = made["agent"]
            await program.knows(agent, 30, state="idle")
            await page.evaluate("id => { location.hash = '#/a/' + id }", agent)
            await page.fill("#composer", "asked in the conversation")
            await page.keyboard.press("Enter")
            said = page.locator(".entry[data-role=assistant]")
            await expect(said.last).to_contain_text("ECHO: asked in the conversation")
            await page.get_by_role("link", name="Terminal").click()
            await ready(page)
            await expect(rows(page)).to_contain_text("ECHO: asked in the conversation")
            await run(page, "typed in the terminal")
            await expect(rows(page)).to_contain_text("ECHO: typed in the terminal")
            await page.reload()
            await ready(page)  # its address says which side
            await page.get_by_role("link", name="Conversation").click()
            await expect(said.last).to_contain_text("ECHO: typed in the terminal")
            await program.call("agent.stop", agent=agent)
            await program.knows(agent, 30, state="exited")
