"""The hypivisor and Pi-DE as processes of their own."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from live import COMMAND, PATIENCE_S, Answer, System, http, new_system, until

HYPIVISOR = (
    "hypivisor",
    "run",
    "--grpc-port",
    "0",
    "--enrol-port",
    "0",
    "--no-mdns",
    "--mesh-name",
    "Ana's home",
)


@contextmanager
def part(system: System, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """One part in the foreground, ended as by Ctrl-C."""
    process = subprocess.Popen(
        [*COMMAND, *argv], env=system.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    system.pids.add(process.pid)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def apart() -> Iterator[System]:
    """A home in which nothing runs yet."""
    with new_system() as system:
        yield system


def is_up(system: System) -> None:
    until(lambda: system.said("hypivisor")["control"] and system.run("ls").returncode == 0, "the hypivisor")


def login_url(system: System) -> str:
    """A new login link."""
    done = system.run("login", "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["url"])


async def log_in(url: str) -> Answer:
    """What a browser does with a login link."""
    place, _, code = url.partition("/#login=")
    return await http(f"{place}/login", ("Origin", place), method="POST", body={"code": code})


async def test_a_login_link_leads_to_the_pide_that_runs_apart_whatever_the_mesh_is_called(apart: System):
    with part(apart, *HYPIVISOR):
        is_up(apart)
        with part(apart, "pide", "run", "--port", "0") as pide:
            assert pide.stdout is not None
            said = pide.stdout.readline()
            url = until(lambda: login_url(apart), "a login link")
            assert url.partition("/#")[0] in said
            answer = await log_in(url)
            assert answer.status == 200, answer.body
            assert answer.header("set-cookie").startswith("hyperpi-")
        gone = until(lambda: (d := apart.run("login")).returncode != 0 and d, "the end of that Pi-DE")
        assert "no Pi-DE runs" in gone.stderr


async def test_a_restarted_hypivisor_hands_out_links_to_the_pide_that_went_on(apart: System):
    with ExitStack() as stack:
        with part(apart, *HYPIVISOR):
            is_up(apart)
            pide = stack.enter_context(part(apart, "pide", "run", "--port", "0"))
            assert pide.stdout is not None
            said = pide.stdout.readline()
        with part(apart, *HYPIVISOR):
            is_up(apart)
            done = until(lambda: (d := apart.run("login", "--json")).returncode == 0 and d, "a login link")
            url = json.loads(done.stdout)["url"]
            assert url.partition("/#")[0] in said
            assert (await log_in(url)).status == 200


def test_without_a_pide_login_says_what_to_start(apart: System):
    with part(apart, *HYPIVISOR):
        is_up(apart)
        done = apart.run("login")
        assert done.returncode != 0
        assert "no Pi-DE runs" in done.stderr and "hyperpi pide run" in done.stderr
