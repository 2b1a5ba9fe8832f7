"""docs/pxldisk.md: its programs and commands do what the page says, with nothing else of the tree at hand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pxldisk.md").read_text("utf-8")


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder with the package and nothing else that could be imported."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pxldisk", tmp_path / "lib" / "pxldisk", ignore=ignored)
    return tmp_path


def run(alone: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(alone / "lib"), "PYTHONSAFEPATH": "1"}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=alone, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_programs_and_commands_of_the_page_run_in_its_order(alone: Path) -> None:
    first, second = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    said = run(alone, "-c", first)
    assert '{"ok": true}' in said and "RowRef" not in said and "ZoneStats(free=51" in said
    assert "[b'{\"ok\": true}']" in run(alone, "-c", second)
    (shell,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    commands = [line.partition("#")[0].split() for line in shell.splitlines()]
    assert len(commands) == 8
    outputs = {" ".join(words[2:4]): run(alone, *words[1:]) for words in commands}
    assert '{"ok": true}' in outputs["pxldisk read"] and "sound" in outputs["pxldisk verify"]
    assert (alone / "then" / "8-commit-1.png").exists()
    for name in ("memory.gif", "rows.png"):
        with Image.open(alone / name) as picture:
            picture.load()


def test_the_package_imports_nothing_else_of_the_tree(alone: Path) -> None:
    ours = {"hyperpi", "hypivisor", "node", "pide"}
    modules = sorted(path.stem for path in (ROOT / "pxldisk").glob("*.py") if path.stem != "__main__")
    program = f"import sys; [__import__('pxldisk.' + name) for name in {modules}]; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in run(alone, "-c", program).split()}
    assert "pxldisk" in loaded and not loaded & ours
