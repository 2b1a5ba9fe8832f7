from collections.abc import AsyncIterator, Awaitable

import grpc.aio
import hyperpi.wire.hyperpi.v1.mesh_pb2

class MeshStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    Link: grpc.aio.StreamStreamMultiCallable[hyperpi.wire.hyperpi.v1.mesh_pb2.NodeBatch, hyperpi.wire.hyperpi.v1.mesh_pb2.HypivisorBatch]

class MeshServicer:
    def Link(
        self, request_iterator: AsyncIterator[hyperpi.wire.hyperpi.v1.mesh_pb2.NodeBatch], context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.mesh_pb2.NodeBatch, hyperpi.wire.hyperpi.v1.mesh_pb2.HypivisorBatch]
    ) -> AsyncIterator[hyperpi.wire.hyperpi.v1.mesh_pb2.HypivisorBatch] | Awaitable[None]: ...

def add_MeshServicer_to_server(
    servicer: MeshServicer, server: grpc.aio.Server
) -> None: ...
