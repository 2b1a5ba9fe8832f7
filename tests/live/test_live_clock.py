"""Clocks that are wrong, on either side: within days machines join and stay linked, and are told."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from live import COMMAND, Json, System, join, new_system, until

from hyperpi.holder import holder_of

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
DAY = 86_400
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")

Machines = Callable[[str, str], tuple[System, System]]


def set_clock(system: System, shift: str) -> None:
    """From now on its processes have another time of the day; timeouts keep the real one."""
    system.more["HYPERPI_LOG"] = "warning"
    if shift:
        here = str(Path(__file__).with_name("clocked"))
        system.more |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": shift, "PYTHONPATH": here}
        system.more |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


@pytest.fixture
def machines() -> Iterator[Machines]:
    """Two homes whose clocks are wrong by so much; nothing runs yet."""
    with ExitStack() as stack:

        def make(den_shift: str, attic_shift: str) -> tuple[System, System]:
            den, attic = stack.enter_context(new_system()), stack.enter_context(new_system())
            set_clock(den, den_shift)
            set_clock(attic, attic_shift)
            return den, attic

        yield make


def checks(system: System) -> dict[str, Json]:
    """What doctor finds, by name."""
    return {check["name"]: check for check in json.loads(system.run("doctor", "--json").stdout)}


def trail(den: System) -> list[Json]:
    """What the mesh's owner can read about clocks."""
    rows: list[Json] = json.loads(den.run("audit", "--what", "node.clock", "--json").stdout)
    return rows


def online(den: System) -> set[str]:
    """The names of the machines that are linked."""
    nodes = json.loads(den.run("node", "ls", "--json").stdout)
    return {node["name"] for node in nodes if node["state"] == "online"}


@pytest.mark.parametrize(
    ("den_shift", "attic_shift", "words"),
    [("", "+1d", "24 h ahead of"), ("", "-1d", "24 h behind"), ("+1d", "", "24 h behind")],
)
def test_a_clock_that_is_wrong_by_a_day_keeps_nobody_out_and_is_told_on_both_sides(
    machines: Machines, den_shift: str, attic_shift: str, words: str
):
    den, attic = machines(den_shift, attic_shift)
    den.start()
    join(attic, den)
    for one, check in ((attic, "this machine is"), (den, "attic is")):
        found = checks(one)["clock"]
        assert found["state"] == "warn" and words in found["found"] and "synchronisation" in found["fix"], (
            found
        )
        assert check in found["found"] or one is attic
    assert words in (attic.home / "logs" / "node.log").read_text()
    (row,) = trail(den)
    assert row["details"]["name"] == "attic" and abs(abs(row["details"]["ahead_s"]) - DAY) < 60
    assert words in (den.folder / "up.out").read_text()
    assert words in den.run("node", "ls").stderr


def test_a_clock_that_is_years_behind_is_named_instead_of_a_failed_handshake(machines: Machines):
    den, attic = machines("", "-900d")
    den.start()
    made = json.loads(den.run("token", "create", "--role", "node", "--json").stdout)
    where = f"127.0.0.1:{den.said('hypivisor')['enrol_port']}"
    done = attic.run("node", "join", where, "--token", made["token"], "--no-mdns")
    assert done.returncode == 1
    first, hint = done.stderr.strip().splitlines()
    assert "this machine's clock says 20" in first and "at least 900 days behind" in first
    assert "set the clock" in hint


def test_a_machine_whose_clock_falls_far_back_says_why_it_has_no_link(machines: Machines):
    den, attic = machines("", "")
    den.start()
    join(attic, den)
    os.kill(attic.node_pid(), signal.SIGTERM)
    until(lambda: holder_of(attic.home / "node" / "lock") is None, "the end of the node")
    set_clock(attic, "-30d")
    out = attic.folder / "run.out"
    with out.open("wb") as said:
        attic.node = subprocess.Popen(
            [*COMMAND, "node", "run", "--no-mdns"], env=attic.environment, stdout=said, stderr=said
        )
    attic.pids.add(attic.node.pid)
    line = until(lambda: [one for one in out.read_text().splitlines() if "clock" in one], "a line")[0]
    assert "at least 30 days behind" in line and "set the clock" in line
    found = until(lambda: checks(attic)["link"], "doctor")
    assert found["state"] == "fail" and "30 days behind" in found["found"] and "set the clock" in found["fix"]


def test_a_hypivisor_whose_clock_leaps_past_the_end_of_certificates_is_followed(machines: Machines):
    den, attic = machines("", "")
    den.start()
    join(attic, den)
    ports = [str(den.said("hypivisor")[port]) for port in ("grpc_port", "enrol_port")]
    den.end_up()
    set_clock(den, "+10d")
    den.begin("--grpc-port", ports[0], "--enrol-port", ports[1])
    until(lambda: online(den) == {"den", "attic"}, "both links", 40)
    assert "10 days behind" in (attic.home / "logs" / "node.log").read_text()
