"""Dialogs of pi's extensions as approvals, and answers of people as what pi expects. Pure."""

import hashlib
import json
from typing import Any

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.contract import Json
from hyperpi.errors import BadRequest

MAX_TEXT = 2_000  # characters of a label, as the contract has it

CANCEL = contract.Choice(id="cancel", label="Cancel", kind="reject_once")
SUBMIT = contract.Choice(id="submit", label="Answer", kind="text")


def approval_id(agent: AgentId, dialog: str) -> str:
    """The id of a dialog's approval: the same whenever its keeper tells of it again."""
    return "ui-" + hashlib.sha256(f"{agent} {dialog}".encode()).hexdigest()[:10]


def as_approval(agent: AgentId, request: Json) -> contract.ApprovalAsk:
    """What a person is asked. Raises BadRequest for what is no dialog that we know."""
    method, title = request.get("method"), str(request.get("title") or "")
    timeout_ms = request.get("timeout")
    known = ("method", "title", "message", "options", "placeholder", "prefill")
    canonical = json.dumps(request, sort_keys=True, ensure_ascii=True)
    action = contract.Action(
        kind="dialog",
        summary=(title or str(request.get("message") or method))[:MAX_TEXT],
        hash=hashlib.sha256(canonical.encode()).hexdigest(),
        detail={key: request[key] for key in known if key in request},
    )
    return contract.ApprovalAsk(
        id=approval_id(agent, str(request["id"])),
        action=action,
        choices=_choices(method, request),
        timeout_s=timeout_ms / 1000 if isinstance(timeout_ms, int | float) and timeout_ms > 0 else None,
    )


def _choices(method: object, request: Json) -> list[contract.Choice]:
    match method:
        case "confirm":
            return [
                contract.Choice(id="yes", label="Yes", kind="allow_once"),
                contract.Choice(id="no", label="No", kind="reject_once"),
            ]
        case "select":
            options = _options(request)
            if not options:
                raise BadRequest("a choice without options")
            choices = [
                contract.Choice(id=str(number), label=option[:MAX_TEXT], kind="option")
                for number, option in enumerate(options)
            ]
            return [*choices, CANCEL]
        case "input" | "editor":
            return [SUBMIT, CANCEL]
        case _:
            raise BadRequest(f"a dialog of a kind that is not known: {method}")


def as_response(approval: contract.Approval) -> Json:
    """What pi gets; everything but a person's answer cancels."""
    detail: Any = approval.action.detail
    if approval.state == "denied" and approval.choice == "no":
        return {"confirmed": False}
    if approval.state != "approved":
        return {"cancelled": True}
    match detail.get("method"):
        case "confirm":
            return {"confirmed": True}
        case "select":
            return {"value": _options(detail)[int(approval.choice or 0)]}
        case _:
            return {"value": approval.text or ""}


def _options(request: Json) -> list[str]:
    options = request.get("options")
    return [str(option) for option in options] if isinstance(options, list) else []
