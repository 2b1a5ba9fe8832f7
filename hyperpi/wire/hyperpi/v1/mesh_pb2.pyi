from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeBatch(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[NodeFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[NodeFrame, _Mapping]]] = ...) -> None: ...

class HypivisorBatch(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[HypivisorFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[HypivisorFrame, _Mapping]]] = ...) -> None: ...

class NodeFrame(_message.Message):
    __slots__ = ("hello", "agent", "forgotten", "status", "subscribed", "events", "reset", "reply", "call", "notice", "scroll", "receipt", "heartbeat", "goodbye", "bank_rows", "mirror")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    BANK_ROWS_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    agent: AgentReport
    forgotten: AgentForgotten
    status: NodeStatus
    subscribed: Subscribed
    events: EventRun
    reset: StreamReset
    reply: Reply
    call: Call
    notice: Notice
    scroll: ScrollOffer
    receipt: ScrollReceipt
    heartbeat: Heartbeat
    goodbye: Goodbye
    bank_rows: BankRows
    mirror: Mirror
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., agent: _Optional[_Union[AgentReport, _Mapping]] = ..., forgotten: _Optional[_Union[AgentForgotten, _Mapping]] = ..., status: _Optional[_Union[NodeStatus, _Mapping]] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., events: _Optional[_Union[EventRun, _Mapping]] = ..., reset: _Optional[_Union[StreamReset, _Mapping]] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ..., call: _Optional[_Union[Call, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., scroll: _Optional[_Union[ScrollOffer, _Mapping]] = ..., receipt: _Optional[_Union[ScrollReceipt, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., bank_rows: _Optional[_Union[BankRows, _Mapping]] = ..., mirror: _Optional[_Union[Mirror, _Mapping]] = ...) -> None: ...

class HypivisorFrame(_message.Message):
    __slots__ = ("welcome", "subscribe", "unsubscribe", "call", "reply", "routed", "delivery", "receipt", "back", "heartbeat", "goodbye", "watch_bank", "unwatch_bank", "mirror", "viewers")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    ROUTED_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    BACK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    WATCH_BANK_FIELD_NUMBER: _ClassVar[int]
    UNWATCH_BANK_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    VIEWERS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    subscribe: Subscribe
    unsubscribe: Unsubscribe
    call: Call
    reply: Reply
    routed: ScrollRouted
    delivery: ScrollDelivery
    receipt: ScrollReceipt
    back: NodeBack
    heartbeat: Heartbeat
    goodbye: Goodbye
    watch_bank: WatchBank
    unwatch_bank: UnwatchBank
    mirror: Mirror
    viewers: Viewers
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., subscribe: _Optional[_Union[Subscribe, _Mapping]] = ..., unsubscribe: _Optional[_Union[Unsubscribe, _Mapping]] = ..., call: _Optional[_Union[Call, _Mapping]] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ..., routed: _Optional[_Union[ScrollRouted, _Mapping]] = ..., delivery: _Optional[_Union[ScrollDelivery, _Mapping]] = ..., receipt: _Optional[_Union[ScrollReceipt, _Mapping]] = ..., back: _Optional[_Union[NodeBack, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., watch_bank: _Optional[_Union[WatchBank, _Mapping]] = ..., unwatch_bank: _Optional[_Union[UnwatchBank, _Mapping]] = ..., mirror: _Optional[_Union[Mirror, _Mapping]] = ..., viewers: _Optional[_Union[Viewers, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "version", "boot", "platform", "agents", "status", "address", "now_ms", "restored")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    version: str
    boot: int
    platform: str
    agents: _containers.RepeatedCompositeFieldContainer[AgentReport]
    status: NodeStatus
    address: str
    now_ms: int
    restored: bool
    def __init__(self, protocol: _Optional[int] = ..., version: _Optional[str] = ..., boot: _Optional[int] = ..., platform: _Optional[str] = ..., agents: _Optional[_Iterable[_Union[AgentReport, _Mapping]]] = ..., status: _Optional[_Union[NodeStatus, _Mapping]] = ..., address: _Optional[str] = ..., now_ms: _Optional[int] = ..., restored: _Optional[bool] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("node", "name", "mesh", "heartbeat_s", "version", "now_ms")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MESH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_S_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    node: str
    name: str
    mesh: str
    heartbeat_s: float
    version: str
    now_ms: int
    def __init__(self, node: _Optional[str] = ..., name: _Optional[str] = ..., mesh: _Optional[str] = ..., heartbeat_s: _Optional[float] = ..., version: _Optional[str] = ..., now_ms: _Optional[int] = ...) -> None: ...

class AgentReport(_message.Message):
    __slots__ = ("agent", "agent_json")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_JSON_FIELD_NUMBER: _ClassVar[int]
    agent: str
    agent_json: bytes
    def __init__(self, agent: _Optional[str] = ..., agent_json: _Optional[bytes] = ...) -> None: ...

class AgentForgotten(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: str
    def __init__(self, agent: _Optional[str] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("load_json", "disk_json")
    LOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    DISK_JSON_FIELD_NUMBER: _ClassVar[int]
    load_json: bytes
    disk_json: bytes
    def __init__(self, load_json: _Optional[bytes] = ..., disk_json: _Optional[bytes] = ...) -> None: ...

class Subscribe(_message.Message):
    __slots__ = ("subscription", "agent", "epoch", "seq")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    agent: str
    epoch: str
    seq: int
    def __init__(self, subscription: _Optional[int] = ..., agent: _Optional[str] = ..., epoch: _Optional[str] = ..., seq: _Optional[int] = ...) -> None: ...

class Unsubscribe(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: str
    def __init__(self, agent: _Optional[str] = ...) -> None: ...

class Viewers(_message.Message):
    __slots__ = ("agent", "viewers")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    VIEWERS_FIELD_NUMBER: _ClassVar[int]
    agent: str
    viewers: int
    def __init__(self, agent: _Optional[str] = ..., viewers: _Optional[int] = ...) -> None: ...

class Subscribed(_message.Message):
    __slots__ = ("subscription", "epoch", "seq", "gap", "error")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    epoch: str
    seq: int
    gap: bool
    error: Error
    def __init__(self, subscription: _Optional[int] = ..., epoch: _Optional[str] = ..., seq: _Optional[int] = ..., gap: _Optional[bool] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class EventRun(_message.Message):
    __slots__ = ("agent", "epoch", "first_seq", "events_json", "subscription")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    EVENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    agent: str
    epoch: str
    first_seq: int
    events_json: _containers.RepeatedScalarFieldContainer[bytes]
    subscription: int
    def __init__(self, agent: _Optional[str] = ..., epoch: _Optional[str] = ..., first_seq: _Optional[int] = ..., events_json: _Optional[_Iterable[bytes]] = ..., subscription: _Optional[int] = ...) -> None: ...

class StreamReset(_message.Message):
    __slots__ = ("agent", "epoch", "reason")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    agent: str
    epoch: str
    reason: str
    def __init__(self, agent: _Optional[str] = ..., epoch: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class WatchBank(_message.Message):
    __slots__ = ("call", "bank", "whole")
    CALL_FIELD_NUMBER: _ClassVar[int]
    BANK_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    call: int
    bank: int
    whole: bool
    def __init__(self, call: _Optional[int] = ..., bank: _Optional[int] = ..., whole: _Optional[bool] = ...) -> None: ...

class UnwatchBank(_message.Message):
    __slots__ = ("bank",)
    BANK_FIELD_NUMBER: _ClassVar[int]
    bank: int
    def __init__(self, bank: _Optional[int] = ...) -> None: ...

class BankRows(_message.Message):
    __slots__ = ("bank", "rows")
    BANK_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    bank: int
    rows: _containers.RepeatedCompositeFieldContainer[BankRow]
    def __init__(self, bank: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[BankRow, _Mapping]]] = ...) -> None: ...

class BankRow(_message.Message):
    __slots__ = ("row", "row_json")
    ROW_FIELD_NUMBER: _ClassVar[int]
    ROW_JSON_FIELD_NUMBER: _ClassVar[int]
    row: int
    row_json: bytes
    def __init__(self, row: _Optional[int] = ..., row_json: _Optional[bytes] = ...) -> None: ...

class Caller(_message.Message):
    __slots__ = ("name", "role", "source", "connection")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    source: str
    connection: str
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., source: _Optional[str] = ..., connection: _Optional[str] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("call", "method", "params_json", "caller", "timeout_ms")
    CALL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    call: int
    method: str
    params_json: bytes
    caller: Caller
    timeout_ms: int
    def __init__(self, call: _Optional[int] = ..., method: _Optional[str] = ..., params_json: _Optional[bytes] = ..., caller: _Optional[_Union[Caller, _Mapping]] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("call", "result_json", "error")
    CALL_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    call: int
    result_json: bytes
    error: Error
    def __init__(self, call: _Optional[int] = ..., result_json: _Optional[bytes] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "data_json", "kind")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    data_json: bytes
    kind: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., data_json: _Optional[bytes] = ..., kind: _Optional[str] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("topic", "method", "params_json")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    topic: str
    method: str
    params_json: bytes
    def __init__(self, topic: _Optional[str] = ..., method: _Optional[str] = ..., params_json: _Optional[bytes] = ...) -> None: ...

class ScrollOffer(_message.Message):
    __slots__ = ("scroll", "sender", "scroll_json", "to")
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    SCROLL_JSON_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    scroll: str
    sender: str
    scroll_json: bytes
    to: str
    def __init__(self, scroll: _Optional[str] = ..., sender: _Optional[str] = ..., scroll_json: _Optional[bytes] = ..., to: _Optional[str] = ...) -> None: ...

class ScrollRouted(_message.Message):
    __slots__ = ("scroll", "sender", "recipients", "away", "error")
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    scroll: str
    sender: str
    recipients: _containers.RepeatedScalarFieldContainer[str]
    away: _containers.RepeatedScalarFieldContainer[str]
    error: Error
    def __init__(self, scroll: _Optional[str] = ..., sender: _Optional[str] = ..., recipients: _Optional[_Iterable[str]] = ..., away: _Optional[_Iterable[str]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class ScrollDelivery(_message.Message):
    __slots__ = ("scroll", "sender", "sender_node", "agent", "to", "scroll_json")
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    SENDER_NODE_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    SCROLL_JSON_FIELD_NUMBER: _ClassVar[int]
    scroll: str
    sender: str
    sender_node: str
    agent: str
    to: str
    scroll_json: bytes
    def __init__(self, scroll: _Optional[str] = ..., sender: _Optional[str] = ..., sender_node: _Optional[str] = ..., agent: _Optional[str] = ..., to: _Optional[str] = ..., scroll_json: _Optional[bytes] = ...) -> None: ...

class ScrollReceipt(_message.Message):
    __slots__ = ("scroll", "sender", "to", "node", "state", "reason", "opcode_json", "ack", "from_node")
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OPCODE_JSON_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    FROM_NODE_FIELD_NUMBER: _ClassVar[int]
    scroll: str
    sender: str
    to: str
    node: str
    state: str
    reason: str
    opcode_json: bytes
    ack: bool
    from_node: str
    def __init__(self, scroll: _Optional[str] = ..., sender: _Optional[str] = ..., to: _Optional[str] = ..., node: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., opcode_json: _Optional[bytes] = ..., ack: _Optional[bool] = ..., from_node: _Optional[str] = ...) -> None: ...

class NodeBack(_message.Message):
    __slots__ = ("name", "restored")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    name: str
    restored: bool
    def __init__(self, name: _Optional[str] = ..., restored: _Optional[bool] = ...) -> None: ...

class Mirror(_message.Message):
    __slots__ = ("node", "name", "stream", "want", "offer", "place", "start", "piece", "head", "ack", "end")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    node: str
    name: str
    stream: int
    want: MirrorWant
    offer: MirrorOffer
    place: MirrorPlace
    start: MirrorStart
    piece: MirrorPiece
    head: MirrorHead
    ack: MirrorAck
    end: MirrorEnd
    def __init__(self, node: _Optional[str] = ..., name: _Optional[str] = ..., stream: _Optional[int] = ..., want: _Optional[_Union[MirrorWant, _Mapping]] = ..., offer: _Optional[_Union[MirrorOffer, _Mapping]] = ..., place: _Optional[_Union[MirrorPlace, _Mapping]] = ..., start: _Optional[_Union[MirrorStart, _Mapping]] = ..., piece: _Optional[_Union[MirrorPiece, _Mapping]] = ..., head: _Optional[_Union[MirrorHead, _Mapping]] = ..., ack: _Optional[_Union[MirrorAck, _Mapping]] = ..., end: _Optional[_Union[MirrorEnd, _Mapping]] = ...) -> None: ...

class MirrorWant(_message.Message):
    __slots__ = ("of", "copy", "not_disk")
    OF_FIELD_NUMBER: _ClassVar[int]
    COPY_FIELD_NUMBER: _ClassVar[int]
    NOT_DISK_FIELD_NUMBER: _ClassVar[int]
    of: str
    copy: int
    not_disk: bytes
    def __init__(self, of: _Optional[str] = ..., copy: _Optional[int] = ..., not_disk: _Optional[bytes] = ...) -> None: ...

class MirrorOffer(_message.Message):
    __slots__ = ("disk", "head", "bytes", "held")
    DISK_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    disk: bytes
    head: MirrorHead
    bytes: int
    held: MirrorHeld
    def __init__(self, disk: _Optional[bytes] = ..., head: _Optional[_Union[MirrorHead, _Mapping]] = ..., bytes: _Optional[int] = ..., held: _Optional[_Union[MirrorHeld, _Mapping]] = ...) -> None: ...

class MirrorHeld(_message.Message):
    __slots__ = ("copy", "commit", "head", "heard_at")
    COPY_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    HEARD_AT_FIELD_NUMBER: _ClassVar[int]
    copy: int
    commit: int
    head: MirrorHead
    heard_at: float
    def __init__(self, copy: _Optional[int] = ..., commit: _Optional[int] = ..., head: _Optional[_Union[MirrorHead, _Mapping]] = ..., heard_at: _Optional[float] = ...) -> None: ...

class MirrorPlace(_message.Message):
    __slots__ = ("disk", "segment", "offset", "commit", "digest")
    DISK_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    disk: bytes
    segment: int
    offset: int
    commit: int
    digest: bytes
    def __init__(self, disk: _Optional[bytes] = ..., segment: _Optional[int] = ..., offset: _Optional[int] = ..., commit: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class MirrorStart(_message.Message):
    __slots__ = ("anew",)
    ANEW_FIELD_NUMBER: _ClassVar[int]
    anew: bool
    def __init__(self, anew: _Optional[bool] = ...) -> None: ...

class MirrorPiece(_message.Message):
    __slots__ = ("kind", "segment", "bank", "offset", "commit", "more", "content", "head")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    BANK_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    kind: int
    segment: int
    bank: int
    offset: int
    commit: int
    more: bool
    content: bytes
    head: MirrorHead
    def __init__(self, kind: _Optional[int] = ..., segment: _Optional[int] = ..., bank: _Optional[int] = ..., offset: _Optional[int] = ..., commit: _Optional[int] = ..., more: _Optional[bool] = ..., content: _Optional[bytes] = ..., head: _Optional[_Union[MirrorHead, _Mapping]] = ...) -> None: ...

class MirrorHead(_message.Message):
    __slots__ = ("commit", "behind_bytes", "behind_s", "at")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    BEHIND_BYTES_FIELD_NUMBER: _ClassVar[int]
    BEHIND_S_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    commit: int
    behind_bytes: int
    behind_s: float
    at: float
    def __init__(self, commit: _Optional[int] = ..., behind_bytes: _Optional[int] = ..., behind_s: _Optional[float] = ..., at: _Optional[float] = ...) -> None: ...

class MirrorAck(_message.Message):
    __slots__ = ("bytes", "commit")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    commit: int
    def __init__(self, bytes: _Optional[int] = ..., commit: _Optional[int] = ...) -> None: ...

class MirrorEnd(_message.Message):
    __slots__ = ("done", "reason")
    DONE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    done: bool
    reason: str
    def __init__(self, done: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...
