"""What a mirror costs the disk that is mirrored, and how far behind it is: `python -m bench.mirror [--json]`.

Three processes on one machine: the hypivisor, the node that writes, the node that holds the copy. Scrolls are
accepted with and without a mirror in turns, so that the machine's noise hits both. The copy is kept in memory
where that is possible: on another machine it would be on another drive.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figure import Figure, at_most, table_of
from bench.running import Json, joined, running, wait_until
from hyperpi.cli.client import Client, connect_local

TURNS = 8
SCROLLS = 300  # in a turn
SUSTAINED_S = 8.0


def measure() -> list[Figure]:
    """All figures, in one run."""
    with running() as system, joined(system, "holder") as copies, client_of(system.home) as client:
        node = str(system.said("node")["node"])
        return [*cost(client, node), *lag(client, node, copies.home)]


@contextmanager
def client_of(home: Path) -> Iterator[Client]:
    """The control socket of a node."""
    client = connect_local("node", home / "node")
    assert client is not None, "no node"
    with client:
        yield client


def cost(client: Client, node: str) -> list[Figure]:
    """How long a scroll takes to be accepted, which is after its row is durable."""
    times: dict[bool, list[float]] = {False: [], True: []}
    accepted(client, SCROLLS)  # warm
    for turn in range(2 * TURNS):
        mirrored = bool(turn % 2)
        client.call("disk.mirror", {"node": node, "to": "holder", "off": not mirrored}) if turn else None
        if mirrored:
            wait_until(lambda: state(client, node)["state"] == "following", "the mirror")
        times[mirrored] += accepted(client, SCROLLS)
    figures = []
    for name, place in (("p50", 50), ("p99", 99)):
        plain, with_mirror = (statistics.quantiles(times[key], n=100)[place - 1] for key in (False, True))
        words = f"with a mirror {with_mirror * 1e3:.2f} ms", f"without {plain * 1e3:.2f} ms"
        limit = 1.25 if name == "p50" else 1.5  # two more processes share this machine's cores
        figures.append(
            at_most(f"scroll accepted with / without mirror, {name}", with_mirror / plain, "x", limit, *words)
        )
    return figures


def accepted(client: Client, count: int) -> list[float]:
    """Seconds that each of some scrolls took, one after the other."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        client.call("scroll.send", {"to": "nobody@bench", "message": "x" * 200})
        found.append(time.perf_counter() - started)
    return found


def state(client: Client, node: str) -> Json:
    """The mirror, as it is shown."""
    found: Json = client.call("disk.mirrors", {"node": node})["mirrors"][0]
    return found


def lag(client: Client, node: str, holder_home: Path) -> list[Figure]:
    """How far the copy is behind while scrolls are accepted as fast as one sender can."""
    began, sent_before = time.perf_counter(), state(client, node)["sent_bytes"]
    seconds, commits, count = [], [], 0
    while time.perf_counter() - began < SUSTAINED_S:
        accepted(client, 20)
        count += 20
        shown = state(client, node)["lag"]
        seconds.append(shown["seconds"])
        commits.append(shown["commits"])
    rate = count / (time.perf_counter() - began)
    kib = (state(client, node)["sent_bytes"] - sent_before) / SUSTAINED_S / 1024
    ended = time.perf_counter()
    wait_until(lambda: state(client, node)["lag"]["commits"] == 0, "the whole copy")
    caught_up_s = time.perf_counter() - ended
    with client_of(holder_home) as theirs:
        held = theirs.call("disk.mirrors", {"node": "holder"})["copies"][0]
    words = f"{rate:.0f} scrolls/s, {kib:.0f} KiB/s of log; commits p50 {statistics.median(commits):.0f}"
    note = f"the copy takes {held['bytes'] / 1024:.0f} KiB"
    return [
        at_most("lag while writing, p50", statistics.median(seconds), "s", 0.5, words, note),
        at_most("lag while writing, largest", max(seconds), "s", 2.0, words, note),
        at_most("until the copy is whole, after the last one", caught_up_s, "s", 1.0, words, note),
    ]


if __name__ == "__main__":
    table_of("mirror", measure)
