from collections.abc import AsyncIterator, Awaitable

import grpc.aio
import hyperpi.wire.hyperpi.v1.console_pb2
import hyperpi.wire.hyperpi.v1.mesh_pb2

class ConsoleStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    Watch: grpc.aio.UnaryStreamMultiCallable[hyperpi.wire.hyperpi.v1.console_pb2.WatchRequest, hyperpi.wire.hyperpi.v1.console_pb2.MeshChange]
    Attach: grpc.aio.UnaryStreamMultiCallable[hyperpi.wire.hyperpi.v1.console_pb2.AttachRequest, hyperpi.wire.hyperpi.v1.console_pb2.FeedBatch]
    WatchBank: grpc.aio.UnaryStreamMultiCallable[hyperpi.wire.hyperpi.v1.console_pb2.WatchBankRequest, hyperpi.wire.hyperpi.v1.console_pb2.BankBatch]
    Count: grpc.aio.UnaryUnaryMultiCallable[hyperpi.wire.hyperpi.v1.console_pb2.ViewerCounts, hyperpi.wire.hyperpi.v1.console_pb2.ViewerCountsTaken]
    Call: grpc.aio.UnaryUnaryMultiCallable[hyperpi.wire.hyperpi.v1.console_pb2.ConsoleCall, hyperpi.wire.hyperpi.v1.mesh_pb2.Reply]

class ConsoleServicer:
    def Watch(
        self, request: hyperpi.wire.hyperpi.v1.console_pb2.WatchRequest, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.console_pb2.WatchRequest, hyperpi.wire.hyperpi.v1.console_pb2.MeshChange]
    ) -> AsyncIterator[hyperpi.wire.hyperpi.v1.console_pb2.MeshChange] | Awaitable[None]: ...
    def Attach(
        self, request: hyperpi.wire.hyperpi.v1.console_pb2.AttachRequest, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.console_pb2.AttachRequest, hyperpi.wire.hyperpi.v1.console_pb2.FeedBatch]
    ) -> AsyncIterator[hyperpi.wire.hyperpi.v1.console_pb2.FeedBatch] | Awaitable[None]: ...
    def WatchBank(
        self, request: hyperpi.wire.hyperpi.v1.console_pb2.WatchBankRequest, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.console_pb2.WatchBankRequest, hyperpi.wire.hyperpi.v1.console_pb2.BankBatch]
    ) -> AsyncIterator[hyperpi.wire.hyperpi.v1.console_pb2.BankBatch] | Awaitable[None]: ...
    def Count(
        self, request: hyperpi.wire.hyperpi.v1.console_pb2.ViewerCounts, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.console_pb2.ViewerCounts, hyperpi.wire.hyperpi.v1.console_pb2.ViewerCountsTaken]
    ) -> Awaitable[hyperpi.wire.hyperpi.v1.console_pb2.ViewerCountsTaken]: ...
    def Call(
        self, request: hyperpi.wire.hyperpi.v1.console_pb2.ConsoleCall, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.console_pb2.ConsoleCall, hyperpi.wire.hyperpi.v1.mesh_pb2.Reply]
    ) -> Awaitable[hyperpi.wire.hyperpi.v1.mesh_pb2.Reply]: ...

def add_ConsoleServicer_to_server(
    servicer: ConsoleServicer, server: grpc.aio.Server
) -> None: ...
