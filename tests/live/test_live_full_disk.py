"""A full disk below the audit trail: acts are refused on both sides in words, the rest goes on, it heals."""

import errno
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from live import Json, System, http, join, new_system, until

REFUSED = "the audit trail cannot be written"
ROOM = "make room"


class Filled:
    """A small file system that a test fills and frees."""

    def __init__(self, place: Path) -> None:
        self._filler = place / "filler"

    def fill(self) -> None:
        """Take every byte."""
        with self._filler.open("wb", buffering=0) as file:
            while _fits(file):
                pass

    def free(self) -> None:
        """Give them back."""
        self._filler.unlink()


@pytest.fixture
def machines() -> Iterator[tuple[System, System, Filled]]:
    """A mesh whose hypivisor has a small disk, and one more machine in it."""
    with new_system() as den, new_system() as attic:
        den.more["HYPERPI_LOG"] = "warning"
        place = den.home / "hypivisor"
        for folder in (den.home, place):
            folder.mkdir(mode=0o700)
        mounting = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(place)]
        if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
            pytest.skip("a tmpfs cannot be mounted here")
        try:
            den.start()
            join(attic, den)
            yield den, attic, Filled(place)
            den.end()
            den.up = None
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _fits(file: IO[bytes]) -> bool:
    try:
        return file.write(bytes(512)) > 0
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
        return False


def token_for(den: System) -> list[str]:
    """The address and a token of the mesh, as `node join` takes them."""
    made = json.loads(den.run("token", "create", "--role", "node", "--json").stdout)
    return [f"127.0.0.1:{den.said('hypivisor')['enrol_port']}", "--token", made["token"]]


def trail(den: System) -> list[Json]:
    """Newest first."""
    rows: list[Json] = json.loads(den.run("audit", "--json").stdout)
    return rows


def log_of(den: System) -> list[str]:
    """What its hypivisor said about the trail."""
    return [line for line in (den.folder / "up.out").read_text().splitlines() if "audit trail" in line]


async def test_with_a_full_disk_acts_are_refused_in_one_line_and_everything_else_goes_on(
    machines: tuple[System, System, Filled],
):
    den, attic, disk = machines
    with new_system() as cellar:
        words = token_for(den)
        code = json.loads(den.run("login", "--json").stdout)["url"].partition("#login=")[2]
        disk.fill()

        for verb in (["spawn", str(den.folder)], ["token", "create"], ["login"], ["node", "revoke", "attic"]):
            done = den.run(*verb)
            assert done.returncode == 1, verb
            first, hint = done.stderr.strip().splitlines()
            assert REFUSED in first and ROOM in hint, verb
        joining = cellar.run("node", "join", *words, "--no-mdns")
        assert joining.returncode == 1 and REFUSED in joining.stderr and ROOM in joining.stderr
        login = await http(den.url + "/login", ("Origin", den.url), method="POST", body={"code": code})
        assert (
            login.status == 429 and "cannot be written" in login.json["error"] and ROOM in login.json["hint"]
        )

        async with attic.agent("writer") as writer, den.agent("reader") as reader, den.program() as program:
            await program.knows(reader.id)
            following = await program.attach(reader.id)
            await writer.call("scroll.send", to="reader@den", message="still here")
            await reader.until(lambda: reader.scrolls, "the scroll")
            await reader.say("so am I")
            await program.until(lambda: following.of_type("message_end"), "the events")
            assert await program.code_of("agent.prompt", agent=reader.id, text="hi") == -32029

        found = {check["name"]: check for check in json.loads(den.run("doctor", "--json").stdout)}
        assert found["home"]["state"] == "fail" and "is full" in found["home"]["found"]
        assert len(log_of(den)) == 1 and ROOM in log_of(den)[0]

        disk.free()
        joined = cellar.run("node", "join", *words, "--no-mdns")  # the same token: it was not used
        assert joined.returncode == 0, joined.stderr
        cellar.pids.add(cellar.node_pid())
        until(lambda: cellar.said("node")["linked"], "the link")
        gap = next(row for row in trail(den) if row["what"] == "audit.gap")
        assert gap["details"]["acts"] >= 6
        assert "again" in log_of(den)[-1]
        assert den.run("audit", "--verify").returncode == 0
        assert den.run("doctor").returncode == 0


def test_a_hypivisor_that_ends_or_starts_on_a_full_disk_says_so_in_one_line(
    machines: tuple[System, System, Filled],
):
    den, _attic, disk = machines
    disk.fill()
    assert den.end_up() == 0
    done = den.run("up", "--no-mdns", "--port", "0", "--grpc-port", "0", "--enrol-port", "0")
    assert done.returncode == 1
    assert done.stderr.count("hyperpi: ") == 1 and ROOM in done.stderr and "Traceback" not in done.stderr
    disk.free()
    den.start()
