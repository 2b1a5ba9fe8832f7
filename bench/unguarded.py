"""`hyperpi up` whose guards can be taken out while it runs, for the benchmark of what they cost.

    python -m bench.unguarded up ...

The product has no such switch, so this process replaces the functions in its own memory: on SIGUSR1 the gRPC
interceptor and the role check are gone, on SIGUSR2 they are back. Machines dial anew after each, since the
interceptor looks at a stream when it is opened. Each change is a line on stdout once everybody is back.
"""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from hyperpi import roles, tls
from hyperpi.cli import main as command
from hypivisor.link_service import LinkService

WITHOUT, WITH = signal.SIGUSR1, signal.SIGUSR2


def main() -> None:
    """Run the command, ready to be switched."""
    begin = LinkService.__init__

    def init(self: LinkService, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        _listen(self)

    LinkService.__init__ = init  # type: ignore[method-assign]
    command.main()


def _listen(links: LinkService) -> None:
    """Switch on a signal, as long as this loop runs."""
    loop = asyncio.get_running_loop()
    switching: set[asyncio.Task[None]] = set()

    def switch(change: Callable[[], None], said: str) -> None:
        change()
        task = loop.create_task(_dialled_anew(links, said))
        switching.add(task)
        task.add_done_callback(switching.discard)

    loop.add_signal_handler(WITHOUT, switch, _take_out, "without")
    loop.add_signal_handler(WITH, switch, _put_back, "with")


async def _dialled_anew(links: LinkService, said: str) -> None:
    nodes = list(links.links)
    for node in nodes:
        links.cut(node, "restart")
    for node in nodes:
        await links.link_soon(node)
    print(said, flush=True)


_GUARDS = (roles.check, roles.narrowed, tls.NodesOnly.intercept_service)


async def _not_intercepted(_self: Any, continuation: Any, details: Any) -> Any:
    return await continuation(details)


def _take_out() -> None:
    _install(lambda _caller, _method: None, lambda _caller, _method, params: params, _not_intercepted)


def _put_back() -> None:
    _install(*_GUARDS)


def _install(check: Any, narrowed: Any, intercept: Any) -> None:
    roles.check, roles.narrowed = check, narrowed
    tls.NodesOnly.intercept_service = intercept  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
