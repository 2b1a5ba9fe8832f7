"""Certificates that live for seconds: renewed under load, and nothing that was accepted is lost."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from live import Json, Program, System, join, new_system, until

LIFE_S = 3.0
LIFE = ("--certificate-life", f"{LIFE_S:g}s")
# A few here; HYPERPI_ROTATIONS=30 for the long form.
ROTATIONS = int(os.environ.get("HYPERPI_ROTATIONS", "4"))


def serial(system: System) -> int:
    """Which certificate a machine has now."""
    pem = (system.home / "node" / "identity" / "cert.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).serial_number


def rotations(system: System) -> Callable[[], int]:
    """How many more certificates a machine has had, as far as was looked."""
    seen = {serial(system)}

    def count() -> int:
        seen.add(serial(system))
        return len(seen) - 1

    return count


@pytest.fixture
def machines() -> Iterator[tuple[System, System]]:
    """Two machines of a mesh whose certificates are short-lived."""
    with new_system() as den, new_system() as attic:
        den.start(*LIFE)
        join(attic, den)
        yield den, attic


async def test_certificates_rotate_under_load_and_over_a_restart_and_no_scroll_is_lost(
    machines: tuple[System, System],
):
    den, attic = machines
    count = rotations(attic)
    sent: list[str] = []
    async with attic.agent("reader") as reader:
        for half in (ROTATIONS // 2, ROTATIONS):
            async with den.program() as program:
                await program.knows(reader.id)
                loading = asyncio.create_task(send_on_and_on(program, sent))
                patience_s = 10 * LIFE_S * ROTATIONS
                await asyncio.to_thread(until, lambda half=half: count() >= half, "rotations", patience_s)
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
            if half < ROTATIONS:  # every link begins anew, with whatever certificate its machine has by then
                ports = [str(den.said("hypivisor")[port]) for port in ("grpc_port", "enrol_port")]
                await asyncio.to_thread(den.end_up)
                await asyncio.to_thread(den.start, *LIFE, "--grpc-port", ports[0], "--enrol-port", ports[1])

        def received() -> list[str]:
            return [scroll["scroll_id"] for scroll in reader.scrolls]

        # Not by their number: one whose sender was ended before it had its answer comes too.
        await reader.until(lambda: set(sent) <= set(received()), "every scroll")
        assert len(set(received())) == len(received())


async def send_on_and_on(program: Program, sent: list[str]) -> None:
    """Scrolls to the other machine, one after the other; those that were accepted."""
    while True:
        answer: Json = await program.call("scroll.send", to="reader@attic", message=f"{len(sent)}")
        sent.append(answer["scroll_id"])


def test_a_machine_that_slept_past_its_expiry_comes_back_by_itself(machines: tuple[System, System]):
    den, attic = machines
    pid, before = attic.node_pid(), serial(attic)
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: "disconnected" in den.run("node", "ls").stdout, "the attic as disconnected", 40)
        assert serial(attic) == before
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: serial(attic) != before, "another certificate")
    until(lambda: den.run("node", "ls").stdout.count("online") == 2, "both online")


@pytest.mark.parametrize("life", ["1s", "400d", "soon"])
def test_a_life_that_makes_no_sense_is_refused_in_words(life: str):
    with new_system() as system:
        done = system.run("up", "--certificate-life", life)
        assert done.returncode == 2
        assert "--certificate-life" in done.stderr and "Traceback" not in done.stderr
