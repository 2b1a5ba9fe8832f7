"""Pi-DE through `ssh -R`: a browser on another machine logs in, follows an agent, and survives a cut."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hosts import Host, until
from household import Household
from pide_page import CHROMIUM, browser_on
from playwright.sync_api import expect
from rig import needs_pi, needs_tmux

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
pytestmark = [
    pytest.mark.netns,
    pytest.mark.browser,
    *needs_pi,
    needs_tmux,
    pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="there is no OpenSSH server"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

SSH_PORT = 2222
AFAR = "http://localhost:8080"  # as the browser on the other machine calls it


class SshServer:
    """OpenSSH on a host, for one key."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.folder = Path(tempfile.mkdtemp(prefix="ssh-", dir=host.folder))
        for name in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True
            )
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        (self.folder / "config").write_text(
            f"Port {SSH_PORT}\nHostKey {self.folder}/host_key\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nAllowTcpForwarding remote\n"
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it separates its privileges
        assert SSHD is not None
        host.popen(SSHD, "-D", "-e", "-f", str(self.folder / "config"), log=self.folder / "log")
        until(lambda: "Server listening" in (self.folder / "log").read_text(), "the ssh server")


@contextmanager
def tunnel(here: Host, server: SshServer, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`ssh -R`, as deploy/tunnel/ssh.md has it: a port of the other machine leads to Pi-DE here."""
    process = here.popen(
        "ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes",
        "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={server.folder}/known",
        "-i", str(server.folder / "user_key"), "-p", str(SSH_PORT),
        "-R", f"127.0.0.1:8080:127.0.0.1:{port}", f"root@{server.host.address}",
        log=server.folder / "ssh.log",
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        until(lambda: is_free(server.host), "the port at the other end, which the next tunnel needs")


UNANSWERED = '.banner[data-tone="warn"]'  # another banner tells of agents that were interrupted


@contextmanager
def pide_with_a_public_name(host: Host) -> Iterator[int]:
    """One more front end of the household, which answers to the name that the tunnel gives it."""
    log = host.folder / "pide-afar.log"
    pide = host.popen("hyperpi", "pide", "run", "--port", "31500", "--public-url", AFAR, log=log)
    try:
        until(lambda: AFAR in log.read_text(), "Pi-DE's word that it runs")
        yield 31500
    finally:
        pide.terminate()
        pide.wait()


@pytest.fixture(scope="module")
def server(home: Household) -> SshServer:
    """On the cellar, for all tests here."""
    return SshServer(home.cellar)


def test_a_browser_beyond_an_ssh_tunnel_follows_an_agent_and_survives_a_cut(
    home: Household, server: SshServer
) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(pide_with_a_public_name(home.den))
        terminal = stack.enter_context(home.pi_in_terminal(home.attic, "src/remote"))
        agent = home.agent("remote@attic")
        with tunnel(home.den, server, port):
            until(lambda: reached(home.cellar), "Pi-DE at the other end of the tunnel")
            browser = stack.enter_context(browser_on(home.cellar, home.new_link()))
            assert browser.origin == f"{AFAR}/"
            tab = browser.tab
            tab.open(agent["id"])
            tab.prompt("before the cut")
            expect(tab.said_by("assistant").last).to_contain_text("ECHO: before the cut")

        expect(tab.page.locator(UNANSWERED)).to_be_visible()
        terminal.type("while it was cut")
        terminal.sees("ECHO: while it was cut")
        with tunnel(home.den, server, port):
            expect(tab.page.locator(UNANSWERED)).not_to_be_visible()
            expect(tab.said_by("assistant").last).to_contain_text("ECHO: while it was cut")
            tab.prompt("after the cut")
            expect(tab.said_by("assistant").last).to_contain_text("ECHO: after the cut")
            assert tab.texts("user") == ["before the cut", "while it was cut", "after the cut"]
            assert browser.complaints == []


def test_a_page_of_another_name_gets_nothing_through_the_tunnel(home: Household, server: SshServer) -> None:
    with pide_with_a_public_name(home.den) as port, tunnel(home.den, server, port):
        until(lambda: reached(home.cellar), "Pi-DE at the other end of the tunnel")
        foreign = home.cellar.run("curl", "-s", "-H", "Host: evil.example", f"{AFAR}/healthz")
        assert "this Host is not served here" in foreign.out


def is_free(host: Host) -> bool:
    """Whether nobody listens where the tunnel ends."""
    return host.run("curl", "-s", AFAR).code == 7  # could not connect


def reached(host: Host) -> bool:
    """Whether Pi-DE answers on a host's loopback."""
    return host.run("curl", "-fs", f"{AFAR}/healthz").code == 0
