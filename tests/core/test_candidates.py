"""What strangers say by mDNS, before anybody acts on it; and what we say ourselves."""

import json
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperpi import secret_text, tls
from hyperpi.address import MAX_NAME
from hyperpi.candidates import (
    FINGERPRINT_PREFIX,
    MAX_ADDRESSES,
    MAX_CANDIDATES,
    MAX_VALUE,
    PROPERTIES,
    Candidate,
    Heard,
    candidate_of,
)
from hypivisor import neighbours as hypivisor_neighbours
from node import neighbours as node_neighbours
from node.identity import Membership


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Membership:
    from hypivisor.ca import MeshCa

    ca = MeshCa.open(tmp_path_factory.mktemp("ca"), "home", 1_700_000_000.0)
    identity = tls.Identity(key_pem=b"", certificate_pem=b"", ca_pem=ca.certificate_pem)
    return Membership(identity, "m-1", "home", "n-attic", "attic", ("10.0.0.1:31416",), ("10.0.0.1:31417",))


def fingerprint(member: Membership) -> str:
    return secret_text.base32(tls.fingerprint(member.identity.ca_pem))


def hypivisor(name: str = "home", addresses: tuple[str, ...] = ("10.0.0.1",), **said: str) -> Candidate:
    return Candidate(name, addresses, 31417, said)


text = st.text(max_size=300)


@given(name=text, properties=st.dictionaries(st.sampled_from([*PROPERTIES, "x", "", "__class__"]), text))
def test_whatever_somebody_says_comes_out_short_and_plain(name: str, properties: dict[str, str]):
    found = candidate_of(name, ["10.0.0.1"], 1, properties)
    assert found is not None
    assert 0 < len(found.name) <= MAX_NAME
    assert not set(found.name) & set(string.punctuation.replace("_", "").replace(".", "").replace("-", ""))
    assert found.name.isprintable() and not set(found.name) & set(string.whitespace)
    assert found.properties.keys() <= PROPERTIES
    assert all(value.isprintable() and len(value) <= MAX_VALUE for value in found.properties.values())


@pytest.mark.parametrize("said", ["", "0", "65536", "x", "31416x", "-1", " 1", "1" * 400, "٣", "²"])
def test_what_is_no_port_is_none(said: str):
    assert hypivisor(grpc=said).grpc_port is None


def test_somebody_without_an_address_is_no_candidate_and_with_many_is_cut():
    assert candidate_of("den", [], 1, {}) is None
    many = candidate_of("den", [f"10.0.0.{n}" for n in range(200)], 1, {})
    assert many is not None
    assert len(many.addresses) == MAX_ADDRESSES


def test_a_thousand_fakes_take_no_more_than_their_room_and_push_out_nobody():
    heard = Heard()
    assert heard.put("attic", hypivisor("attic"))
    for number in range(1_000):
        heard.put(f"fake-{number}", hypivisor(f"fake-{number}"))
    assert len(heard) == MAX_CANDIDATES
    assert heard.more
    assert "attic" in heard.all()
    moved = hypivisor("attic", ("10.0.0.9",))
    assert heard.put("attic", moved)  # who is known may still move
    assert heard.all()["attic"] == moved
    assert heard.drop("attic")
    assert not heard.more
    assert heard.put("late", hypivisor("late"))


def test_saying_the_same_again_changes_nothing():
    heard = Heard()
    assert heard.put("attic", hypivisor("attic"))
    assert not heard.put("attic", hypivisor("attic"))
    assert not heard.drop("cellar")


# --- a node ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["", "a", "a" * 16])
def test_only_who_claims_our_mesh_is_dialled(member: Membership, claim: str):
    ours = fingerprint(member)[:FINGERPRINT_PREFIX]
    heard = [
        hypivisor(fp=ours, grpc="31416"),
        hypivisor(addresses=("10.0.0.2",), fp=claim, grpc="31416"),
        hypivisor(addresses=("10.0.0.3",), grpc="31416"),
        hypivisor(addresses=("10.0.0.4",), fp=ours, grpc="many"),
        hypivisor(addresses=("10.0.0.5",), fp=ours[:1], grpc="31416"),
    ]
    assert node_neighbours.hypivisor_addresses(member, heard) == {"10.0.0.1:31416"}
    assert node_neighbours.hypivisor_addresses(None, heard) == set()


def test_a_node_in_no_mesh_says_only_that(member: Membership):
    alone = node_neighbours.announcement("attic", None)
    assert alone.properties.keys() == {"v", "state"}
    joined = node_neighbours.announcement("attic", member)
    assert joined.properties.keys() == {"v", "state", "mesh", "fp", "id"}
    assert alone.port == joined.port == 0


@pytest.mark.parametrize("name", ["den", "host.lan", "é" * 64, "x" * 200, "a\x00b", "", "日本" * 30, "..."])
def test_any_name_of_a_machine_can_be_announced(name: str, member: Membership):
    from hyperpi.discovery import _info_of

    for who in (None, replace(member, mesh_name="m" * 300)):
        info = _info_of(node_neighbours.announcement(name, who))
        label = info.name.removesuffix("._hyperpi-node._tcp.local.")
        assert 0 < len(label.encode()) <= 63 and "." not in label
        assert len(info.text) < 1_000


# --- a hypivisor ----------------------------------------------------------------------------------------


def test_only_machines_in_no_mesh_are_shown_and_those_that_wait_are_shown_elsewhere():
    heard = [
        Candidate("b", ("10.0.0.2",), 0, {"state": "unjoined", "v": "0.1.0"}),
        Candidate("a", ("10.0.0.3",), 0, {"state": "unjoined"}),
        Candidate("joined", ("10.0.0.4",), 0, {"state": "joined"}),
        Candidate("mute", ("10.0.0.5",), 0, {}),
        Candidate("waits", ("10.0.0.6",), 0, {"state": "unjoined"}),
    ]
    shown = hypivisor_neighbours.unjoined(heard, waiting=["10.0.0.6"])
    assert [(one.name, one.addresses, one.version) for one in shown] == [
        ("a", ["10.0.0.3"], ""),
        ("b", ["10.0.0.2"], "0.1.0"),
    ]


def test_a_hypivisor_says_where_and_which_mesh_and_no_more():
    said = hypivisor_neighbours.announcement("home", "f" * 52, 31416, 31417)
    assert said.properties.keys() == {"v", "grpc", "fp"}
    assert len(json.dumps(said.properties)) < 120
