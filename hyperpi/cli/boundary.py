"""Running the command: its root, and what becomes of errors.

Exit codes of the contract: 0 done, 1 refused or failed, 2 wrong usage, 3 nothing to talk to; 130 after
Ctrl-C. An error is one line on stderr with what to do next, never a traceback.
"""

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from hyperpi.cli.group import Lazy, LazyGroup, Stopped
from hyperpi.cli.main import VERBS
from hyperpi.cli.options import examples, reach_options
from hyperpi.cli.words import one_line
from hyperpi.config import prepare_process, read_environment
from hyperpi.errors import AmbiguousName, HyperPiError, NothingThere

DONE, FAILED, WRONG_USAGE, NOTHING_THERE, INTERRUPTED = 0, 1, 2, 3, 130
FULL = {errno.ENOSPC, errno.EDQUOT}
MAX_CANDIDATES = 20  # of an ambiguous name in a hint


def root(defaults: Mapping[str, Any] | None = None) -> LazyGroup:
    """The command with all its verbs, none of them imported; `defaults` for their flags, by verb."""
    from hyperpi import __version__

    group = LazyGroup(
        name="hyperpi",
        table={name: Lazy(*verb) for name, verb in VERBS.items()},
        help="One mesh of every coding agent on every machine you own: see it, steer it, trust it.",
        epilog=examples(
            """hyperpi up                    start here; open the link that it prints
               hyperpi ls                    what runs where
               hyperpi spawn ~/code/site     start an agent in a folder
               hyperpi attach site           read along and talk to it
               hyperpi VERB --help           more about a verb"""
        ),
        params=reach_options(),
        context_settings={
            "help_option_names": ["-h", "--help"],
            "max_content_width": 100,
            "default_map": defaults,
        },
    )
    return click.version_option(__version__, message="hyperpi %(version)s")(group)


def run(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    _settle_streams()
    prepare_process()
    try:
        code = _invoke(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Stopped as stopped:
        return _reader_gone() if isinstance(stopped.by, BrokenPipeError) else INTERRUPTED
    return code


def _settle_streams() -> None:
    """Streams that are closed count as empty; a terminal that is not UTF-8 still gets its table."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  as long as the process
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _home_in(argv: Sequence[str]) -> str | None:
    """--home, wherever it stands: its config.toml has a say before flags are parsed."""
    ours = argv[: argv.index("--")] if "--" in argv else argv
    for place, word in enumerate(ours):
        if word == "--home":
            return next(iter(ours[place + 1 :]), None)
        if word.startswith("--home="):
            return word.removeprefix("--home=")
    return None


def _invoke(argv: Sequence[str]) -> int:
    try:
        known = read_environment(_home_in(argv))
        code = root(known.defaults()).main(list(argv), prog_name="hyperpi", standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx else "hyperpi"
        _report(exc.format_message(), f"`{path} --help` explains it")
        return WRONG_USAGE
    except click.ClickException as exc:
        _report(exc.format_message(), None)
        return FAILED
    except HyperPiError as exc:
        _explain()
        _report(str(exc), _hint(exc))
        return NOTHING_THERE if isinstance(exc, NothingThere) else FAILED
    except (Stopped, BrokenPipeError):
        raise
    except OSError as exc:
        _explain()
        reason = f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc)
        full = exc.errno in FULL
        _report(reason, "make room on that disk, then try again" if full else None)
        return FAILED
    except Exception as exc:  # the boundary: a bug shows as one line too; its traceback is for who asks
        _explain()
        reason = str(exc) or "no reason given"
        _report(f"{type(exc).__name__}: {reason}", "HYPERPI_LOG=debug shows where this comes from")
        return FAILED
    return code if isinstance(code, int) else DONE


def _hint(exc: HyperPiError) -> str | None:
    found = exc.data.get("candidates")
    if isinstance(exc, AmbiguousName) and isinstance(found, list) and found:
        names = [str(name) for name in found]
        more = f", and {len(names) - MAX_CANDIDATES} more" if len(names) > MAX_CANDIDATES else ""
        return "say which: " + ", ".join(names[:MAX_CANDIDATES]) + more
    return exc.hint


def _report(reason: str, hint: str | None) -> None:
    click.echo(f"hyperpi: {one_line(reason)}", err=True)
    if hint:
        click.echo(f"  -> {one_line(hint)}", err=True)


def _explain() -> None:
    """With HYPERPI_LOG=debug, where the error that is being handled comes from."""
    try:
        wanted = read_environment().log_level.lower() == "debug"
    except HyperPiError:
        return
    if wanted:
        import traceback

        traceback.print_exc()


def _reader_gone() -> int:
    """Whoever read our output has had enough, as `head` has; that is no failure of ours."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())  # or the interpreter would complain when it flushes at its end
    return DONE
