"""One child, one node, one loop."""

import binascii
import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable

from node.keeping.child import NOTICE, Child, Pipes
from node.keeping.dialogs import Dialogs
from node.keeping.lines import Json, save
from node.keeping.link import Failed, NodeLink
from node.keeping.processes import process_at
from node.keeping.standby import Standby
from node.keeping.terminal import TerminalChild, size_of
from node.keeping.tree import MARK, Tree

VERSION = 2  # of what node and keeper say to each other; a keeper may be older than its node

FIRST_REDIAL_S, MAX_REDIAL_S = 0.1, 1.0  # how long an agent may be missing after a node's restart
STABLE_S = 5.0  # a connection that lived this long was a good one
ANSWER_S = 10.0  # a node that is slower than this hangs: dial again
LINGER_S = 30.0  # how long a finished keeper waits for a node to take its report
TERM_S = 2.0  # between SIGTERM and SIGKILL
SWEEP_S = 0.05  # between looks at what is left of the tree
MAX_SWEEPS = 100  # of these after SIGKILL; what is left then, only the kernel could end
SHUTDOWN_GRACE_S = 5.0  # when the keeper itself is told to end: the machine is going down,
SHUTDOWN_LINGER_S = 1.0  # and waits for nobody
MAX_GRACE_S = 600.0
SHOWN_EVERY_S = 1.0  # a terminal at which nobody looks is mentioned that often
ADOPTED_LOOK_S = 0.2  # where the system cannot tell of the end of another's child
STANDBY_AGAIN_S = 1.0  # after the end of one that stood by
REFUSED_AGAIN_S = 10.0  # after the system had no process, or no room on its disk, for us

Held = int | Pipes  # the master side of a terminal, or pipes


class Keeper:
    """One child, one node, one loop."""

    def __init__(self, spec_path: str, spec: Json, held: Held | None = None, heirs: int = 0) -> None:
        """`held`: by what a program is held that runs already, and whose keeper has died; `heirs`: so many of
        its keepers have died soon, one after the other.
        """
        self.spec_path = spec_path
        self.exit_path = spec_path.removesuffix(".json") + ".exit.json"
        self.spec = spec
        self.selector = selectors.DefaultSelector()
        self.timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self.woken = self.catch_signals()
        self.node = NodeLink(str(spec["address_file"]), self.selector, self.serve, self.on_lost)
        self.terminal: TerminalChild | None = None  # the child, if it has a terminal
        if "terminal_folder" in spec:
            master = held if isinstance(held, int) else None
            self.terminal = TerminalChild(spec, self.selector, self.on_shown, master)
            self.child: Child | TerminalChild = self.terminal
        else:
            pipes = held if isinstance(held, tuple) else None
            self.child = Child(spec, self.selector, self.on_request, pipes)
        self.program = self.child.program
        self.standby = Standby(self.let_go, heirs)
        self.dialogs = Dialogs(
            lambda method, params, answered: self.node.call(method, self.mine(params), answered),
            self.child.write,
            self.after,
            lambda name: self.timers.pop(name, None),
            heir=held is not None,
        )
        if held is not None:
            self.watch_adopted()
        self.tree = Tree(self.program.pid, self.program.start)
        self.registered = False  # the node knows us
        self.followed = False  # somebody looks at the terminal: the node is told at once of what it shows
        self.telling = False  # the node has not yet answered to what it was told last
        self.told = 0  # up to which offset it knows
        self.redial_s = FIRST_REDIAL_S
        self.dialled_at = 0.0
        self.stopping = False  # told to end the child
        self.shutdown = False  # told so by the system, not by a node
        self.terminated = False  # the tree has got SIGTERM
        self.linger_s = LINGER_S
        self.report: Json | None = None  # once the child has ended
        self.saved = False  # the report is on the disk
        self.taken = False  # a node has the report
        self.swept = False  # nothing is left of the tree
        self.lingered = False  # no node came for the report
        self.sweeps = 0

    def run(self) -> None:
        """Until the child has ended and somebody knows, or has waited long enough. Raises Succession."""
        self.dial()
        while not (self.swept and (self.taken or self.lingered)):
            for key, events in self.selector.select(self.wait_s()):
                if key.fd in self.selector.get_map():  # else an earlier one of this round closed it
                    key.data(events)
            self.run_timers()

    # timers

    def after(self, name: str, delay_s: float, act: Callable[[], None]) -> None:
        self.timers[name] = (time.monotonic() + delay_s, act)

    def wait_s(self) -> float | None:
        if not self.timers:
            return None
        return max(0.0, min(at for at, _ in self.timers.values()) - time.monotonic())

    def run_timers(self) -> None:
        now = time.monotonic()
        for name in [name for name, (at, _) in self.timers.items() if at <= now]:
            if name in self.timers:
                self.timers.pop(name)[1]()

    # signals

    def catch_signals(self) -> int:
        """Signals become bytes in a pipe. Handlers, not SIG_IGN: a child would inherit that."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.selector.register(woken, selectors.EVENT_READ, self.on_signal)
        return woken

    def on_signal(self, _events: int) -> None:
        caught = os.read(self.woken, 4096)
        if signal.SIGTERM in caught:
            self.linger_s = SHUTDOWN_LINGER_S
            self.shutdown = self.shutdown or not self.stopping
            self.stop(SHUTDOWN_GRACE_S)
            if "linger" in self.timers:
                self.after("linger", self.linger_s, self.on_lingered)
        if self.report is None and self.program.ended():
            self.on_exit()
        elif self.standby.ended():
            self.after("standby", STANDBY_AGAIN_S, self.stand_by)

    # who holds the program, and who will

    def stand_by(self) -> None:
        """Have somebody stand by, and write down who holds the program. Raises Succession in that process."""
        if self.stopping or self.report is not None:
            return
        try:
            self.standby.begin(self.child.held)
        except OSError as exc:
            complain(f"nobody stands by: {exc}")
            self.after("standby", REFUSED_AGAIN_S, self.stand_by)
        self.write_down()
        if self.registered:
            self.node.call("keeper.standby", self.mine(self.standby.state()), lambda _: None)

    def write_down(self) -> None:
        """For a node that comes later: who holds the program, and who will."""
        if self.report is not None:
            return  # a node that has heard of the end may have had the file removed
        try:
            save(self.spec_path, {**self.spec, **self.processes()})
        except OSError as exc:
            complain(f"cannot write {self.spec_path}: {exc}")
            self.after("write down", REFUSED_AGAIN_S, self.write_down)

    def processes(self) -> Json:
        """Who is who, for a node."""
        own = process_at(os.getpid())
        return {
            "pid": self.program.pid,
            "pid_start": self.program.start,
            "keeper_pid": os.getpid(),
            "keeper_start": own.start if own else "",
            **self.standby.state(),
        }

    def let_go(self) -> None:
        """In the process that stands by: this keeper is another one's business."""
        self.selector.close()
        self.node.abandon()

    def heir(self, heirs: int) -> "Keeper":
        """In the process that stood by: who holds the program from now on."""
        held = self.child.pipes if isinstance(self.child, Child) else self.child.master
        return Keeper(self.spec_path, {**self.spec, **self.processes()}, held, heirs)

    # the node

    def dial(self) -> None:
        self.dialled_at = time.monotonic()
        if not self.node.dial():
            self.redial()
        elif self.report is not None:
            self.send_report()
        else:
            names = ("agent", "instance", "kind")
            params = {name: self.spec[name] for name in names}
            params |= {
                "version": VERSION,
                "pid": self.program.pid,
                "pid_start": self.program.start,
                "keeper_pid": os.getpid(),
                "terminal": self.terminal_state(),
                **self.standby.state(),
            }
            self.ask("keeper.register", params, self.on_registered)

    def redial(self) -> None:
        """Exponential, with jitter: many keepers must not come back in step."""
        self.timers.pop("answer", None)
        jitter = 0.5 + int.from_bytes(os.urandom(2)) / (2 << 16)
        self.after("dial", self.redial_s * jitter, self.dial)
        self.redial_s = min(2 * self.redial_s, MAX_REDIAL_S)

    def mine(self, params: Json) -> Json:
        return {"agent": self.spec["agent"], **params}

    def on_lost(self) -> None:
        self.registered = False
        self.dialogs.lost()
        if time.monotonic() - self.dialled_at > STABLE_S:
            self.redial_s = FIRST_REDIAL_S
        self.redial()

    def ask(self, method: str, params: Json, answered: Callable[[Json | None], None]) -> None:
        self.after("answer", ANSWER_S, self.node.drop)
        self.node.call(method, params, answered)

    def on_registered(self, result: Json | None) -> None:
        self.timers.pop("answer", None)
        if result is None:  # it does not know us (yet): come back later, the agent goes on
            self.node.drop()
            return
        self.registered = True
        self.dialogs.registered()
        if self.terminal is not None:
            self.telling = False
            self.told = 0
            self.node.hand_over(self.terminal.master, {"agent": self.spec["agent"]})
            self.tell_shown()

    def serve(self, method: str, params: Json) -> Json:
        """What the node may ask. Raises Failed."""
        if method == "ping":
            return {}
        if method == "stop":
            grace_s = params.get("grace_s", SHUTDOWN_GRACE_S)
            if not isinstance(grace_s, int | float) or not 0 <= grace_s <= MAX_GRACE_S:
                raise Failed(-32602, f"grace_s must be seconds from 0 to {MAX_GRACE_S:g}")
            self.stop(float(grace_s), hang_up=params.get("hang_up") is not False)
            return {}
        if method == "input":
            return self.input(params.get("data"))
        if method == "dialog.answer":
            response = params.get("response")
            self.dialogs.answer(str(params.get("id")), response if isinstance(response, dict) else {})
            return {}
        if method == "resize" and self.terminal is not None:
            return self.resize(params)
        if method == "follow" and self.terminal is not None:
            self.followed = params.get("on") is True
            self.tell_shown()
            return {}
        raise Failed(-32601, f"a keeper has no method {method}")

    def on_request(self, request: Json) -> None:
        """An extension of pi asks or says something."""
        if request.get("method") != NOTICE:
            self.dialogs.opened(request)
        elif self.registered:  # what was said while nobody heard is not said again
            said: Json = {
                "text": str(request.get("message", "")),
                "level": str(request.get("notifyType", "")),
            }
            self.node.call("keeper.notice", self.mine(said), lambda _: None)

    def input(self, data: object) -> Json:
        try:
            raw = binascii.a2b_base64(str(data), strict_mode=True)
        except ValueError:
            raise Failed(-32602, "data must be base64") from None
        if not self.child.write(raw):
            raise Failed(-32029, "the agent does not read its input")
        return {}

    # the terminal

    def terminal_state(self) -> Json | None:
        if self.terminal is None:
            return None
        cols, rows = self.terminal.size
        return {"cols": cols, "rows": rows, "end": self.terminal.recorder.end}

    def resize(self, params: Json) -> Json:
        assert self.terminal is not None
        size = size_of(params)
        if size is None:
            raise Failed(-32602, "cols and rows are whole numbers from 1")
        self.terminal.resize(*size)
        return {}

    def on_shown(self) -> None:
        if self.followed:
            self.tell_shown()
        elif "shown" not in self.timers:  # a sign of life is enough
            self.after("shown", SHOWN_EVERY_S, self.tell_shown)

    def tell_shown(self) -> None:
        """Say how far the recording goes; while that is on its way, what comes on top is told together."""
        if self.terminal is None or self.telling or self.terminal.recorder.end == self.told:
            return
        if self.node.socket is None or self.report is not None:
            return
        self.telling = True
        self.told = self.terminal.recorder.end
        self.node.call("keeper.shown", {"agent": self.spec["agent"], "end": self.told}, self.on_shown_told)

    def on_shown_told(self, result: Json | None) -> None:
        self.telling = False
        if result is not None and self.followed:
            self.tell_shown()

    def watch_adopted(self) -> None:
        """Its end is no SIGCHLD of ours."""
        try:
            ended = os.pidfd_open(self.program.pid)
        except (OSError, AttributeError):
            self.after("adopted", ADOPTED_LOOK_S, self.look_at_adopted)
        else:
            self.selector.register(ended, selectors.EVENT_READ, lambda _: self.on_adopted_end(ended))

    def look_at_adopted(self) -> None:
        if self.program.ended():
            self.on_exit()
        else:
            self.after("adopted", ADOPTED_LOOK_S, self.look_at_adopted)

    def on_adopted_end(self, ended: int) -> None:
        self.selector.unregister(ended)
        os.close(ended)
        if self.report is None:
            self.on_exit()

    # stopping

    def stop(self, grace_s: float, *, hang_up: bool = True) -> None:
        """Close stdin, or hang up the terminal, unless the node asks the program by itself; after the grace
        SIGTERM to the whole tree, then SIGKILL. Repeated: it only hurries.
        """
        if self.report is not None or self.terminated:
            return
        if self.stopping:
            grace_s = min(grace_s, self.timers["end"][0] - time.monotonic())
        else:
            self.stopping = True
            self.standby.dismiss()  # with copies of the pipes it would keep the child from seeing their end
            self.look_at_tree()  # now: whose parents have ended is not to be told any more
        if hang_up:
            self.child.end_input()
        self.after("end", grace_s, self.terminate)

    def look_at_tree(self) -> None:
        """A stop ends also what commands have left running in the background; another end leaves it."""
        mark = f"{MARK}={self.spec['agent']}" if self.stopping else None
        self.tree.look(self.node.peer_pid(), mark)

    def terminate(self) -> None:
        self.terminated = True
        self.look_at_tree()
        self.child.end_input()  # a shell in a terminal does not mind SIGTERM
        self.tree.send(signal.SIGTERM)
        self.after("end", TERM_S, self.kill)

    def kill(self) -> None:
        """Again and again, since members may still start others; rarely, once it does not seem to help."""
        self.look_at_tree()
        self.tree.send(signal.SIGKILL)
        self.sweeps += 1
        self.after("end", SWEEP_S if self.sweeps < MAX_SWEEPS else LINGER_S, self.kill)

    def sweep(self) -> None:
        """After the child's end: wait until nothing is left of its tree."""
        self.look_at_tree()
        if self.tree.known and self.sweeps < MAX_SWEEPS:
            self.after("sweep", SWEEP_S, self.sweep)
            return
        self.timers.pop("end", None)
        self.swept = True
        if self.stopping:
            self.finish()

    # the end

    def on_exit(self) -> None:
        self.standby.dismiss()
        code = self.program.code
        self.child.close_input()
        self.child.drain()
        self.report = {
            "agent": self.spec["agent"],
            "instance": self.spec["instance"],
            "kind": self.spec["kind"],
            "pid": self.program.pid,
            "code": code if code is not None and code >= 0 else None,
            "signal": signal_name(-code) if code is not None and code < 0 else None,
            "stopped": self.stopping,
            "shutdown": self.shutdown,
            "at": time.time(),
            "output": self.child.tail.text(),
        }
        self.save_report()
        self.terminate()
        self.sweep()
        if not self.stopping:  # a stop has ended only when all of the tree has
            self.finish()

    def finish(self) -> None:
        """Tell the node of the end, or wait for one."""
        self.after("linger", self.linger_s, self.on_lingered)
        if self.node.socket is not None:
            self.send_report()

    def save_report(self) -> None:
        assert self.report is not None
        try:
            save(self.exit_path, self.report)
            self.saved = True
        except OSError as exc:
            complain(f"cannot write {self.exit_path}: {exc}")

    def send_report(self) -> None:
        if self.report is not None and not self.taken and "linger" in self.timers:
            self.ask("keeper.exited", self.report, self.on_report_answered)

    def on_report_answered(self, result: Json | None) -> None:
        self.timers.pop("answer", None)
        if result is None:
            self.node.drop()
            return
        self.taken = True
        for path in (self.spec_path, self.exit_path):  # in this order it never looks as if we had been lost
            with contextlib.suppress(OSError):
                os.unlink(path)

    def on_lingered(self) -> None:
        """The report is on the disk for the next node. If it is not, it must not be lost with us, unless the
        whole home has been removed: then nobody will ever ask.
        """
        if not self.saved:
            self.save_report()
        if self.saved or not os.path.isdir(os.path.dirname(self.exit_path)):
            self.lingered = True
        else:
            self.after("linger", LINGER_S, self.on_lingered)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def complain(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"keeper {os.getpid()}: {text}\n".encode("utf-8", "replace"))
