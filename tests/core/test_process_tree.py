"""Who descends from whom, by the process table of this machine."""

import os
import subprocess
import sys

from hyperpi.process_tree import MAX_DEPTH, Lineage, Relative, descends_from, lineage
from node.keeping.processes import process_at

CHILD = (
    "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', sys.argv[1]], text=True))"
)
ITSELF = (
    "import os; from hyperpi.process_tree import lineage;print(*(r.pid for r in lineage(os.getpid()).family))"
)


def test_a_grandchilds_lineage_leads_over_its_parent_to_us():
    done = subprocess.run([sys.executable, "-c", CHILD, ITSELF], capture_output=True, text=True, check=True)
    grandchild, child, us, *_rest = map(int, done.stdout.split())
    assert us == os.getpid()
    assert len({grandchild, child, us}) == 3


def test_a_process_descends_from_itself_and_its_parent_and_from_nobody_else():
    assert descends_from(os.getpid(), os.getpid())
    assert descends_from(os.getpid(), os.getppid())
    assert not descends_from(os.getppid(), os.getpid())


def test_a_process_that_is_not_there_has_no_lineage():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert lineage(ended.pid) == lineage(0) == Lineage((), False)


def test_our_own_lineage_is_complete_and_one_that_is_too_deep_is_not():
    assert lineage(os.getpid()).complete
    nest = (
        "import os, sys\n"
        f"for _ in range({MAX_DEPTH}):\n"
        "    child = os.fork()\n"
        "    if child:\n"
        "        os._exit(os.waitpid(child, 0)[1] >> 8)\n"
        "from hyperpi.process_tree import lineage\n"
        "os._exit(int(lineage(os.getpid()).complete))"
    )
    assert subprocess.run([sys.executable, "-c", nest], check=False).returncode == 0


def test_a_process_is_named_as_the_keepers_name_it():
    known = process_at(os.getpid())
    assert known is not None
    assert lineage(os.getpid()).family[0] == Relative(os.getpid(), known.start)


def test_the_nearest_of_several_processes_counts_and_whoever_is_spared_does_not():
    family = (Relative(9, "d"), Relative(7, "c"), Relative(5, "b"), Relative(3, "a"))
    line = Lineage(family, True)
    agents = {Relative(5, "b"): "river", Relative(3, "a"): "shore", Relative(7, "another"): "stranger"}
    assert line.nearest(agents) == "river"
    assert line.nearest(agents, (Relative(5, "b"),)) == "shore"
    assert line.nearest(agents, (Relative(5, "another that had the pid"),)) == "river"
    assert line.nearest({}) is None
