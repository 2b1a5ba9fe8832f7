"""Values to and from the wire, both directions side by side. Generated classes go no further than this."""

from collections.abc import Iterable

import msgspec

from hyperpi import strict_json
from hyperpi.errors import BadMessage, HyperPiError
from hyperpi.event import Cursor
from hyperpi.mesh_view import Change
from hyperpi.roles import Caller
from hyperpi.row_changes import RowChange
from hyperpi.status import from_json_rpc, kind_of, to_json_rpc
from hyperpi.wire.hyperpi.v1 import console_pb2, mesh_pb2

MAX_ROWS = 65_536  # a picture is not taller
MAX_ROW_BYTES = 512  # what is told of one row: number, state, kind, sequence number


def error_to_wire(error: BaseException) -> mesh_pb2.Error:
    """What the other side may know of an error."""
    said = to_json_rpc(error)
    extra = strict_json.encode(said["data"]) if "data" in said else b""
    return mesh_pb2.Error(
        code=int(str(said["code"])), message=str(said["message"]), data_json=extra, kind=kind_of(error)
    )


def error_from_wire(error: mesh_pb2.Error) -> HyperPiError:
    """The error as its class here."""
    extra = msgspec.json.decode(error.data_json) if error.data_json else {}
    return from_json_rpc({"code": error.code, "message": error.message, "data": extra}, error.kind)


def caller_to_wire(caller: Caller) -> mesh_pb2.Caller:
    """A caller whose credential this side has checked."""
    return mesh_pb2.Caller(
        name=caller.name, role=caller.role, source=caller.source, connection=caller.connection
    )


def caller_from_wire(caller: mesh_pb2.Caller) -> Caller:
    """A caller as the other side checked it."""
    return Caller(caller.name, caller.role, caller.source, caller.connection)


def cursor_from_wire(epoch: str, seq: int) -> Cursor | None:
    """No epoch on the wire means no cursor."""
    return Cursor(epoch, seq) if epoch else None


def change_to_wire(
    change: Change, mesh: str, limits_json: bytes, notices: list[mesh_pb2.Notice]
) -> console_pb2.MeshChange:
    """Roster changes and notices for a front end."""
    wire = console_pb2.MeshChange(
        mesh=mesh,
        epoch=change.epoch,
        rev=change.rev,
        whole=change.whole,
        nodes=[console_pb2.Item(id=item, json=json) for item, json in change.nodes.items()],
        agents=[console_pb2.Item(id=item, json=json) for item, json in change.agents.items()],
        gone=change.gone,
        limits_json=limits_json if change.whole else b"",
        notices=notices,
    )
    setattr(wire, "from", change.start)  # a keyword of Python, a field of the wire
    return wire


def change_from_wire(change: console_pb2.MeshChange) -> Change:
    """Roster changes as a value."""
    return Change(
        epoch=change.epoch,
        start=getattr(change, "from"),
        rev=change.rev,
        whole=change.whole,
        nodes={item.id: item.json for item in change.nodes},
        agents={item.id: item.json for item in change.agents},
        gone=tuple(change.gone),
    )


def rows_to_wire(rows: Iterable[RowChange]) -> list[mesh_pb2.BankRow]:
    """Changed rows, each encoded once by its node."""
    return [mesh_pb2.BankRow(row=row, row_json=encoded) for row, encoded in rows]


def rows_from_wire(rows: Iterable[mesh_pb2.BankRow]) -> list[RowChange]:
    """The same, as `RowChanges` takes them. Raises BadMessage for what is no row of any bank."""
    return [_row_from_wire(row) for row in rows]


def _row_from_wire(row: mesh_pb2.BankRow) -> RowChange:
    if row.row >= MAX_ROWS or len(row.row_json) > MAX_ROW_BYTES:
        raise BadMessage("what was told of a row is too much for one")
    return row.row, strict_json.sound(row.row_json)
