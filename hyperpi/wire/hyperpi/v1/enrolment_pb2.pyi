from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Refusal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_UNSPECIFIED: _ClassVar[Refusal]
    TOKEN_UNKNOWN: _ClassVar[Refusal]
    TOKEN_USED: _ClassVar[Refusal]
    TOKEN_EXPIRED: _ClassVar[Refusal]
    TOKEN_OTHER_NAME: _ClassVar[Refusal]
    KEY_REVOKED: _ClassVar[Refusal]
    NODE_UNKNOWN: _ClassVar[Refusal]
    BAD_REQUEST: _ClassVar[Refusal]
    TOO_MANY_ATTEMPTS: _ClassVar[Refusal]
    JOIN_EXPIRED: _ClassVar[Refusal]
    JOIN_DENIED: _ClassVar[Refusal]
    JOIN_FULL: _ClassVar[Refusal]
    JOIN_SUPERSEDED: _ClassVar[Refusal]
    NOT_RECORDED: _ClassVar[Refusal]
REFUSAL_UNSPECIFIED: Refusal
TOKEN_UNKNOWN: Refusal
TOKEN_USED: Refusal
TOKEN_EXPIRED: Refusal
TOKEN_OTHER_NAME: Refusal
KEY_REVOKED: Refusal
NODE_UNKNOWN: Refusal
BAD_REQUEST: Refusal
TOO_MANY_ATTEMPTS: Refusal
JOIN_EXPIRED: Refusal
JOIN_DENIED: Refusal
JOIN_FULL: Refusal
JOIN_SUPERSEDED: Refusal
NOT_RECORDED: Refusal

class GetMeshRequest(_message.Message):
    __slots__ = ("wanted",)
    WANTED_FIELD_NUMBER: _ClassVar[int]
    wanted: str
    def __init__(self, wanted: _Optional[str] = ...) -> None: ...

class GetMeshReply(_message.Message):
    __slots__ = ("ca_pem", "mesh_id", "mesh_name", "now_ms")
    CA_PEM_FIELD_NUMBER: _ClassVar[int]
    MESH_ID_FIELD_NUMBER: _ClassVar[int]
    MESH_NAME_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    ca_pem: bytes
    mesh_id: str
    mesh_name: str
    now_ms: int
    def __init__(self, ca_pem: _Optional[bytes] = ..., mesh_id: _Optional[str] = ..., mesh_name: _Optional[str] = ..., now_ms: _Optional[int] = ...) -> None: ...

class EnrollRequest(_message.Message):
    __slots__ = ("token_id", "token_secret", "csr_der", "wished_name", "host_name")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SECRET_FIELD_NUMBER: _ClassVar[int]
    CSR_DER_FIELD_NUMBER: _ClassVar[int]
    WISHED_NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_NAME_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    token_secret: str
    csr_der: bytes
    wished_name: str
    host_name: str
    def __init__(self, token_id: _Optional[str] = ..., token_secret: _Optional[str] = ..., csr_der: _Optional[bytes] = ..., wished_name: _Optional[str] = ..., host_name: _Optional[str] = ...) -> None: ...

class EnrollReply(_message.Message):
    __slots__ = ("node_id", "name", "certificate_pem", "expires_at_ms", "grpc_port", "addresses", "ca_pem", "mesh_id", "mesh_name")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    GRPC_PORT_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    CA_PEM_FIELD_NUMBER: _ClassVar[int]
    MESH_ID_FIELD_NUMBER: _ClassVar[int]
    MESH_NAME_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    name: str
    certificate_pem: bytes
    expires_at_ms: int
    grpc_port: int
    addresses: _containers.RepeatedScalarFieldContainer[str]
    ca_pem: bytes
    mesh_id: str
    mesh_name: str
    def __init__(self, node_id: _Optional[str] = ..., name: _Optional[str] = ..., certificate_pem: _Optional[bytes] = ..., expires_at_ms: _Optional[int] = ..., grpc_port: _Optional[int] = ..., addresses: _Optional[_Iterable[str]] = ..., ca_pem: _Optional[bytes] = ..., mesh_id: _Optional[str] = ..., mesh_name: _Optional[str] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("node_id", "csr_der")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CSR_DER_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    csr_der: bytes
    def __init__(self, node_id: _Optional[str] = ..., csr_der: _Optional[bytes] = ...) -> None: ...

class RenewReply(_message.Message):
    __slots__ = ("certificate_pem", "expires_at_ms", "name", "grpc_port", "addresses")
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GRPC_PORT_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    certificate_pem: bytes
    expires_at_ms: int
    name: str
    grpc_port: int
    addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, certificate_pem: _Optional[bytes] = ..., expires_at_ms: _Optional[int] = ..., name: _Optional[str] = ..., grpc_port: _Optional[int] = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class JoinStep(_message.Message):
    __slots__ = ("hello", "key", "knock", "confirm")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    KNOCK_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    hello: JoinHello
    key: JoinKey
    knock: JoinKnock
    confirm: JoinConfirm
    def __init__(self, hello: _Optional[_Union[JoinHello, _Mapping]] = ..., key: _Optional[_Union[JoinKey, _Mapping]] = ..., knock: _Optional[_Union[JoinKnock, _Mapping]] = ..., confirm: _Optional[_Union[JoinConfirm, _Mapping]] = ...) -> None: ...

class JoinHello(_message.Message):
    __slots__ = ("wished_name", "host_name")
    WISHED_NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_NAME_FIELD_NUMBER: _ClassVar[int]
    wished_name: str
    host_name: str
    def __init__(self, wished_name: _Optional[str] = ..., host_name: _Optional[str] = ...) -> None: ...

class JoinKey(_message.Message):
    __slots__ = ("csr_der", "nonce")
    CSR_DER_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    csr_der: bytes
    nonce: bytes
    def __init__(self, csr_der: _Optional[bytes] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class JoinKnock(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JoinConfirm(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JoinAnswer(_message.Message):
    __slots__ = ("commitment", "reveal", "granted")
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    REVEAL_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    commitment: JoinCommitment
    reveal: JoinReveal
    granted: EnrollReply
    def __init__(self, commitment: _Optional[_Union[JoinCommitment, _Mapping]] = ..., reveal: _Optional[_Union[JoinReveal, _Mapping]] = ..., granted: _Optional[_Union[EnrollReply, _Mapping]] = ...) -> None: ...

class JoinCommitment(_message.Message):
    __slots__ = ("commitment",)
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    commitment: bytes
    def __init__(self, commitment: _Optional[bytes] = ...) -> None: ...

class JoinReveal(_message.Message):
    __slots__ = ("nonce", "expires_after_s")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    expires_after_s: int
    def __init__(self, nonce: _Optional[bytes] = ..., expires_after_s: _Optional[int] = ...) -> None: ...
