"""Putting pi-socket into a pi, and taking it out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from model_server import ModelServer
from rig import PiRig, needs_pi, until

import hyperpi
from hyperpi import pi_install
from hyperpi.errors import Conflict


def test_installing_copies_whole_files_and_says_which_home(tmp_path: Path) -> None:
    folder = pi_install.install(tmp_path, tmp_path / "home", ["python", "-m", "node"])
    assert folder == tmp_path / "extensions" / "pi-socket"
    assert not folder.is_symlink()
    assert (folder / "index.ts").read_text().startswith("/**")
    assert not (folder / "tsconfig.json").exists()
    settings = json.loads((folder / "install.json").read_text())
    assert settings == {"home": str(tmp_path / "home"), "start": ["python", "-m", "node"]}
    assert [path.name for path in tmp_path.iterdir()] == ["extensions"]

    found = pi_install.status(tmp_path)
    assert (found.installed, found.current, found.home) == (True, True, tmp_path / "home")
    assert found.version == hyperpi.__version__


def test_installing_again_replaces_what_is_older(tmp_path: Path) -> None:
    folder = pi_install.install(tmp_path, tmp_path / "one")
    (folder / "index.ts").write_text("// older")
    (folder / "gone.ts").write_text("// no longer shipped")
    assert not pi_install.status(tmp_path).current
    pi_install.install(tmp_path, tmp_path / "two")
    found = pi_install.status(tmp_path)
    assert (found.current, found.home) == (True, tmp_path / "two")
    assert not (folder / "gone.ts").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["extensions"]


def test_uninstalling_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    folder = pi_install.install(tmp_path, tmp_path / "home")
    assert pi_install.uninstall(tmp_path) == folder
    assert not folder.exists()
    assert pi_install.uninstall(tmp_path) is None
    assert not pi_install.status(tmp_path).installed


class Rival:
    """Another installer, which is done between the two renames of this one, `times` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, times: int) -> None:
        self.times = times
        rename = Path.rename

        def renamed(path: Path, target: Path) -> Path:
            if target == folder and self.times:
                self.times -= 1
                folder.mkdir()
                (folder / "package.json").write_text('{"name": "pi-socket", "version": "a rival"}')
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", renamed)


@pytest.mark.parametrize("older", [True, False])
def test_an_installer_that_another_one_overtakes_installs_its_own_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    if older:
        pi_install.install(tmp_path, tmp_path / "older")
    Rival(monkeypatch, tmp_path / "extensions" / "pi-socket", times=2)
    pi_install.install(tmp_path, tmp_path / "ours")
    found = pi_install.status(tmp_path)
    assert (found.current, found.home) == (True, tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["extensions"]


def test_an_installer_that_never_gets_its_turn_says_so_and_leaves_the_others_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Rival(monkeypatch, tmp_path / "extensions" / "pi-socket", times=1_000)
    with pytest.raises(Conflict) as refusal:
        pi_install.install(tmp_path, tmp_path / "ours")
    assert refusal.value.hint
    assert pi_install.status(tmp_path).version == "a rival"
    assert [path.name for path in tmp_path.iterdir()] == ["extensions"]


def test_many_that_install_and_remove_at_once_all_succeed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hyperpi import pi_install; folder = Path(sys.argv[1]);"
        "[pi_install.install(folder, folder / sys.argv[2]) for _ in range(20)];"
        "sys.argv[2] == '0' and pi_install.uninstall(folder)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(number)], stderr=subprocess.PIPE)
        for number in range(3)
    ]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, b"")
    pi_install.install(tmp_path, tmp_path / "last")
    assert pi_install.status(tmp_path).current
    assert [path.name for path in tmp_path.iterdir()] == ["extensions"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_somebody_else_put_there_is_left_alone(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "extensions" / "pi-socket"
    place.parent.mkdir()
    other = pi_install.install(tmp_path / "other", tmp_path)
    match kind:
        case "folder":
            place.mkdir()
            (place / "package.json").write_text('{"name": "something else"}')
        case "file":
            place.write_text("export default () => {}")
        case _:
            place.symlink_to(other)
    for change in (lambda: pi_install.install(tmp_path, tmp_path), lambda: pi_install.uninstall(tmp_path)):
        with pytest.raises(Conflict) as refusal:
            change()
        assert refusal.value.hint
    assert place.exists()
    assert not pi_install.status(tmp_path).installed


def test_pi_decides_where_its_folder_is(tmp_path: Path) -> None:
    assert pi_install.agent_dir({"PI_CODING_AGENT_DIR": str(tmp_path)}) == tmp_path
    assert pi_install.agent_dir({}) == Path.home() / ".pi" / "agent"


TERMINALS_AND_PIS = (
    *("HYPERPI_AGENT", "HYPERPI_INSTANCE", "HYPI_TOKEN", "PI_CODING_AGENT", "AI_AGENT"),
    *(
        "TMUX",
        "TMUX_PANE",
        "STY",
        "ZELLIJ_PANE_ID",
        "KITTY_WINDOW_ID",
        "TERM_SESSION_ID",
        "COLUMNS",
        "GPG_TTY",
    ),
)


class TestAPiThatFindsNoNode:
    pytestmark = needs_pi

    async def test_it_starts_the_installed_one_once_unless_that_was_stopped(
        self, tmp_path: Path, home: Path, model: ModelServer
    ) -> None:
        rig = PiRig(tmp_path / "rig", home, model.url)
        (rig.agent_dir / "extensions" / "pi-socket").unlink()
        marker = tmp_path / "started"
        program = (
            "import os, sys; f = open(sys.argv[1], 'a');"
            f"marks = [key for key in {(*TERMINALS_AND_PIS, 'GIVEN')!r} if key in os.environ];"
            "f.write(f'{os.environ[\"HYPERPI_HOME\"]} {os.getsid(0)} {os.getppid()} {marks}\\n')"
        )
        pi_install.install(rig.agent_dir, home, [sys.executable, "-c", program, str(marker)])

        (home / "node").mkdir()
        (home / "node" / "stopped").touch()
        async with rig.headless(HYPERPI_HOME="") as pi:
            await pi.command("prompt", message="one")
            await pi.hears(lambda said: said.get("type") == "agent_end")
        assert not marker.exists()

        (home / "node" / "stopped").unlink()
        around = dict.fromkeys(TERMINALS_AND_PIS, "x") | {"GIVEN": "by the owner"}
        async with rig.headless(HYPERPI_HOME="", **around) as pi:
            await until(lambda: marker.exists() and marker.read_text().endswith("\n"), "the node was started")
            await pi.command("new_session")
            await pi.command("prompt", message="two")
            await pi.hears(lambda said: said.get("type") == "agent_end")
            pi_pid = pi.process.pid
        [started] = marker.read_text().splitlines()
        where, session, parent, marks = started.rsplit(maxsplit=3)
        assert where == str(home)
        # In a session of its own, and not pi's child: whoever starts a node is taken for its owner.
        assert int(session) != os.getsid(0)
        assert int(parent) != pi_pid
        # And not marked as what a spawned agent left behind, which is ended when the agent is stopped, nor as
        # something in a terminal or a pi.
        assert marks == "['GIVEN']"
