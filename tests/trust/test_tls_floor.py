"""TLS 1.2 is refused by the interceptor: a client of HTTP/2 by hand, for grpc's own always negotiates 1.3."""

import asyncio
import ssl
from pathlib import Path

import pytest
from trust_world import World

from hyperpi import channels, tls
from node import enroll

HOST = "127.0.0.1"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, 4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def header(name: str, value: str) -> bytes:
    """RFC 7541, 6.2.2: a literal without indexing, without Huffman."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


async def call(port: int, path: str, who: tls.Identity, version: ssl.TLSVersion, folder: Path) -> bytes:
    """All that the server sends back for one gRPC call with an empty message over this version of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=who.ca_pem.decode())
    (folder / "pair.pem").write_bytes(who.certificate_pem + who.key_pem)
    context.load_cert_chain(folder / "pair.pem")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname=tls.SERVER_NAME)
    headers = b"".join(
        header(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", tls.SERVER_NAME),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        )
    )
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    writer.write(frame(1, 0x4, 1, headers) + frame(0, 0x1, 1, bytes(5)))
    answered = b""
    async with asyncio.timeout(10):
        while b"grpc-status" not in answered:
            chunk = await reader.read(65536)
            assert chunk, answered
            answered += chunk
    writer.transport.abort()
    return answered


async def test_a_node_over_tls_1_2_is_refused_and_over_1_3_served(mesh: World, tmp_path: Path):
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token())
    refused = await call(mesh.grpc_port, "/test/Unary", made.identity, ssl.TLSVersion.TLSv1_2, tmp_path)
    assert b"TLS 1.3" in refused
    assert mesh.nodes.served == []
    answered = await call(mesh.grpc_port, "/test/Unary", made.identity, ssl.TLSVersion.TLSv1_3, tmp_path)
    assert made.node_id.encode() in answered
    assert mesh.nodes.served == [made.node_id]


async def test_the_enrol_port_refuses_tls_1_2_too(mesh: World, tmp_path: Path):
    made = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token())
    path = "/hyperpi.v1.Enrolment/GetMesh"
    refused = await call(mesh.enrol_port, path, made.identity, ssl.TLSVersion.TLSv1_2, tmp_path)
    assert b"TLS 1.3" in refused
    assert mesh.ca.mesh_id.encode() not in refused
    answered = await call(mesh.enrol_port, path, made.identity, ssl.TLSVersion.TLSv1_3, tmp_path)
    assert mesh.ca.mesh_id.encode() in answered


@pytest.mark.parametrize("context", [{}, {"ssl_tls_version": [b"TLSv1.2"]}, {"ssl_tls_version": []}])
def test_what_does_not_say_tls_1_3_is_refused(context: dict[str, list[bytes]]):
    with pytest.raises(Exception, match=r"TLS 1\.3"):
        channels.Tls13Only().admit(context)


def test_a_peer_is_only_what_its_certificate_says():
    mesh = "a" * 16
    good = tls.node_uri(mesh, "n-x7k2m9qfws").encode()
    assert channels.peer_node_id({"peer_spiffe_id": [good]}, mesh) == "n-x7k2m9qfws"
    foreign = tls.node_uri("b" * 16, "n-x7k2m9qfws").encode()
    for found in ([], [foreign], [good, good], [good + b"/x"], [b"\xff"], [tls.mesh_uri(mesh).encode()]):
        with pytest.raises(Exception, match="no node certificate"):
            channels.peer_node_id({"peer_spiffe_id": found}, mesh)
