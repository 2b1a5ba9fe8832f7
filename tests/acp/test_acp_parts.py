"""The small parts of the adapter: a session's card, permissions, the queue, lines from an agent."""

import pytest
from recording import Json, lines_of

from hyperpi import contract
from hyperpi.errors import Overloaded
from node.acp import permissions, session_card
from node.acp.program import decoded
from node.acp.prompt_queue import MAX_WAITING, PromptQueue, Wanted
from node.acp.session_card import SessionCard


def answers(name: str) -> list[Json]:
    return [m["result"] for line in lines_of(name) if "result" in (m := line["message"])]


def updates(name: str, kind: str) -> list[Json]:
    found = [line["message"].get("params", {}).get("update", {}) for line in lines_of(name)]
    return [update for update in found if update.get("sessionUpdate") == kind]


def test_a_card_is_read_from_what_opencode_says():
    greeting, opening = answers("opencode-turns")[:2]
    card = session_card.opened(session_card.greeted(greeting, "opencode"), opening)
    assert (card.agent, card.model) == ("OpenCode", "fake/fake-1")
    assert (card.card["mode"], card.card["modes"]) == ("build", ["build", "plan"])
    assert "fake/fake-1" in card.card["models"]
    assert (card.option("model"), card.option("thought_level")) == ("model", None)
    told = session_card.updated(card, updates("opencode-turns", "usage_update")[0])
    assert told.usage["context"] == {"window": 32000, "tokens": 11, "percent": 0.0}
    card = session_card.updated(card, updates("opencode-turns", "available_commands_update")[0])
    assert {"name": "/init", "description": "guided AGENTS.md setup"} in card.card["skills"]
    for answer in answers("opencode-turns"):
        card = session_card.used(card, answer)
    assert card.usage["input_tokens"] == 11 * 9


def test_a_card_of_pi_acp_tells_how_much_its_model_thinks():
    card = session_card.opened(SessionCard(), answers("pi-acp-turns")[1])
    assert (card.card["thinking"], card.card["thinking_levels"]) == ("off", ["off"])
    # It says the same as modes, to clients that know no settings.
    assert (card.card["mode"], card.card["modes"]) == (None, [])
    again = session_card.updated(card, {"sessionUpdate": "current_mode_update", "currentModeId": "high"})
    assert again == card


def test_a_card_of_an_agent_that_has_modes_and_models_of_its_own_kind():
    known = [{"id": "ask", "name": "Ask"}, {"id": "code", "name": "Write Code"}, {"name": "no id"}]
    answer = {
        "modes": {"currentModeId": "ask", "availableModes": known},
        "models": {"currentModelId": "large"},
    }
    card = session_card.opened(SessionCard(), answer)
    assert (card.model, card.mode, card.modes) == ("large", "ask", ("ask", "code"))
    card = session_card.updated(card, {"sessionUpdate": "current_mode_update", "currentModeId": "code"})
    card = session_card.updated(card, {"sessionUpdate": "session_info_update", "title": "Mend the roof"})
    cost = {"amount": 0.25, "currency": "USD"}
    card = session_card.updated(card, {"sessionUpdate": "usage_update", "cost": cost})
    assert (card.mode, card.title, card.usage["cost_usd"]) == ("code", "Mend the roof", 0.25)


def test_an_agent_without_a_name_is_known_by_its_command():
    assert session_card.greeted({"protocolVersion": 1}, "mine").agent == "mine"


def permission(name: str = "opencode-turns") -> Json:
    messages = [line["message"] for line in lines_of(name)]
    found: Json = next(m["params"] for m in messages if m.get("method") == "session/request_permission")
    return found


def test_a_permission_is_an_approval_of_the_contract():
    asked = contract.params_of(contract.ApprovalAsk, permissions.approval_of(permission(), "ap-1", "/srv"))
    assert asked.action.summary == "execute: echo tool-$((40+2))"
    assert asked.action.detail["args"] == {"command": "echo tool-$((40+2))"}
    assert [(choice.id, choice.kind) for choice in asked.choices] == [
        ("once", "allow_once"),
        ("always", "allow_always"),
        ("reject", "reject_once"),
    ]


def test_an_approval_is_bound_to_the_exact_call_and_its_folder():
    def hash_of(request: Json, cwd: str = "/srv") -> str:
        found: str = permissions.approval_of(request, "ap-1", cwd)["action"]["hash"]
        return found

    other = permission()
    other["toolCall"] = other["toolCall"] | {"rawInput": {"command": "rm -r /"}}
    hashes = {hash_of(permission()), hash_of(other), hash_of(permission(), "/elsewhere")}
    assert len(hashes) == 3
    assert hash_of(permission()) == hash_of(permission())


@pytest.mark.parametrize(
    ("approval", "option"),
    [
        ({"state": "approved", "choice": "always"}, "always"),
        ({"state": "denied", "choice": "reject"}, "reject"),
        ({"state": "expired"}, "reject"),
        ({"state": "approved", "choice": "something else"}, "reject"),
        ({}, "reject"),
        ({"state": "withdrawn"}, None),
    ],
)
def test_only_what_a_person_chose_is_allowed(approval: Json, option: str | None):
    outcome = permissions.outcome_of(permission(), approval)["outcome"]
    assert outcome.get("optionId") == option
    assert outcome["outcome"] == ("cancelled" if option is None else "selected")


def test_an_agent_that_offers_no_way_to_refuse_is_told_that_it_was_cancelled():
    request = permission() | {"options": [{"optionId": "yes", "name": "Yes", "kind": "allow_once"}]}
    assert permissions.outcome_of(request, {"state": "expired"}) == permissions.CANCELLED


def test_the_queue_takes_an_id_once_and_has_a_bound():
    queue = PromptQueue()
    assert queue.take(Wanted("p1", "one", "cli"))
    assert not queue.take(Wanted("p1", "one", "cli"))
    assert queue.waits("p1")
    first = queue.next()
    assert first is not None
    assert first.text == "one"
    assert not queue.take(Wanted("p1", "one", "cli"))
    for number in range(MAX_WAITING):
        queue.take(Wanted(f"q{number}", "more", "cli"))
    with pytest.raises(Overloaded):
        queue.take(Wanted("one too many", "more", "cli"))
    assert len(queue.drop_all()) == MAX_WAITING
    assert queue.next() is None


def test_half_characters_of_javascript_are_mended():
    line = b'{"a": "fine \\ud83e\\udd80", "b": ["half \\ud83e"], "\\udd80": 1}'
    assert decoded(line) == {"a": "fine \U0001f980", "b": ["half �"], "�": 1}


@pytest.mark.parametrize("line", [b"", b"hello", b"[1]", b"3", b'{"a": ', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_no_message(line: bytes):
    assert decoded(line) is None
