"""`hyperpi up` whose guards can be taken out while it runs, for the benchmark of what they cost.

    python -m bench.unguarded up ...

The product has no such switch, so this process replaces the functions in its own memory: on SIGUSR1 the gRPC
interceptor and the role check are gone, on SIGUSR2 they are back. Machines dial anew after each, since the
interceptor looks at a stream when it is opened. SIGRTMIN and the one after it do the same with the role check
alone, between two calls. Each change is a line on stdout once it is done and everybody is back.
"""

import asyncio
import signal
from typing import Any

from hyperpi import channels, roles
from hyperpi.cli import main as command
from hypivisor.link_service import LinkService

WITHOUT, WITH = signal.SIGUSR1, signal.SIGUSR2
UNCHECKED, CHECKED = signal.SIGRTMIN, signal.SIGRTMIN + 1
SWITCHED = "switched"


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

    def switch(is_guarded: bool) -> None:
        _guard_streams(is_guarded)
        _guard_calls(is_guarded)
        task = loop.create_task(_dialled_anew(links))
        switching.add(task)
        task.add_done_callback(switching.discard)

    def switch_calls(is_guarded: bool) -> None:
        _guard_calls(is_guarded)
        print(SWITCHED, flush=True)

    loop.add_signal_handler(WITHOUT, switch, False)
    loop.add_signal_handler(WITH, switch, True)
    loop.add_signal_handler(UNCHECKED, switch_calls, False)
    loop.add_signal_handler(CHECKED, switch_calls, True)


async def _dialled_anew(links: LinkService) -> None:
    nodes = list(links.links)
    for node in nodes:
        links.cut(node, "restart")
    for node in nodes:
        await links.link_soon(node)
    print(SWITCHED, flush=True)


_check, _narrowed, _intercept = roles.check, roles.narrowed, channels.NodesOnly.intercept_service


async def _not_intercepted(_self: Any, continuation: Any, details: Any) -> Any:
    return await continuation(details)


def _guard_streams(is_guarded: bool) -> None:
    channels.NodesOnly.intercept_service = _intercept if is_guarded else _not_intercepted  # type: ignore[method-assign]


def _guard_calls(is_guarded: bool) -> None:
    roles.check = _check if is_guarded else lambda _caller, _method: None
    roles.narrowed = _narrowed if is_guarded else lambda _caller, _method, params: params


if __name__ == "__main__":
    main()
