"""What agents and senders of scrolls write, in the page of a real mesh, under the policy that it sends."""

import sys
from pathlib import Path

import pytest
from live import System, entry
from live_page import CHROMIUM, page_of
from playwright.async_api import expect

sys.path.append(str(Path(__file__).resolve().parents[1] / "pide_js"))

from scene import HOSTILE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
FORBIDDEN = "script, iframe, object, embed, form, style, math, [onerror], [onload], [srcdoc], [style]"


async def test_nothing_that_an_agent_or_a_scroll_says_runs_in_the_page(system: System):
    words = "\n\n".join(HOSTILE)
    async with system.agent("mallory") as agent, system.program() as sender, page_of(system) as page:
        fetched: list[str] = []
        page.on("request", lambda request: fetched.append(request.url))
        agent.entries = [entry(f"h{number}", "assistant", text) for number, text in enumerate(HOSTILE)]
        await sender.knows(agent.id)
        await agent.call("agent.changed", detail=HOSTILE[0], card={"model": HOSTILE[1], "tools": []})
        await page.evaluate("id => { location.hash = '#/a/' + id }", agent.id)
        await expect(page.locator("#stage-content")).to_contain_text("window.pwned='img'")
        await agent.say(words + "\n\nand that was live")
        await expect(page.locator("#stage-content")).to_contain_text("and that was live")
        await sender.call("scroll.send", to="mallory", message=words, data={HOSTILE[0]: HOSTILE[1]})
        await agent.until(lambda: agent.scrolls, "the scroll")
        for tab in ("scrolls", "node", "agent"):
            await page.click(f"#tab-{tab}")
            if tab == "scrolls":
                await expect(page.locator("body")).to_contain_text("window.pwned='svg'")
            assert await page.locator("#stage-content").locator(FORBIDDEN).count() == 0, tab
            assert await page.locator("#stage-content img").count() == 0, tab
        for link in await page.locator("#stage-content a").all():
            assert (await link.get_attribute("href") or "").startswith(("https://", "http://", "mailto:"))
        # One turn of the page's own queue: what would have run by loading or failing has run by then.
        await page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
        assert await page.evaluate("window.pwned") is None
        assert [url for url in fetched if not url.startswith((system.url, "data:", "blob:"))] == []
