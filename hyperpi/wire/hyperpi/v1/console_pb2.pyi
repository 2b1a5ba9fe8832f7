from hyperpi.wire.hyperpi.v1 import mesh_pb2 as _mesh_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRequest(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class MeshChange(_message.Message):
    __slots__ = ("mesh", "epoch", "rev", "whole", "nodes", "agents", "gone", "limits_json", "notices", "mesh_tag")
    MESH_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    REV_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_JSON_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    MESH_TAG_FIELD_NUMBER: _ClassVar[int]
    mesh: str
    epoch: str
    rev: int
    whole: bool
    nodes: _containers.RepeatedCompositeFieldContainer[Item]
    agents: _containers.RepeatedCompositeFieldContainer[Item]
    gone: _containers.RepeatedScalarFieldContainer[str]
    limits_json: bytes
    notices: _containers.RepeatedCompositeFieldContainer[_mesh_pb2.Notice]
    mesh_tag: str
    def __init__(self, mesh: _Optional[str] = ..., epoch: _Optional[str] = ..., rev: _Optional[int] = ..., whole: _Optional[bool] = ..., nodes: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., agents: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., gone: _Optional[_Iterable[str]] = ..., limits_json: _Optional[bytes] = ..., notices: _Optional[_Iterable[_Union[_mesh_pb2.Notice, _Mapping]]] = ..., mesh_tag: _Optional[str] = ..., **kwargs) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "json")
    ID_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    json: bytes
    def __init__(self, id: _Optional[str] = ..., json: _Optional[bytes] = ...) -> None: ...

class AttachRequest(_message.Message):
    __slots__ = ("agent", "epoch", "seq", "feed", "viewers")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    VIEWERS_FIELD_NUMBER: _ClassVar[int]
    agent: str
    epoch: str
    seq: int
    feed: str
    viewers: int
    def __init__(self, agent: _Optional[str] = ..., epoch: _Optional[str] = ..., seq: _Optional[int] = ..., feed: _Optional[str] = ..., viewers: _Optional[int] = ...) -> None: ...

class ViewerCounts(_message.Message):
    __slots__ = ("counts",)
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[ViewerCount]
    def __init__(self, counts: _Optional[_Iterable[_Union[ViewerCount, _Mapping]]] = ...) -> None: ...

class ViewerCount(_message.Message):
    __slots__ = ("feed", "viewers")
    FEED_FIELD_NUMBER: _ClassVar[int]
    VIEWERS_FIELD_NUMBER: _ClassVar[int]
    feed: str
    viewers: int
    def __init__(self, feed: _Optional[str] = ..., viewers: _Optional[int] = ...) -> None: ...

class ViewerCountsTaken(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FeedBatch(_message.Message):
    __slots__ = ("opened", "runs")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    opened: _mesh_pb2.Subscribed
    runs: _containers.RepeatedCompositeFieldContainer[_mesh_pb2.EventRun]
    def __init__(self, opened: _Optional[_Union[_mesh_pb2.Subscribed, _Mapping]] = ..., runs: _Optional[_Iterable[_Union[_mesh_pb2.EventRun, _Mapping]]] = ...) -> None: ...

class WatchBankRequest(_message.Message):
    __slots__ = ("node", "bank", "whole")
    NODE_FIELD_NUMBER: _ClassVar[int]
    BANK_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    node: str
    bank: int
    whole: bool
    def __init__(self, node: _Optional[str] = ..., bank: _Optional[int] = ..., whole: _Optional[bool] = ...) -> None: ...

class BankBatch(_message.Message):
    __slots__ = ("node", "rows")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    node: str
    rows: _containers.RepeatedCompositeFieldContainer[_mesh_pb2.BankRow]
    def __init__(self, node: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[_mesh_pb2.BankRow, _Mapping]]] = ...) -> None: ...

class ConsoleCall(_message.Message):
    __slots__ = ("method", "params_json", "caller")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    method: str
    params_json: bytes
    caller: _mesh_pb2.Caller
    def __init__(self, method: _Optional[str] = ..., params_json: _Optional[bytes] = ..., caller: _Optional[_Union[_mesh_pb2.Caller, _Mapping]] = ...) -> None: ...
