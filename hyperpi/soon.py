"""Something that is worth doing once for many reasons: a moment after the first of them."""

import asyncio
from collections.abc import Callable


class Soon:
    """Calls `act` once, `after_s` seconds after the first `ask`; then the next `ask` begins anew."""

    def __init__(self, after_s: float, act: Callable[[], object]) -> None:
        self._after_s = after_s
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """There is a reason."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._after_s, self._due)

    def close(self) -> None:
        """What was asked for is not done any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._act()
