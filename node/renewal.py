"""How a node keeps a certificate that holds: renewed at two thirds of its life, and by the hypivisor's clock.

While there is no link it asks the enrol port for the time: a clock that leapt past the end of a certificate,
or before its beginning, is then known, and what renewing can mend is mended.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hyperpi import tls
from hyperpi.clock import apart
from hyperpi.errors import HyperPiError
from node import enroll
from node.identity import Membership
from node.link import Link
from node.refusals import KeyRevoked, NodeUnknown, WrongClock

log = logging.getLogger(__name__)

# At most, by the wall clock: who slept past the expiry, or whose clock leapt, is back within this.
CHECK_S = 15.0
AGAIN_S, RENEWED_S = 5.0, 1.0  # after a failure, and after a success
REFUSED_S = 600.0  # unless the membership changes: more would count as guessing, and lock us out


class Renewal:
    """Renews the membership that `current` tells. `changed`: there is another reason for having no link."""

    def __init__(
        self,
        folder: Path,
        link: Link,
        *,
        current: Callable[[], Membership | None],
        renewed: Callable[[Membership], None],
        changed: Callable[[], None],
    ) -> None:
        self.trouble: HyperPiError | None = None  # what keeps us from linking, other than a refusal
        self._folder = folder
        self._link = link
        self._current = current
        self._renewed = renewed
        self._changed = changed
        self._soon = asyncio.Event()
        self._failed = ""  # why the last try failed

    def look_now(self) -> None:
        """There is another membership."""
        self._soon.set()

    async def run(self) -> None:
        """Renew whenever it is due, until cancelled."""
        while True:
            wait_s = CHECK_S
            if (member := self._current()) is not None:
                due_s = member.renew_at - time.time()
                if not self._link.up and self._link.refused is None and await self._lapsed(member):
                    due_s = 0.0
                # Not at once: a hypivisor whose clock is far behind gives what is due again.
                wait_s = min(due_s, CHECK_S) if due_s > 0 else await self._renew(member)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._soon.wait()
            self._soon.clear()

    async def _lapsed(self, member: Membership) -> bool:
        """Whether our certificate does not hold by the hypivisor's clock; what keeps us from it is noted."""
        try:
            ahead_s = await enroll.clock_ahead(member)
        except HyperPiError as exc:
            self._note_trouble(exc if isinstance(exc, WrongClock) else None)
            return False
        self._note_trouble(None)
        if tls.is_valid(member.identity.certificate_pem, time.time() - ahead_s):
            return False
        log.warning(
            "our certificate does not hold by the hypivisor's clock, this one is %s it", apart(ahead_s)
        )
        return True

    def _note_trouble(self, trouble: HyperPiError | None) -> None:
        """Why there is no link, where that is known; logged once."""
        was, self.trouble = self.trouble, trouble
        if trouble is not None and was is None:
            log.warning("no link: %s; what to do: %s", trouble, trouble.hint)
        if (trouble is None) != (was is None):
            self._changed()

    async def _renew(self, member: Membership) -> float:
        """Try it; how long to wait before the next look."""
        try:
            renewed = await enroll.renew(self._folder, member)
        except (HyperPiError, OSError) as exc:
            said = f"{exc}; what to do: {getattr(exc, 'hint', None) or 'it is tried again'}"
            if said != self._failed:  # once for each reason, not once for each try
                self._failed = said
                log.warning("the certificate was not renewed reason=%s", said)
            return REFUSED_S if isinstance(exc, KeyRevoked | NodeUnknown) else AGAIN_S
        self._failed = ""
        log.info("certificate renewed node=%s", member.node_id)
        self._renewed(renewed)
        return RENEWED_S
