"""Pi-DE in a real browser that runs on a host of the household, as its owner uses it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hosts import PATIENCE_S, Host
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARTEFACTS = Path(__file__).resolve().parents[2] / "test-artefacts" / "e2e"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]

# What a browser says of a hypivisor that is away; everything else would be a fault of the page.
EXPECTED = re.compile(r"WebSocket connection|ERR_CONNECTION_REFUSED|status of 401")


class Pide:
    """A browser that has opened a login link."""

    def __init__(self, context: BrowserContext, link: str) -> None:
        self._context = context
        self.complaints: list[str] = []
        self.origin = link.partition("#")[0]
        self.page = self._tab(link)
        expect(self.page.locator(".roster-foot")).to_contain_text("admin")

    def _tab(self, url: str) -> Page:
        page = self._context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.goto(url)
        return page

    def _said(self, line: ConsoleMessage) -> None:
        if line.type in {"error", "warning"} and not EXPECTED.search(line.text):
            self.complaints.append(line.text)

    @contextmanager
    def another(self) -> Iterator["Tab"]:
        """One more tab, opened now."""
        page = self._tab(self.origin)
        yield Tab(page)
        page.close()

    @property
    def tab(self) -> "Tab":
        """The first tab."""
        return Tab(self.page)


class Tab:
    """One tab of it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def row(self, agent: str) -> Locator:
        """An agent in the roster, by id."""
        return self.page.locator(f"[data-agent={agent}]")

    def open(self, agent: str) -> None:
        """Look at an agent's conversation."""
        self.page.evaluate("id => { location.hash = '#/a/' + id }", agent)
        self.page.wait_for_selector("#stage-content[data-attached=true]")

    def prompt(self, text: str) -> None:
        """Write to the open agent."""
        self.page.fill("#composer", text)
        self.page.keyboard.press("Enter")

    def said_by(self, role: str) -> Locator:
        """Entries of the open conversation."""
        return self.page.locator(f"#stage-content .entry[data-role={role}]")

    def texts(self, role: str) -> list[str]:
        """What they say, oldest first."""
        return [text.strip() for text in self.said_by(role).locator(".prose").all_inner_texts()]

    def shot(self, name: str) -> None:
        """A picture for human eyes."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")


@contextmanager
def browser_on(host: Host, link: str) -> Iterator[Pide]:
    """A browser on a host, logged in."""
    assert CHROMIUM is not None
    program = host.folder / "bin" / "chromium-there"
    program.write_text(f'#!/bin/sh\nexec ip netns exec {host.namespace} {CHROMIUM} "$@"\n')
    program.chmod(0o755)
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGS)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PATIENCE_S * 1000)
        yield Pide(context, link)
        browser.close()
