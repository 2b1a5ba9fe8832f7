"""A machine that was revoked: it says what to do, dials seldom, and its mesh's owner has one row of it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from live import COMMAND, Json, System, join, new_system, until

from hyperpi.holder import holder_of


@pytest.fixture
def machines() -> Iterator[tuple[System, System]]:
    """A mesh and one more machine in it, both with logs that people would have."""
    with new_system() as den, new_system() as attic:
        den.more["HYPERPI_LOG"] = attic.more["HYPERPI_LOG"] = "warning"
        den.start()
        join(attic, den)
        yield den, attic


def refusals(den: System) -> list[Json]:
    """What the trail holds of links that were refused."""
    asked = den.run("audit", "--what", "node.link", "--json")
    return [row for row in json.loads(asked.stdout) if row["result"] == "refused"]


def link_of(attic: System) -> Json:
    """What doctor says about the link, and that it is a failure to it."""
    done = attic.run("doctor", "--json")
    assert done.returncode == 1
    return next(check for check in json.loads(done.stdout) if check["name"] == "link")


def test_a_revoked_machine_is_told_so_wherever_its_owner_looks(machines: tuple[System, System]):
    den, attic = machines
    assert den.run("node", "revoke", "attic").returncode == 0
    until(lambda: attic.said("node")["refused"], "the refusal")
    until(lambda: refusals(den), "the row at the mesh's owner")

    log = (attic.home / "logs" / "node.log").read_text()
    assert "was revoked" in log and "hyperpi node join" in log
    found = link_of(attic)
    assert "was revoked" in found["found"] and "hyperpi node join" in found["fix"]
    listed = attic.run("node", "ls")
    assert "was revoked" in listed.stderr and "cannot be reached" not in listed.stderr

    # Meanwhile it did not knock again and again: what was counted is written down at the end.
    (row,) = refusals(den)
    assert row["details"]["name"] == "attic" and row["details"]["why"] == "NodeRevoked"
    assert row["who"] in (den.folder / "up.out").read_text()
    den.end_up()
    den.start()
    assert [row["details"].get("times") for row in refusals(den)] == [None]


def test_a_revoked_machine_that_comes_back_says_at_once_what_to_do_and_can_join_anew(
    machines: tuple[System, System],
):
    den, attic = machines
    pid = attic.node_pid()
    os.kill(pid, signal.SIGTERM)
    until(lambda: holder_of(attic.home / "node" / "lock") is None, "the end of the node")
    assert den.run("node", "revoke", "attic").returncode == 0
    out = attic.folder / "run.out"
    with out.open("wb") as said:
        attic.node = subprocess.Popen(
            [*COMMAND, "node", "run", "--no-mdns"], env=attic.environment, stdout=said, stderr=said
        )
    attic.pids.add(attic.node.pid)
    line = until(lambda: [one for one in out.read_text().splitlines() if "revoked" in one], "a line")[0]
    assert "hyperpi node join" in line
    join(attic, den, "attic")
    assert "was revoked" not in attic.run("node", "ls").stderr
    assert attic.said("node")["refused"] is None
