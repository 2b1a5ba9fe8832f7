"""Which ACP agents a machine starts: the known ones, and what its owner allows."""

from pathlib import Path

import pytest

from hyperpi.errors import BadRequest, RefusedByPolicy
from node.acp_policy import AcpPolicy, check_acp, parse_acp
from node.policy import default_file, parse_policy


def test_known_commands_may_be_started_with_arguments_of_the_caller():
    assert check_acp(AcpPolicy(), ["opencode", "acp", "--pure"]) == ("opencode", "acp", "--pure")


@pytest.mark.parametrize(
    "command", [["opencode"], ["opencode", "run"], ["sh", "-c", "opencode acp"], ["./pi-acp"]]
)
def test_what_does_not_begin_like_one_is_refused(command: list[str]):
    with pytest.raises(RefusedByPolicy):
        check_acp(AcpPolicy(), command)


def test_a_refusal_says_the_line_that_would_allow_it():
    with pytest.raises(RefusedByPolicy) as refused:
        check_acp(AcpPolicy(), ["my agent", "--say", 'a "word"'])
    assert refused.value.hint is not None
    line = refused.value.hint.partition("[acp]: ")[2]
    policy = parse_policy(f"[acp]\n{line}", Path("/home/dev"))
    assert check_acp(policy.acp, ["my agent", "--say", 'a "word"'])


def test_a_spawn_without_a_command_says_how_to_name_one():
    with pytest.raises(BadRequest) as refused:
        check_acp(AcpPolicy(), [])
    assert refused.value.hint is not None
    assert "--kind acp -- " in refused.value.hint


def test_an_owner_allows_more_and_may_forbid_the_known_ones():
    policy = parse_acp({"allow": ["/opt/mine --acp"], "known": False})
    assert check_acp(policy, ["/opt/mine", "--acp", "-v"])
    with pytest.raises(RefusedByPolicy):
        check_acp(policy, ["opencode", "acp"])


@pytest.mark.parametrize(
    "table",
    [
        {"alow": []},
        {"allow": "opencode acp"},
        {"allow": [""]},
        {"allow": ["bin/mine"]},
        {"allow": ["'open"]},
        {"allow": [3]},
        {"known": "yes"},
    ],
)
def test_a_table_that_is_wrong_says_where(table: dict[str, object]):
    with pytest.raises(ValueError, match=r"acp\."):
        parse_acp(table)


def test_the_default_file_changes_nothing():
    assert parse_policy(default_file(), Path("/home/dev")).acp == AcpPolicy()
