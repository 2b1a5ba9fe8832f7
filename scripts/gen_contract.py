"""Generate docs/contract/ from hyperpi/contract and hyperpi/roles.py: JSON Schemas and a table of methods.

    python scripts/gen_contract.py            write what changed
    python scripts/gen_contract.py --check    exit 1 and name the files when the committed ones differ

One schema per method (its params), one per method of the agent socket, and shapes.json with every shape that
answers are made of. What no struct says yet, the answer of a method, stands here as a line of the table; a
method without such a line is an error.
"""

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hyperpi import contract, roles
from hyperpi.status import WIRE_STATUS

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "contract"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Row(NamedTuple):
    """What a method answers; `takes` for params that no struct describes."""

    answers: str
    takes: str = "`{}`"


VIEWER_METHODS = {
    "mesh.get": Row(
        "`{mesh, epoch, rev, me: {name, role}, nodes: [Node], agents: [Agent], limits}`; then `mesh.changed`"
    ),
    "agent.attach": Row(
        '`{agent, resume: "ok"|"fresh"|"gap", epoch, seq, snapshot?: Snapshot, terminal?: {offset, start,'
        " end, cols, rows}}`; then `agent.events`, and with `terminal` also `agent.terminal`, from `offset`"
        " on: where that is not the one asked for, what lies between is not kept"
    ),
    "agent.detach": Row("`{}`"),
    "agent.history": Row("`{entries: [Entry], more}`, oldest first"),
    "agent.snapshot": Row("`{epoch, seq, snapshot: Snapshot}`, without attaching"),
    "agent.show": Row(
        "`Agent` with `card: Card`, null while its node is away, and `last_output`: the "
        "last lines of one that did not end well, and `queue: [QueuedPrompt]`, absent while its node is away;"
        " it has the whole texts of lost prompts that are `kept`",
        "`{agent}`",
    ),
    "agent.prompt": Row(
        '`{id, receipt: "stored"|"queued"|"delivered"|"unknown"|"cancelled"}`; then `prompt.changed` to'
        " those attached"
    ),
    "agent.abort": Row("`{}`"),
    "agent.stop": Row("`{ended?}`: how, of one that had ended before"),
    "agent.input": Row("`{}`"),
    "agent.resize": Row("`{}`"),
    "agent.scrollback": Row(
        "`{offset, data, start, end, cols, rows, epoch, seq}`: bytes in base64 from `offset` on, of those "
        "from `start` to `end` that are kept"
    ),
    "agent.recording": Row("`{lines: [text], next}`: lines of an asciicast, version 2"),
    "agent.forget": Row("`{}`"),
    "agent.rename": Row("`{}`"),
    "agent.complete": Row(
        "`{word, items: [{text, kind, description}], more}`: `text` goes where `word`, the end of what "
        "stands before the cursor, is; `kind`: command, prompt, skill, file or folder"
    ),
    "agent.unqueue": Row(
        "`{id, text, mode, images}`: the whole text, images only counted; -32009 when it has begun"
    ),
    "agent.configure": Row(
        "`{model, thinking, mode}`: what the agent uses now; -32602 with others for an unknown one"
    ),
    "agent.resume": Row(
        "`{agent, address}` of the new agent, or of the one that goes on with it already; -32009 while it "
        "has not ended, or with nothing to go on with"
    ),
    "agent.answer": Row("`{approval: Approval}` as it was decided; -32009 when somebody was faster"),
    "agent.policy": Row("`{mode, from}`: what holds now; -32012 when node.toml wants a stricter one"),
    "approval.list": Row("`{approvals: [Approval with address], complete}`, oldest first"),
    "node.folders": Row("`{path, parent, folders: [{name, path, project, agents}], allowed}`"),
    "node.kinds": Row("`{kinds: [AgentKind]}`: what its node.toml lets be started"),
    "node.spawn": Row("`{agent, address}`"),
    "disk.mirrors": Row(
        "`{mirrors: [{node, name, state, reason, since, commit, lag, sent_bytes}],"
        " copies: [{of, name, copy, disk, whole, following, commit, bytes, made_at, heard_at, source_at, lag,"
        " path}], restore, accept, max_bytes, rate}`;"
        ' lag is `{commits, bytes, seconds}`, state `"waiting"|"copying"|"following"|"paused"`'
    ),
    "disk.mirror": Row("as `disk.mirrors`"),
    "disk.drop": Row("as `disk.mirrors`"),
    "disk.restore": Row(
        "`{restore, from, state, bytes, total_bytes}`: it goes on behind;"
        " `restore` of `disk.mirrors` tells how, also after the node has started again with the restored disk"
    ),
    "node.approve": Row("`{name, confirmed}`: the machine, and whether its person has confirmed the digits"),
    "node.deny": Row("`{name}`"),
    "node.revoke": Row("`{}`"),
    "node.join_address": Row(
        "`{addresses, enrol_port, fingerprint}`: where machines enrol, and the mesh's fingerprint"
    ),
    "node.nearby": Row(
        "`{candidates: [Nearby], more, listening}`: machines heard of by mDNS that could join; `more` when "
        "not all found room, `listening` false with `--no-mdns`; then `nearby.changed`"
    ),
    "token.create": Row(
        "`{id, token, role, expires, command?, qr?}`; the token is shown this once. `command`: what joins a "
        "machine with it. `qr`: rows of 0 and 1, without a margin"
    ),
    "token.ls": Row("`{tokens: [Token]}`; then `trust.changed`"),
    "token.revoke": Row("`{}`"),
    "login.create": Row("`{url, expires, qr?}`"),
    "session.ls": Row("`{sessions: [LoginSession]}`; then `trust.changed`"),
    "session.revoke": Row("`{}`"),
    "audit.list": Row(
        "`{rows: [AuditRow], next}`: `next` is the `before` of the next page, null when there is none. A "
        "page may have fewer rows than `limit`, even none, although there are more: it looks at 10,000"
    ),
    "audit.verify": Row(
        "`{rows, head, broken_at, reason}`: whether the chain is whole, and the first row where it is not"
    ),
    "scroll.send": Row('`{scroll_id, state: "accepted", at, receipts}`; then `scroll.changed` to the sender'),
    "scroll.list": Row("`{scrolls: [Scroll with side, at, state, receipts], complete}`"),
    "scroll.get": Row("one of those"),
    "disk.list": Row("`{banks: [{bank, name, width, height, zones}], max_banks, commit, failed}`"),
    "disk.rows": Row("`{bank, rows: [{row, state, kind, seq, at, …, content?}]}`; `content` is base64"),
    "disk.png": Row("`{commit, at, etag, png?}`: a consistent picture, base64"),
    "disk.watch": Row(
        "`{node, bank}`; from then on `disk.changed`. Watch first, then read: nothing is missed"
    ),
    "disk.unwatch": Row("`{}`"),
    "disk.history": Row(
        "`{bank, oldest, newest, commits: [{commit, at, rows: [{row, state, kind, seq}]}]}`, oldest first; "
        "`oldest` is the first commit after which the disk can still be shown"
    ),
    "disk.snapshot": Row("`{snapshots: [path]}`", "`{node}`"),
    "disk.verify": Row("`{problems: [{file, row, offset, what, remedy}], count, at}`; none: sound"),
}

SOCKET_METHODS: dict[str, tuple[type[contract.Shape] | None, str]] = {
    "agent.register": (contract.Register, "`{agent, name, url, heartbeat_s, acked, approvals: AskPolicy}`"),
    "agent.events": (contract.AgentEvents, "`{acked}`: the number up to which they may be forgotten"),
    "agent.changed": (contract.AgentChanged, "`{}`"),
    "agent.bye": (contract.AgentBye, "`{}`"),
    "approval.ask": (contract.ApprovalAsk, "Approval: pending, or how it was decided"),
    "approval.answer": (contract.ApprovalAnswer, "Approval: somebody else may have been faster"),
    "approval.withdraw": (contract.ApprovalWithdraw, "`{}`"),
    "scroll.send": (contract.Scroll, "as above"),
    "scroll.answer": (contract.ScrollAnswer, "`{}`"),
    "mesh.peers": (None, "`{agents: [Agent]}` of this machine"),
}

NOTICES = {
    "mesh.changed": "`{epoch, from, rev, nodes?, agents?, gone?}`: the revisions (from, rev]; "
    "after a hole or another epoch call `mesh.get` again",
    "agent.events": "`{agent, epoch, events: [Event]}` of the agents that are attached",
    "agent.terminal": "`{agent, offset, data, cols?, rows?}`: bytes in base64 that its terminal shows; with "
    "a size, it has that from here on. An offset beyond the end of the bytes before: some were skipped",
    "agent.reset": "`{agent, epoch, reason, terminal?}`: the conversation itself changed, or with `terminal` "
    "just the stream of its terminal; attach again",
    "prompt.changed": "`{agent, id, receipt}`",
    "approval.settled": "`{agent, approval, state, by, note, action, hash}`: at its terminal, or by time",
    "nearby.changed": "`{}`: an admin who shows `node.nearby` asks again",
    "trust.changed": "`{}`, to admins: tokens, sessions or the audit trail may have changed; twice a second "
    "at most",
    "scroll.changed": "`{scroll_id, to, state, opcode?, reason?}`, one series per recipient",
    "disk.changed": "`{node, bank, rows: [{row, state, kind, seq}]}` of the banks that are watched: each row "
    "as it is now. Changes that follow one another quickly are told as one",
}

INTRO = """\
# The contract: methods, shapes, errors

Generated by `scripts/gen_contract.py` from `hyperpi/contract` and `hyperpi/roles.py`; do not edit.

JSON-RPC 2.0, one object per message, at most 1 MiB. The same methods are served by Pi-DE (`/ws`), by a node
on loopback (`/ws`, its own agents when there is no mesh), and on the control sockets that the `hyperpi`
command uses. Unknown fields are accepted and ignored. A role may do what the roles before it may: viewer,
operator, admin.
"""


def main() -> None:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="Generate docs/contract/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something differs")
    checking: bool = parser.parse_args().check
    wanted = dict(files())
    stale = [name for name, text in wanted.items() if _read(FOLDER / name) != text]
    extra = [path.name for path in sorted(FOLDER.glob("*")) if path.name not in wanted]
    if checking:
        if stale or extra:
            sys.exit("docs/contract differs, run scripts/gen_contract.py: " + ", ".join(stale + extra))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(wanted[name], "utf-8")
    for name in extra:
        (FOLDER / name).unlink()
    print(f"docs/contract: {len(stale)} written, {len(extra)} removed, {len(wanted)} in all")


def files() -> Iterator[tuple[str, str]]:
    """Every generated file: its name and its text. Exits when a method has no line here."""
    if missing := sorted(roles.METHOD_ROLES.keys() ^ VIEWER_METHODS.keys()):
        sys.exit(f"scripts/gen_contract.py and hyperpi/roles.py disagree about {', '.join(missing)}")
    for method, shape in contract.METHOD_PARAMS.items():
        yield f"{method}.json", _schema_file(method, shape)
    for method, (socket_shape, _) in SOCKET_METHODS.items():
        if socket_shape is not None and method not in contract.METHOD_PARAMS:
            yield f"{method}.json", _schema_file(method, socket_shape)
    yield "shapes.json", _shapes_file()
    yield "README.md", _index()


def _schema_file(method: str, shape: type[contract.Shape]) -> str:
    (schema,), components = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    root = components.pop(schema["$ref"].rpartition("/")[2])
    document = {"$schema": DIALECT, "$id": f"{method}.json", **root, "title": f"params of {method}"}
    return _json({**document, "$defs": components} if components else document)


def _shapes_file() -> str:
    shapes = [
        kind
        for _, kind in inspect.getmembers(contract, inspect.isclass)
        if issubclass(kind, contract.Shape) and kind is not contract.Shape
    ]
    _, components = msgspec.json.schema_components(shapes, ref_template="#/$defs/{name}")
    return _json({"$schema": DIALECT, "$id": "shapes.json", "$defs": dict(sorted(components.items()))})


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _index() -> str:
    parts = [INTRO, "\n## Methods\n", "| method | role | params | answers |", "|---|---|---|---|"]
    for method, role in roles.METHOD_ROLES.items():
        row = VIEWER_METHODS[method]
        takes = f"[schema]({method}.json)" if method in contract.METHOD_PARAMS else row.takes
        parts.append(f"| `{method}` | {role} | {takes} | {_cell(row.answers)} |")
    parts += ["\nShapes are in [shapes.json](shapes.json); `Snapshot`, `Entry` and `Event` are in"]
    parts += ["[the agent socket's page](../agent-socket.md), since agents make them.\n"]
    parts += ["## Routes of Pi-DE\n", "| route | role |", "|---|---|"]
    parts += [f"| `{route}` | {role} |" for route, role in roles.ROUTE_ROLES.items()]
    parts += ["\n`public`: no credential is asked for. What is not listed is refused.\n"]
    parts += ["## Notices\n", "| method | params |", "|---|---|"]
    parts += [f"| `{method}` | {_cell(text)} |" for method, text in NOTICES.items()]
    parts += [
        "\n## The agent socket: what an agent calls\n",
        "| method | params | answers |",
        "|---|---|---|",
    ]
    for method, (shape, answers) in SOCKET_METHODS.items():
        takes = f"[schema]({method}.json)" if shape is not None else "`{}`"
        parts.append(f"| `{method}` | {takes} | {_cell(answers)} |")
    parts += ["\n## Errors\n", "| error | JSON-RPC | HTTP | gRPC | means |", "|---|---|---|---|---|"]
    for error, status in WIRE_STATUS.items():
        means = _cell(inspect.getdoc(error) or "").replace("\n", " ")
        parts.append(f"| {error.__name__} | {status.json_rpc} | {status.http} | {status.grpc} | {means} |")
    parts.append(
        "\n`error.data` may hold `{hint}`, what to do next, and `{candidates}` for an ambiguous name."
    )
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    main()
