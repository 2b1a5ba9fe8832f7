"""An agent that repeats what it is told. HYPERPI_HOME=… python3 echo_agent.py; hyperpi prompt echo hello"""

import json, os, pathlib, random, socket, time, uuid

INSTANCE = str(uuid.uuid4())  # one per life of this program: whoever dials again with it is the same agent
entries, events = [], []  # the conversation, and all that was ever told of it: event n is events[n - 1]


def say(role, text):
    name, blocks = f"m{len(entries)}", [{"type": "text", "text": text}]
    entries.append({"id": f"e{len(entries)}", "message_id": name, "role": role, "blocks": blocks})
    events.append({"type": "message_end", "message_id": name, "entry": entries[-1]})


def serve(node):
    def send(**message):
        print(json.dumps({"jsonrpc": "2.0", **message}), file=node, flush=True)

    me = {"instance": INSTANCE, "kind": "echo", "name": "echo", "cwd": os.getcwd(), "pid": os.getpid()}
    send(id=1, method="agent.register", params=me)
    for message in map(json.loads, node):
        number, asked, told = message.get("id"), message.get("params"), len(events)
        match message.get("method"):
            case None if number == 1:  # registered; so many of our events are there already
                told = message["result"]["acked"]
            case "prompt" if asked.get("images"):  # better than to leave them out without a word
                send(id=number, error={"code": -32602, "message": "echo takes no pictures"})
            case "prompt":
                say("user", asked["text"])
                say("assistant", f"You said: {asked['text']}")
                send(id=number, result={"receipt": "delivered"})
            case "snapshot":
                send(id=number, result={"entries": entries, "more": False, "running": None})
            case "deliver":  # a scroll: its answer, or {} now and `scroll.answer` later
                send(id=number, result={"opcode_type": "text_display", "content": "understood"})
            case str() if number is not None:  # ping, abort, stop: "not found" is a fine answer
                send(id=number, error={"code": -32601, "message": "not found"})
        if told < len(events):
            send(id=2, method="agent.events", params={"from": told + 1, "events": events[told:]})


while True:
    try:
        with socket.socket(socket.AF_UNIX) as dialled:
            dialled.connect(pathlib.Path(os.environ["HYPERPI_HOME"], "node/agent.addr").read_text().strip())
            serve(dialled.makefile("rw", encoding="utf-8", newline="\n"))
    except OSError:
        pass  # no node now: try again
    time.sleep(random.uniform(0.2, 1.0))
