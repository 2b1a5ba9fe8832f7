from collections.abc import AsyncIterator, Awaitable

import grpc.aio
import hyperpi.wire.hyperpi.v1.enrolment_pb2

class EnrolmentStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    GetMesh: grpc.aio.UnaryUnaryMultiCallable[hyperpi.wire.hyperpi.v1.enrolment_pb2.GetMeshRequest, hyperpi.wire.hyperpi.v1.enrolment_pb2.GetMeshReply]
    Enroll: grpc.aio.UnaryUnaryMultiCallable[hyperpi.wire.hyperpi.v1.enrolment_pb2.EnrollRequest, hyperpi.wire.hyperpi.v1.enrolment_pb2.EnrollReply]
    Renew: grpc.aio.UnaryUnaryMultiCallable[hyperpi.wire.hyperpi.v1.enrolment_pb2.RenewRequest, hyperpi.wire.hyperpi.v1.enrolment_pb2.RenewReply]
    RequestJoin: grpc.aio.StreamStreamMultiCallable[hyperpi.wire.hyperpi.v1.enrolment_pb2.JoinStep, hyperpi.wire.hyperpi.v1.enrolment_pb2.JoinAnswer]

class EnrolmentServicer:
    def GetMesh(
        self, request: hyperpi.wire.hyperpi.v1.enrolment_pb2.GetMeshRequest, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.enrolment_pb2.GetMeshRequest, hyperpi.wire.hyperpi.v1.enrolment_pb2.GetMeshReply]
    ) -> Awaitable[hyperpi.wire.hyperpi.v1.enrolment_pb2.GetMeshReply]: ...
    def Enroll(
        self, request: hyperpi.wire.hyperpi.v1.enrolment_pb2.EnrollRequest, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.enrolment_pb2.EnrollRequest, hyperpi.wire.hyperpi.v1.enrolment_pb2.EnrollReply]
    ) -> Awaitable[hyperpi.wire.hyperpi.v1.enrolment_pb2.EnrollReply]: ...
    def Renew(
        self, request: hyperpi.wire.hyperpi.v1.enrolment_pb2.RenewRequest, context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.enrolment_pb2.RenewRequest, hyperpi.wire.hyperpi.v1.enrolment_pb2.RenewReply]
    ) -> Awaitable[hyperpi.wire.hyperpi.v1.enrolment_pb2.RenewReply]: ...
    def RequestJoin(
        self, request_iterator: AsyncIterator[hyperpi.wire.hyperpi.v1.enrolment_pb2.JoinStep], context: grpc.aio.ServicerContext[hyperpi.wire.hyperpi.v1.enrolment_pb2.JoinStep, hyperpi.wire.hyperpi.v1.enrolment_pb2.JoinAnswer]
    ) -> AsyncIterator[hyperpi.wire.hyperpi.v1.enrolment_pb2.JoinAnswer] | Awaitable[None]: ...

def add_EnrolmentServicer_to_server(
    servicer: EnrolmentServicer, server: grpc.aio.Server
) -> None: ...
