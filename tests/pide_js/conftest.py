"""A browser for a module, a stand-in for a test, and a page of an admin that may not complain."""

import shutil
import socket
from collections.abc import Iterator

import pytest
from look import ARGS, PATIENCE_S, Look, stand_in
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    with stand_in(free_port(), *getattr(request, "param", ())) as url:
        yield url


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    look = Look(browser, server)
    yield look.page
    complaints = [
        line
        for line in look.complaints
        if "WebSocket connection" not in line and "Failed to load resource" not in line
    ]
    look.context.close()
    assert complaints == []
