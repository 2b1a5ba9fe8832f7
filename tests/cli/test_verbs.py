"""Every verb explains itself, and with --json prints one document and nothing else."""

import base64
import subprocess
import time
from pathlib import Path
from typing import Any

import click
import pytest
from cli_mesh import ControlSocket, Refused, agent, node
from cli_process import Run, run_alone

from hyperpi.cli.boundary import root
from hyperpi.cli.group import LazyGroup
from hyperpi.cli.ls import STATES
from hyperpi.clock import rfc3339
from hyperpi.contract import AGENT_STATES
from hyperpi.pictures import MAX_BYTES, MAX_PICTURES


def every_verb() -> list[tuple[str, ...]]:
    """The path of each verb."""

    def below(group: click.Group, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        ctx = click.Context(group, info_name="hyperpi")
        found = []
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            if isinstance(command, click.Group):
                found += below(command, (*path, name))
            else:
                found.append((*path, name))
        return found

    return below(root(), ())


@pytest.mark.parametrize("path", every_verb(), ids=" ".join)
def test_every_help_explains_with_an_example(home: Any, run: Run, path: tuple[str, ...]):
    done = run(*path, "--help")
    assert (done.code, done.err) == (0, "")
    _, _, after = done.out.partition("Examples:")
    assert f"hyperpi {path[0]}" in after or path[0] == "completion"


def test_the_command_and_its_groups_explain_themselves_without_a_verb(home: Any, run: Run):
    assert run().out == run("--help").out
    assert "hyperpi token create" in run("token").out


def test_every_verb_stands_under_a_heading_in_the_help(home: Any, run: Run):
    listed = run("--help").out
    group = root()
    assert isinstance(group, LazyGroup)
    for name in group.list_commands(click.Context(group)):
        assert f"\n  {name} " in listed


@pytest.mark.parametrize(
    ("argv", "keys"),
    [
        (["show", "frontend"], {"id", "card"}),
        (["spawn", "/srv", "--node", "den"], {"agent", "address"}),
        (["prompt", "frontend", "hello"], {"id", "receipt"}),
        (["abort", "frontend"], {"agent"}),
        (["stop", "frontend"], {"agent"}),
        (["forget", "frontend"], {"agent"}),
        (["rename", "frontend", "site"], {"agent", "name"}),
        (["send", "frontend", "hello"], {"scroll_id", "state", "at"}),
        (["folders"], {"path", "parent", "folders", "allowed"}),
        (["token", "create"], {"id", "token", "role", "expires"}),
        (["login"], {"url", "expires"}),
        (["node", "show", "den"], {"id", "name", "state"}),
        (["node", "approve", "482913"], {"name", "confirmed"}),
        (["node", "deny", "482913"], {"name"}),
        (["node", "revoke", "den"], {"node"}),
        (["audit", "--verify"], {"rows", "broken_at"}),
        (["sessions", "revoke", "s1"], {"id"}),
        (["disk", "info", "--node", "den"], {"banks"}),
        (["version"], {"hyperpi", "python", "platform"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_result_is_one_document(mesh: ControlSocket, run: Run, argv: list[str], keys: set[str]):
    done = run(*argv, "--json")
    assert (done.code, done.err) == (0, "")
    assert keys <= set(done.json)
    assert done.out.count("\n") == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["ls"],
        ["node", "ls"],
        ["scrolls"],
        ["token", "ls"],
        ["sessions", "ls"],
        ["audit"],
        ["disk", "rows", "--node", "den"],
    ],
    ids=" ".join,
)
def test_a_list_is_one_document(mesh: ControlSocket, run: Run, argv: list[str]):
    run("token", "create")
    run("send", "frontend", "hello")
    done = run(*argv, "--json")
    assert (done.code, done.err) == (0, "")
    assert isinstance(done.json, list)
    assert done.json
    assert run(*argv).code == 0


# --- agents -----------------------------------------------------------------------------------------------


def test_the_list_shows_name_state_folder_model_and_watchers(mesh: ControlSocket, run: Run):
    load = {"cpu": 0.256, "mem_bytes": 212 << 20}
    mesh.mesh.add(agent("api", watchers=2, last_event=None, since="2999-01-01T00:00:00.000Z", load=load))
    head, first, second, third = run("ls").out.splitlines()
    assert head.split() == ["AGENT", "STATE", "FOLDER", "MODEL", "LOAD", "LAST", "WATCHED"]
    assert first.startswith("api@den")
    assert first.endswith(" 2")
    assert "  26% 212M  " in first
    assert "backend@den   working (turn 3)  /srv/code/backend" in second
    assert "acme/large-1" in third
    assert "d ago" in third


def test_an_agent_whose_machine_is_away_is_not_shown_as_running(mesh: ControlSocket, run: Run):
    mesh.mesh.nodes["n-den"] = node("den", state="disconnected")
    for one in mesh.mesh.agents.values():  # as a hypivisor tells of them then
        one |= {"state": "unreachable", "was": one["state"]}
    listed = run("ls").out
    assert "unknown (node disconnected; was working)" in listed
    assert "unknown (node disconnected; was idle)" in listed


def test_ended_agents_come_last_and_are_cut_but_not_in_json(mesh: ControlSocket, run: Run):
    mesh.mesh.add(*(agent(f"old-{number:02}", state="exited") for number in range(12)))
    done = run("ls")
    assert done.out.splitlines()[1].startswith("backend")
    assert len(done.out.splitlines()) == 1 + 2 + 8
    assert done.err == "and 4 more that have ended: `hyperpi ls --all`\n"
    assert len(run("ls", "--all").out.splitlines()) == 1 + 2 + 12
    assert len(run("ls", "--json").json) == 14


def test_an_ended_agent_that_another_went_on_with_is_not_in_the_way(mesh: ControlSocket, run: Run):
    mesh.mesh.add(
        agent("site-3", state="exited"),
        agent("site-2", state="exited", resumed_from="a-site-3-den"),
        agent("site", resumed_from="a-site-2-den"),
    )
    assert [line.split("@")[0] for line in run("ls").out.splitlines()[1:]] == ["backend", "frontend", "site"]
    rows = {line.split("@")[0]: line for line in run("ls", "--all").out.splitlines()}
    assert "went on as site " in rows["site-3"] and "went on as site " in rows["site-2"]
    assert len(run("ls", "--json").json) == 5


def test_the_list_can_be_narrowed(mesh: ControlSocket, run: Run):
    mesh.mesh.nodes["n-attic"] = node("attic")
    mesh.mesh.add(agent("far", "n-attic", "attic"))
    assert [one["name"] for one in run("ls", "--node", "attic", "--json").json] == ["far"]
    assert [one["name"] for one in run("ls", "--node", "n-attic", "--json").json] == ["far"]
    assert [one["name"] for one in run("ls", "--state", "working", "--json").json] == ["backend"]
    assert run("ls", "--state", "stuck").err == "no agents that fit\n"
    assert STATES == AGENT_STATES
    bogus = run("ls", "--state", "bogus")
    assert (bogus.code, bogus.out) == (2, "")
    assert "bogus" in bogus.err and "working" in bogus.err and "unreachable" in bogus.err


def test_names_from_elsewhere_cannot_steer_the_terminal(mesh: ControlSocket, run: Run):
    evil = "x\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202ey\nz"
    mesh.mesh.add(agent("evil", detail=evil, project=evil, model=evil))
    for argv in (["ls"], ["show", "evil"], ["ls", "--json"]):
        out = run(*argv).out
        assert not set(out) & set("\x1b\x07\u202e\x9b")
    assert run("show", "evil", "--json").json["detail"] == evil


def test_show_tells_tools_and_usage(mesh: ControlSocket, run: Run):
    shown = run("show", "backend").out
    assert "working (turn 3)" in shown
    assert "2: bash, edit" in shown
    assert "1,200 in, 34 out, $0.50" in shown


def test_a_prompt_can_come_from_stdin_and_says_its_mode(mesh: ControlSocket, run: Run):
    done = run("prompt", "frontend", "-", "--steer", stdin="from\na pipe\n")
    assert done.out == "frontend has it\n"
    (asked,) = mesh.asked("agent.prompt")
    assert (asked["text"], asked["mode"]) == ("from\na pipe\n", "steer")
    run("prompt", "frontend", "later", "--follow-up")
    assert mesh.asked("agent.prompt")[1]["mode"] == "follow_up"
    assert mesh.asked("agent.prompt")[1]["id"] != asked["id"]


@pytest.mark.parametrize(
    ("receipt", "words"),
    [
        ("delivered", "frontend has it"),
        ("queued", "queued: frontend takes it up"),
        ("stored", "kept for frontend"),
        ("unknown", "not known"),
    ],
)
def test_each_receipt_has_words_of_its_own(
    mesh: ControlSocket, run: Run, monkeypatch: pytest.MonkeyPatch, receipt: str, words: str
):
    monkeypatch.setattr(mesh.mesh, "_agent_prompt", lambda params: {"id": params["id"], "receipt": receipt})
    assert words in run("prompt", "frontend", "hello").out


PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def test_pictures_go_with_a_prompt_whatever_their_files_are_called(
    mesh: ControlSocket, run: Run, tmp_path: Path
):
    (tmp_path / "a.txt").write_bytes(PNG)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff" + bytes(9))
    done = run(
        "prompt", "frontend", "", "--image", str(tmp_path / "a.txt"), "--image", str(tmp_path / "b.jpg")
    )
    assert (done.code, done.out) == (0, "frontend has it\n")
    (asked,) = mesh.asked("agent.prompt")
    assert [one["mime"] for one in asked["images"]] == ["image/png", "image/jpeg"]
    assert base64.b64decode(asked["images"][0]["data"]) == PNG


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ([b"<svg/>"], "is no picture: PNG, JPEG, GIF or WebP"),
        ([b""], "is no picture"),
        ([PNG + bytes(MAX_BYTES)], "is too large: a prompt takes 540 kB"),
        ([PNG + bytes(300_000)] * 2, "too large together"),
        ([PNG] * (MAX_PICTURES + 1), "a prompt takes 8"),
    ],
)
def test_what_cannot_go_as_a_picture_is_refused_before_anything_is_sent(
    mesh: ControlSocket, run: Run, tmp_path: Path, contents: list[bytes], words: str
):
    argv = []
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
        argv += ["--image", str(tmp_path / f"{number}.png")]
    done = run("prompt", "frontend", "look", *argv)
    assert (done.code, words in done.err, "  -> " in done.err) == (1, True, True)
    assert mesh.asked("agent.prompt") == []


def test_a_picture_that_is_not_there_is_wrong_usage(run: Run, tmp_path: Path):
    done = run("prompt", "frontend", "look", "--image", str(tmp_path / "none.png"))
    assert (done.code, "none.png' does not exist" in done.err) == (2, True)


def test_a_prompt_whose_answer_was_lost_is_asked_again_with_the_same_id(mesh: ControlSocket, run: Run):
    def lose_the_first(params: dict[str, Any]) -> Any:
        if len(mesh.asked("agent.prompt")) == 1:
            mesh.mesh._agent_prompt(params)
            mesh._drop()
        return mesh.mesh._agent_prompt(params)

    mesh.mesh.answers["agent.prompt"] = lose_the_first
    assert run("prompt", "frontend", "once", "--json").json["receipt"] == "delivered"
    first, second = mesh.asked("agent.prompt")
    assert first == second
    assert list(mesh.mesh.prompts.values()) == ["once"]


# --- starting agents --------------------------------------------------------------------------------------


def test_spawn_passes_on_what_it_is_told(mesh: ControlSocket, run: Run):
    argv = ["spawn", "~/code", "--node", "attic", "--new-folder", "blog", "--name", "writer", "--kind", "pi"]
    done = run(*argv, "--prompt", "begin", "--", "--model", "acme/x", "--json")
    assert done.out == "writer@den\n"
    (asked,) = mesh.asked("node.spawn")
    assert asked.pop("request_id")
    assert asked == {
        "node": "attic",
        "path": "~/code",
        "new_folder": "blog",
        "kind": "pi",
        "name": "writer",
        "prompt": "begin",
        "args": ["--model", "acme/x", "--json"],
    }


def test_spawn_says_how_to_see_what_it_has_started(mesh: ControlSocket, run: Run):
    assert "`hyperpi attach new@den --tty`" in run("spawn", "/srv", "--kind", "terminal", "--", "htop").err
    assert "with --tty in its own terminal" in run("spawn", "/srv").err
    assert "--tty" not in run("spawn", "/srv", "--headless").err
    asked = mesh.asked("node.spawn")
    assert [(one["kind"], one["args"], one.get("headless")) for one in asked] == [
        ("terminal", ["htop"], None),
        ("pi", [], None),
        ("pi", [], True),
    ]


def test_spawn_on_this_machine_takes_a_relative_path(
    home: Any, run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with ControlSocket(home, "node") as served:
        assert run("spawn", "site/..").code == 0
        assert run("spawn", "~/x").code == 0
        first, second = served.asked("node.spawn")
    assert first["path"] == str(tmp_path)
    assert first["node"] == "n-den"
    assert not second["path"].startswith("~")


def test_spawn_asks_which_machine_when_there_are_several(mesh: ControlSocket, run: Run):
    mesh.mesh.nodes["n-attic"] = node("attic")
    done = run("spawn", "/srv")
    assert done.code == 2
    assert "one of den, attic" in done.err
    mesh.mesh.nodes["n-den"] = node("den", state="lost")
    assert run("spawn", "/srv").code == 0
    assert mesh.asked("node.spawn")[0]["node"] == "n-attic"
    mesh.mesh.nodes["n-attic"] = node("attic", state="lost")
    assert run("spawn", "/srv").code == 1


def test_a_spawn_whose_answer_was_lost_starts_one_agent(mesh: ControlSocket, run: Run):
    def lose_the_first(params: dict[str, Any]) -> Any:
        made = mesh.mesh._node_spawn(params)
        return mesh._drop() if len(mesh.asked("node.spawn")) == 1 else made

    mesh.mesh.answers["node.spawn"] = lose_the_first
    assert run("spawn", "/srv", "--json").json["agent"] == "a-new-0"
    assert len(mesh.asked("node.spawn")) == 2
    assert len(mesh.mesh.spawned) == 1


# --- trust ------------------------------------------------------------------------------------------------


def test_a_token_stands_alone_on_stdout_and_what_to_do_with_it_on_stderr(mesh: ControlSocket, run: Run):
    done = run("token", "create", "--role", "node", "--ttl", "1h30m", "--name", "attic")
    assert done.out == "hp1u-t0.secret\n"
    assert "hyperpi node join 192.0.2.7:31417 --token-file FILE" in done.err
    assert mesh.asked("token.create") == [{"role": "node", "ttl_s": 5400.0, "name": "attic"}]


def test_token_uses_are_only_sent_when_they_are_given(mesh: ControlSocket, run: Run):
    run("token", "create")
    run("token", "create", "--uses", "0")
    first, second = mesh.asked("token.create")
    assert first == {"role": "operator", "ttl_s": 900.0}
    assert second["uses"] == 0


def test_no_verb_takes_a_token_that_would_show_in_the_list_of_processes(mesh: ControlSocket, run: Run):
    for argv in (["ls"], ["login"], ["token", "create"]):
        assert run(*argv, "--token", "hp1u-x.y").code == 2


def test_a_broken_audit_trail_is_exit_code_1_and_names_the_row(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["audit.verify"] = {"rows": 3, "broken_at": 4, "reason": "the row was changed"}
    done = run("audit", "--verify", "--json")
    assert done.code == 1
    assert done.json["broken_at"] == 4
    assert "row 4: the row was changed" in done.err


def test_the_audit_trail_is_printed_oldest_first(mesh: ControlSocket, run: Run):
    assert [row["seq"] for row in run("audit", "--limit", "3", "--json").json] == [7, 8, 9]


def test_the_audit_trail_is_read_page_by_page_up_to_the_limit(mesh: ControlSocket, run: Run):
    assert [row["seq"] for row in run("audit", "--json").json] == list(range(1, 10))
    assert [row["seq"] for row in run("audit", "--limit", "6", "--json").json] == list(range(4, 10))
    asked = mesh.asked("audit.list")
    assert [(page.get("before"), page["limit"]) for page in asked] == [
        *((None, 50), (6, 46), (2, 42)),
        *((None, 6), (6, 2)),
    ]


def test_the_server_filters_the_audit_trail(mesh: ControlSocket, run: Run):
    filters = ("--who", "ann", "--what", "node.", "--result", "done", "--about", "den")
    assert len(run("audit", *filters, "--since", "2026-01-01", "--json").json) == 9
    asked = mesh.asked("audit.list")[0]
    wanted = {"who": "ann", "what": "node.", "result": "done", "about": "den"}
    assert asked == {**wanted, "since": "2026-01-01T00:00:00.000Z", "limit": 50}
    done = run("audit", "--who", "nobody")
    assert (done.out, "nothing is recorded that fits" in done.err) == ("", True)
    for wrong in (("--since", "yesterday"), ("--until", "2026-13-01"), ("--result", "fine")):
        assert run("audit", *wrong).code == 2


def test_a_machine_tells_when_its_certificate_is_renewed(mesh: ControlSocket, run: Run):
    def certificate(**hours: float) -> dict[str, str | None]:
        return {key: rfc3339(time.time() + value * 3600 + 60) for key, value in hours.items()}

    shown = mesh.mesh.nodes["n-den"]
    shown["certificate"] = certificate(issued=-49, renews=63, expires=120)
    assert "renewed in 2d" in run("node", "ls").out
    assert "issued 2d ago, renewed in 2d, ends in 5d" in run("node", "show", "den").out
    assert run("node", "show", "den", "--json").json["certificate"] == shown["certificate"]
    shown["certificate"] = certificate(issued=-120, renews=-5, expires=40)
    assert "renewal due since 4h" in run("node", "show", "den").out
    shown["certificate"] = {**certificate(expires=-3), "issued": None, "renews": None}
    assert "issued earlier, ended 2h ago" in run("node", "show", "den").out
    shown["certificate"] = None
    assert "certificate" not in run("node", "show", "den").out


def test_a_token_and_a_session_tell_from_where_they_were_used(mesh: ControlSocket, run: Run):
    known = {"id": "t9", "role": "node", "name": None, "expires": "2099-01-01T00:00:00.000Z", "uses_left": 0}
    mesh.mesh.answers["token.ls"] = {
        "tokens": [
            {
                **known,
                "created": "2026-01-05T10:00:00.000Z",
                "last_used": "2026-01-05T10:00:00.000Z",
                "last_from": "192.0.2.9",
                "joined": "por\u202ech",
                "revoked": False,
            }
        ]
    }
    assert "used by porch" in run("token", "ls").out
    assert "192.0.2.9" in run("token", "ls").out
    mesh.mesh.answers["session.ls"] = {
        "sessions": [{"id": "s1", "name": "ann", "role": "admin", "address": "192.0.2.8", "origin": "x"}]
    }
    assert "192.0.2.8" in run("sessions", "ls").out


def test_a_login_link_can_be_for_somebody_else(mesh: ControlSocket, run: Run):
    run("login", "--role", "viewer", "--name", "carol")
    run("login")
    assert mesh.asked("login.create") == [{"role": "viewer", "name": "carol"}, {}]


def test_a_machine_that_waits_is_listed_first_with_its_code(mesh: ControlSocket, run: Run):
    mesh.mesh.nodes["p-1"] = node("attic", id="p-1", state="pending", code="482913", load=None, disk=None)
    done = run("node", "ls")
    assert done.out.splitlines()[1].startswith("attic  pending")
    assert "hyperpi node approve 482913" in done.err
    assert run("node", "approve", "000000").code == 1


@pytest.mark.parametrize(
    "argv", [["rename", "frontend"], ["spawn", "/srv", "--node", "den", "--name"]], ids=["rename", "spawn"]
)
def test_a_name_that_was_changed_is_told(mesh: ControlSocket, run: Run, argv: list[str]):
    done = run(*argv, "my agent!")
    assert "my-agent" in done.out and "my agent" not in done.out
    assert "names are made of letters" in done.err
    renamed = ["my-agent" if word == "frontend" else word for word in argv]
    assert "names are made of letters" not in run(*renamed, "plain").err


def test_a_wished_name_that_was_not_given_is_explained(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["node.spawn"] = {"agent": "a-9", "address": "site-2@den"}
    assert (
        "site is the name of another agent there"
        in run("spawn", "/srv", "--node", "den", "--name", "site").err
    )
    mesh.mesh.answers["node.spawn"] = {"agent": "a-9", "address": "x@den"}
    assert "names are made of letters" in run("spawn", "/srv", "--node", "den", "--name", "../x").err


HOSTILE_NAMES = ["ev\x1b[2Jil", "\u202egnp.exe", "a\nonline  root", "<b>x</b>\x9b31m"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_machines_that_could_join_are_named_beside_the_list_and_steer_nothing(
    mesh: ControlSocket, run: Run, name: str
):
    row = {"name": name, "addresses": ["10.0.0.7\x07"], "version": "\x1b]0;x\x07"}
    mesh.mesh.answers["node.nearby"] = {"candidates": [row] * 5, "more": True, "listening": True}
    listed, nearby = run("node", "ls"), run("node", "nearby")
    assert listed.err.count("not joined") == 3
    assert "and 2 more: `hyperpi node nearby`" in listed.err
    assert len(nearby.out.splitlines()) == 6
    for text in (listed.out + listed.err, nearby.out + nearby.err, run("node", "nearby", "--json").out):
        assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert all(set(row) >= {"id", "state"} for row in run("node", "ls", "--json").json)


def test_who_may_not_let_machines_in_is_not_asked_about_them(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["node.nearby"] = Refused(-32001, "node.nearby is not for the role operator")
    done = run("node", "nearby")
    assert (done.code, "not for the role" in done.err) == (1, True)
    assert "not joined" not in run("node", "ls").err


def test_the_url_of_the_local_node_needs_a_local_node(mesh: ControlSocket, home: Any, run: Run):
    assert run("node", "url").code == 3
    with ControlSocket(home, "node") as served:
        known = served.run_json.read_text().replace("{", '{"ws": "ws://127.0.0.1:31418/ws", ', 1)
        served.run_json.write_text(known)
        assert run("node", "url").out == "ws://127.0.0.1:31418/ws\n"
        assert run("node", "url", "--json").json["token_file"] == str(home / "node" / "token")


# --- completion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(home: Any, run: Run, shell: str):
    done = run("completion", shell)
    assert done.code == 0
    assert "_HYPERPI_COMPLETE" in done.out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.out, text=True, check=False).returncode == 0


def test_tab_offers_verbs_and_agents(mesh: ControlSocket):
    mesh.mesh.add(agent("frontend", "n-attic", "attic"), agent("fresh"))

    def offered(words: str, place: int) -> list[str]:
        wanted = {"_HYPERPI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
        done = run_alone(**wanted)
        assert done.err == ""
        return [line.partition(",")[2] for line in done.out.splitlines()]

    assert offered("hyperpi com", 1) == ["completion"]
    assert offered("hyperpi node ap", 2) == ["approve"]
    assert offered("hyperpi attach f", 2) == ["fresh", "frontend@attic", "frontend@den"]


def test_tab_says_nothing_when_there_is_nobody_to_ask(home: Any):
    wanted = {"_HYPERPI_COMPLETE": "bash_complete", "COMP_WORDS": "hyperpi attach f", "COMP_CWORD": "2"}
    done = run_alone(**wanted)
    assert (done.code, done.out.strip(), done.err) == (0, "", "")


def test_a_refusal_leaves_stdout_empty_with_json_too(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["login.create"] = Refused(-32001, "only an admin makes a login link for an admin")
    done = run("login", "--json")
    assert (done.code, done.out) == (1, "")
