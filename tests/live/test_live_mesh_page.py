"""The Mesh page of a real hypivisor: a machine is let in, looked at and put out, and the trail tells it."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from live import System, http, new_system, until
from live_page import CHROMIUM, page_of
from playwright.async_api import Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]


@pytest.fixture
def attic() -> Iterator[System]:
    """A home without anything in it."""
    with new_system() as found:
        yield found


async def open_tab(page: Page, tab: str) -> None:
    await page.evaluate("tab => { location.hash = '#/mesh/' + tab }", tab)
    await page.wait_for_selector(f".mesh-page[data-tab={tab}]")


async def test_a_machine_is_let_in_and_put_out_and_the_trail_tells_it(system: System, attic: System):
    async with page_of(system) as page:
        await page.click("[aria-label='Add a machine']")
        await page.get_by_label("Only as").fill("attic")
        await page.get_by_role("button", name="Make a token").click()
        command = (await page.locator(".made .command").inner_text()).split()
        assert command[:3] == ["hyperpi", "node", "join"]
        where = f"127.0.0.1:{command[3].rpartition(':')[2]}"  # the machine's own address may be no loopback
        joined = await asyncio.to_thread(attic.run, "node", "join", where, *command[4:], "--no-mdns")
        assert joined.returncode == 0, joined.stderr
        attic.pids.add(attic.node_pid())
        await expect(page.locator(".made-state")).to_contain_text("attic has joined.")

        await open_tab(page, "machines")
        row = page.locator("[aria-label='Machines'] tbody tr", has_text="attic")
        await expect(row).to_contain_text("online")
        await expect(row).to_contain_text("renews in")
        await expect(row).to_contain_text(re.compile(r"issued (just now|\d+ s ago)"))
        await row.get_by_role("button", name="Revoke attic").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(row).to_have_count(0)
        await asyncio.to_thread(until, lambda: not attic.said("node")["linked"], "the end of its link")

        await open_tab(page, "audit")
        await page.get_by_label("About").fill("attic")
        acts = page.locator(".trail tbody tr .act")
        await expect(acts.first).to_have_text("node.revoke")
        assert "node.join" in await acts.all_inner_texts()
        await expect(page.locator(".verdict")).to_contain_text("none changed, none missing")


async def test_logging_out_the_own_browser_ends_the_page_and_an_old_link_says_why(system: System):
    async with page_of(system, but="401") as page:
        await open_tab(page, "logins")
        own = page.locator("[aria-label='Browsers'] tbody tr", has_text="this browser")
        await expect(own).to_contain_text("127.0.0.1")
        await own.get_by_role("button").click()
        await page.get_by_role("dialog").get_by_role("button", name="Log out").click()
        await expect(page.locator(".login-card")).to_contain_text("logged out")
        await page.evaluate("location.hash = '#login=" + "a" * 32 + "'")
        await expect(page.get_by_role("alert")).to_contain_text("hyperpi login")


async def test_the_files_of_the_login_page_need_no_login_and_no_more_than_its_policy_allows(system: System):
    page = (await http(f"{system.url}/")).body.decode()
    for name in re.findall(r'"(/static/[^"]+)"', page):
        answer = await http(f"{system.url}{name}")
        assert answer.status == 200, name
        assert "default-src 'self'" in answer.header("content-security-policy")
