"""The node as a service: what is written and run, and that systemd understands it."""

import configparser
import os
import plistlib
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import Done, Run

from hyperpi.cli import node_service
from hyperpi.cli.service_files import Service, launchd_plan, launchd_plist, systemd_plan, systemd_unit
from hyperpi.cli.service_owner import ASKED, Owner
from hyperpi.config import take_notify_socket
from hyperpi.errors import Unusable
from hyperpi.service_manager import tell_ready

DEPLOY = Path(__file__).parents[2] / "deploy"
HARD = Service(
    ("/opt/my tools/100%/hyperpi",), {"HYPERPI_HOME": '/srv/a "b" $c', "PATH": "/usr/bin:/bin"}, None
)

EVIL = "/bin\nExecStartPre=+/tmp/evil\n#"  # what root would run, if it came to stand in a unit
HARD_TO_SAY = [
    (("/usr/bin/hyperpi",), {"PATH": EVIL}, "ada"),
    (("/usr/bin/hyperpi",), {"HYPERPI_HOME": EVIL}, None),
    ((f"/usr/bin{EVIL}",), {}, None),
    *((("/usr/bin/hyperpi",), {"PATH": f"/bin{char}"}, None) for char in "\0\t\r\x1b\x7f\x85\udcff"),
]


def section(unit: str, name: str) -> dict[str, list[str]]:
    """The settings of a section, repeated ones too."""
    found: dict[str, list[str]] = {}
    here = False
    for line in unit.splitlines():
        if line.startswith("["):
            here = line == f"[{name}]"
        elif here and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_units_in_deploy_are_what_the_command_writes():
    by_hand = Service(("HYPERPI",), {})
    written = systemd_unit(by_hand).replace("HYPERPI", "%h/.local/bin/hyperpi")
    assert (DEPLOY / "hyperpi-node.service").read_text().partition("\n")[2] == written
    by_hand = Service(("/usr/local/bin/hyperpi",), {}, "ada")
    lines = (DEPLOY / "hyperpi-node.system.service").read_text().split("\n", 2)
    assert lines[2] == systemd_unit(by_hand)


@pytest.mark.parametrize("service", [HARD, Service(("/usr/bin/hyperpi",), {}, "ada")])
def test_only_the_node_itself_is_ended_with_its_service(service):
    settings = section(systemd_unit(service), "Service")
    assert settings["KillMode"] == ["process"]
    assert settings["OOMPolicy"] == ["continue"]
    assert plistlib.loads(launchd_plist(service))["AbandonProcessGroup"] is True


@pytest.mark.parametrize(("command", "environment", "user"), HARD_TO_SAY)
def test_no_service_has_a_word_that_could_become_a_setting_of_its_own(command, environment, user):
    with pytest.raises(Unusable, match="control character"):
        Service(command, environment, user)


def test_a_launchd_job_runs_the_command_with_its_environment_whatever_stands_in_its_path():
    job = plistlib.loads(launchd_plist(HARD))
    shell, flag, script = job["ProgramArguments"]
    assert (shell, flag) == ("/bin/sh", "-c")
    assert shlex.split(script.replace(";", " ; ")) == [
        *("/opt/my tools/100%/hyperpi", "node", "stop", ";", "exec"),
        *("/opt/my tools/100%/hyperpi", "node", "run"),
    ]
    assert job["EnvironmentVariables"] == HARD.environment
    assert "UserName" not in job
    plan = launchd_plan(Service(("/x",), {}, "ada"), Path("/Library/LaunchDaemons"), 501)
    assert plistlib.loads(plan.content)["UserName"] == "ada"
    assert plan.start == (("launchctl", "bootstrap", "system", "/Library/LaunchDaemons/hyperpi.node.plist"),)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_understands_the_unit_whatever_stands_in_its_paths(tmp_path, user):
    tools = tmp_path / "my tools 100%"
    tools.mkdir()
    program = tools / "hyperpi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    service = Service((str(program),), {"HYPERPI_HOME": '/srv/a "b" $c', "PATH": "/usr/bin:/bin"}, user)
    plan = systemd_plan(service, tmp_path)
    plan.path.write_bytes(plan.content)
    manager = [] if user else ["--user"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *manager, str(plan.path)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert "hyperpi-node.service" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({}, "/users/ada/.local/share/hyperpi"),
        ({"XDG_DATA_HOME": "/data"}, "/data/hyperpi"),
        ({"XDG_DATA_HOME": "/data", "HYPERPI_HOME": "/mesh"}, "/mesh"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="of Linux's folders")
def test_the_home_of_a_service_is_its_owners(environment, home):
    assert Owner("ada", 501, Path("/users/ada"), environment).default_home == Path(home)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody behind sudo")
def test_behind_sudo_there_is_a_person_with_a_home_and_a_path_of_their_own(tmp_path, monkeypatch, run: Run):
    su = tmp_path / "su"
    # A login shell's profile may print what it likes.
    su.write_text('#!/bin/sh\necho welcome\nPATH=/home/nobody/bin:/bin XDG_DATA_HOME=/data exec sh -c "$4"\n')
    su.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SUDO_USER", "nobody")
    monkeypatch.delenv("HYPERPI_HOME", raising=False)
    shown: Done = run("node", "install-service", "--system", "--print")
    settings = section(shown.out, "Service")
    assert settings["User"] == ["nobody"]
    assert settings["Environment"] == ["HYPERPI_HOME=/data/hyperpi", "PATH=/home/nobody/bin:/bin"]
    su.write_text("#!/bin/sh\nexit 1\n")
    shown = run("node", "install-service", "--system", "--print")
    home = Path(pwd.getpwnam("nobody").pw_dir) / ".local/share/hyperpi"
    assert section(shown.out, "Service")["Environment"][0] == f"HYPERPI_HOME={home}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody behind sudo")
@pytest.mark.parametrize("variable", ["PATH", "HYPERPI_HOME", "XDG_DATA_HOME"])
def test_what_a_users_shell_says_is_no_setting_of_a_unit_that_root_starts(
    tmp_path, monkeypatch, run: Run, variable
):
    said = tmp_path / "said"
    said.write_text("\036".join(EVIL if name == variable else "/usr" for name in ASKED))
    (tmp_path / "su").write_text(f"#!/bin/sh\nprintf '\\036'; exec cat {said}\n")
    (tmp_path / "su").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SUDO_USER", "nobody")
    monkeypatch.delenv("HYPERPI_HOME", raising=False)
    if variable == "XDG_DATA_HOME":
        said.write_text(said.read_text().removesuffix("/usr"))
    shown: Done = run("node", "install-service", "--system", "--print")
    assert (shown.code, shown.out) == (1, "")
    assert "has a control character" in shown.err and "Traceback" not in shown.err
    assert len(shown.err.splitlines()) <= 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody behind sudo")
@pytest.mark.parametrize("verb", [[], ["--user"], ["--remove"], ["--print"]])
def test_root_writes_nothing_into_the_home_of_the_person_behind_sudo(tmp_path, monkeypatch, run: Run, verb):
    ada = pwd.struct_passwd(("ada", "x", 501, 501, "", str(tmp_path / "ada"), "/bin/sh"))
    monkeypatch.setattr("pwd.getpwnam", {"ada": ada}.__getitem__)
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setenv("PATH", "/nowhere")
    done: Done = run("node", "install-service", *verb)
    assert (done.code, done.out) == (1, "")
    assert "run it without sudo, or with --system" in done.err
    assert not (tmp_path / "ada").exists()


@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="of systemd")
def test_a_service_manager_hears_once_that_the_service_is_ready(tmp_path, monkeypatch, abstract):
    name = f"hyperpi-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}" if abstract else name)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        address = take_notify_socket()
        assert "NOTIFY_SOCKET" not in os.environ  # what we start is no service
        tell_ready(address)
        assert listening.recv(100) == b"READY=1"
    tell_ready(address)  # nobody listens any more
    tell_ready(None)


@pytest.fixture
def managed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose systemctl writes down how it was called; the file with that."""
    tools = tmp_path / "tools"
    tools.mkdir()
    called = tmp_path / "called"
    fake = tools / "systemctl"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SUDO_USER", raising=False)
    return called


@pytest.mark.skipif(sys.platform != "linux", reason="of systemd")
def test_it_writes_what_it_names_runs_what_it_prints_and_takes_both_back(managed: Path, run: Run):
    unit = managed.parent / "config" / "systemd" / "user" / "hyperpi-node.service"
    shown: Done = run("node", "install-service", "--print")
    assert shown.code == 0
    assert not unit.exists()
    assert not managed.exists()
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.read_string(shown.out)
    assert parsed["Service"]["ExecStart"].endswith("hyperpi node run")

    done: Done = run("node", "install-service")
    assert done.code == 0, done.err
    assert unit.read_text() == shown.out
    assert f"wrote {unit}" in done.out
    commands = managed.read_text().splitlines()
    assert commands == [
        "--user daemon-reload",
        "--user enable hyperpi-node.service",
        "--user restart hyperpi-node.service",
    ]
    assert all(f"systemctl {command}" in done.out for command in commands)

    removed: Done = run("node", "install-service", "--remove")
    assert removed.code == 0
    assert not unit.exists()
    assert managed.read_text().splitlines()[3:] == [
        "--user disable --now hyperpi-node.service",
        "--user daemon-reload",
    ]
    assert "there is no" in run("node", "install-service", "--remove").err


@pytest.mark.skipif(sys.platform != "linux", reason="of systemd")
def test_a_service_manager_that_cannot_be_reached_is_said_in_one_line(managed: Path, run: Run):
    (managed.parent / "tools" / "systemctl").write_text(
        "#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n"
    )
    done: Done = run("node", "install-service")
    assert done.code == 1
    assert "systemctl --user daemon-reload failed: Failed to connect to bus" in done.err
    assert "Traceback" not in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="of systemd")
def test_a_service_that_does_not_come_up_is_told_with_the_way_to_its_reason(managed: Path, run: Run):
    (managed.parent / "tools" / "systemctl").write_text(
        "#!/bin/sh\ncase $2 in restart) echo 'Job failed' >&2; exit 1;; esac\n"
    )
    done: Done = run("node", "install-service")
    assert done.code == 1
    assert "systemctl --user restart hyperpi-node.service failed: Job failed" in done.err
    assert "`hyperpi node run` by hand" in done.err


def test_no_service_manager_ends_a_node_that_restores_its_disk_before_it_serves():
    assert section(systemd_unit(HARD), "Service")["TimeoutStartSec"] == ["infinity"]


@pytest.mark.skipif(sys.platform != "linux", reason="of systemd")
def test_a_node_that_takes_long_until_it_serves_is_told_as_one_that_starts(
    managed: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(node_service, "START_S", 0.2)
    monkeypatch.setattr(node_service, "LINGERING", managed.parent)
    (managed.parent / "tools" / "systemctl").write_text(
        "#!/bin/sh\ncase $2 in restart) exec sleep 60;; esac\n"
    )
    done: Done = run("node", "install-service")
    assert done.code == 0
    said = "the service is still starting; `systemctl --user status hyperpi-node.service` says how it is"
    assert said in done.err and "does not end" not in done.err
    assert "enable-linger" in done.err
