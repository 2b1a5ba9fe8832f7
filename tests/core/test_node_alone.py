"""What a node does without a hypivisor: for itself all, for other machines nothing."""

import msgspec
import pytest

from hyperpi.errors import NodeUnreachable
from hyperpi.roles import OPERATOR, Caller
from node.agents import Agents
from node.backend import Backend, Desks
from node.roster import Roster

OWNER = Caller("ann@den", OPERATOR, "cli")


class Nothing:
    """A part that must not be asked."""

    def methods(self) -> dict:
        return {}

    def __getattr__(self, name: str) -> None:
        raise AssertionError(name)


@pytest.fixture
def backend() -> Backend:
    agents = Agents(Roster(), node="n-den", node_name="den")
    nothing = Nothing()
    desks = Desks(agents, *[nothing] * 11)  # type: ignore[arg-type]
    return Backend(desks, lambda: msgspec.UNSET)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("node.spawn", {"path": "/srv", "request_id": "r-1"}),
        ("node.folders", {}),
        ("disk.list", {}),
        ("disk.rows", {"bank": 8}),
        ("disk.png", {"bank": 8}),
    ],
)
async def test_what_is_meant_for_another_machine_is_not_done_here(
    backend: Backend, method: str, params: dict
):
    with pytest.raises(NodeUnreachable, match="attic is not this machine"):
        await backend.call(method, {**params, "node": "attic"}, OWNER)
