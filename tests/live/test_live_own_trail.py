"""What a machine's owner does to its agents without any hypivisor stands in that machine's own trail."""

import base64
import json

from live import System, new_system
from machines import Machine, joined
from test_live_terminals import folder


def trail(machine: System, *filters: str) -> list[tuple[str, str]]:
    done = machine.run("audit", "--here", "--json", *filters)
    assert done.returncode == 0, done.stderr
    return [(row["what"], row["result"]) for row in json.loads(done.stdout)]


def test_every_act_of_the_owner_stands_there_before_it_is_done(system: System):
    with joined(system) as attic:
        made = attic.run("spawn", folder(attic), "--kind", "terminal", "--name", "shell", "--", "cat")
        assert made.returncode == 0, made.stderr
        assert attic.run("rename", "shell", "cat").returncode == 0
        assert attic.run("stop", "cat").returncode == 0
        assert attic.run("prompt", "nobody", "hello").returncode == 1
        both = [("node.spawn", "asked"), ("node.spawn", "done")]
        assert trail(attic, "--what", "node.spawn") == both
        told = trail(attic)
        assert told[2:4] == [("agent.rename", "asked"), ("agent.rename", "done")]
        assert told[4:6] == [("agent.stop", "asked"), ("agent.stop", "done")]
        row = json.loads(attic.run("audit", "--here", "--json", "--limit", "1").stdout)[0]
        assert row["who"].endswith("@attic") and row["origin"] == "cli"
        verdict = json.loads(attic.run("audit", "--here", "--verify", "--json").stdout)
        assert (verdict["rows"], verdict["broken_at"]) == (len(told), None)
        assert "hello" not in (attic.home / "node" / "audit.db").read_bytes().decode("latin-1")


def test_a_machine_without_a_node_has_none_and_says_so():
    with new_system() as system:
        done = system.run("audit", "--here")
        assert done.returncode == 1
        assert "no trail of its own yet" in done.stderr


def test_typing_is_told_once(system: System):
    with joined(system) as attic:
        agent = json.loads(
            attic.run("spawn", folder(attic), "--kind", "terminal", "--json", "--", "cat").stdout
        )["agent"]
        types_as_a_program(attic, agent)
        rows = [row for row in trail(attic) if row[0] == "agent.input"]
        assert rows == [("agent.input", "asked")]
        attic.run("stop", agent)


def types_as_a_program(machine: Machine, agent: str) -> None:
    with machine.client() as client:
        for letter in "abc":
            client.call("agent.input", {"agent": agent, "data": base64.b64encode(letter.encode()).decode()})
