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


MAX_LOGIN_BYTES = 50_000
IMPORTS = re.compile(r"""^(?:import|export)[^;]*?["'](\.[^"']+)["'];""", re.MULTILINE)


def loaded_by_a_stranger() -> set[Path]:
    """The page, what it names, and what its first module imports; not what that fetches for who is in."""
    found = {STATIC / name for name in re.findall(r'"/static/([^"]+)"', (STATIC / "index.html").read_text())}
    waiting = [path for path in found if path.suffix == ".js"]
    while waiting:
        path = waiting.pop()
        for name in IMPORTS.findall(path.read_text()):
            if (other := (path.parent / name).resolve()) not in found:
                found.add(other)
                waiting.append(other)
    return {STATIC / "index.html", *found}


def test_the_login_page_weighs_less_than_fifty_kilobytes_with_all_that_it_loads() -> None:
    loaded = loaded_by_a_stranger()
    assert {path.name for path in loaded} >= {"start.js", "login.js", "lit.js", "base.css", "login.css"}
    assert "main.js" not in {path.name for path in loaded}
    assert sum(path.stat().st_size for path in loaded) < MAX_LOGIN_BYTES


def test_no_view_sets_a_style_attribute_or_fetches() -> None:
    for path in sorted((STATIC / "views").glob("*.js")):
        text = path.read_text()
        # `.style=` sets the property, which the policy allows; ` style=` would be an attribute.
        assert re.search(r'\sstyle="?\$?\{?', text) is None, path.name
        assert "fetch(" not in text, path.name


def test_the_worker_behind_notifications_has_no_say_in_what_a_page_loads() -> None:
    worker = (STATIC / "note_worker.js").read_text()
    assert set(re.findall(r'addEventListener\("(\w+)"', worker)) == {"install", "notificationclick"}
    registering = (STATIC / "notes.js").read_text()
    scope = re.search(r'NOWHERE = "/static/([^"]+)"', registering)
    assert scope
    assert "{ scope: NOWHERE }" in registering
    assert not (STATIC / scope[1]).exists()
