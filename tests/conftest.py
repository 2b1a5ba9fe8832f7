"""How the suite is divided among processes that run at the same time."""

from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# A new or vanishing network interface makes every chromium of this machine drop its connections.
NETWORK = {"browser", "netns"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file stays in one process, since its tests share a system; so does all that disturbs the network."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        marked = {mark.name for mark in item.iter_markers()}
        alone = folder == "e2e" or marked & NETWORK
        item.add_marker(pytest.mark.xdist_group("network" if alone else str(item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests of strange texts have logged must find its way from process to process."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
