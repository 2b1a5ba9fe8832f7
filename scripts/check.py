"""The whole check: lint, format, types, generated files, the front end, then the tests.

    python scripts/check.py [PYTEST ARGS]       all of it; the arguments go to pytest
    python scripts/check.py --static            without the tests

Each step says on one line how it went; what a failed one printed follows. Exit code 1 if anything failed.
`./run test` is this, in an environment that has what it needs.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
STEP_S = 300.0  # the slowest, types without a cache, takes a minute on a slow machine
AT_ONCE = 2
# Most tests wait for processes rather than work; a third process keeps two cores busy. tests/conftest.py says
# which tests may run beside which.
SIDE_BY_SIDE = ("-n", "3", "--dist", "loadgroup")
# The step "front-end tests" has run these.
FRONT_END = ("--deselect", "tests/pide_js/test_static_files.py::test_the_modules_pass_their_own_tests")
TESTS_FAILED = 1  # pytest's exit code
MOST_AGAIN = 10  # more that fail twice are no matter of load


class Step(NamedTuple):
    """One part of the check. Without one of the programs in `needs` it is left out, and says so."""

    name: str
    command: list[str]
    needs: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """How a step went."""

    name: str
    state: str  # ok | failed | left out
    took_s: float
    output: str


PYTHON = sys.executable
STEPS = [
    Step("types", [PYTHON, "-m", "mypy"]),
    Step("lint", [PYTHON, "-m", "ruff", "check", ".", "run"]),
    Step("format", [PYTHON, "-m", "ruff", "format", "--check", ".", "run"]),
    Step("generated wire code", [PYTHON, "scripts/gen_wire.py", "--check"]),
    Step("generated contract", [PYTHON, "scripts/gen_contract.py", "--check"]),
    Step("disk vectors", [PYTHON, "scripts/gen_vectors.py", "--check"]),
    Step("vendored files", [PYTHON, "scripts/vendor_static.py", "--check"]),
    Step("front-end tests", ["scripts/check_js.sh", "--tests"], ("node",)),
    Step("front-end types", ["scripts/check_js.sh", "--types"], ("node", "npm")),
]


def main() -> int:
    """Run every step, then the tests."""
    arguments = sys.argv[1:]
    # What a shell starts in the background ignores these; so would all that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    failed: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(run, STEPS):
            print(f"{outcome.state:>8}  {outcome.name}  ({outcome.took_s:.1f} s)", flush=True)
            if outcome.state == "failed":
                failed.append(outcome.name)
                print(outcome.output, flush=True)
    if arguments != ["--static"] and not tests_pass(arguments):
        failed.append("tests")
    print("failed: " + ", ".join(failed) if failed else "all is well", flush=True)
    return 1 if failed else 0


def tests_pass(arguments: list[str]) -> bool:
    """Run pytest: all tests side by side, or what the arguments say in one process, which is easier to read.

    What fails beside others, on a machine that is starved, is asked again by itself; what fails twice fails.
    """
    status = pytest(*(arguments or (*SIDE_BY_SIDE, *FRONT_END)))
    if status == TESTS_FAILED and not arguments:
        print("again, by themselves:", flush=True)
        status = pytest("--last-failed", "--last-failed-no-failures=none", f"--maxfail={MOST_AGAIN}")
    return status == 0


def pytest(*arguments: str) -> int:
    """Its exit code."""
    return subprocess.call([PYTHON, "-m", "pytest", "-rfEs", *arguments], cwd=ROOT)


def run(step: Step) -> Outcome:
    """One step, its output kept."""
    missing = [program for program in step.needs if shutil.which(program) is None]
    if missing:
        return Outcome(f"{step.name}: no {' and no '.join(missing)} here", "left out", 0.0, "")
    began = time.monotonic()
    try:
        done = subprocess.run(
            step.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_S,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as late:
        return Outcome(step.name, "failed", late.timeout, f"not done after {late.timeout:.0f} s")
    took_s = time.monotonic() - began
    return Outcome(step.name, "failed" if done.returncode else "ok", took_s, done.stdout)


if __name__ == "__main__":
    sys.exit(main())
