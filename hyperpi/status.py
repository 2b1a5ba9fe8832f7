"""One table from errors to what each wire says. Only edges import it."""

from typing import NamedTuple

from hyperpi import errors as e


class WireStatus(NamedTuple):
    """How one error looks on gRPC (the name of its StatusCode), JSON-RPC and HTTP."""

    grpc: str
    json_rpc: int
    http: int


INTERNAL = WireStatus("INTERNAL", -32603, 500)

WIRE_STATUS: dict[type[e.HyperPiError], WireStatus] = {
    e.BadRequest: WireStatus("INVALID_ARGUMENT", -32602, 400),
    e.BadEnvelope: WireStatus("INVALID_ARGUMENT", -32600, 400),
    e.BadMessage: WireStatus("INVALID_ARGUMENT", -32700, 400),
    e.UnknownMethod: WireStatus("UNIMPLEMENTED", -32601, 404),
    e.Unauthenticated: WireStatus("UNAUTHENTICATED", -32001, 401),
    e.NotForThisRole: WireStatus("PERMISSION_DENIED", -32001, 403),
    e.NotFound: WireStatus("NOT_FOUND", -32004, 404),
    e.AmbiguousName: WireStatus("INVALID_ARGUMENT", -32005, 409),
    e.Conflict: WireStatus("FAILED_PRECONDITION", -32009, 409),
    e.CursorCompacted: WireStatus("OUT_OF_RANGE", -32010, 410),
    e.NodeUnreachable: WireStatus("UNAVAILABLE", -32011, 503),
    e.NothingThere: WireStatus("UNAVAILABLE", -32011, 503),
    e.RefusedByPolicy: WireStatus("FAILED_PRECONDITION", -32012, 403),
    e.Expired: WireStatus("DEADLINE_EXCEEDED", -32013, 410),
    e.Unusable: WireStatus("FAILED_PRECONDITION", -32603, 500),
    e.Overloaded: WireStatus("RESOURCE_EXHAUSTED", -32029, 429),
}

_BY_JSON_RPC: dict[int, type[e.HyperPiError]] = {}
for _error, _status in WIRE_STATUS.items():
    _BY_JSON_RPC.setdefault(_status.json_rpc, _error)
_BY_JSON_RPC[-32001] = e.NotForThisRole

_BY_KIND = {error.__name__: error for error in WIRE_STATUS}


def status_of(error: BaseException) -> WireStatus:
    """The row of an error's class, or INTERNAL for what the table does not know."""
    for cls in type(error).__mro__:
        if cls in WIRE_STATUS:
            return WIRE_STATUS[cls]
    return INTERNAL


def to_json_rpc(error: BaseException) -> dict[str, object]:
    """The `error` member of a JSON-RPC answer. What the table does not know shows no detail."""
    status = status_of(error)
    if not isinstance(error, e.HyperPiError):
        return {"code": status.json_rpc, "message": "internal error"}
    body: dict[str, object] = {"code": status.json_rpc, "message": str(error)}
    extra = dict(error.data)
    if error.hint:
        extra["hint"] = error.hint
    if extra:
        body["data"] = extra
    return body


def kind_of(error: BaseException) -> str:
    """The name of the row of an error's class, "" for what the table does not know."""
    return next((cls.__name__ for cls in type(error).__mro__ if cls in WIRE_STATUS), "")


def from_json_rpc(error: dict[str, object], kind: str = "") -> e.HyperPiError:
    """The error of a JSON-RPC answer, as its class here: by its kind where one was told, else by its code."""
    code, message, extra = error.get("code"), str(error.get("message", "failed")), error.get("data")
    details: dict[str, object] = dict(extra) if isinstance(extra, dict) else {}
    hint = details.pop("hint", None)
    by_code = _BY_JSON_RPC.get(code, e.HyperPiError) if isinstance(code, int) else e.HyperPiError
    cls = _BY_KIND.get(kind, by_code)
    return cls(message, hint=str(hint) if hint else None, data=details)
