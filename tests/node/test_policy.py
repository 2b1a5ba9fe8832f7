"""node.toml and what it allows."""

import re
import tomllib
from pathlib import Path

import pytest

from hyperpi.config import BadConfig
from hyperpi.errors import BadRequest, RefusedByPolicy
from node import policy
from node.kinds import kind_named
from node.mirror_policy import MirrorPolicy
from node.policy import (
    Policy,
    agent_environment,
    check_args,
    check_count,
    check_kind,
    command_line,
    default_file,
    default_policy,
    load_policy,
    parse_policy,
    root_of,
)

HOME = Path("/home/ada")


def test_without_a_file_agents_start_in_the_home_and_are_pi_or_any_program_in_a_terminal(
    tmp_path: Path,
) -> None:
    assert load_policy(tmp_path / "node.toml", HOME) == default_policy(HOME)
    kinds = {"acp": (), "pi": ("pi",), "terminal": ()}
    assert default_policy(HOME) == Policy(roots=(HOME,), kinds=kinds, max_agents=64)


def test_an_empty_list_forbids_a_kind() -> None:
    assert set(parse_policy("[kinds]\nterminal = []", HOME).kinds) == {"acp", "pi"}
    assert set(parse_policy("[kinds]\npi = []\nbot = ['bot']", HOME).kinds) == {"acp", "terminal", "bot"}


@pytest.mark.parametrize(
    ("kind", "args", "headless", "runs"),
    [
        ("pi", (), False, ("pi",)),
        ("pi", ("--model", "x"), True, ("pi", "--mode", "rpc", "--model", "x")),
        ("terminal", ("htop", "-d", "5"), False, ("htop", "-d", "5")),
        ("terminal", (), False, ()),  # the owner's shell
    ],
)
def test_what_is_run_is_the_kinds_command_and_what_was_asked_for(
    kind: str, args: tuple[str, ...], headless: bool, runs: tuple[str, ...]
) -> None:
    assert command_line(default_policy(HOME), kind_named(kind), args, headless=headless) == runs


def test_a_terminal_cannot_be_headless_and_a_command_of_the_owner_stays_in_front() -> None:
    with pytest.raises(BadRequest, match="cannot do without a terminal"):
        command_line(default_policy(HOME), kind_named("terminal"), ("htop",), headless=True)
    owners = parse_policy("[kinds]\nterminal = ['tmux', 'new']", HOME)
    assert command_line(owners, kind_named("terminal"), ("sh",), headless=False) == ("tmux", "new", "sh")


def test_the_default_file_changes_nothing_and_its_examples_are_valid(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(default_file())
    assert load_policy(file, HOME) == default_policy(HOME)
    examples = re.sub(r"(?m)^# (?=\w+ = |\[\[)", "", default_file())
    tables = {"roots", "max_agents", "kinds", "environment", "acp", "approvals", "watch", "disk", "mirrors"}
    assert set(tomllib.loads(examples)) == tables
    assert parse_policy(examples, HOME).only is not None


def test_every_key_is_read() -> None:
    text = """
    roots = ["~", "~/src/work", "/srv/code"]
    max_agents = 0
    [kinds]
    pi = ["/opt/pi/bin/pi", "--mode", "rpc", "--no-session"]
    bot-2 = ["python3", "-m", "bot"]
    [environment]
    withhold = ["AWS_*"]
    only = ["PATH", "LC_*"]
    [mirrors]
    accept = false
    max_mib = 3
    rate_kib = 64
    """
    assert parse_policy(text, HOME) == Policy(
        roots=(HOME, HOME / "src/work", Path("/srv/code")),
        kinds={
            "pi": ("/opt/pi/bin/pi", "--mode", "rpc", "--no-session"),
            "bot-2": ("python3", "-m", "bot"),
            "terminal": (),
            "acp": (),
        },
        withheld=("AWS_*",),
        only=("PATH", "LC_*"),
        max_agents=0,
        mirrors=MirrorPolicy(accept=False, max_bytes=3 << 20, rate=64 << 10),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rots = ['~']", "unknown key rots; known are roots, max_agents, kinds, environment"),
        ("[environment]\nallow = []", "unknown key environment.allow; known are withhold, only"),
        ("roots = '~'", "roots must be a list of texts"),
        ("roots = []", "roots is empty"),
        ("roots = ['']", "roots must be a list of texts, none of them empty"),
        ("roots = ['src']", "'src' must be absolute"),
        ("roots = ['~other/src']", "'~other/src' must be absolute"),
        ("roots = ['/srv/../etc']", "without .."),
        ("roots = ['~/../bob']", "without .."),
        ('roots = ["/a\\u0000b"]', "roots must be a list of texts"),
        ("max_agents = -1", "max_agents must be a whole number"),
        ("max_agents = true", "max_agents must be a whole number"),
        ("[mirrors]\nrate = 5", "unknown key mirrors.rate; known are accept, max_mib, rate_kib"),
        ("[mirrors]\naccept = 1", "mirrors.accept must be true or false"),
        ("[mirrors]\nmax_mib = 0", "mirrors.max_mib must be a whole number"),
        ("mirrors = 1", "mirrors must be a table"),
        ("max_agents = '5'", "max_agents must be a whole number"),
        ("kinds = 5", "kinds must be a table"),
        ("[kinds]\npi = 'pi --mode rpc'", "kinds.pi must be a list of texts"),
        ("[kinds]\npi = ['./pi']", "'./pi' must be a name on PATH or an absolute path"),
        ("[kinds]\n'a b' = ['x']", "kinds.a b: a kind is named by"),
        ("[environment]\nonly = 'PATH'", "environment.only must be a list"),
        ("roots = [", "Invalid value"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_one_line_that_names_the_key(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(BadConfig) as refused:
        load_policy(file, HOME)
    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.hint


def test_a_file_that_is_not_text_or_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "."):
        with pytest.raises(BadConfig):
            load_policy(tmp_path / name, HOME)


def test_an_unknown_kind_is_refused_and_the_known_ones_are_named() -> None:
    assert check_kind(default_policy(HOME), "pi") == ("pi",)
    with pytest.raises(RefusedByPolicy) as refused:
        check_kind(default_policy(HOME), "bash")
    assert "pi" in str(refused.value.hint)


def test_one_agent_too_many_is_refused() -> None:
    allowed = Policy(roots=(HOME,), max_agents=2)
    check_count(allowed, 1)
    with pytest.raises(RefusedByPolicy):
        check_count(allowed, 2)


@pytest.mark.parametrize(
    "args", [["a\0b"], ["\ud800"], ["x"] * (policy.MAX_ARGS + 1), ["x" * (policy.MAX_ARGS_BYTES + 1)]]
)
def test_arguments_that_the_system_cannot_take_are_refused(args: list[str]) -> None:
    with pytest.raises(BadRequest):
        check_args(args)


def test_other_arguments_are_taken_as_they_are() -> None:
    assert check_args(["", "--x=$(id)", "; rm -rf /", "ü\n"]) == ("", "--x=$(id)", "; rm -rf /", "ü\n")


OWNERS = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "AWS_SECRET": "s",
    "HYPI_TOKEN": "t",
    "HYPIVISOR": "h",
    "HYPERPI_LOG": "debug",
    "HYPERPI_INSTANCE": "of somebody else",
    "HYPERPI_HOME": "/old",
}


def test_an_agent_gets_the_owners_environment_but_nothing_of_ours() -> None:
    found = agent_environment(default_policy(HOME), OWNERS, {"HYPERPI_INSTANCE": "mine"})
    assert found == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AWS_SECRET": "s",
        "HYPERPI_HOME": "/old",
        "HYPERPI_INSTANCE": "mine",
    }


def test_the_owner_can_withhold_more_or_name_all_that_is_given() -> None:
    withholding = Policy(roots=(HOME,), withheld=("AWS_*",))
    assert "AWS_SECRET" not in agent_environment(withholding, OWNERS, {})
    only = Policy(roots=(HOME,), withheld=("LC_ALL",), only=("PATH", "LC_*", "HYP*"))
    assert agent_environment(only, OWNERS, {}) == {"PATH": "/bin", "HYPERPI_HOME": "/old"}


def test_a_path_is_below_a_root_by_its_parts_not_by_its_letters() -> None:
    roots = (Path("/home/ada"), Path("/srv/code"))
    assert root_of(roots, Path("/home/ada")) == roots[0]
    assert root_of(roots, Path("/srv/code/a/b")) == roots[1]
    assert root_of(roots, Path("/home/adaline")) is None
    assert root_of(roots, Path("/home")) is None
    assert root_of((), Path("/home")) is None
