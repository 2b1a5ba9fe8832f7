"""The list of guards fits the tree, and some are missed when they are taken out; all: scripts/guards.py."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(ROOT / "scripts" / "guards.py")]

sys.path.insert(0, str(ROOT / "scripts"))

import guards  # noqa: E402  a script
from guard_list import GUARDS, Guard  # noqa: E402

# One for each area, of those whose tests need no running mesh.
A_FEW = ("join-room", "tls-beyond-loopback", "folder-names", "agents-scrolls", "audit-chained")


def test_every_guard_stands_where_the_list_says_with_its_tests_and_in_the_page() -> None:
    done = subprocess.run([*COMMAND, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(GUARDS) >= 70
    assert {guard.area for guard in GUARDS} == {guard.area for guard in GUARDS if guard.name in A_FEW}


def test_a_list_that_does_not_fit_the_tree_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("if x:\n    pass\nif x:\n    pass\nif y:\n    pass\n")
    (tmp_path / "test_a.py").write_text("async def test_it() -> None:\n    pass\n")
    there = ("test_a.py::test_it",)

    def wrong(*listed: Guard) -> list[str]:
        return guards.problems(tmp_path, listed)

    assert wrong(Guard("g", "people", "r", "a.py", "if y:", "if True:", there)) == []
    assert wrong(Guard("g", "people", "r", "a.py", "if x:", "", there)) == [
        "g: its text is 2 times in a.py, not once"
    ]
    assert wrong(Guard("g", "people", "r", "b.py", "if x:", "", there)) == [
        "g: its text is 0 times in b.py, not once"
    ]
    assert wrong(Guard("g", "people", "r", "a.py", "if y:", "if y:", there)) == ["g: nothing is taken out"]
    assert wrong(Guard("g", "people", "r", "a.py", "if y:", "", ())) == ["g: no test is named"]
    assert wrong(Guard("g", "people", "r", "a.py", "if y:", "", ("test_a.py::test_i",))) == [
        "g: there is no test test_a.py::test_i"
    ]
    twice = Guard("g", "people", "r", "a.py", "if y:", "", there)
    assert wrong(twice, twice) == ["g: two guards have this name"]


@pytest.mark.guards
def test_a_few_guards_are_missed_when_they_are_taken_out() -> None:
    done = subprocess.run([*COMMAND, *A_FEW], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(A_FEW)} guards in" in done.stdout and "each one is missed" in done.stdout


@pytest.mark.guards
def test_a_guard_that_nobody_misses_is_told(tmp_path: Path) -> None:
    """The command itself: with a change that no test notices, and with one after which nothing can be run."""
    idle = Guard(
        "idle", "people", "r", "hyperpi/roles.py", '"""Who may do what:', '"""Who does what:', (SHAPE,)
    )
    broken = idle._replace(name="broken", without='"""Who may do what:""" = """')
    assert guards.problems(guards=[idle, broken]) == []
    copies: guards.queue.SimpleQueue[Path] = guards.queue.SimpleQueue()
    copy = tmp_path / "copy"
    guards.shutil.copytree(ROOT, copy, ignore=guards.shutil.ignore_patterns(*guards.KEPT_OUT), symlinks=True)
    copies.put(copy)
    before = (copy / "hyperpi/roles.py").read_bytes()
    assert [guards.without(guard, copies).state for guard in (idle, broken)] == ["GREEN", "BROKEN"]
    assert (copy / "hyperpi/roles.py").read_bytes() == before == (ROOT / "hyperpi/roles.py").read_bytes()


SHAPE = "tests/core/test_shape.py::test_an_unknown_role_may_do_nothing"
