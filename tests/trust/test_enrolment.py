"""Joining with a token and renewing, over real TLS ports on loopback."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from trust_world import Serve, World, make_world

from hyperpi import channels, join_token, secret_text, tls
from hyperpi.wire.hyperpi.v1 import enrolment_pb2 as pb
from hyperpi.wire.hyperpi.v1 import enrolment_pb2_grpc as rpc
from hypivisor.ca import MeshCa
from hypivisor.enroll_service import enrol_server
from node import enroll, identity, refusals

HOST = "127.0.0.1"


async def whoami(port: int, who: tls.Identity, method: str = "/test/Unary") -> str:
    """What the gRPC port says to a client with this certificate."""
    async with channels.open_channel(f"{HOST}:{port}", identity=who) as channel:
        if method == "/test/Unary":
            return (await channel.unary_unary(method)(b"", timeout=10)).decode()
        if method == "/test/Talk":
            talk = channel.stream_stream(method)(timeout=10)
            await talk.write(b"hello")
            await talk.done_writing()
            return b" ".join([part async for part in talk]).decode()
        return b" ".join([part async for part in channel.unary_stream(method)(b"", timeout=10)]).decode()


# --- a token lets one machine in ---------------------------------------------------------------------


async def test_a_machine_joins_with_a_token_and_reaches_the_port_for_nodes(mesh: World, tmp_path: Path):
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    assert made.node_name == "den"
    assert made.mesh_id == mesh.ca.mesh_id
    assert made.hypivisors == (f"{HOST}:{mesh.grpc_port}",)
    assert await whoami(mesh.grpc_port, made.identity) == made.node_id
    assert identity.load(tmp_path / "id") == made
    node = mesh.store.node(made.node_id)
    assert node is not None
    assert node.public_key == tls.public_key(made.identity.key_pem)
    assert ("node.join", "done") in mesh.audited()


async def test_of_fifty_concurrent_uses_of_one_token_exactly_one_wins(mesh: World, tmp_path: Path):
    token = mesh.join_token()
    results = await asyncio.gather(
        *(enroll.join(tmp_path / str(n), HOST, mesh.enrol_port, token, f"m{n}") for n in range(50)),
        return_exceptions=True,
    )
    won = [result for result in results if isinstance(result, identity.Membership)]
    lost = [result for result in results if isinstance(result, refusals.UsedToken)]
    assert len(won) == 1
    assert len(lost) == 49
    assert [node.id for node in mesh.store.nodes()] == [won[0].node_id]


async def test_a_used_token_is_refused_with_a_way_out(mesh: World, tmp_path: Path):
    token = mesh.join_token()
    await enroll.join(tmp_path / "one", HOST, mesh.enrol_port, token)
    with pytest.raises(refusals.UsedToken) as refused:
        await enroll.join(tmp_path / "two", HOST, mesh.enrol_port, token)
    assert "token create" in str(refused.value.hint)
    assert identity.load(tmp_path / "two") is None


async def test_an_expired_token_is_refused(mesh: World, tmp_path: Path):
    token = mesh.join_token(ttl_s=60)
    mesh.clock.advance(60)
    with pytest.raises(refusals.ExpiredToken):
        await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, token)
    assert mesh.store.nodes() == []


async def test_a_revoked_token_is_refused(mesh: World, tmp_path: Path):
    created = mesh.tokens.create("node")
    mesh.tokens.revoke(created.id)
    with pytest.raises(refusals.ExpiredToken):
        await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, created.token)


async def test_a_wrong_secret_and_an_unknown_id_are_refused_alike(mesh: World, tmp_path: Path):
    good = join_token.parse_join_token(mesh.join_token())
    wrong_secret = join_token.JoinToken(good.ca_fingerprint, good.id, "a" * 32)
    wrong_id = join_token.JoinToken(good.ca_fingerprint, "aaaaaaaa", good.secret)
    messages = []
    for token in (wrong_secret, wrong_id):
        with pytest.raises(refusals.UnknownToken) as refused:
            await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, join_token.format_join_token(token))
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    # The good one still works: wrong guesses cost it nothing.
    await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, join_token.format_join_token(good))


async def test_a_token_for_people_does_not_let_a_machine_in(mesh: World, tmp_path: Path):
    admin = mesh.tokens.create("admin").token
    token_id, secret = admin.removeprefix("hp1u-").split(".")
    forged = join_token.format_join_token(join_token.JoinToken(mesh.ca.fingerprint, token_id, secret))
    with pytest.raises(refusals.UnknownToken):
        await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, forged)


async def test_guessing_is_stopped_and_stays_stopped_after_a_restart(mesh: World, tmp_path: Path):
    good = mesh.join_token()
    parts = join_token.parse_join_token(good)
    bad = join_token.format_join_token(join_token.JoinToken(parts.ca_fingerprint, parts.id, "b" * 32))
    for _ in range(10):
        with pytest.raises(refusals.UnknownToken):
            await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, bad)
    with pytest.raises(refusals.TooManyAttempts):
        await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, good)
    again = make_world(mesh.folder, mesh.clock)
    with pytest.raises(Exception, match="too many"):
        again.enroller.enroll(parts.id, parts.secret, tls.make_csr(tls.new_key()), "", "den", HOST)
    mesh.clock.advance(901)
    await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token())
    again.store.close()
    again.audit.close()


async def test_a_token_bound_to_a_name_gives_that_name_and_no_other(mesh: World, tmp_path: Path):
    token = mesh.join_token(name="attic")
    with pytest.raises(refusals.OtherNodeName):
        await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, token, "den")
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, token)
    assert made.node_name == "attic"


async def test_a_second_den_becomes_den_2_and_a_strange_name_is_cleaned(mesh: World, tmp_path: Path):
    names = []
    for number, wished in enumerate(["den", "den", "<b>den\x1b[31m</b>"]):
        made = await enroll.join(tmp_path / str(number), HOST, mesh.enrol_port, mesh.join_token(), wished)
        names.append(made.node_name)
    assert names[:2] == ["den", "den-2"]
    assert not set(names[2]) & set("<>\x1b[/ ")


async def test_a_lost_answer_can_be_asked_for_again_with_the_same_key_only(mesh: World):
    token = join_token.parse_join_token(mesh.join_token())
    key, other = tls.new_key(), tls.new_key()
    ask = (token.id, token.secret)
    first = mesh.enroller.enroll(*ask, tls.make_csr(key), "den", "", HOST)
    again = mesh.enroller.enroll(*ask, tls.make_csr(key), "den", "", HOST)
    assert again.node.id == first.node.id
    assert len(mesh.store.nodes()) == 1
    with pytest.raises(Exception, match="used"):
        mesh.enroller.enroll(*ask, tls.make_csr(other), "den", "", HOST)


async def test_a_machine_that_left_and_joins_again_is_the_same_node(mesh: World, tmp_path: Path):
    first = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    identity.forget(tmp_path / "id")
    assert identity.load(tmp_path / "id") is None
    again = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    assert (again.node_id, again.node_name) == (first.node_id, "den")


async def test_when_the_audit_trail_cannot_be_written_nobody_joins(mesh: World, tmp_path: Path):
    token = mesh.join_token()
    mesh.audit._db.execute("ALTER TABLE audit RENAME TO gone")
    with pytest.raises(refusals.NotRecorded):
        await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, token)
    assert mesh.store.nodes() == []
    mesh.audit._db.execute("ALTER TABLE gone RENAME TO audit")
    await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, token)  # the token was not used up


async def test_secrets_stay_out_of_logs_audit_and_database(
    mesh: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG")
    token = mesh.join_token()
    secret = join_token.parse_join_token(token).secret
    await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, token)
    with pytest.raises(refusals.UsedToken):
        await enroll.join(tmp_path / "other", HOST, mesh.enrol_port, token)
    assert secret not in caplog.text
    assert secret not in repr(mesh.audit.ls())
    assert secret not in repr(join_token.parse_join_token(token))
    for file in (*mesh.folder.iterdir(), *(tmp_path / "id").iterdir()):
        assert secret.encode() not in file.read_bytes(), file


# --- whom the secret is given to ---------------------------------------------------------------------


class Impostor(rpc.EnrolmentServicer):
    """Somebody in between: answers GetMesh with a CA of its choice and remembers everything it hears."""

    def __init__(self, ca_pem: bytes) -> None:
        self._ca_pem = ca_pem
        self.heard: list[object] = []

    async def GetMesh(self, request: pb.GetMeshRequest, context: grpc.aio.ServicerContext) -> pb.GetMeshReply:
        self.heard.append(request)
        return pb.GetMeshReply(ca_pem=self._ca_pem)

    async def Enroll(self, request: pb.EnrollRequest, context: grpc.aio.ServicerContext) -> pb.EnrollReply:
        self.heard.append(request)
        return pb.EnrollReply()


async def impostor_port(serve: Serve, impostor: Impostor, who: tls.Identity) -> int:
    server, ports = enrol_server(impostor, who, [f"{HOST}:0"])
    await serve(server)
    return ports[0]


def asked_for(mesh: World) -> pb.GetMeshRequest:
    """All that a machine with a token of this mesh tells before it knows whom: public characters."""
    return pb.GetMeshRequest(wanted=secret_text.base32(mesh.ca.fingerprint)[:16])


async def test_a_token_of_another_mesh_is_noticed_by_the_hypivisor_that_it_was_brought_to(
    mesh: World, tmp_path: Path
):
    other = join_token.JoinToken(bytes(32), "abcdefgh", "a" * 32)
    for _ in range(3):
        with pytest.raises(refusals.WrongMesh, match="the token was not sent"):
            await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, join_token.format_join_token(other))
    row = mesh.audit.ls()[0]
    assert (row.what, row.result, row.origin) == ("node.join", "refused", HOST)
    assert row.details == {"why": "OtherMesh"}
    assert mesh.audited().count(("node.join", "refused")) == 3


async def test_the_enrol_port_tells_its_time(mesh: World, tmp_path: Path):
    member = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token())
    assert abs(await enroll.clock_ahead(member)) < 5
    mesh.clock.advance(-7200)
    assert abs(await enroll.clock_ahead(member) - 7200) < 5


async def test_an_impostor_with_its_own_ca_never_hears_the_secret(mesh: World, serve: Serve, tmp_path: Path):
    evil = MeshCa.open(tmp_path / "evil", "home", mesh.clock())
    impostor = Impostor(evil.certificate_pem)
    port = await impostor_port(serve, impostor, evil.server_identity(mesh.clock()))
    with pytest.raises(refusals.WrongMesh, match="not sent"):
        await enroll.join(tmp_path / "id", HOST, port, mesh.join_token())
    assert impostor.heard == [asked_for(mesh)]


async def test_an_impostor_that_shows_the_true_ca_never_hears_the_secret(
    mesh: World, serve: Serve, tmp_path: Path
):
    evil = MeshCa.open(tmp_path / "evil", "home", mesh.clock())
    impostor = Impostor(mesh.ca.certificate_pem)
    port = await impostor_port(serve, impostor, evil.server_identity(mesh.clock()))
    with pytest.raises(refusals.WrongMesh, match="not sent"):
        await enroll.join(tmp_path / "id", HOST, port, mesh.join_token())
    assert impostor.heard == [asked_for(mesh)]


async def test_an_impostor_that_steps_in_after_the_check_never_hears_the_secret(
    mesh: World, serve: Serve, tmp_path: Path
):
    evil = MeshCa.open(tmp_path / "evil", "home", mesh.clock())
    impostor = Impostor(mesh.ca.certificate_pem)
    evil_port = await impostor_port(serve, impostor, evil.server_identity(mesh.clock()))
    ports = iter([mesh.enrol_port, mesh.enrol_port])  # leaf, GetMesh; then whoever is left

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection(HOST, next(ports, evil_port))

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while chunk := await source.read(65536):
                sink.write(chunk)
            sink.close()

        await asyncio.gather(copy(reader, there), copy(there_reader, writer), return_exceptions=True)

    between = await asyncio.start_server(relay, HOST, 0)
    async with between:
        port = between.sockets[0].getsockname()[1]
        with pytest.raises(refusals.NothingListening):
            await enroll.join(tmp_path / "id", HOST, port, mesh.join_token())
    assert impostor.heard == []
    assert next(ports, None) is None  # it did step in


async def test_a_node_certificate_cannot_serve_as_the_hypivisor(mesh: World, serve: Serve, tmp_path: Path):
    node = (await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token())).identity
    impostor = Impostor(mesh.ca.certificate_pem)
    port = await impostor_port(serve, impostor, node)
    with pytest.raises(refusals.NotAnEnrolPort):
        await enroll.join(tmp_path / "other", HOST, port, mesh.join_token())
    async with channels.open_channel(f"{HOST}:{port}", root_pem=mesh.ca.certificate_pem) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpc.EnrolmentStub(channel).Enroll(pb.EnrollRequest(token_secret="s"), timeout=10)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert impostor.heard == []


async def test_a_client_certificate_with_the_hypivisors_name_cannot_serve_either(
    mesh: World, serve: Serve, tmp_path: Path
):
    # As if the CA had once put that name into a node's certificate: the key usage alone must stop it.
    key = tls.new_key()
    leaf = mesh.ca._issue(
        tls.public_key(key),
        [x509.DNSName(tls.SERVER_NAME)],
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ca_life(7),
        mesh.clock(),
    )
    impostor = Impostor(mesh.ca.certificate_pem)
    port = await impostor_port(serve, impostor, tls.Identity(key, leaf, mesh.ca.certificate_pem))
    with pytest.raises(refusals.WrongMesh, match="not that of a hypivisor"):
        await enroll.join(tmp_path / "other", HOST, port, mesh.join_token())
    assert impostor.heard == [asked_for(mesh)]


def ca_life(days: int):
    from datetime import timedelta

    return timedelta(days=days)


# --- what goes wrong on the way ----------------------------------------------------------------------


async def closed_port() -> int:
    server = await asyncio.start_server(lambda r, w: None, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_a_port_where_nothing_listens_is_said_so(mesh: World, tmp_path: Path):
    with pytest.raises(refusals.NothingListening, match="nothing listens") as failed:
        await enroll.join(tmp_path / "id", HOST, await closed_port(), mesh.join_token())
    assert "31417" in str(failed.value.hint)


async def test_a_host_that_does_not_exist_is_said_so(mesh: World, tmp_path: Path):
    with pytest.raises(refusals.NothingListening, match="no host"):
        await enroll.join(tmp_path / "id", "no-such-host.invalid", 1, mesh.join_token())


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side gives up
    writer.close()


async def test_a_web_server_is_not_taken_for_an_enrol_port(mesh: World, tmp_path: Path):
    async with await asyncio.start_server(http, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(refusals.NotAnEnrolPort) as failed:
            await enroll.join(tmp_path / "id", HOST, port, mesh.join_token())
    assert "31417" in str(failed.value.hint)


async def test_a_web_server_with_tls_is_not_taken_for_an_enrol_port(mesh: World, tmp_path: Path):
    import ssl

    web = mesh.ca.issue_web(["localhost", HOST], mesh.clock())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(web.certificate_path, web.key_path)
    async with await asyncio.start_server(http, HOST, 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(refusals.NotAnEnrolPort):
            await enroll.join(tmp_path / "id", HOST, port, mesh.join_token())


async def test_the_port_for_nodes_is_not_taken_for_the_enrol_port(mesh: World, tmp_path: Path):
    with pytest.raises(refusals.NotAnEnrolPort):
        await enroll.join(tmp_path / "id", HOST, mesh.grpc_port, mesh.join_token())


async def test_a_server_that_says_nothing_is_given_up(
    mesh: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(enroll, "CONNECT_TIMEOUT_S", 0.3)
    async with await asyncio.start_server(silent, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(refusals.TimedOut):
            await enroll.join(tmp_path / "id", HOST, port, mesh.join_token())


async def test_a_hypivisor_that_hangs_is_given_up(
    mesh: World, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Hangs(Impostor):
        async def Enroll(
            self, request: pb.EnrollRequest, context: grpc.aio.ServicerContext
        ) -> pb.EnrollReply:
            self.heard.append(request.csr_der)
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(enroll, "CALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr(enroll, "RETRY_AFTER_S", 0.01)
    hangs = Hangs(mesh.ca.certificate_pem)
    port = await impostor_port(serve, hangs, mesh.identity())
    with pytest.raises(refusals.TimedOut):
        await enroll.join(tmp_path / "id", HOST, port, mesh.join_token())
    asked = hangs.heard[1:]
    assert len(asked) == enroll.ATTEMPTS
    assert {tls.read_csr(csr) for csr in asked} == {
        tls.public_key((tmp_path / "id/joining.pem").read_bytes())
    }


@pytest.mark.parametrize("text", ["", "hp1-", "hp1-" + "a" * 51 + "-aaaaaaaa." + "a" * 32, "x" * 100_000])
async def test_what_is_no_token_is_refused_before_anything_is_sent(text: str, tmp_path: Path):
    with pytest.raises(join_token.BadJoinToken):
        await enroll.join(tmp_path / "id", "no-such-host.invalid", 1, text)


# --- what a request may say --------------------------------------------------------------------------


def csr(key_pem: bytes, change: Callable[[x509.CertificateSigningRequestBuilder], object]) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hypivisor")])
    builder = change(x509.CertificateSigningRequestBuilder().subject_name(name))
    return builder.sign(tls.load_key(key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


async def test_foreign_names_and_ca_true_in_a_request_are_ignored(mesh: World):
    key = tls.new_key()
    greedy = csr(
        key,
        lambda builder: (
            builder.add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        x509.DNSName(tls.SERVER_NAME),
                        x509.UniformResourceIdentifier(tls.node_uri(mesh.ca.mesh_id, "n-another")),
                    ]
                ),
                False,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        ),
    )
    token = join_token.parse_join_token(mesh.join_token())
    granted = mesh.enroller.enroll(token.id, token.secret, greedy, "den", "", HOST)
    made = x509.load_pem_x509_certificate(granted.certificate_pem)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [tls.node_uri(mesh.ca.mesh_id, granted.node.id)]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert list(made.subject) == []
    seconds = made.not_valid_after_utc.timestamp() - mesh.clock()
    assert abs(seconds - 7 * 86400) < 2
    assert abs(mesh.clock() - made.not_valid_before_utc.timestamp() - tls.BACKDATE_S) < 2


def test_a_request_with_a_wrong_signature_or_another_kind_of_key_is_refused(trust: World):
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    good = tls.make_csr(tls.new_key())
    forged = good[:-1] + bytes([good[-1] ^ 1])
    blank = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = serialization.Encoding.DER
    of_rsa = blank.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(der)
    of_p384 = blank.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()).public_bytes(der)
    token = join_token.parse_join_token(trust.join_token())
    for bad in (forged, of_rsa, of_p384, b"", b"\x30" * 100, good * 40):
        with pytest.raises(Exception, match="signing request"):
            trust.enroller.enroll(token.id, token.secret, bad, "den", "", HOST)
    assert trust.store.nodes() == []
    stored = trust.store.token(token.id)
    assert stored is not None
    assert stored.uses_left == 1


# --- renewal -----------------------------------------------------------------------------------------


async def test_a_certificate_is_renewed_for_the_same_key_also_after_it_expired(mesh: World, tmp_path: Path):
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    node = mesh.store.node(made.node_id)
    assert node is not None
    expired = mesh.ca.issue_node(node.public_key, node.id, mesh.clock() - 30 * 86400)
    stale = identity.Membership(
        **{
            **{name: getattr(made, name) for name in identity.Membership.__slots__},
            "identity": tls.Identity(made.identity.key_pem, expired, made.identity.ca_pem),
        }
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await whoami(mesh.grpc_port, stale.identity)
    identity.save(tmp_path / "id", stale)
    renewed = await enroll.renew(tmp_path / "id", stale)
    assert renewed.identity.key_pem == made.identity.key_pem
    assert await whoami(mesh.grpc_port, renewed.identity) == made.node_id
    assert identity.load(tmp_path / "id") == renewed
    assert ("node.renew", "done") in mesh.audited()


async def test_a_node_is_renewed_for_its_own_key_only(mesh: World, tmp_path: Path):
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    for node_id in (made.node_id, "n-unknown"):
        with pytest.raises(Exception, match="no node"):
            mesh.enroller.renew(node_id, tls.make_csr(tls.new_key()), HOST)
    mesh.store.revoke_node(made.node_id, mesh.clock())
    with pytest.raises(refusals.KeyRevoked):
        await enroll.renew(tmp_path / "id", made)


async def test_renewal_does_not_trust_another_ca(mesh: World, serve: Serve, tmp_path: Path):
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    evil = MeshCa.open(tmp_path / "evil", "home", mesh.clock())
    impostor = Impostor(mesh.ca.certificate_pem)
    port = await impostor_port(serve, impostor, evil.server_identity(mesh.clock()))
    moved = identity.Membership(
        **{
            **{name: getattr(made, name) for name in identity.Membership.__slots__},
            "enrol": (f"{HOST}:{port}",),
        }
    )
    with pytest.raises(refusals.NothingListening):
        await enroll.renew(tmp_path / "id", moved)
    assert impostor.heard == []


# --- the port for nodes ------------------------------------------------------------------------------


async def test_a_client_without_a_certificate_does_not_reach_the_port_for_nodes(mesh: World):
    async with channels.open_channel(f"{HOST}:{mesh.grpc_port}", root_pem=mesh.ca.certificate_pem) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/test/Unary")(b"", timeout=10)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert mesh.nodes.served == []


async def test_a_node_of_another_mesh_does_not_reach_the_port_for_nodes(mesh: World, tmp_path: Path):
    evil = MeshCa.open(tmp_path / "evil", "home", mesh.clock())
    key = tls.new_key()
    own = evil.issue_node(tls.public_key(key), "n-evil", mesh.clock())
    with pytest.raises(grpc.aio.AioRpcError):
        await whoami(mesh.grpc_port, tls.Identity(key, own, mesh.ca.certificate_pem))
    assert mesh.nodes.served == []


async def test_another_ca_that_takes_our_names_does_not_get_through_the_handshake(
    mesh: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All that a certificate can say is as it should be, but for whoever signed it."""
    known = (await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token())).node_id
    monkeypatch.setattr(tls, "new_mesh_id", lambda: mesh.ca.mesh_id)
    evil = MeshCa.open(tmp_path / "evil", "home", mesh.clock())
    assert (evil.mesh_id, evil.fingerprint == mesh.ca.fingerprint) == (mesh.ca.mesh_id, False)
    key = tls.new_key()
    forged = evil.issue_node(tls.public_key(key), known, mesh.clock())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await whoami(mesh.grpc_port, tls.Identity(key, forged, mesh.ca.certificate_pem))
    # By TLS itself: nothing of ours has to look at it.
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert mesh.nodes.served == []


async def test_the_hypivisors_own_certificate_is_not_a_nodes(mesh: World):
    with pytest.raises(grpc.aio.AioRpcError):
        await whoami(mesh.grpc_port, mesh.identity())
    assert mesh.nodes.served == []


@pytest.mark.parametrize("method", ["/test/Unary", "/test/Generator", "/test/Coroutine", "/test/Talk"])
async def test_a_revoked_node_is_refused_in_every_kind_of_call(mesh: World, tmp_path: Path, method: str):
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token())
    assert (await whoami(mesh.grpc_port, made.identity, method)).startswith(made.node_id)
    mesh.store.revoke_node(made.node_id, mesh.clock())
    served = len(mesh.nodes.served)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await whoami(mesh.grpc_port, made.identity, method)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert len(mesh.nodes.served) == served


async def test_a_certified_node_that_the_store_does_not_know_is_refused(mesh: World):
    key = tls.new_key()
    unknown = mesh.ca.issue_node(tls.public_key(key), "n-ghost", mesh.clock())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await whoami(mesh.grpc_port, tls.Identity(key, unknown, mesh.ca.certificate_pem))
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_a_revoked_machine_joins_again_as_another_node_with_another_key(mesh: World, tmp_path: Path):
    first = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    mesh.store.revoke_node(first.node_id, mesh.clock())
    again = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    assert again.node_id != first.node_id
    assert again.identity.key_pem != first.identity.key_pem
    assert again.node_name == "den"  # the name was free again
    assert await whoami(mesh.grpc_port, again.identity) == again.node_id
