"""What an agent asks of a person, in words: shared by every verb that shows approvals. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from hyperpi.cli.words import Json, duration, one_line, printable
from hyperpi.clock import from_rfc3339
from hyperpi.errors import BadRequest

MAX_LINES = 40  # of one text of the action; all of it is in --json and in Pi-DE

Line = tuple[str, str]  # a text, and its style as in hyperpi.cli.output.STYLES


def headline(approval: Json) -> str:
    """What it is about, on one line."""
    action = _table(approval.get("action"))
    return one_line(action.get("summary") or action.get("kind"))


def lines(approval: Json, now: float) -> Iterator[Line]:
    """The exact action, then how to answer or how it was decided."""
    action = _table(approval.get("action"))
    detail = _table(action.get("detail"))
    yield f"? {headline(approval)}", "wants"
    if reasons := [one_line(reason) for reason in detail.get("reasons") or ()]:
        yield f"  since: {', '.join(reasons)}", "dim"
    for key in ("title", "message"):
        if detail.get(key) != action.get("summary"):  # that stands there already
            yield from _block(detail.get(key), "  ", "")
    args = _table(detail.get("args"))
    for key, value in args.items():
        if key == "edits" and isinstance(value, list):
            for edit in value:
                yield from _edit(_table(edit))
        elif key in {"oldText", "newText"}:
            continue
        else:
            yield from _block(value, f"  {key}: ", "")
    yield from _edit(args)
    if detail.get("cwd"):
        yield f"  in {one_line(detail['cwd'])}", "dim"
    yield (f"  {outcome(approval, now)}", "dim")


def outcome(approval: Json, now: float) -> str:
    """How to answer, or how it was decided."""
    state, by = approval.get("state"), one_line(approval.get("by") or "")
    note = f" ({one_line(approval['note'])})" if approval.get("note") else ""
    if state == "pending":
        names = ", ".join(one_line(choice.get("label"), 40) for choice in choices_of(approval))
        return f"{one_line(approval.get('id'))} · {names} · {left(approval, now)}"
    if state == "expired":
        return "nobody answered in time, which denied it"
    if state == "withdrawn":
        return f"withdrawn{note}"
    where = " at the terminal" if approval.get("via") == "terminal" else f" by {by}"
    taken = next((one for one in choices_of(approval) if one.get("id") == approval.get("choice")), {})
    if taken.get("kind") == "option":
        return f"answered{where} with {one_line(taken.get('label'), 60)}{note}"
    if taken.get("kind") == "text":
        return f"answered{where}{note}"
    return f"{state}{where}{note}"


def left(approval: Json, now: float) -> str:
    """How long there is to answer."""
    try:
        seconds = from_rfc3339(str(approval.get("expires_at"))) - now
    except ValueError:
        return ""
    return f"{duration(seconds)} left" if seconds > 0 else "its time is over"


def choices_of(approval: Json) -> Sequence[Json]:
    """The ways to answer."""
    found = approval.get("choices")
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []


def chosen(approval: Json, wish: str | None, text: str | None, *, approve: bool) -> str:
    """The id of the choice that is meant: by id or label, else the plain yes or no. Raises BadRequest."""
    choices = choices_of(approval)
    if wish is not None:
        named = [one for one in choices if wish in (one.get("id"), one.get("label"))]
    elif text is not None:
        named = [one for one in choices if one.get("kind") == "text"]
    else:
        kinds = ("allow_once", "allow_always") if approve else ("reject_once", "reject_always")
        named = [one for kind in kinds for one in choices if one.get("kind") == kind]
    if named:
        return str(named[0].get("id"))
    offered = ", ".join(f"{one_line(one.get('id'))} ({one_line(one.get('label'))})" for one in choices)
    needs_text = any(one.get("kind") == "text" for one in choices)
    hint = "answer with --text" if needs_text and approve else f"choose with --choice: {offered}"
    raise BadRequest("that is no way to answer this", hint=hint)


def _edit(edit: Json) -> Iterator[Line]:
    yield from _block(edit.get("oldText"), "  - ", "bad")
    yield from _block(edit.get("newText"), "  + ", "good")


def _block(value: Any, lead: str, style: str) -> Iterator[Line]:
    if value is None:
        return
    text = printable(value if isinstance(value, str) else str(value))
    shown = text.split("\n")
    for number, line in enumerate(shown[:MAX_LINES]):
        repeated = lead if number == 0 or lead.strip() in {"+", "-"} else " " * len(lead)
        yield repeated + line, style
    if len(shown) > MAX_LINES:
        yield f"{' ' * len(lead)}… {len(shown) - MAX_LINES} more lines", "dim"


def _table(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
