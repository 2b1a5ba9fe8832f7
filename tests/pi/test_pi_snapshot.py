"""What a viewer is told at once: consistent with the stream, in pages that fit a line."""

import json
from pathlib import Path

from model_server import ModelServer
from rig import Json, PiRig, needs_pi
from stand_in import StandIn, text_of

pytestmark = needs_pi


def replayed(snapshot: Json, later: list[Json]) -> list[Json]:
    """What a viewer shows that began with a snapshot and applied what came after it."""
    entries = {entry["id"]: entry for entry in snapshot["entries"]}
    for event in later:
        if event["type"] == "message_end":
            entries[event["entry"]["id"]] = event["entry"]
    return list(entries.values())


def running_text(snapshot: Json, later: list[Json]) -> dict[str, str]:
    """Text by message id, as deltas make it grow from what a snapshot shows as running."""
    texts: dict[str, str] = {}
    running = snapshot["running"]
    if running is not None and running["role"] == "assistant" and running["blocks"]:
        texts[running["message_id"]] = "".join(block.get("text", "") for block in running["blocks"])
    for event in later:
        if event["type"] == "message_start":
            texts[event["message_id"]] = ""
        elif event["type"] == "text_delta" and event["message_id"] in texts:
            texts[event["message_id"]] += event["delta"]
    return texts


async def test_a_snapshot_in_mid_turn_and_the_events_after_it_are_the_whole_conversation(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("before", "p0")
        await node.entry("assistant", "ECHO: before")
        await node.prompt("hold: a", "p1")
        await node.streams("three")
        answer = await node.call("snapshot")
        held = answer["result"]
        assert held["state"] == "working"
        assert text_of(held["running"]) == "one two three"
        assert held["running"]["message_id"] == node.all("message_start")[-1]["message_id"]

        # Then many more, wherever they happen to fall: between deltas, while a tool runs, between two turns.
        asked = [node.ask("snapshot")]
        await node.prompt("run: for i in 1 2 3; do echo line $i; sleep 0.05; done", "p2")
        await node.prompt("slow: 8", "p3")
        model.release("a")
        while not node.entry_of("assistant", "w7"):
            asked.append(node.ask("snapshot"))
            await asked[-1]
        answers = [answer, *[await one for one in asked]]
        final = (await node.snapshot())["entries"]
        assert [entry["role"] for entry in final].count("user") == 4
        texts = {entry["message_id"]: text_of(entry) for entry in final if entry["role"] == "assistant"}
        for one in answers:
            later = node.events[one["events"] :]
            assert replayed(one["result"], later) == final
            for message_id, text in running_text(one["result"], later).items():
                assert texts[message_id] == text
        with_tools = [one["result"]["running"] for one in answers if one["result"]["running"]]
        assert any(running["tools"] for running in with_tools)


async def test_a_long_history_comes_in_pages_that_fit_a_line_and_misses_nothing(
    rig: PiRig, node: StandIn
) -> None:
    file = rig.folder / "old.jsonl"
    written = write_session(file, rig.project, messages=1_500)
    async with rig.headless("--session", str(file)):
        await node.registered()
        snapshot = await node.snapshot()
        assert snapshot["more"] is True
        assert 50 < len(snapshot["entries"]) < 200  # as many as fit
        small = await node.snapshot(limit=3)
        assert len(small["entries"]) == 3

        seen = snapshot["entries"]
        more = True
        while more:
            answer = await node.call("history", {"before": seen[0]["id"], "limit": 500})
            page = answer["result"]
            seen = page["entries"] + seen
            more = page["more"]
        assert [entry["id"] for entry in seen] == written
        assert node.longest_line < 1 << 20

        by_id = {entry["id"]: entry for entry in seen}
        assert by_id["00000001"]["role"] == "user"
        assert by_id["c0000000"]["role"] == "system"
        assert "what was kept" in text_of(by_id["c0000000"])
        assert by_id["c0000001"]["role"] == "system"
        assert by_id["c0000002"]["role"] == "note"
        assert by_id["c0000003"]["role"] == "note"  # of a type that nobody knows yet
        assert by_id["c0000005"]["blocks"][0] == {"type": "image", "mime": "image/png", "data": "aGVsbG8="}
        assert "too large" in by_id["c0000005"]["blocks"][1]["text"]
        huge = text_of(by_id["c0000006"])
        assert len(huge) < 70_000
        assert "434464 more characters were cut" in huge


def write_session(file: Path, cwd: Path, messages: int) -> list[str]:
    """A session as pi would have written it; the ids of the entries that a viewer is to see."""
    at = "2026-01-02T03:04:05.006Z"
    lines: list[Json] = [{"type": "session", "version": 3, "id": "s-1", "timestamp": at, "cwd": str(cwd)}]
    seen: list[str] = []

    def add(number: str, kind: str, visible: bool = True, **members: object) -> None:
        parent = lines[-1]["id"] if len(lines) > 1 else None
        lines.append({"type": kind, "id": number, "parentId": parent, "timestamp": at, **members})
        if visible:
            seen.append(number)

    def user(number: str, content: object) -> None:
        add(number, "message", message={"role": "user", "content": content, "timestamp": 1})

    for index in range(1, messages + 1):
        user(f"{index:08d}", f"question {index} " + "\N{SNOWMAN}" * 2_000)
        if index == 700:
            add(
                "c0000000", "compaction", summary="what was kept", firstKeptEntryId="00000699", tokensBefore=9
            )
            add("c0000001", "branch_summary", fromId="00000001", summary="another way")
            add("c0000002", "custom_message", customType="x", content="shown", display=True)
            add("c0000003", "from_the_future", surprise=True)
            add("c0000004", "label", visible=False, targetId="00000001", label="here")
            small = {"type": "image", "mimeType": "image/png", "data": "aGVsbG8="}
            user("c0000005", [small, {**small, "data": "A" * 300_000}])
            user("c0000006", "y" * 500_000)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return seen


async def test_a_huge_answer_is_streamed_whole_and_settled_within_bounds(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("big: 300000", "p1")
        entry = await node.entry("assistant", "234464 more characters were cut")
        assert len(json.dumps(entry)) < 70_000
        assert len(node.text()) == 300_000
