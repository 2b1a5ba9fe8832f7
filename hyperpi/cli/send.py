"""`hyperpi send TO MESSAGE`: a scroll; with --wait, the opcode that answers it."""

import time
from typing import Any

import click

from hyperpi.address import new_id
from hyperpi.cli.again import ask_surely, reconnected, refuse_if_revoked
from hyperpi.cli.client import Client, Notice
from hyperpi.cli.options import Verb, connect_again, connected, json_option, seconds, text_or_stdin
from hyperpi.cli.output import note, print_json, to_json
from hyperpi.cli.wires import ConnectionLost
from hyperpi.cli.words import Json, one_line, printable, rows_of
from hyperpi.errors import Expired, HyperPiError, NotFound

FINAL = frozenset({"answered", "expired", "refused", "unknown"})
LOOK_S = 15.0  # without a notice for so long we ask: a notice of a lost connection does not come again
LATE_S = 5.0  # after its time to live the bounce still has to travel


@click.command(
    cls=Verb,
    example="""hyperpi send client@attic "the schema changed: see migrations/0042"
               hyperpi send reviewer "look at the last commit" --wait
               hyperpi send '*@den' "reboot in ten minutes" --ttl 10m""",
)
@click.argument("to")
@click.argument("message")
@click.option("--from", "sender", metavar="NAME", help="As whom, beside who you verifiably are.")
@click.option(
    "--ttl", metavar="TIME", callback=seconds, default="1d", show_default=True, help="Then it bounces."
)
@click.option("--intent", metavar="WORD", help="What it is about, e.g. handoff.")
@click.option("--urgency", metavar="WORD", help="Default: normal.")
@click.option("--reply-to", metavar="SCROLL", help="The scroll that this one answers.")
@click.option("--wait", is_flag=True, help="Wait for the opcode that answers it, and print it.")
@json_option
def send(to: str, message: str, wait: bool, ttl: float, as_json: bool, **details: str | None) -> None:
    """Send a scroll. TO is NAME, NAME@NODE, '*@NODE', '*' or skill:NAME; MESSAGE - reads stdin.

    It is on disk when this returns, and arrives when the recipient is back. With --json
    {scroll_id, state, …}, with --wait also the opcode; not answered, or with an error, is exit code 1.
    """
    scroll: Json = {"to": to, "message": text_or_stdin(message), "ttl_s": ttl, "scroll_id": new_id("SCROLL")}
    named = {"from": details["sender"], **{k: details[k] for k in ("intent", "urgency", "reply_to")}}
    scroll |= {key: value for key, value in named.items() if value is not None}
    with connected() as client:
        accepted: Json = ask_surely(client, connect_again, "scroll.send", scroll)
        if not wait:
            _print_accepted(accepted, to, as_json)
            return
        waiting = Waiting(client, str(accepted["scroll_id"]), time.monotonic() + ttl + LATE_S)
        try:
            waiting.take(accepted)
            waiting.run()
        finally:
            waiting.close()
    _print_answer({**accepted, **waiting.result()}, to, as_json)


class Waiting:
    """A scroll and how far it has come with each recipient. `until` in monotonic seconds."""

    def __init__(self, client: Client, scroll_id: str, until: float) -> None:
        self._client = client
        self._scroll_id = scroll_id
        self._until = until
        self._receipts: dict[str, Json] = {}

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def run(self) -> None:
        """Return when every recipient's receipt is final, or the time is over."""
        while True:
            try:
                self.take(self._asked(self._client))  # also tells of recipients that no notice has named
                if self._done() or time.monotonic() >= self._until:
                    return
                self._listen()
            except ConnectionLost as lost:
                refuse_if_revoked(lost)
                self._client.close()
                self._client, found = reconnected(
                    connect_again, self._asked, self._client.authority, until=self._until
                )
                self.take(found)

    def _listen(self) -> None:
        left_s = self._until - time.monotonic()
        for message in self._client.messages(max(0.0, min(LOOK_S, left_s))):
            if isinstance(message, Notice) and message.params.get("scroll_id") == self._scroll_id:
                self._receipts[str(message.params.get("to"))] = message.params
            if self._done() or time.monotonic() >= self._until:
                return

    def _asked(self, client: Client) -> Json:
        try:
            found: Any = client.call("scroll.get", {"scroll_id": self._scroll_id})
        except NotFound:  # it was accepted, but the node that has it is away: a hypivisor has just started
            return {}
        return found if isinstance(found, dict) else {}

    def take(self, scroll: Json) -> None:
        """What the sender's node knows; a final receipt stays what it is."""
        for receipt in rows_of(scroll, "receipts"):
            known = self._receipts.get(str(receipt.get("to")), {})
            if known.get("state") not in FINAL:
                self._receipts[str(receipt.get("to"))] = receipt

    def _done(self) -> bool:
        states = [receipt.get("state") for receipt in self._receipts.values()]
        return bool(states) and all(state in FINAL for state in states)

    def result(self) -> Json:
        """State, receipts, and the first opcode: what --json adds to the acknowledgement."""
        receipts = list(self._receipts.values())
        opcodes = [receipt["opcode"] for receipt in receipts if receipt.get("opcode")]
        states = [str(receipt.get("state")) for receipt in receipts]
        state = (
            "answered" if opcodes else next((s for s in states if s in FINAL), states[0] if states else "?")
        )
        kept = ("to", "state", "at", "reason", "opcode")
        shown = [{key: receipt[key] for key in kept if key in receipt} for receipt in receipts]
        return {"state": state, "receipts": shown, "opcode": opcodes[0] if opcodes else None}


def _print_accepted(accepted: Json, to: str, as_json: bool) -> None:
    if as_json:
        print_json(accepted)
    else:
        click.echo(one_line(f"{accepted.get('scroll_id')} to {to}: {accepted.get('state')}"))


def _print_answer(answer: Json, to: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        several = len(answer["receipts"]) > 1
        for receipt in answer["receipts"]:
            if receipt.get("opcode"):
                click.echo((f"{one_line(receipt['to'])}: " if several else "") + content(receipt["opcode"]))
            elif several:
                note(one_line(f"{receipt['to']}: {receipt['state']} {receipt.get('reason') or ''}"))
    if answer["opcode"] is None:
        raise _unanswered(answer, to)
    if answer["opcode"].get("opcode_type") == "error":  # it was told above, or in the JSON
        raise HyperPiError(f"{to} answered with an error")


def content(opcode: Json) -> str:
    """What an opcode says: text as it is, everything else as JSON."""
    said = opcode.get("content")
    return printable(said) if isinstance(said, str) else to_json(said)


def _unanswered(answer: Json, to: str) -> HyperPiError:
    reasons = [str(receipt["reason"]) for receipt in answer["receipts"] if receipt.get("reason")]
    why = f": {reasons[0]}" if reasons else ""
    hint = f"`hyperpi scrolls` shows what becomes of {answer['scroll_id']}"
    if answer["state"] in FINAL:
        return HyperPiError(f"the scroll to {to} was not answered, it is {answer['state']}{why}", hint=hint)
    return Expired(f"no answer from {to} in time; the scroll is {answer['state']}{why}", hint=hint)
