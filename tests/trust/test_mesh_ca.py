"""The CA's files, what it issues, and the identity folder of a node."""

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from trust_world import Clock, World

from hyperpi import private_file, tls
from hypivisor.ca import CaUnusable, MeshCa
from hypivisor.store import Store
from node import identity

DAY = 86400.0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def loaded(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def test_every_file_of_a_hypivisor_is_for_its_owner_alone(trust: World):
    os.umask(os.umask(0))  # the umask of the test run must not be what protects them
    trust.identity()
    trust.ca.issue_web(["localhost"], trust.clock())
    trust.join_token()
    files = [path for path in trust.folder.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {
        "ca-key.pem",
        "ca.pem",
        "server-key.pem",
        "web-key.pem",
        "store.db",
    }
    assert {path.name: oct(mode(path)) for path in files if mode(path) != 0o600} == {}
    assert mode(trust.folder) == 0o700


def test_files_are_private_whatever_the_umask_is(tmp_path: Path, clock: Clock):
    before = os.umask(0)
    try:
        MeshCa.open(tmp_path / "ca", "home", clock())
        Store.open(tmp_path / "ca" / "store.db").close()
    finally:
        os.umask(before)
    assert {mode(path) for path in (tmp_path / "ca").iterdir()} == {0o600}


def test_the_ca_is_the_same_after_a_restart(trust: World):
    again = MeshCa.open(trust.folder, "another name", trust.clock() + DAY)
    assert again.fingerprint == trust.ca.fingerprint
    assert again.mesh_id == trust.ca.mesh_id
    assert again.server_identity(trust.clock() + DAY) == trust.ca.server_identity(trust.clock())


def test_a_crash_between_key_and_certificate_leaves_nothing_that_cannot_be_mended(
    tmp_path: Path, clock: Clock
):
    MeshCa.open(tmp_path, "home", clock())
    key = (tmp_path / "ca-key.pem").read_bytes()
    (tmp_path / "ca.pem").unlink()
    mended = MeshCa.open(tmp_path, "home", clock())
    assert (tmp_path / "ca-key.pem").read_bytes() == key
    assert mended.server_identity(clock())


def test_a_ca_without_its_key_or_with_another_one_is_refused(tmp_path: Path, clock: Clock):
    MeshCa.open(tmp_path, "home", clock())
    private_file.write_private(tmp_path / "ca-key.pem", tls.new_key())
    with pytest.raises(CaUnusable, match="belong together"):
        MeshCa.open(tmp_path, "home", clock())
    (tmp_path / "ca-key.pem").unlink()
    with pytest.raises(CaUnusable, match="cannot be used"):
        MeshCa.open(tmp_path, "home", clock())


def test_a_ca_key_that_others_could_read_is_refused(tmp_path: Path, clock: Clock):
    MeshCa.open(tmp_path, "home", clock())
    (tmp_path / "ca-key.pem").chmod(0o640)
    with pytest.raises(CaUnusable, match="read by others"):
        MeshCa.open(tmp_path, "home", clock())


def test_the_hypivisors_certificate_is_a_servers_and_renewed_in_time(trust: World):
    first = trust.ca.server_identity(trust.clock())
    usage = loaded(first.certificate_pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert tls.names_in(first.certificate_pem) == (tls.SERVER_NAME, "localhost")
    tls.check_server_certificate(first.certificate_pem, first.ca_pem, trust.clock())
    due = tls.renew_at(first.certificate_pem)
    assert MeshCa.open(trust.folder, "home", due - 1).server_identity(due - 1) == first
    renewed = MeshCa.open(trust.folder, "home", due + 1).server_identity(due + 1)
    assert renewed.certificate_pem != first.certificate_pem
    assert renewed.key_pem == first.key_pem


def test_a_server_certificate_is_checked_in_every_respect(trust: World, tmp_path: Path):
    good = trust.ca.server_identity(trust.clock())
    other = MeshCa.open(tmp_path / "other", "other", trust.clock())
    node = trust.ca.issue_node(tls.public_key(tls.new_key()), "n-one", trust.clock())
    web = trust.ca.issue_web(["localhost"], trust.clock()).certificate_path.read_bytes()
    for leaf, ca_pem, now in (
        (good.certificate_pem, other.certificate_pem, trust.clock()),
        (good.certificate_pem, good.ca_pem, trust.clock() + 6 * 365 * DAY),
        (good.certificate_pem, good.ca_pem, trust.clock() - 3 * DAY),
        (node, good.ca_pem, trust.clock()),
        (web, good.ca_pem, trust.clock()),
        (good.ca_pem, good.ca_pem, trust.clock()),
        (b"nothing", good.ca_pem, trust.clock()),
    ):
        with pytest.raises(tls.BadCertificate):
            tls.check_server_certificate(leaf, ca_pem, now)


def test_a_certificate_for_pi_de_names_the_hosts_and_is_made_anew_when_they_change(trust: World):
    hosts = ["den.local", "192.168.1.5", "::1"]
    first = trust.ca.issue_web(hosts, trust.clock()).certificate_path.read_bytes()
    names = loaded(first).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == hosts
    assert tls.SERVER_NAME not in tls.names_in(first)
    assert trust.ca.issue_web(hosts, trust.clock() + DAY).certificate_path.read_bytes() == first
    assert trust.ca.issue_web(hosts[:1], trust.clock()).certificate_path.read_bytes() != first
    assert loaded(first).not_valid_after_utc.timestamp() - trust.clock() <= 398 * DAY
    with pytest.raises(Exception, match="not a host name"):
        trust.ca.issue_web(["dén.local"], trust.clock())


def test_a_web_certificate_cannot_pass_for_the_hypivisor_even_when_asked_for(trust: World):
    with pytest.raises(Exception, match="reserved"):
        trust.ca.issue_web([tls.SERVER_NAME], trust.clock())


# --- a node's folder ---------------------------------------------------------------------------------


def membership(trust: World, key: bytes | None = None, node_id: str = "n-one") -> identity.Membership:
    key = key or tls.new_key()
    return identity.Membership(
        identity=tls.Identity(
            key, trust.ca.issue_node(tls.public_key(key), node_id, trust.clock()), trust.ca.certificate_pem
        ),
        mesh_id=trust.ca.mesh_id,
        mesh_name="home",
        node_id=node_id,
        node_name="den",
        hypivisors=("127.0.0.1:31416",),
        enrol=("127.0.0.1:31417",),
    )


def test_a_membership_comes_back_as_it_was_saved_and_its_files_are_private(trust: World, tmp_path: Path):
    made = membership(trust)
    before = os.umask(0)
    try:
        identity.save(tmp_path / "id", made)
    finally:
        os.umask(before)
    assert identity.load(tmp_path / "id") == made
    assert {mode(path) for path in (tmp_path / "id").iterdir()} == {0o600}
    assert mode(tmp_path / "id") == 0o700
    assert made.renew_at == pytest.approx(trust.clock() + 7 * DAY * 2 / 3, abs=2)


def test_a_folder_without_a_membership_is_not_joined(tmp_path: Path):
    assert identity.load(tmp_path) is None


@pytest.mark.parametrize("broken", ["key.pem", "cert.pem", "ca.pem", "mesh.json"])
def test_a_damaged_identity_is_said_so(trust: World, tmp_path: Path, broken: str):
    identity.save(tmp_path, membership(trust))
    (tmp_path / broken).write_bytes(b"{}")
    with pytest.raises(identity.IdentityUnusable, match="cannot be used"):
        identity.load(tmp_path)


def test_a_certificate_of_another_node_key_or_mesh_is_not_saved(trust: World, tmp_path: Path, clock: Clock):
    made = membership(trust)
    other_ca = MeshCa.open(tmp_path / "other", "other", clock())
    own = made.identity
    for wrong, node_id in (
        (own, "n-two"),
        (tls.Identity(tls.new_key(), own.certificate_pem, own.ca_pem), "n-one"),
        (tls.Identity(own.key_pem, own.certificate_pem, other_ca.certificate_pem), "n-one"),
    ):
        bad = identity.Membership(wrong, made.mesh_id, "home", node_id, "den", (), ())
        with pytest.raises(identity.IdentityUnusable):
            identity.save(tmp_path / "id", bad)
    assert identity.load(tmp_path / "id") is None


@pytest.mark.parametrize("crash_at", range(1, 5))
def test_a_crash_while_changing_meshes_leaves_one_membership_or_none(
    trust: World, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, crash_at: int
):
    folder = tmp_path / "id"
    old = membership(trust)
    identity.save(folder, old)
    other = MeshCa.open(tmp_path / "other", "other", clock())
    key = tls.new_key()
    new = identity.Membership(
        tls.Identity(key, other.issue_node(tls.public_key(key), "n-two", clock()), other.certificate_pem),
        other.mesh_id, "other", "n-two", "den", (), (),
    )  # fmt: skip
    writes = iter(range(1, 100))
    real = private_file.write_private

    def crashing(path: Path, content: bytes) -> None:
        if next(writes) == crash_at:
            raise KeyboardInterrupt
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(private_file, "write_private", crashing)
        with pytest.raises(KeyboardInterrupt):
            identity.save(folder, new)
    assert identity.load(folder) is None
    identity.save(folder, new)
    assert identity.load(folder) == new


def test_each_start_counts_one_more_and_a_damaged_counter_never_goes_back(tmp_path: Path):
    assert [identity.next_boot(tmp_path) for _ in range(3)] == [1, 2, 3]
    assert mode(tmp_path / "boot") == 0o600
    (tmp_path / "boot").write_bytes(b"\0\0")
    assert identity.next_boot(tmp_path) > 1_000_000


def test_write_private_leaves_no_temporary_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "key").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        private_file.write_private(tmp_path / "key", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"old"
