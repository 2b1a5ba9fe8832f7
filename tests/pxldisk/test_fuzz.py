"""Disks whose files were changed at random: a typed error or a repaired disk, within 64 MB.

A longer run: `python tests/pxldisk/fuzz_open.py --cases 100000`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FUZZER = HERE / "fuzz_open.py"
CASES = 80
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads /proc to limit its memory"
)


def test_any_change_of_the_files_gives_a_typed_error_or_a_sound_disk_within_64_mb() -> None:
    environment = {"PYTHONPATH": f"{HERE}:{HERE.parents[1]}", "PATH": ""}
    command = [sys.executable, str(FUZZER), "--cases", str(CASES)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert ended.returncode == 0, ended.stderr
    outcomes: dict[str, int] = json.loads(ended.stdout)
    assert sum(outcomes.values()) == CASES
    # The changes reach everything: disks that open, that are refused and mended, that are past mending.
    assert outcomes["opened"] > CASES // 3 and outcomes["Corrupt, repaired"] > CASES // 10
    assert outcomes["ForeignPicture, repaired"] and any("unrepairable" in outcome for outcome in outcomes)
