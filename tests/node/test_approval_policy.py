"""When agents have to ask: what node.toml says holds, and nobody asks less from afar."""

from pathlib import Path

import pytest

from hyperpi.errors import RefusedByPolicy
from node.approval_policy import ApprovalPolicy
from node.policy import default_file, parse_policy

HOME = Path("/home/ann")


def policy(text: str) -> ApprovalPolicy:
    return parse_policy(text, HOME).approvals


PROD = """
[approvals]
mode = "ask-risky"
ask = ["bash:git push*"]
[[approvals.rules]]
folder = "~/prod"
mode = "ask-all"
allow = ["read"]
[[approvals.rules]]
kind = "pi"
name = "toy*"
mode = "auto"
"""


def test_without_a_word_nobody_asks():
    for text in ("", default_file()):
        found = policy(text).resolved("pi", "a", HOME, None)
        assert (found.mode, found.ask, found.allow) == ("auto", [], [])
        assert policy(text).strictest == "auto"


@pytest.mark.parametrize(
    ("kind", "name", "cwd", "mode"),
    [
        ("pi", "a", HOME / "prod", "ask-all"),
        ("pi", "toy-1", HOME / "prod" / "deep", "ask-all"),  # the first rule that fits
        ("pi", "a", HOME / "production", "ask-risky"),
        ("pi", "toy-1", HOME, "auto"),
        ("acp", "toy-1", HOME, "ask-risky"),
    ],
)
def test_the_first_rule_that_fits_holds(kind: str, name: str, cwd: Path, mode: str):
    assert policy(PROD).resolved(kind, name, cwd, None).mode == mode


def test_patterns_of_the_table_and_of_the_rule_hold_together():
    found = policy(PROD).resolved("pi", "a", HOME / "prod", None)
    assert (found.ask, found.allow) == (["bash:git push*"], ["read"])


def test_an_operator_may_have_an_agent_ask_more_and_not_less():
    found = policy(PROD)
    found.check_wish("pi", "a", HOME, "ask-all")
    assert found.resolved("pi", "a", HOME, "ask-all").mode == "ask-all"
    with pytest.raises(RefusedByPolicy, match="wants ask-risky for a"):
        found.check_wish("pi", "a", HOME, "auto")
    # Also a wish that was granted before node.toml became stricter.
    assert found.resolved("pi", "a", HOME, "auto").mode == "ask-risky"


def test_where_the_owner_says_so_an_operator_may_have_it_ask_less():
    found = policy('[approvals]\nmode = "ask-all"\nweaken = true')
    found.check_wish("pi", "a", HOME, "auto")
    assert found.resolved("pi", "a", HOME, "auto").mode == "auto"


def test_a_name_with_laxer_rules_is_not_given_from_afar():
    found = policy(PROD)
    with pytest.raises(RefusedByPolicy, match="as toy-9"):
        found.check_rename("pi", "a", HOME, "toy-9")
    found.check_rename("pi", "toy-9", HOME, "a")
    found.check_rename("pi", "a", HOME / "prod", "toy-9")  # the folder's rule is the first in any case


def test_until_it_is_told_an_agent_keeps_to_the_strictest_of_all():
    assert policy(PROD).strictest == "ask-all"
    assert policy('[approvals]\nask = ["write"]').strictest == "ask-risky"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('mode = "ask"', "approvals.mode must be one of auto, ask-risky, ask-all"),
        ("timeout_s = 0", "approvals.timeout_s must be seconds from 1"),
        ('weaken = "no"', "approvals.weaken must be true or false"),
        ('ask = "bash"', "approvals.ask must be a list of patterns"),
        ("rules = 1", r"\[\[approvals.rules\]\]"),
        ('[[approvals.rules]]\nfolder = "work"', "must be absolute or begin with ~/"),
        ('[[approvals.rules]]\nkinds = "pi"', "unknown key approvals.rules.kinds"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text: str, line: str):
    with pytest.raises(ValueError, match=line):
        policy(f"[approvals]\n{text}")
