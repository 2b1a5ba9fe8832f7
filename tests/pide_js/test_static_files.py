"""The web app's files as they are served: its own tests, its vendored parts, nothing inline."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "pide" / "static"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js on this machine")
def test_the_modules_pass_their_own_tests() -> None:
    files = sorted(str(path) for path in Path(__file__).parent.glob("*.test.js"))
    done = subprocess.run(["node", "--test", *files], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-4_000:]


def test_the_vendored_files_are_those_of_the_manifest() -> None:
    script = ROOT / "scripts" / "vendor_static.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_has_nothing_inline_that_a_strict_policy_would_refuse() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page) == []


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r'"/static/([^"]+)"', (STATIC / "index.html").read_text())
    assert named
    assert [name for name in named if not (STATIC / name).is_file()] == []


def test_no_view_sets_a_style_attribute_or_fetches() -> None:
    for path in sorted((STATIC / "views").glob("*.js")):
        text = path.read_text()
        # `.style=` sets the property, which the policy allows; ` style=` would be an attribute.
        assert re.search(r'\sstyle="?\$?\{?', text) is None, path.name
        assert "fetch(" not in text, path.name
