"""Questions of pi's extensions (its rpc mode writes them as lines), on their way to a person and back.

The node shows them to people; without one, or when it does not know of them, they are cancelled, since they
would block pi for ever.
"""

from collections.abc import Callable

from node.keeping.lines import Json, line_of

AWAY_S = 30.0  # a node that restarts is back within seconds; longer and nobody will answer
SPARE_S = 30.0  # beyond the time that the node gives people
MAX_OPEN = 16  # extensions ask one at a time
ANSWERS = frozenset({"value", "confirmed", "cancelled"})

Answered = Callable[[Json | None], None]


class Dialogs:
    """Those that are open, by id.

    `tell(method, params, answered)` asks the node, `write` hands bytes to pi, `after(name, delay_s, act)` and
    `cancel(name)` are the keeper's timers. An `heir` does not know what pi has asked the keeper before it.
    """

    def __init__(
        self,
        tell: Callable[[str, Json, Answered], None],
        write: Callable[[bytes], object],
        after: Callable[[str, float, Callable[[], None]], None],
        cancel: Callable[[str], object],
        *,
        heir: bool,
    ) -> None:
        self.tell = tell
        self.write = write
        self.after = after
        self.cancel = cancel
        self.heir = heir
        self.open: dict[str, Json] = {}
        self.connected = False

    def opened(self, request: Json) -> None:
        """pi asks something."""
        dialog = str(request["id"])
        if len(self.open) >= MAX_OPEN:
            self.open[dialog] = request
            self.give_up(dialog)
            return
        self.open[dialog] = request
        timeout_ms = request.get("timeout")
        if isinstance(timeout_ms, int | float) and timeout_ms > 0:
            self.after(f"dialog {dialog}", timeout_ms / 1000, lambda: self.closed(dialog))
        if self.connected:
            self.ask(dialog)
        else:
            self.after("dialogs", AWAY_S, self.give_up_all)

    def registered(self) -> None:
        """There is a node: it hears of all that is open, maybe once more."""
        self.connected = True
        self.cancel("dialogs")
        for dialog in list(self.open):
            self.ask(dialog)

    def lost(self) -> None:
        self.connected = False
        if self.open:
            self.after("dialogs", AWAY_S, self.give_up_all)

    def ask(self, dialog: str) -> None:
        params: Json = {"request": self.open[dialog]}
        self.tell("keeper.dialog", params, lambda result: self.told(dialog, result))

    def told(self, dialog: str, result: Json | None) -> None:
        """The node's answer: it asks a person, or knows already, or (None) will not."""
        if dialog not in self.open:
            return
        if result is None:
            self.give_up(dialog)
        elif isinstance(response := result.get("response"), dict):
            self.answer(dialog, response)
        elif isinstance(timeout_s := result.get("timeout_s"), int | float) and not self.open[dialog].get(
            "timeout"
        ):
            self.after(f"dialog {dialog}", timeout_s + SPARE_S, lambda: self.give_up(dialog))

    def answer(self, dialog: str, response: Json) -> None:
        """Hand an answer to pi; one that is not open any more is of no interest."""
        request = self.open.pop(dialog, {"id": dialog} if self.heir else None)
        if request is None:
            return
        self.cancel(f"dialog {dialog}")
        said = {key: value for key, value in response.items() if key in ANSWERS}
        self.write(line_of({"type": "extension_ui_response", "id": request["id"], **said}))

    def give_up(self, dialog: str) -> None:
        """Nobody answers."""
        self.answer(dialog, {"cancelled": True})
        self.say_closed(dialog)

    def give_up_all(self) -> None:
        for dialog in list(self.open):
            self.give_up(dialog)

    def closed(self, dialog: str) -> None:
        """Its time was over, by pi's own clock."""
        if self.open.pop(dialog, None) is not None:
            self.say_closed(dialog)

    def say_closed(self, dialog: str) -> None:
        if self.connected:
            self.tell("keeper.dialog_closed", {"id": dialog}, lambda _: None)
