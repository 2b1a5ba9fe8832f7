"""The committed stubs are what `proto/` says, and can be imported without tricks."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_stubs_are_what_the_protos_say():
    found = subprocess.run(
        [sys.executable, ROOT / "scripts" / "gen_wire.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_every_generated_module_is_imported_from_anywhere(tmp_path: Path):
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "hyperpi" / "wire" / "hyperpi").rglob("*_pb2*.py")
    ]
    assert len(modules) >= 2
    code = "; ".join(f"import {module}" for module in modules)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60, check=True)
