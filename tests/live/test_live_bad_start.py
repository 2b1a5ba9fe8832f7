"""Starts and joins that cannot work: one line with what to do, at once, and doctor says the same."""

import json
from collections.abc import Iterator

import pytest
from live import Json, System, join, new_system, until


@pytest.fixture
def home() -> Iterator[System]:
    """A home where nothing has run."""
    with new_system() as found:
        found.home.mkdir(mode=0o700)
        (found.home / "node").mkdir(mode=0o700)
        yield found


def checks(system: System) -> dict[str, Json]:
    """What doctor finds, by name."""
    return {check["name"]: check for check in json.loads(system.run("doctor", "--json").stdout)}


def said(stderr: str) -> tuple[str, str]:
    """The two lines of an error: what is wrong, what to do."""
    assert "Traceback" not in stderr
    reason, hint = stderr.strip().splitlines()
    assert reason.startswith("hyperpi: ") and hint.startswith("  -> ")
    return reason, hint


@pytest.mark.parametrize("verb", [["up"], ["ls"], ["node", "run"], ["doctor"]], ids=" ".join)
def test_a_home_that_is_a_file_is_named(home: System, verb: list[str]):
    (home.folder / "file").touch()
    done = home.run(*verb, "--home", str(home.folder / "file"))
    assert done.returncode == 1
    reason, hint = said(done.stderr)
    assert "is no folder" in reason and "--home" in hint


def test_a_home_that_cannot_be_made_is_named(home: System):
    done = home.run("up", "--home", "/proc/nope")
    assert done.returncode == 1
    reason, hint = said(done.stderr)
    assert "/proc/nope" in reason and "HYPERPI_HOME" in hint


def test_a_token_file_that_is_no_text_is_no_token(home: System):
    (home.folder / "token").write_bytes(b"\xff\xfe\x00")
    done = home.run("node", "join", "127.0.0.1:1", "--token-file", str(home.folder / "token"))
    assert done.returncode == 1
    assert "token create --role node" in said(done.stderr)[1]


def test_up_says_why_its_node_does_not_start_and_goes_on_without_it(home: System):
    (home.home / "node" / "node.toml").write_text("roots = 7\n")
    home.begin()
    line = until(
        lambda: [one for one in (home.folder / "up.out").read_text().splitlines() if "node.toml" in one],
        "the reason",
        8,  # it used to be found out after 10 s, and not said
    )[0]
    assert "did not start" in line and "roots must be a list" in line
    until(lambda: "open   http" in (home.folder / "up.out").read_text(), "the greeting")
    assert checks(home)["policy"]["state"] == "fail"


def test_a_policy_that_cannot_be_read_is_told_before_a_token_is_used(home: System):
    with new_system() as den:
        den.start()
        made = json.loads(den.run("token", "create", "--role", "node", "--json").stdout)
        where = f"127.0.0.1:{den.said('hypivisor')['enrol_port']}"
        policy = home.home / "node" / "node.toml"
        policy.write_text("roots = [\n")
        joining = ["node", "join", where, "--token", made["token"], "--no-mdns"]
        done = home.run(*joining)
        assert done.returncode == 1
        assert "node.toml" in said(done.stderr)[0]
        policy.unlink()
        assert home.run(*joining).returncode == 0
        home.pids.add(home.node_pid())


def test_doctor_names_keys_that_others_can_read_and_a_damaged_certificate():
    with new_system() as den, new_system() as attic:
        den.start()
        join(attic, den)
        assert checks(attic)["link"]["state"] == checks(den)["hypivisor"]["state"] == "ok"
        folder = attic.home / "node" / "identity"
        (folder / "key.pem").chmod(0o644)
        found = checks(attic)["link"]
        assert found["state"] == "fail" and "read by others" in found["found"] and "chmod 600" in found["fix"]
        (folder / "key.pem").chmod(0o600)
        (folder / "cert.pem").write_bytes(b"garbage")
        found = checks(attic)["link"]
        assert found["state"] == "fail" and "damaged" in found["found"] and "join again" in found["fix"]
        (den.home / "hypivisor" / "ca-key.pem").chmod(0o640)
        found = checks(den)["hypivisor"]
        assert found["state"] == "fail" and "chmod 600" in found["fix"]
