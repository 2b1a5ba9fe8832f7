"""Scrolls that came back with a copy of a lost disk: handed over unless the sender knows how they ended."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from node.receiving import Receiving
from node.scroll_rows import IN_KIND, INPUT, ScrollRows
from pxldisk import Disk

SENDER, TO = "lead@attic", "site@den"
KEY = (SENDER, "SCROLL-1", TO)


class Agents:
    """One agent, connected, that takes every scroll without an answer."""

    node = "n-den"

    def __init__(self) -> None:
        self.handed: list[str] = []
        self.roster = SimpleNamespace(get=lambda _: SimpleNamespace(live=True, name="site", detail=None))

    def is_connected(self, _agent: str) -> bool:
        return True

    def connection(self, _agent: str) -> "Agents":
        return self

    async def call(self, method: str, params: dict[str, Any], _timeout_s: float) -> dict[str, Any]:
        assert method == "deliver"
        self.handed.append(params["scroll"]["scroll_id"])
        return {}


class Uplink:
    """The link, and what was sent over it."""

    up = True

    def __init__(self) -> None:
        self.receipts: list[Any] = []

    def send(self, **frame: Any) -> bool:
        self.receipts.append(frame["receipt"])
        return True


@pytest.fixture
async def rows(tmp_path: Path) -> AsyncIterator[ScrollRows]:
    async with Disk.open(tmp_path / "disk") as disk, asyncio.TaskGroup() as tasks:
        made = ScrollRows(disk)
        made.use(tasks)
        yield made


async def restarted(
    rows: ScrollRows, sender_node: str, *, known_here: str | None = None, restored: bool = True
) -> tuple[Receiving, Agents, Uplink]:
    """A node that finds one live row at its start."""
    row = {
        "sender": SENDER,
        "sender_node": sender_node,
        "agent": "a-site",
        "to": TO,
        "scroll": {"scroll_id": "SCROLL-1", "message": "hello"},
        "expires_at": 4e9,
    }
    ref = await rows.append(INPUT, row, kind=IN_KIND, owner=TO, key="in")
    agents, uplink = Agents(), Uplink()
    below = ref.seq + 1 if restored else ref.seq
    receiving = Receiving(rows, agents, lambda _, receipt: known_here or receipt.state, below)  # type: ignore[arg-type]
    receiving.uplink = uplink  # type: ignore[assignment]
    for record in rows.disk.scan(INPUT):
        receiving.read(record, msgspec.json.decode(record.payload))
    receiving.begin()
    await settled()
    return receiving, agents, uplink


async def settled() -> None:
    """Let what was begun be done: some turns of the loop, and none of it waits for anything else."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_row_of_an_ordinary_restart_is_handed_over_at_once(rows: ScrollRows):
    _, agents, _ = await restarted(rows, "n-attic", restored=False)
    assert agents.handed == ["SCROLL-1"]


async def test_a_row_that_came_back_waits_for_its_senders_node(rows: ScrollRows):
    receiving, agents, uplink = await restarted(rows, "n-attic")
    receiving.agent_connected("a-site")  # type: ignore[arg-type]
    receiving.report_again()
    await settled()
    assert agents.handed == []
    assert {(frame.node, frame.state) for frame in uplink.receipts} == {("n-attic", "stored")}
    receiving.acknowledged(KEY, "stored")
    await settled()
    assert agents.handed == ["SCROLL-1"]


@pytest.mark.parametrize("ended", ["answered", "refused", "expired"])
async def test_one_that_had_ended_is_never_handed_over_again_and_its_row_is_freed(
    rows: ScrollRows, ended: str
):
    receiving, agents, _ = await restarted(rows, "n-attic")
    receiving.acknowledged(KEY, ended)
    receiving.agent_connected("a-site")  # type: ignore[arg-type]
    await settled()
    while list(rows.disk.scan(INPUT)):
        await asyncio.sleep(0.001)
    assert agents.handed == []
    assert list(receiving.shapes()) == []


@pytest.mark.parametrize(("known", "handed"), [("answered", []), ("stored", ["SCROLL-1"])])
async def test_a_sender_of_the_same_node_is_asked_there(rows: ScrollRows, known: str, handed: list[str]):
    _, agents, uplink = await restarted(rows, "n-den", known_here=known)
    assert agents.handed == handed
    assert uplink.receipts == []
