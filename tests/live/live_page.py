"""Pi-DE of a live system in a real browser, logged in as its owner."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Any

from live import System
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, async_playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
# Chromium gives up on requests when an interface of the machine comes or goes, even on loopback.
INTERFACE_CHANGED = "ERR_NETWORK_CHANGED"
PATIENCE_S = 20.0  # for what takes milliseconds on an idle machine
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@contextlib.asynccontextmanager
async def page_of(
    system: System, *, but: str = INTERFACE_CHANGED, role: str = "admin", **options: Any
) -> AsyncIterator[Page]:
    """A browser that has logged in; what its console complains of, `but` what is expected, fails the test."""
    complaints: list[str] = []
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        context = await browser.new_context(**{"viewport": DESKTOP, **options})
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        while True:
            try:
                await log_in(page, system, role)
                break
            except (PlaywrightError, AssertionError):
                if not any(INTERFACE_CHANGED in complaint for complaint in complaints):
                    raise
                complaints.clear()
        yield page
        await browser.close()
    wrong = [
        complaint for complaint in complaints if but not in complaint and INTERFACE_CHANGED not in complaint
    ]
    assert wrong == [], wrong


async def log_in(page: Page, system: System, role: str = "admin") -> None:
    async with system.owner() as owner:
        link = (await owner.call("login.create", {"role": role}, 10))["url"]
    await page.goto("about:blank")  # or only the fragment of the address would differ
    await page.goto(link)
    await expect(page.locator(".roster-foot")).to_contain_text(role)
