"""mDNS both ways over a real network: who is announced, who is heard, and what strangers can do with it."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Host, Network, ip, until
from household import Household, Json, node_pid
from mdns_packets import Stranger, announcement, question, stranger
from pide_page import Pide
from playwright.sync_api import expect
from ptys import Pty

from hyperpi.candidates import HYPIVISOR_TYPE, MAX_CANDIDATES, NODE_TYPE
from hyperpi.discovery import SWEEP_S

pytestmark = pytest.mark.netns

GONE_S = 10.0  # a goodbye takes a second
CHANGE_S = 30.0  # the system tells of another address, registering takes 2 s

UNJOINED = (b"v=0.1.0", b"state=unjoined")


def nearby(home: Household) -> dict[str, Json]:
    """Machines that could join, by name, as the admin of the den is told."""
    told = home.call("node.nearby")
    return {row["name"]: row for row in told["candidates"]}


def announced(home: Household, lane: Stranger, name: str, packet: bytes) -> None:
    """Say it until it is heard: nobody acknowledges, and a busy machine loses packets."""
    until(lambda: name in nearby(home) or lane.say(packet), lambda: f"{name}: {sorted(nearby(home))}")


def withdrawn(home: Household, lane: Stranger, name: str, packet: bytes) -> None:
    """The same of a goodbye."""
    until(lambda: name not in nearby(home) or lane.say(packet), f"the goodbye of {name}")


def start_alone(host: Host, *flags: str) -> None:
    """A node on a machine that has joined nothing."""
    command = ("hyperpi", "node", "run", "--name", host.name, *flags)
    host.popen(*command, log=host.folder / "node.log", HYPERPI_LOG="info")
    node_pid(host)


def end_node(host: Host) -> None:
    host.did("hyperpi", "node", "stop")


@pytest.fixture
def shed(home: Household) -> Host:
    """A machine on the household's network with nothing on it."""
    name = f"shed{len(home.network.hosts)}"
    return home.network.add(name)


@pytest.fixture
def lane(home: Household, shed: Host) -> Iterator[Stranger]:
    """A stranger's machine on the household's network."""
    with stranger(shed) as found:
        yield found


def test_a_machine_in_no_mesh_is_seen_until_it_joins_and_again_when_it_leaves(
    home: Household, shed: Host
) -> None:
    start_alone(shed)
    seen = until(lambda: nearby(home).get(shed.name), "the shed among the machines that could join")
    assert seen["addresses"] == [shed.address]
    hint = home.den.did("hyperpi", "node", "ls")
    assert f"seen on this network, not joined: {shed.name} ({shed.address})" in hint.err
    assert shed.name not in hint.out
    listed = home.den.did("hyperpi", "node", "ls", "--json")
    assert shed.name not in {node["name"] for node in listed.json}  # a list of Node, and it is none
    assert shed.name in home.den.did("hyperpi", "node", "nearby").out
    # Nobody but an admin is told: the attic's owner is an operator of the mesh.
    assert shed.name not in home.attic.did("hyperpi", "node", "ls").err
    assert "not for the role" in home.attic.run("hyperpi", "node", "nearby").err

    home.join(shed)
    home.online(shed.name)
    until(lambda: shed.name not in nearby(home), "the shed is in the mesh, and could not join", GONE_S)
    shed.did("hyperpi", "node", "leave")
    until(lambda: nearby(home).get(shed.name), "the shed again", GONE_S)
    home.den.did("hyperpi", "node", "revoke", shed.name)
    end_node(shed)
    until(lambda: shed.name not in nearby(home), "the goodbye of a clean stop", GONE_S)


def test_a_node_says_who_it_is_and_nothing_that_opens_anything(home: Household, lane: Stranger) -> None:
    lane.say(question(NODE_TYPE))
    said = lane.hear(lambda packet, sender: sender == home.attic.address and b"state=joined" in packet)
    mesh = home.call("node.join_address")["fingerprint"]
    attic = home.nodes()["attic"]
    properties = set(re.findall(rb"(?:v|state|mesh|fp|id)=[\w.-]+", said))
    assert properties == {
        f"v={attic['version']}".encode(),
        b"state=joined",
        b"mesh=home",
        b"fp=" + mesh[:16].encode(),
        b"id=" + attic["id"].encode(),
    }
    secrets = [home.tokens["attic"]["token"], (home.attic.home / "node" / "token").read_text().strip()]
    assert not any(secret.encode() in said for secret in secrets)


def test_a_hypivisor_that_comes_back_elsewhere_is_found_by_its_nodes(home: Household) -> None:
    """The same machine, another address: what the attic knew leads nowhere."""
    old, new = home.den.address, "10.77.0.200"
    within = ("-n", home.den.namespace)
    ip(*within, "addr", "del", f"{old}/24", "dev", "eth0")
    ip(*within, "addr", "add", f"{new}/24", "dev", "eth0")
    try:
        ip(*within, "route", "replace", "224.0.0.0/4", "dev", "eth0")
        until(lambda: home.nodes()["attic"]["state"] != "online", "the attic has lost its link", CHANGE_S * 2)
        until(
            lambda: home.nodes()["attic"]["state"] == "online",
            lambda: f"the attic by the new address: {home.attic.logs()}",
            CHANGE_S,
        )
        assert home.call("node.join_address")["addresses"][0].startswith(new)
    finally:
        ip(*within, "addr", "del", f"{new}/24", "dev", "eth0")
        ip(*within, "addr", "add", f"{old}/24", "dev", "eth0")
        ip(*within, "route", "replace", "224.0.0.0/4", "dev", "eth0")
        home.online("den", "attic", "cellar")


def test_an_interface_that_goes_and_comes_back_ends_no_announcement(home: Household, shed: Host) -> None:
    start_alone(shed)
    until(lambda: nearby(home).get(shed.name), "the shed")
    pid = node_pid(shed)
    within = ("-n", shed.namespace)
    ip(*within, "addr", "del", f"{shed.address}/24", "dev", "eth0")
    until(
        lambda: "mDNS begins anew" in shed.logs(),
        "the shed notices that its address has gone",
        CHANGE_S,
    )
    moved = "10.77.0.201"
    ip(*within, "addr", "add", f"{moved}/24", "dev", "eth0")
    ip(*within, "route", "replace", "224.0.0.0/4", "dev", "eth0")
    until(
        lambda: nearby(home).get(shed.name, {}).get("addresses") == [moved],
        lambda: f"the shed at its new address: {nearby(home)}",
        CHANGE_S,
    )
    assert node_pid(shed) == pid
    assert "Traceback" not in shed.logs(), shed.logs()
    end_node(shed)


HOSTILE: dict[str, list[bytes]] = {
    "control characters": [b"ev\x1b[31mil\r\n\x07\x00bell"],
    "C1, line separators, right to left": ["a\x9b31m\u2028\u202eexe.gnp\u2066".encode()],
    "a page": [b"<img src=x onerror=alert(1)><script>alert(2)</script>"],
    "over-long": [b"x" * 63, b"y" * 63, b"z" * 40],
    "no text at all": [b"\xff\xfe\x80\x81"],
    "empty labels of dots": [b"....."],
    "a template": [b"${process.exit()}{{7*7}}%s%n"],
    "a path": [b"../../../etc/passwd"],
    "no name": [],
}


@pytest.mark.parametrize("service", [NODE_TYPE, HYPIVISOR_TYPE])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_name_ends_nobody_and_steers_no_terminal(
    home: Household, lane: Stranger, shed: Host, service: str, case: str
) -> None:
    before = {host.name: node_pid(host) for host in (home.den, home.attic, home.cellar)}
    # The prefix of every fingerprint, a port that is none, texts without end.
    for texts in (UNJOINED, (*UNJOINED, b"fp=", b"grpc=x99", b"mesh=\x1b]0;owned\x07", b"=", b"a" * 200)):
        lane.say(announcement(service, HOSTILE[case], shed.address, texts=texts))
    marker = f"after-{len(case)}-{len(service)}"
    packet = announcement(NODE_TYPE, [marker.encode()], shed.address, texts=UNJOINED)
    announced(home, lane, marker, packet)  # after it, so it has been heard as well, or was lost
    for argv in (("node", "ls"), ("node", "nearby"), ("node", "nearby", "--json")):
        done = home.den.did("hyperpi", *argv)
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069<]", done.out + done.err
        )
    for name, row in nearby(home).items():
        assert re.fullmatch(r"[\w.-]{1,64}", name), name
        assert len(json.dumps(row)) < 500
    assert {host.name: node_pid(host) for host in (home.den, home.attic, home.cellar)} == before
    home.online("den", "attic", "cellar")
    assert "Traceback" not in home.den.logs() + home.attic.logs()
    lane.say(announcement(service, HOSTILE[case], shed.address, ttl_s=0))
    withdrawn(home, lane, marker, announcement(NODE_TYPE, [marker.encode()], shed.address, ttl_s=0))


def test_a_flood_of_fakes_is_bounded_and_pushes_out_nobody(
    home: Household, lane: Stranger, shed: Host
) -> None:
    porch = home.network.add(f"porch{len(home.network.hosts)}")
    start_alone(porch)
    until(lambda: nearby(home).get(porch.name), "a machine that was there before the flood")
    fakes = [announcement(NODE_TYPE, [b"fake-%d" % n], shed.address, texts=UNJOINED) for n in range(1_000)]
    hypivisors = [announcement(HYPIVISOR_TYPE, [b"mesh-%d" % n], shed.address) for n in range(1_000)]
    for packets in (fakes, hypivisors):
        for packet in packets:
            lane.say(packet)
    told = until(
        lambda: (said := home.call("node.nearby"))["more"] and said,
        lambda: f"as many as may be: {len(nearby(home))}",
    )
    assert len(told["candidates"]) <= MAX_CANDIDATES
    assert porch.name in {row["name"] for row in told["candidates"]}
    listed = home.den.did("hyperpi", "node", "ls")
    assert len(listed.err.splitlines()) < 10
    assert "there are more than are listed" in home.den.did("hyperpi", "node", "nearby").err
    home.online("den", "attic", "cellar")

    def dispelled() -> bool:
        left = [name for name in nearby(home) if name.startswith("fake-")]
        for name in left:  # again for those whose goodbye was lost: nobody acknowledges one
            lane.say(announcement(NODE_TYPE, [name.encode()], shed.address, ttl_s=0))
        return not left

    until(dispelled, lambda: f"the end of it: {sorted(nearby(home))}", CHANGE_S)
    assert porch.name in nearby(home)
    end_node(porch)


def test_a_machine_that_was_cut_off_is_dropped_though_it_said_no_goodbye(
    home: Household, lane: Stranger, shed: Host
) -> None:
    """Its records say how long they hold; then it is asked, and does not answer."""
    brief = announcement(NODE_TYPE, [b"brief"], shed.address, texts=UNJOINED, ttl_s=2)
    announced(home, lane, "brief", brief)
    until(lambda: "brief" not in nearby(home), "that nobody answers for it", 2 + SWEEP_S + CHANGE_S)


def test_somebody_who_claims_our_mesh_cannot_keep_a_machine_with_a_token_out(
    home: Household, lane: Stranger, shed: Host
) -> None:
    mesh = home.call("node.join_address")["fingerprint"][:16].encode()
    room = home.network.add(f"room{len(home.network.hosts)}")
    for number in range(3):  # nobody listens there
        lane.say(announcement(HYPIVISOR_TYPE, [b"a-fake-%d" % number], shed.address, texts=[b"fp=" + mesh]))
    home.join(room)
    home.online(room.name)
    home.den.did("hyperpi", "node", "revoke", room.name)
    end_node(room)


def test_with_several_meshes_on_the_network_joining_asks_which(
    home: Household, lane: Stranger, shed: Host
) -> None:
    room = home.network.add(f"room{len(home.network.hosts)}")
    other = announcement(HYPIVISOR_TYPE, [b"office"], shed.address, texts=[b"fp=" + b"a" * 16])

    with Pty(room, "hyperpi", "node", "join") as joining:
        # The stranger answers the question that joining asks, as everybody who announces something does.
        lane.hear(lambda packet, sender: sender == room.address and b"_hyperpi\x04" in packet)
        lane.say(other)
        joining.shows("several meshes are on this network")
        assert joining.ended() == 1
    said = joining.said
    assert f"home at {home.den.address}:31417" in said
    assert f"office at {shed.address}:31417" in said
    assert "hyperpi node join 10.77." in said


def test_without_mdns_no_packet_is_sent_and_none_is_heard(folder: Path, network: Network) -> None:
    silent, other = network.add("silent"), network.add("other")
    with stranger(other) as listening:
        up = silent.folder / "up.log"
        flags = ("--mesh-name", "quiet", "--name", "silent", "--no-mdns")
        silent.popen("hyperpi", "up", *flags, log=up)
        until(lambda: "hyperpi pi install" in up.read_text(), "the greeting of `up`")
        for kind in (NODE_TYPE, HYPIVISOR_TYPE):
            listening.say(question(kind))
        listening.say(announcement(NODE_TYPE, [b"somebody"], other.address, texts=UNJOINED))
        told = json.loads(silent.did("hyperpi", "node", "nearby", "--json").out)
        assert told == {"candidates": [], "more": False, "listening": False}
        assert "--no-mdns" in silent.did("hyperpi", "node", "nearby").err
        # A third host proves that the network carries what is said, and has waited as long.
        third = network.add("third")
        start_alone(third)
        listening.hear(lambda packet, sender: sender == third.address and b"state=unjoined" in packet)
        assert {sender for _, sender in listening.heard()} <= {third.address}
        assert packets_out(silent) == 0
        end_node(silent)
        end_node(third)


def test_a_home_whose_config_says_so_is_as_silent(folder: Path, network: Network) -> None:
    quiet, other = network.add("quiet"), network.add("other")
    quiet.home.mkdir(exist_ok=True)
    (quiet.home / "config.toml").write_text("mdns = false\n")
    with stranger(other) as listening:
        start_alone(quiet)
        assert "an address is needed" in quiet.run("hyperpi", "node", "join").err
        checks = {check["name"]: check for check in json.loads(quiet.run("hyperpi", "doctor", "--json").out)}
        assert "turned off" in checks["mdns"]["found"]
        loud = network.add("loud")
        start_alone(loud)
        listening.hear(lambda packet, sender: sender == loud.address and b"state=unjoined" in packet)
        assert {sender for _, sender in listening.heard()} <= {loud.address}
        assert packets_out(quiet) == 0
        end_node(quiet)
        end_node(loud)


def packets_out(host: Host) -> int:
    """Multicast packets that this host has ever sent, as its kernel counts them."""
    lines = [line.split() for line in host.did("cat", "/proc/net/netstat").out.splitlines()]
    names, values = (line for line in lines if line[0] == "IpExt:")
    return int(values[names.index("OutMcastPkts")])


def test_doctor_says_who_is_heard(home: Household, shed: Host) -> None:
    start_alone(shed)
    until(lambda: nearby(home).get(shed.name), "the shed")
    checks = {check["name"]: check for check in home.den.run("hyperpi", "doctor", "--json").json}
    assert checks["mdns"]["state"] == "ok"
    assert f"home ({home.den.address})" in checks["mdns"]["found"]
    # Others may have been cut off a minute ago, and not be forgotten yet.
    alone = checks["mdns"]["found"].partition("machines in no mesh: ")[2]
    assert f"{shed.name} ({shed.address})" in alone
    end_node(shed)


@pytest.mark.browser
def test_the_page_shows_who_could_join_and_who_waits(home: Household, pide: Pide, shed: Host) -> None:
    page = pide.page
    page.click("[aria-label='Add a machine']")
    start_alone(shed)
    seen = page.locator(".nearby li", has_text=shed.name)
    expect(seen).to_contain_text(shed.address)
    pide.tab.shot("nearby")
    os.kill(node_pid(shed), signal.SIGTERM)
    expect(seen).to_have_count(0)
