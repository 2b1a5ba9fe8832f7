"""Take the guards of trust out, one at a time, and see that their tests fail.

    python scripts/guards.py                   all of them; a table, and exit 1 if a test stayed green
    python scripts/guards.py host origin       these
    python scripts/guards.py --list            what there is
    python scripts/guards.py --check           only whether list, tree and docs/trust.md agree
    python scripts/guards.py --table           docs/trust.md's table of proofs

A test that passes without what it is for proves nothing. The list is scripts/guard_list.py. The tests are run
as they are first, then once for each guard, in copies of the tree; the tree itself is never changed.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from guard_list import GUARDS, Guard

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "trust.md"
BEGIN, END = "<!-- guards: made by scripts/guards.py --table -->\n", "<!-- /guards -->"
AT_ONCE = 2
TEST_S, RUN_S = 60, 300.0  # of one test, of the tests of one guard
KEPT_OUT = (".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "test-artefacts")


class Outcome(NamedTuple):
    """What became of the tests without a guard."""

    guard: str
    state: str  # red: as it must be | GREEN | BROKEN | ABSENT
    took_s: float
    why: str = ""


def main() -> int:
    """Do what was asked for; 1 if any guard is not proved."""
    parser = argparse.ArgumentParser(description="Take guards out and expect red.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="guards; default: all")
    parser.add_argument("--list", action="store_true", help="print the guards")
    parser.add_argument("--check", action="store_true", help="only compare the list with the tree")
    parser.add_argument("--table", action="store_true", help="write the table in docs/trust.md")
    asked = parser.parse_args()
    known = {guard.name: guard for guard in GUARDS}
    if unknown := [name for name in asked.names if name not in known]:
        parser.error(f"no guard named {', '.join(unknown)}: see --list")
    wanted = [known[name] for name in asked.names] or list(GUARDS)
    if asked.list:
        for guard in wanted:
            print(f"{guard.name:32} {guard.file:32} {guard.rule}")
        return 0
    if asked.table:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text("utf-8")), "utf-8")
    wrong = problems()
    if with_table(DOCUMENT.read_text("utf-8")) != DOCUMENT.read_text("utf-8"):
        wrong.append("docs/trust.md: its table is not that of the list, run scripts/guards.py --table")
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong or asked.check or asked.table:
        return 1 if wrong else 0
    return prove(wanted)


# --- the list against the tree ------------------------------------------------------------------------


def problems(root: Path = ROOT, guards: Sequence[Guard] = GUARDS) -> list[str]:
    """What in the list does not fit the tree: one line each."""
    found = []
    names = [guard.name for guard in guards]
    found += [f"{name}: two guards have this name" for name in sorted(set(names)) if names.count(name) > 1]
    for guard in guards:
        for file, text, without in edits(guard):
            path = root / file
            count = path.read_text("utf-8").count(text) if path.is_file() else 0
            if count != 1:
                found.append(f"{guard.name}: its text is {count} times in {file}, not once")
            if text == without:
                found.append(f"{guard.name}: nothing is taken out")
        for test in guard.tests:
            file, _, name = test.partition("::")
            source = (root / file).read_text("utf-8") if (root / file).is_file() else ""
            if not re.search(rf"^(async )?def {name}\(", source, re.MULTILINE):
                found.append(f"{guard.name}: there is no test {test}")
        if not guard.tests:
            found.append(f"{guard.name}: no test is named")
    return found


def edits(guard: Guard) -> tuple[tuple[str, str, str], ...]:
    """All that is changed when a guard is taken out."""
    return ((guard.file, guard.text, guard.without), *guard.also)


def with_table(document: str) -> str:
    """docs/trust.md with the table of proofs as the list has it now."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = ["| rule | where | proof |", "|---|---|---|"]
    for guard in GUARDS:
        files = dict.fromkeys(test.partition("::")[0].rpartition("/")[2] for test in guard.tests)
        rows.append(f"| {guard.rule} | `{guard.file}` | {', '.join(f'`{file}`' for file in files)} |")
    return before + BEGIN + "\n" + "\n".join(rows) + "\n\n" + END + after


# --- the proofs ---------------------------------------------------------------------------------------


def prove(guards: Sequence[Guard]) -> int:
    """Run the tests as they are, then without each guard; print how it went."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="guards-") as place:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(min(AT_ONCE, len(guards))):
            copy = Path(place) / str(number)
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*KEPT_OUT), symlinks=True)
            copies.put(copy)
        tests = list(dict.fromkeys(test for guard in guards for test in guard.tests))
        if (said := unsound(copies, tests)) is not None:
            print("not even with every guard in its place:\n" + said, file=sys.stderr)
            return 1
        print(f"{len(tests)} tests pass as they are ({time.monotonic() - began:.0f} s)", flush=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = []
            for outcome in pool.map(lambda guard: without(guard, copies), guards):
                outcomes.append(outcome)
                print(f"{outcome.state:>7}  {outcome.guard}  ({outcome.took_s:.1f} s)", flush=True)
                if outcome.why:
                    print(outcome.why, flush=True)
    unproved = [outcome.guard for outcome in outcomes if outcome.state != "red"]
    took = f"{len(outcomes)} guards in {time.monotonic() - began:.0f} s"
    print(f"{took}; not proved: {', '.join(unproved)}" if unproved else f"{took}; each one is missed")
    return 1 if unproved else 0


def unsound(copies: "queue.SimpleQueue[Path]", tests: Sequence[str]) -> str | None:
    """What pytest says of tests that do not pass with every guard in its place, or None."""
    copy = copies.get()
    try:
        code, said, _ = run(copy, tests)
    finally:
        copies.put(copy)
    return None if code == 0 else said


def without(guard: Guard, copies: "queue.SimpleQueue[Path]") -> Outcome:
    """Take a guard out of a copy that nobody uses, run its tests, put it back."""
    began = time.monotonic()
    copy = copies.get()
    kept = {file: (copy / file).read_bytes() for file, _, _ in edits(guard)}
    try:
        for file, text, instead in edits(guard):
            replace(copy / file, (copy / file).read_text("utf-8").replace(text, instead).encode())
        code, said, failed = run(copy, guard.tests)
    finally:
        for file, content in kept.items():
            replace(copy / file, content)
        copies.put(copy)
    took_s = time.monotonic() - began
    if green := [test for test in guard.tests if test.rpartition("::")[2] not in failed]:
        # A file that cannot be imported fails as well, and shows nothing.
        state = "GREEN" if code in (0, 1) else "BROKEN"
        return Outcome(guard.name, state, took_s, said if state == "BROKEN" else "\n".join(green))
    return Outcome(guard.name, "red", took_s)


def replace(path: Path, content: bytes) -> None:
    """Change a file so that no compiled copy of it counts, though it be as long and as old to the second."""
    path.write_bytes(content)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def run(copy: Path, tests: Sequence[str]) -> tuple[int, str, set[str]]:
    """pytest over tests in a copy: its exit code, what it said, the names of the tests that failed."""
    report = copy / "guards.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-rN", "-p", "no:cacheprovider"]
    command += ["--tb=short", f"--timeout={TEST_S}", f"--junitxml={report}", *tests]
    # First of all the copy, also for what the tests start elsewhere: the installed tree is the real one.
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=RUN_S if len(tests) < 10 else 3 * RUN_S,
        )
    except subprocess.TimeoutExpired as late:
        return -1, f"not done after {late.timeout:.0f} s", set()
    return done.returncode, done.stdout, failures(report)


def failures(report: Path) -> set[str]:
    """The tests of a report that failed in themselves: not those whose fixtures could not be made."""
    try:
        cases = ElementTree.parse(report).iter("testcase")
    except (OSError, ElementTree.ParseError):
        return set()
    return {case.get("name", "").partition("[")[0] for case in cases if case.find("failure") is not None}


if __name__ == "__main__":
    sys.exit(main())
