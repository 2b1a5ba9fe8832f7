"""`hyperpi node install-service`: the node as a service of this machine, or of its user."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hyperpi import config
from hyperpi.cli.options import Verb, chosen_home
from hyperpi.cli.output import note
from hyperpi.cli.service_files import Plan, Service, launchd_plan, systemd_plan
from hyperpi.cli.service_owner import whoever_asks
from hyperpi.errors import Conflict, HyperPiError, NotFound

RUN_S = 60.0
START_S = 60.0  # of a person who waits for the node to serve; one that restores its disk takes longer
LINGERING = Path("/var/lib/systemd/linger")  # a file for each user whose services outlive the login
SYSTEMD_SYSTEM, LAUNCHD_SYSTEM = Path("/etc/systemd/system"), Path("/Library/LaunchDaemons")


@click.command(
    "install-service",
    cls=Verb,
    example="""hyperpi node install-service
               hyperpi node install-service --print
               sudo hyperpi node install-service --system
               hyperpi node install-service --remove""",
)
@click.option("--user", "of_user", is_flag=True, help="For your user: nothing needs root.  [default]")
@click.option("--system", is_flag=True, help="For the machine, run as the user who asks through sudo.")
@click.option("--print", "only_print", is_flag=True, help="Write and run nothing; print what would be.")
@click.option("--remove", is_flag=True, help="End the service and take its file away; agents go on.")
def install_service(of_user: bool, system: bool, only_print: bool, remove: bool) -> None:
    """Have the node of this machine started with it, and again should it fail.

    A node that runs already makes room for the service's; agents do not notice. What is written and run is
    printed. Ending or restarting the service ends no agent.
    """
    if of_user and system:
        raise click.UsageError("either --user or --system")
    if not system and (behind := config.sudo_user()):
        # As root we would write wherever links in that person's home lead, and leave them files of root's.
        raise Conflict(
            f"this would be a service of {behind}, who needs no root for it",
            hint="run it without sudo, or with --system",
        )
    plan = plan_for(system)
    if only_print:
        for command in plan.end if remove else ():
            note(" ".join(command))
        note(f"{'remove' if remove else 'write'} {plan.path}")
        if not remove:
            click.echo(plan.content.decode(), nl=False)
        for command in plan.after_removal if remove else plan.start:
            note(" ".join(command))
    elif remove:
        _remove(plan)
    else:
        _install(plan, system)


def plan_for(system: bool) -> Plan:
    """What is to be done on this machine. Raises NotFound where there is no service manager that we know."""
    owner = whoever_asks()
    service = Service(
        command(),
        {
            "HYPERPI_HOME": str(chosen_home() or owner.default_home),
            # A service is given a short PATH; agents need the one that their programs were installed in.
            "PATH": owner.environment.get("PATH") or config.search_path(),
        },
        owner.name if system else None,
    )
    if sys.platform == "darwin":
        agents = owner.folder / "Library" / "LaunchAgents"
        return launchd_plan(service, LAUNCHD_SYSTEM if system else agents, owner.uid)
    if sys.platform != "linux":
        raise NotFound("this system has neither systemd nor launchd", hint="see deploy/README.md")
    folder = owner.environment.get("XDG_CONFIG_HOME") or str(owner.folder / ".config")
    return systemd_plan(service, SYSTEMD_SYSTEM if system else Path(folder) / "systemd" / "user")


def command() -> tuple[str, ...]:
    """How this very installation is called."""
    beside = Path(sys.executable).parent / "hyperpi"
    return (str(beside),) if beside.exists() else (sys.executable, "-m", "hyperpi.cli.main")


def _install(plan: Plan, system: bool) -> None:
    try:
        plan.path.parent.mkdir(parents=True, exist_ok=True)
        plan.path.write_bytes(plan.content)
    except OSError as exc:
        hint = "run it with sudo" if system else "--print shows what it would be"
        raise Conflict(f"{plan.path} was not written: {exc.strerror}", hint=hint) from None
    click.echo(f"wrote {plan.path}")
    if shutil.which(plan.start[0][0]) is None:
        note(f"{plan.start[0][0]} is not here, so nothing was started")
        return
    for one in plan.start:
        if "restart" in one:
            _start(one)
        else:
            _run(one)
    of_user = plan.start[0][:2] == ("systemctl", "--user")
    if of_user and not (LINGERING / whoever_asks().name).exists():
        note("so that it also runs while you are not logged in: loginctl enable-linger")


def _remove(plan: Plan) -> None:
    if not plan.path.exists():
        note(f"there is no {plan.path}")
        return
    if shutil.which(plan.end[0][0]) is not None:
        for one in plan.end:
            _run(one)
    try:
        plan.path.unlink()
    except OSError as exc:
        raise Conflict(f"{plan.path} was not removed: {exc.strerror}", hint="run it with sudo") from None
    click.echo(f"removed {plan.path}")
    if plan.after_removal and shutil.which(plan.after_removal[0][0]) is not None:
        for one in plan.after_removal:
            _run(one)


class _TakesLong(HyperPiError):
    """A command has not ended in its time."""


def _start(argv: Sequence[str]) -> None:
    """Wait for the node to serve, but not for ever: it goes on with what it does without us."""
    try:
        _run(argv, START_S)
    except _TakesLong:
        status = " ".join("status" if word == "restart" else word for word in argv)
        note(f"the service is still starting; `{status}` says how it is")


def _run(argv: Sequence[str], wait_s: float = RUN_S) -> None:
    click.echo(" ".join(argv))
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=wait_s, check=False)
    except subprocess.TimeoutExpired:
        raise _TakesLong(f"{' '.join(argv)} does not end", hint="run it by hand") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        hint = "the file is in place; run the command where the service manager can be reached"
        if "restart" in argv:
            hint = "it is tried again every two seconds; `hyperpi node run` by hand says what is in its way"
        raise HyperPiError(
            f"{' '.join(argv)} failed: {said[-1] if said else f'exit code {done.returncode}'}", hint=hint
        )
