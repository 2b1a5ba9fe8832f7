"""Fixtures: one household for all tests here, which leave it as they found it, and a browser in its den."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "pi")]  # the rig of a real pi is used here too

from hosts import Network, why_not  # noqa: E402  after the path is set
from household import Household, household  # noqa: E402
from pide_page import CHROMIUM, Pide, browser_on  # noqa: E402


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A short folder: paths of sockets are limited."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="hpe-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def home(folder: Path) -> Iterator[Household]:
    """Three machines of one mesh."""
    with household(folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser(home: Household) -> Iterator[Pide]:
    """A browser on the den, logged in by the link that `up` printed."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with browser_on(home.den, home.link()) as found:
        yield found


@pytest.fixture
def pide(browser: Pide) -> Iterator[Pide]:
    """The same; a page that complains to its console fails the test."""
    yield browser
    complaints, browser.complaints = browser.complaints, []
    assert complaints == []


@pytest.fixture
def network(folder: Path) -> Iterator[Network]:
    """Another network, with nobody on it yet."""
    with tempfile.TemporaryDirectory(dir=folder) as name, Network(Path(name)) as found:
        yield found
