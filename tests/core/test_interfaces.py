"""Word of this machine's addresses changing. Linux tells of it: see tests/e2e/test_e2e_mdns.py."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from hyperpi import interfaces

OLD, NEW = [(2, "192.0.2.7")], [(2, "192.0.2.8")]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that tells nobody of what changes."""

    @contextlib.contextmanager
    def subscribed() -> Iterator[None]:
        yield None

    monkeypatch.setattr(interfaces, "_subscribed", subscribed)
    monkeypatch.setattr(interfaces, "LOOK_S", 0.01)


async def test_where_nobody_tells_of_a_change_the_addresses_are_looked_at_again_and_again(
    silent: None, monkeypatch: pytest.MonkeyPatch
):
    found = iter([OLD, OLD, NEW])
    monkeypatch.setattr(interfaces, "interfaces", lambda: next(found))
    async with asyncio.timeout(5):
        await interfaces.until_changed(OLD)
    assert next(found, None) is None


async def test_addresses_that_stay_are_waited_for_no_longer_than_asked(
    silent: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interfaces, "interfaces", lambda: OLD)
    async with asyncio.timeout(5):
        await interfaces.until_changed(OLD, 0.05)
