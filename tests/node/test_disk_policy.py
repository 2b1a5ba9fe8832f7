"""The table [disk] of node.toml, and the disk that a node opens by it."""

import asyncio
import os
import re
import tomllib
from pathlib import Path

import pytest

from hyperpi.config import BadConfig, Home
from hyperpi.errors import Overloaded, Unusable
from node import app
from node.disk_policy import DEFAULT_TEXT, MAX_BANKS, DiskPolicy, agent_zone, parse_disk
from node.scroll_rows import IN_KIND, INPUT, OUTPUT, ScrollRows
from pxldisk import Disk, Zone

GIVEN = {"input_scrolls": [100, 199], "agents": {"junior": [9, 99]}}


def test_without_a_table_a_disk_may_grow_and_keeps_its_shape() -> None:
    assert parse_disk({}) == DiskPolicy(max_banks=MAX_BANKS, width=None, height=None, zones=None)


def test_the_examples_in_the_default_file_are_valid() -> None:
    examples = re.sub(r"(?m)^# (?=\w+ = )", "", DEFAULT_TEXT)
    assert parse_disk(tomllib.loads(examples)["disk"]) == DiskPolicy(
        max_banks=MAX_BANKS,
        width=256,
        height=256,
        zones={
            "system": Zone(0, 8),
            "@junior": Zone(9, 99, "junior"),
            "input_scrolls": Zone(100, 199),
            "output_opcodes": Zone(200, 255),
        },
    )


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"banks": 3}, "unknown key disk.banks"),
        ({"max_banks": 0}, "disk.max_banks must be a whole number from 1"),
        ({"max_banks": "many"}, "disk.max_banks must be a whole number from 1"),
        ({"width": 31}, "disk.width must be a whole number from 32"),
        ({"rows": 512}, "disk.rows needs disk.input_scrolls"),
        ({"agents": ["junior"]}, "disk.agents must be a table"),
        (
            {"agents": {"junior": [9, 99]}},
            "disk.input_scrolls begins in row 9",
        ),
        ({"input_scrolls": [9]}, "disk.input_scrolls must be a first and a last row"),
        ({"input_scrolls": [True, 99]}, "disk.input_scrolls must be a first and a last row"),
        ({"input_scrolls": [1, 99]}, "disk.input_scrolls: rows 1 to 99 are not within 2 to 255"),
        ({"input_scrolls": [99, 9]}, "disk.input_scrolls: rows 99 to 9"),
        ({"output_opcodes": [200, 256]}, "disk.output_opcodes: rows 200 to 256 are not within 2 to 255"),
        ({**GIVEN, "agents": {"x" * 32: [9, 99]}}, "has 1 to 31 bytes"),
        ({**GIVEN, "agents": {"": [9, 99]}}, "has 1 to 31 bytes"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(table: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as wrong:
        parse_disk(table)
    assert "\n" not in str(wrong.value)


async def test_scrolls_of_an_agent_with_rows_of_its_own_wait_there(tmp_path: Path) -> None:
    policy = parse_disk({**GIVEN, "agents": {"junior": [9, 10]}, "max_banks": 1})
    async with Disk.open(tmp_path / "disk", zones=policy.zones, max_banks=policy.max_banks) as disk:
        rows = ScrollRows(disk)
        refs = [
            await rows.append(INPUT, {"n": n}, kind=IN_KIND, owner=owner, key=f"{n}")
            for n, owner in enumerate(["junior@den", "senior@den", "junior@den"])
        ]
        opcode = await rows.append(OUTPUT, {}, kind="opcode", owner="junior@den", key="o")
        assert [disk.read(ref).zone for ref in refs] == ["@junior", INPUT, "@junior"]
        assert disk.read(opcode).zone == OUTPUT
        assert [record.ref for record in rows.scrolls()] == refs
        with pytest.raises(Overloaded, match="@junior"):
            await rows.append(INPUT, {"n": 3}, kind=IN_KIND, owner="junior@den", key="3")
        await rows.append(INPUT, {"n": 3}, kind=IN_KIND, owner="senior@den", key="4")


@pytest.fixture
def config(tmp_path: Path) -> app.NodeConfig:
    return app.NodeConfig(Home(tmp_path / "home"), dict(os.environ), tmp_path, name="den", mdns=False)


def write(config: app.NodeConfig, text: str) -> None:
    (config.home.make("node") / "node.toml").write_text(text, "utf-8")


async def test_a_node_opens_its_disk_as_its_owner_says(config: app.NodeConfig) -> None:
    write(config, "[disk]\nmax_banks = 3\ninput_scrolls = [100, 199]\n[disk.agents]\njunior = [9, 99]\n")
    async with app.opened(config) as node:
        assert node.disk.stats().max_banks == 3
        assert node.disk.zones[agent_zone("junior")] == Zone(9, 99, "junior")
    write(config, "")  # the disk keeps what it was made with
    async with app.opened(config) as node:
        assert node.disk.stats().max_banks == MAX_BANKS and agent_zone("junior") in node.disk.zones


async def test_a_node_says_in_one_line_that_zones_are_fixed(config: app.NodeConfig) -> None:
    async with app.opened(config):
        pass
    write(config, "[disk]\ninput_scrolls = [50, 199]\n")
    with pytest.raises(BadConfig) as wrong:
        await asyncio.wait_for(app.opened(config).__aenter__(), 10)
    assert "node.toml: [disk] is not what the disk was made with" in str(wrong.value)
    assert "\n" not in str(wrong.value) and "move" in str(wrong.value.hint)


async def test_a_node_with_a_damaged_disk_says_what_mends_it(config: app.NodeConfig) -> None:
    async with app.opened(config):
        pass
    picture = config.home.node / "disk" / "8.png"
    picture.write_bytes(b"GIF89a")
    with pytest.raises(Unusable) as wrong:
        await asyncio.wait_for(app.opened(config).__aenter__(), 10)
    assert str(picture) in str(wrong.value) and wrong.value.hint == "`hyperpi disk repair` mends it"


async def test_a_scroll_that_fills_a_bank_does_not_stop_the_next(config: app.NodeConfig) -> None:
    async with app.opened(config) as node:
        rows = ScrollRows(node.disk)
        row = {"text": "x" * 63_000}  # takes 89 rows
        refs = [await rows.append(INPUT, row, kind=IN_KIND, owner="a@den", key=f"{n}") for n in range(6)]
        assert {ref.bank for ref in refs} == {8, 9, 10}
