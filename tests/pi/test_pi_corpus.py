"""What real pis told their extensions, played to pi-socket and from there into a node's ring.

The recordings are made by record_corpus.py, with both generations of pi.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from rig import jiti, needs_pi
from stand_in import Json, StandIn, text_of

import node as node_package
from node.eventlog import EventLog

pytestmark = needs_pi

CORPUS = Path(__file__).with_name("corpus")
RECORDINGS = sorted(path.stem for path in CORPUS.glob("*.jsonl"))
SOCKET = Path(node_package.__file__).parent / "pi_socket"
VERSIONS = ("0.74.2", "1.5.2")
SCENARIOS = {
    *("turns", "tools", "steer", "abort", "fails", "new", "tree", "reload", "compaction", "bash", "kill"),
}


def test_every_scenario_is_there_from_both_generations_of_pi() -> None:
    assert set(RECORDINGS) == {f"{version}-{name}" for version in VERSIONS for name in SCENARIOS}


@asynccontextmanager
async def replayed(home: Path, recording: str) -> AsyncIterator[None]:
    """pi-socket with a pi that is played to it; ended with the block."""
    player = await asyncio.create_subprocess_exec(
        *("node", str(Path(__file__).with_name("replay.mjs"))),
        *(*jiti(), str(SOCKET), str(CORPUS / f"{recording}.jsonl")),
        env={"PATH": os.environ["PATH"], "HYPERPI_HOME": str(home)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert player.stdout is not None
        async with asyncio.timeout(20):
            assert await player.stdout.readline() == b"played\n"
        yield
    finally:
        assert player.stdin is not None
        player.stdin.close()
        try:
            async with asyncio.timeout(15):
                assert await player.wait() == 0
        finally:
            if player.returncode is None:
                player.kill()


class Told:
    """What a recording says happened."""

    def __init__(self, recording: str) -> None:
        self.lines = [json.loads(line) for line in (CORPUS / f"{recording}.jsonl").read_text().splitlines()]
        self.entries: dict[str, Json] = {}
        for line in self.lines:
            self.entries |= {entry["id"]: entry for entry in line.get("entries", ())}

    def branch(self) -> list[Json]:
        """The session from its root to the leaf where the recording ends."""
        found: list[Json] = []
        here = self.lines[-1]["leaf"]
        while here is not None:
            found.append(self.entries[here])
            here = self.entries[here]["parentId"]
        return found[::-1]

    def shown(self) -> list[str]:
        """The ids of those that are conversation: messages but pi's instructions, and compactions."""
        return [
            entry["id"]
            for entry in self.branch()
            if entry["type"] in {"compaction", "branch_summary"}
            or (entry["type"] == "message" and entry["message"]["role"] != "system")
        ]


def into_ring(node: StandIn) -> tuple[EventLog, list[Json]]:
    """The log of a node that got all of this, and the events of its last epoch."""
    eventlog = EventLog()
    session = None
    for what, said in node.log:
        if what == "register":
            if session not in {None, said["session"]["id"]}:
                eventlog.begin("new")
            session = said["session"]["id"]
        if what == "events":
            eventlog.ingest(said["from"], [msgspec.json.encode(event) for event in said["events"]], "now")
        elif what == "changed" and said.get("reset"):
            eventlog.begin(said["reset"])
    ring = eventlog.ring
    return eventlog, [msgspec.json.decode(raw) for raw in ring.since(ring.oldest, 1 << 40)]


async def played(node: StandIn, told: Told) -> Json:
    """The snapshot of pi-socket where the recording ends, and so all events before it."""
    # Each load of the extension dials: at first, and after a session was replaced or the extension reloaded.
    ends = [line["event"]["reason"] for line in told.lines if line["event"]["type"] == "session_shutdown"]
    await node.registered(1 + len([reason for reason in ends if reason != "quit"]))
    return await node.snapshot(limit=500)


@pytest.mark.parametrize("recording", RECORDINGS)
async def test_the_stream_and_the_snapshot_of_a_recorded_pi_are_its_session(
    node: StandIn, home: Path, recording: str
) -> None:
    told = Told(recording)
    async with replayed(home, recording):
        snapshot = await played(node, told)
        assert [entry["id"] for entry in snapshot["entries"]] == told.shown()

        assert node.numbers == list(range(1, len(node.numbers) + 1))
        eventlog, events = into_ring(node)
        assert [event["seq"] for event in events] == list(
            range(eventlog.ring.oldest + 1, eventlog.ring.head + 1)
        )

        ends = [event for event in events if event["type"] == "message_end"]
        assert all(end["entry"]["message_id"] == end["message_id"] for end in ends)
        ids = [end["entry"]["id"] for end in ends]
        assert len(ids) == len(set(ids))
        # The stream tells what the snapshot shows, word for word, and nothing of another branch.
        known = {entry["id"]: entry for entry in snapshot["entries"]}
        assert [end["entry"] for end in ends] == [known[id] for id in known if id in ids]
        assert set(ids) <= set(known)
        _deltas_make_the_entries(events, ends)
        _tools_end_once(events)


def _deltas_make_the_entries(events: list[Json], ends: list[Json]) -> None:
    said: dict[tuple[str, int], str] = {}
    for event in events:
        if event["type"] in {"text_delta", "thinking_delta"}:
            place = (event["message_id"], event["block"])
            said[place] = said.get(place, "") + event["delta"]
    for end in ends:
        for (message, block), text in said.items():
            if message == end["message_id"]:
                assert end["entry"]["blocks"][block]["text"] == text


def _tools_end_once(events: list[Json]) -> None:
    started = [event["call_id"] for event in events if event["type"] == "tool_start"]
    ended = [event["call_id"] for event in events if event["type"] == "tool_end"]
    assert sorted(started) == sorted(ended)
    assert len(ended) == len(set(ended))


@pytest.mark.parametrize("version", VERSIONS)
class TestWhatARecordingShows:
    async def test_a_killed_pi_was_in_the_middle_of_its_answer(
        self, node: StandIn, home: Path, version: str
    ) -> None:
        async with replayed(home, f"{version}-kill"):
            snapshot = await played(node, Told(f"{version}-kill"))
            await node.until(lambda: node.text().endswith("three"))
            assert snapshot["running"]["blocks"][-1]["text"].startswith("one")
            assert snapshot["state"] == "working"

    async def test_aborted_turns_are_marked_and_their_tools_ended(
        self, node: StandIn, home: Path, version: str
    ) -> None:
        async with replayed(home, f"{version}-abort"):
            snapshot = await played(node, Told(f"{version}-abort"))
            broken = [entry for entry in snapshot["entries"] if entry.get("interrupted")]
            assert text_of(broken[0]) == "one two three"
            assert "interrupted" not in snapshot["entries"][-1]

    async def test_a_compaction_is_an_entry_with_its_summary(
        self, node: StandIn, home: Path, version: str
    ) -> None:
        async with replayed(home, f"{version}-compaction"):
            snapshot = await played(node, Told(f"{version}-compaction"))
            assert [entry["role"] for entry in snapshot["entries"]].count("system") == 1

    async def test_another_session_and_another_branch_are_resets(
        self, node: StandIn, home: Path, version: str
    ) -> None:
        async with replayed(home, f"{version}-tree"):
            await played(node, Told(f"{version}-tree"))
            assert [change["reset"] for change in node.said("changed") if "reset" in change] == ["tree"]

    async def test_a_reload_is_none(self, node: StandIn, home: Path, version: str) -> None:
        async with replayed(home, f"{version}-reload"):
            await played(node, Told(f"{version}-reload"))
            assert not [change for change in node.said("changed") if "reset" in change]
            assert len({hello["instance"] for hello in node.said("register")}) == 1
