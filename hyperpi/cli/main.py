"""The command `hyperpi`: which verbs there are, and the one place where errors end.

Nothing is imported before it is needed, not even click: `hyperpi ls` has 250 ms for everything, and a Ctrl-C
in the first of them is as quiet as later.
"""

import sys

# verb -> where it is, what it does, heading
VERBS = {
    "up": ("hyperpi.cli.up:up", "Start a mesh here: hypivisor, Pi-DE and the local node", "Start"),
    "hypivisor": ("hyperpi.cli.hypivisor:hypivisor", "The hypivisor alone", "Start"),
    "pide": ("hyperpi.cli.pide:pide", "Pi-DE alone, for a hypivisor elsewhere", "Start"),
    "node": ("hyperpi.cli.node:node", "The node of this machine, and the machines of the mesh", "Start"),
    "ls": ("hyperpi.cli.ls:ls", "List agents", "Agents"),
    "show": ("hyperpi.cli.show:show", "One agent: state, folder, model, tools", "Agents"),
    "spawn": ("hyperpi.cli.spawn:spawn", "Start an agent in a folder", "Agents"),
    "attach": ("hyperpi.cli.attach:attach", "An agent's whole conversation, then live", "Agents"),
    "recording": (
        "hyperpi.cli.recording:recording",
        "What an agent's terminal has shown, to replay",
        "Agents",
    ),
    "prompt": ("hyperpi.cli.prompt:prompt", "Say something to an agent", "Agents"),
    "queue": ("hyperpi.cli.queue:queue", "Prompts that wait for an agent", "Agents"),
    "abort": ("hyperpi.cli.acts:abort", "End what an agent is doing now", "Agents"),
    "stop": ("hyperpi.cli.acts:stop", "End an agent", "Agents"),
    "forget": ("hyperpi.cli.acts:forget", "Remove an ended agent from the lists", "Agents"),
    "resume": ("hyperpi.cli.resume:resume", "Go on with what an ended agent had been at", "Agents"),
    "rename": ("hyperpi.cli.acts:rename", "Give an agent another name", "Agents"),
    "model": ("hyperpi.cli.model:model", "Which model an agent uses, or shall use", "Agents"),
    "approvals": ("hyperpi.cli.approvals:approvals", "What agents wait for", "Agents"),
    "approve": ("hyperpi.cli.approvals:approve", "Let an agent do what it asks for", "Agents"),
    "deny": ("hyperpi.cli.approvals:deny", "Do not let an agent do what it asks for", "Agents"),
    "policy": ("hyperpi.cli.approvals:policy", "Say when an agent has to ask", "Agents"),
    "folders": ("hyperpi.cli.folders:folders", "Folders of a machine in which agents may start", "Agents"),
    "send": ("hyperpi.cli.send:send", "Send a scroll to an agent", "Scrolls and memory"),
    "scrolls": ("hyperpi.cli.scrolls:scrolls", "List scrolls and what became of them", "Scrolls and memory"),
    "disk": ("hyperpi.cli.disk:disk", "The PXLDisk of this machine", "Scrolls and memory"),
    "login": ("hyperpi.cli.login:login", "A one-use link that lets a browser in", "Trust"),
    "token": ("hyperpi.cli.tokens:token", "Tokens for machines, people and programs", "Trust"),
    "sessions": ("hyperpi.cli.sessions:sessions", "Browsers that are logged in", "Trust"),
    "audit": ("hyperpi.cli.audit:audit", "Who did what", "Trust"),
    "pi": ("hyperpi.cli.pi:pi", "The extension that registers every pi of yours", "This machine"),
    "doctor": (
        "hyperpi.cli.doctor:doctor",
        "Check this installation, with a fix for what is wrong",
        "This machine",
    ),
    "version": ("hyperpi.cli.version:version", "Versions", "This machine"),
    "completion": ("hyperpi.cli.completion:completion", "Completion for your shell", "This machine"),
}


def main() -> None:
    """Run the command and end the process with its exit code."""
    try:
        from hyperpi.cli import boundary

        code = boundary.run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
