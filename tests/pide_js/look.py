"""Take pictures of the web app against the stand-in, for human eyes.

    python tests/pide_js/look.py OUT_FOLDER [--port 8765] [SCENE ...]

Starts the stand-in itself, walks through the app on a desktop and on a phone, saves PNG files, and prints
what the browser complained about (errors, CSP violations).
"""

import argparse
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

PATIENCE_S = 15.0  # for what takes milliseconds on an idle machine
START_S = 30.0  # for a process that takes half a second there
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Texts and titles in which a character turns the direction of what follows: `exe.png` shown for `gnp.exe`.
TURNED = """() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) found.push(walker.currentNode.textContent);
  for (const element of document.querySelectorAll("[title], [aria-label]"))
    found.push(element.title, element.getAttribute("aria-label") ?? "");
  return found.filter((text) => /[\u202a-\u202e\u2066-\u2069]/.test(text));
}"""

STAND_IN = Path(__file__).with_name("stand_in.py")
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def stand_in(port: int, *arguments: str) -> Iterator[str]:
    """A stand-in server on this port while the block runs."""
    process = subprocess.Popen([sys.executable, str(STAND_IN), "--port", str(port), *arguments])
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/", timeout=PATIENCE_S)
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def play(url: str, scene: str, said: str = "") -> None:
    """Make the stand-in play one scene."""
    asked = urllib.request.Request(f"{url}/scene/{scene}", method="POST", data=said.encode())
    urllib.request.urlopen(asked, timeout=PATIENCE_S)


class Look:
    """One browser page and where its pictures go."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        out: Path = Path(),
        *,
        phone: bool = False,
        token: str = "",
        light: bool = False,
        allow: Sequence[str] = (),
    ) -> None:
        self.url, self.out, self.phone = url, out, phone
        self.scheme = "light-" if light else ""
        self.complaints: list[str] = []
        size = PHONE if phone else DESKTOP
        scale = 2 if phone else 1
        self.context = browser.new_context(
            viewport=size,
            has_touch=phone,
            is_mobile=phone,
            device_scale_factor=scale,
            color_scheme="light" if light else "dark",
            permissions=list(allow),
        )
        self.page: Page = self.context.new_page()
        self.page.on("console", self.said)
        self.page.on("pageerror", lambda error: self.complain(f"page error: {error}"))
        self.page.set_default_timeout(PATIENCE_S * 1000)
        try:
            self._log_in(token)
        except PlaywrightTimeout:
            # Chromium gives up on a page when an interface of the machine comes or goes, even on loopback.
            if not any("ERR_NETWORK_CHANGED" in complaint for complaint in self.complaints):
                raise
            self.complaints.clear()
            self._log_in(token)

    def _log_in(self, token: str) -> None:
        self.page.goto(f"{self.url}/" if token else f"{self.url}/#login=letmein")
        if token:
            self.page.fill("#token", token)
            self.page.click("text=Sign in")
        self.page.wait_for_selector(".roster-foot .faint")

    def said(self, line: ConsoleMessage) -> None:
        """A line in the browser's console."""
        if line.type in {"error", "warning"}:
            self.complain(line.text)

    def complain(self, text: str) -> None:
        """Remember what the browser complained about."""
        self.complaints.append(text)
        print(f"   {text}")

    def open(self, agent: str) -> None:
        """Open an agent by its address in the page."""
        self.page.evaluate("id => { location.hash = '#/a/' + id }", agent)
        self.page.wait_for_selector(".entry, .stage-empty", timeout=5_000)
        self.page.wait_for_timeout(250)

    def shot(self, name: str) -> None:
        """Save what is on the screen."""
        path = self.out / f"{'phone' if self.phone else 'desktop'}-{self.scheme}{name}.png"
        self.page.screenshot(path=str(path))
        print(path)


def main_scene(browser: Browser, url: str, out: Path) -> None:
    look = Look(browser, url, out)
    look.page.wait_for_selector("[data-agent=a1]")
    look.shot("welcome")
    look.open("a1")
    look.page.wait_for_timeout(2_500)
    look.shot("stream")
    look.open("a2")
    for line in look.page.query_selector_all(".tool-line, .thinking-line"):
        line.click()
    look.page.wait_for_timeout(200)
    look.page.evaluate("document.getElementById('stage-scroll').scrollTop = 0")
    look.page.wait_for_timeout(200)
    look.shot("tools-open")
    look.page.click("#tab-scrolls")
    look.page.wait_for_timeout(300)
    look.shot("scrolls")
    look.page.click("#tab-node")
    look.page.wait_for_timeout(500)
    look.shot("disk")
    look.open("a3")
    look.page.wait_for_timeout(1_200)
    look.shot("approval")
    look.page.evaluate("location.hash = '#/inbox'")
    look.page.wait_for_timeout(500)
    look.shot("inbox")
    look.page.keyboard.press("Escape")
    look.page.keyboard.press("n")
    look.page.wait_for_timeout(300)
    look.page.click(".folder-name >> text=src")
    look.page.wait_for_timeout(300)
    look.shot("spawn")
    look.page.keyboard.press("Escape")
    look.page.keyboard.press("?")
    look.page.wait_for_timeout(200)
    look.shot("help")
    look.page.keyboard.press("Escape")
    look.open("a8")
    look.page.wait_for_timeout(300)
    look.shot("offline-node")
    look.page.evaluate("location.hash = '#/n/n1'")
    look.page.wait_for_timeout(400)
    look.shot("node-page")
    look.page.evaluate("location.hash = '#/n/n3'")
    look.page.wait_for_timeout(300)
    look.shot("node-pending")
    look.open("a2")
    look.page.fill("#composer", "Explain the fix in one sentence")
    look.page.keyboard.press("Enter")
    look.page.wait_for_timeout(150)
    look.shot("prompt-stored")
    look.page.fill("#composer", "/refuse this")
    look.page.keyboard.press("Enter")
    look.page.wait_for_timeout(900)
    look.shot("prompt-delivered")
    play(url, "node-away")
    look.page.wait_for_timeout(300)
    look.shot("node-away")
    play(url, "node-back")
    play(url, "away")
    look.page.wait_for_timeout(2_500)
    look.page.fill("#composer", "written while it was away")
    look.page.keyboard.press("Enter")
    look.page.wait_for_timeout(300)
    look.shot("hypivisor-away")
    play(url, "back")
    look.page.wait_for_selector(".banner", state="detached", timeout=20_000)
    look.page.wait_for_timeout(800)
    look.shot("hypivisor-back")
    look.open("a4")
    look.page.wait_for_timeout(500)
    look.page.mouse.move(700, 500)
    for _ in range(6):
        look.page.mouse.wheel(0, -1_500)
        look.page.wait_for_timeout(150)
    look.shot("long-scrolled")
    play(url, "close4001")
    look.page.wait_for_timeout(400)
    look.shot("logged-out")


def phone_scene(browser: Browser, url: str, out: Path) -> None:
    look = Look(browser, url, out, phone=True)
    look.page.wait_for_selector("[data-agent=a1]")
    look.shot("roster")
    look.open("a1")
    look.page.wait_for_timeout(1_500)
    look.shot("stage")
    look.open("a2")
    look.shot("stage-idle")
    look.page.click("[aria-label=Inspector]")
    look.page.wait_for_timeout(200)
    look.shot("inspector")
    look.page.click("#tab-node")
    look.page.wait_for_timeout(500)
    look.shot("machine")
    look.page.click("[aria-label='Back to the conversation']")
    look.page.click("[aria-label='Back to the roster'] >> visible=true")
    look.page.click("[aria-label='Start an agent']")
    look.page.wait_for_timeout(300)
    look.shot("spawn")
    look.page.keyboard.press("Escape")
    look.open("a3")
    look.shot("approval")
    look.page.evaluate("location.hash = '#/inbox'")
    look.page.wait_for_timeout(500)
    look.shot("inbox")
    play(url, "away")
    look.page.wait_for_timeout(1_500)
    look.shot("away")
    play(url, "back")


def mesh_scene(browser: Browser, url: str, out: Path) -> None:
    for light in (False, True):
        for phone in (False, True):
            look = Look(browser, url, out, phone=phone, light=light)
            look.page.evaluate("location.hash = '#/mesh/let-in'")
            play(url, "nearby")
            look.page.click("text=Make a token")
            look.page.wait_for_selector(".qr")
            for tab in ("let-in", "machines", "logins", "audit"):
                look.page.evaluate("tab => { location.hash = '#/mesh/' + tab }", tab)
                look.page.wait_for_timeout(500)
                look.shot(f"mesh-{tab}")


def viewer_scene(browser: Browser, url: str, out: Path) -> None:
    look = Look(browser, url, out, token="viewer")
    look.open("a2")
    look.shot("viewer-role")


def login_scene(browser: Browser, url: str, out: Path) -> None:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{url}/")
    page.wait_for_selector("#token")
    page.screenshot(path=str(out / "desktop-login.png"))
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    page.screenshot(path=str(out / "desktop-login-refused.png"))


SCENES: dict[str, Callable[[Browser, str, Path], None]] = {
    "main": main_scene,
    "phone": phone_scene,
    "mesh": mesh_scene,
    "viewer": viewer_scene,
    "login": login_scene,
}


def main() -> None:
    """Play the scenes that were asked for, or all."""
    parser = argparse.ArgumentParser(description="Pictures of the web app.")
    parser.add_argument("out", type=Path)
    parser.add_argument("scenes", nargs="*", default=list(SCENES))
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with stand_in(arguments.port) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=ARGS)
        for name in arguments.scenes:
            SCENES[name](browser, url, arguments.out)
        browser.close()


if __name__ == "__main__":
    main()
