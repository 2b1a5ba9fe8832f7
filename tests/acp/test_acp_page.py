"""What an ACP agent does, in a real browser."""

import os
from collections.abc import Iterator

import pytest
from acp_rig import DOER, prepare, spawned
from live import Program, System, new_system
from live_page import CHROMIUM, page_of
from playwright.async_api import expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with new_system() as found:
        prepare(found, "http://127.0.0.1:9/v1")
        found.start()
        yield found


async def test_a_plan_is_a_list_that_ticks_itself_and_a_tool_a_line(system: System, program: Program):
    doer = await spawned(system, program, *DOER)
    async with page_of(system) as page:
        await page.evaluate("id => { location.hash = '#/a/' + id }", doer.id)
        await doer.turn("plan: read it, <b>write</b> it, ship it")
        plan = page.get_by_label("plan")
        await expect(plan).to_have_count(1)
        await expect(plan).to_contain_text("1 of 3 done")
        await expect(plan.locator("li")).to_contain_text(["read it", "<b>write</b> it", "ship it"])
        await expect(plan.get_by_label("done", exact=True)).to_have_count(1)
        await doer.turn("mend: leaky -> tight")
        for _ in range(2):  # the history tells the same after a reload
            tool = page.locator(".tool", has_text="roof.txt")
            await expect(tool).to_have_attribute("data-status", "ok")
            await tool.locator(".tool-line").click()
            await expect(tool.locator(".diff .del")).to_have_text("- leaky")
            await expect(tool.locator(".diff .ins")).to_have_text("+ tight")
            await page.reload()
        await expect(page.get_by_label("plan").locator("li")).to_have_count(3)
        if folder := os.environ.get("HYPERPI_SHOTS"):
            await page.screenshot(path=f"{folder}/acp.png")
    await program.call("agent.stop", agent=doer.id)
    await doer.knows(state="exited")


async def test_the_mode_is_seen_and_chosen_in_the_inspector(system: System, program: Program):
    doer = await spawned(system, program, *DOER, "--modes")
    async with page_of(system) as page:
        await page.evaluate("id => { location.hash = '#/a/' + id }", doer.id)
        told = page.get_by_title("mode: look")
        await expect(told).to_have_text("look")
        chosen = page.locator(".inspector").get_by_label("mode", exact=True)
        await expect(chosen.locator("option")).to_have_text(["look", "build", "rest"])
        await chosen.select_option("build")
        await expect(page.get_by_title("mode: build")).to_be_visible()
        await doer.knows(mode="build")
        await chosen.select_option("rest")
        await expect(page.get_by_text("there is too much to do")).to_be_visible()
        await expect(chosen).to_have_value("build")
        if folder := os.environ.get("HYPERPI_SHOTS"):
            await page.screenshot(path=f"{folder}/acp-mode.png")
    await program.call("agent.stop", agent=doer.id)
    await doer.knows(state="exited")
