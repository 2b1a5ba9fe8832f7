"""Machines join a mesh over a real network: by mDNS, by address, by token; and those that may not, do not."""

import itertools
import shutil
import time

import pytest
from hosts import Done, Host, Network, until
from household import Clock, Household, Json
from ptys import Pty
from rig import PI

pytestmark = pytest.mark.netns


def refused(done: Done, *, code: int = 1) -> str:
    """The one line that says why; the hint stands below it."""
    assert (done.code, done.out) == (code, ""), done
    reason, *hints = done.err.splitlines()
    assert reason.startswith("hyperpi: ")
    assert len(hints) == 1 and hints[0].startswith("  -> "), done.err
    assert "Traceback" not in done.err
    return reason


def test_one_machine_finds_the_hypivisor_by_itself_and_another_is_told_its_address(home: Household) -> None:
    for name in ("attic", "cellar"):
        assert home.joined[name].json["name"] == name
        assert home.joined[name].json["mesh"] == "home"
    listed = {node["name"]: node for node in home.den.did("hyperpi", "node", "ls", "--json").json}
    assert {name: node["state"] for name, node in listed.items()} == dict.fromkeys(
        ("den", "attic", "cellar"), "online"
    )
    assert listed["attic"]["address"] == home.attic.address
    # The same list for the owner of any machine of the mesh.
    elsewhere = home.cellar.did("hyperpi", "node", "ls", "--json").json
    assert {node["id"] for node in elsewhere} == {node["id"] for node in listed.values()}


def test_a_used_token_is_refused(home: Household) -> None:
    again = home.network.hosts["attic"].run(
        "hyperpi", "node", "join", "--token", home.tokens["cellar"]["token"], HYPERPI_HOME=fresh(home)
    )
    assert "used" in refused(again)


def test_a_token_with_a_wrong_secret_is_refused(home: Household) -> None:
    token = home.token()["token"]
    wrong = token[:-4] + ("aaaa" if token[-4:] != "aaaa" else "bbbb")
    done = home.attic.run("hyperpi", "node", "join", "--token", wrong, HYPERPI_HOME=fresh(home))
    assert "not known" in refused(done)
    assert wrong not in done.err


def test_a_port_that_is_not_the_enrol_port_is_told_apart(home: Household) -> None:
    token = home.token()["token"]
    for port in (31416, 9):
        where = f"{home.den.address}:{port}"
        done = home.attic.run("hyperpi", "node", "join", where, "--token", token, HYPERPI_HOME=fresh(home))
        assert where in refused(done, code=3)
        assert "31417" in done.err


def test_without_a_hypivisor_on_the_network_joining_gives_up_soon(home: Household, network: Network) -> None:
    island = network.add("island")
    started = time.monotonic()
    done = island.run("hyperpi", "node", "join", "--token", home.token()["token"], timeout_s=15)
    print(f"    gave up after {time.monotonic() - started:.1f} s")
    assert "no hypivisor was found" in refused(done, code=3)


def test_a_machine_is_let_in_by_comparing_six_digits(home: Household) -> None:
    porch = home.network.add("porch")
    with Pty(porch, "hyperpi", "node", "join", "--name", "porch") as joining:
        code = joining.shows(r"Its code: (\d{3} ?\d{3})")[1].replace(" ", "")
        waiting = until(lambda: home.nodes().get("porch"), "porch among the machines that wait")
        assert (waiting["state"], waiting["code"].replace(" ", "")) == ("pending", code)
        assert code in home.den.did("hyperpi", "node", "ls").err.replace(" ", "")

        no = home.den.run("hyperpi", "node", "approve", "000000" if code != "000000" else "000001")
        refused(no)
        with Pty(home.den, "hyperpi", "node", "approve", code) as approving:
            approving.shows("porch is let in once its own user has confirmed the digits")
            assert approving.ended() == 0
        assert home.nodes()["porch"]["state"] == "pending"  # both sides must say so

        joining.shows(r"same code\?")
        joining.type("y")
        joining.shows("joined home as porch")
        assert joining.ended() == 0
    home.online("porch")
    home.den.did("hyperpi", "node", "revoke", "porch")
    until(lambda: "porch" not in home.nodes(), "porch put out")


@pytest.mark.skipif(PI is None or shutil.which("tmux") is None, reason="needs pi and tmux")
@pytest.mark.pi
def test_a_machine_that_was_alone_brings_its_agents_along_and_keeps_them_when_it_leaves(
    home: Household,
) -> None:
    loft = home.network.add("loft")
    loft.did("hyperpi", "pi", "install")
    assert loft.run("hyperpi", "ls").code == 3
    clock = Clock()
    with home.pi_in_terminal(loft, "src/nest") as terminal:
        # Nobody has started a node here: pi-socket does.
        alone = until(lambda: listed(loft), "the pi on its own machine")
        clock.say("from `pi` to its being listed by a node that it started")
        terminal.type("am I alone?")
        terminal.sees("ECHO: am I alone?")

        home.join(loft)
        joined = home.agent("nest@loft")
        assert (joined["id"], joined["pid"]) == (alone["id"], alone["pid"])

        loft.did("hyperpi", "node", "leave")
        until(lambda: home.nodes()["loft"]["state"] == "left", "loft has left")
        home.den.did("hyperpi", "node", "revoke", "loft")
        until(lambda: "loft" not in home.nodes(), "loft forgotten")
        loft.did("hyperpi", "prompt", "nest", "and now?")
        terminal.sees("ECHO: and now?")
        again = until(lambda: listed(loft), "the pi on its own machine")
        assert (again["id"], again["pid"]) == (alone["id"], alone["pid"])


def listed(host: Host) -> Json | None:
    """The one living agent as the owner of a machine sees it."""
    done = host.run("hyperpi", "ls", "--json")
    living = [agent for agent in done.json if agent["state"] != "exited"] if done.code == 0 else []
    return living[0] if len(living) == 1 else None


_homes = itertools.count()


def fresh(home: Household) -> str:
    """A home folder that knows no mesh."""
    return str(home.attic.folder / f"fresh-{next(_homes)}")
