"""How the suite is divided among processes that run at the same time."""

from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Folders whose files take long begin first, so that at the end there is something short for everybody.
LONGEST_FIRST = ("e2e", "live", "pi", "pide_js", "acp", "cli", "pxldisk", "trust", "node", "core")


def pytest_configure(config: pytest.Config) -> None:
    """Have xdist take the files in our order, not in that of their numbers of tests."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file stays in one process, since its tests share a system; all of e2e does, for its one household."""
    for item in items:
        alone = folder_of(item) == "e2e"
        item.add_marker(pytest.mark.xdist_group("e2e" if alone else str(item.path)))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: LONGEST_FIRST.index(folder_of(item)))


def folder_of(item: pytest.Item) -> str:
    """The part of the suite that a test belongs to."""
    return item.path.relative_to(HERE).parts[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests of strange texts have logged must find its way from process to process."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
