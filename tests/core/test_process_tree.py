"""Who descends from whom, by the process table of this machine."""

import os
import subprocess
import sys

from hyperpi.process_tree import Relative, descends_from, lineage, nearest

CHILD = (
    "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', sys.argv[1]], text=True))"
)
ITSELF = "import os; from hyperpi.process_tree import lineage; print(*(r.pid for r in lineage(os.getpid())))"


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
    assert lineage(ended.pid) == ()
    assert lineage(0) == ()


def test_the_nearest_of_several_processes_counts_and_whoever_is_spared_does_not():
    family = (Relative(9, "d"), Relative(7, "c"), Relative(5, "b"), Relative(3, "a"))
    assert nearest(family, {5, 3}, ()) == 5
    assert nearest(family, {5, 3}, (Relative(5, "b"),)) == 3
    assert nearest(family, {5}, (Relative(5, "another process that had the pid"),)) == 5
    assert nearest(family, {8}, ()) is None
