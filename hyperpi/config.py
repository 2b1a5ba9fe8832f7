"""Where things are and what was asked for: the only module that reads the environment.

Flags win over environment, environment over `HYPERPI_HOME/config.toml`, that over the defaults here.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperpi.errors import Unusable

PIDE_PORT = 31415
GRPC_PORT = 31416
ENROL_PORT = 31417
LOCAL_PORT = 31418  # a node's own /ws on loopback; another one is taken when it is busy

CHOOSE_HOME = "is that path right, yours, and its disk not full? HYPERPI_HOME or --home chooses another"
SECRET_VARIABLES = ("HYPI_TOKEN",)  # never handed to a child


class BadConfig(Unusable):
    """config.toml or a variable cannot be used; says which and why."""


@dataclass(frozen=True, slots=True)
class Home:
    """The state folder of one installation and the paths in it."""

    path: Path

    @property
    def hypivisor(self) -> Path:
        """The hypivisor's folder: store, CA, run.json."""
        return self.path / "hypivisor"

    @property
    def node(self) -> Path:
        """The node's folder: identity, policy, disk, keepers, run.json."""
        return self.path / "node"

    @property
    def logs(self) -> Path:
        """Log files of detached parts."""
        return self.path / "logs"

    def make(self, *parts: str) -> Path:
        """A private folder below the home, made if it is missing. Raises BadConfig when it cannot be."""
        folder = self.path
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            for part in ("", *parts):  # one by one: `parents` would make those above with the umask's mode
                folder = folder / part
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as exc:
            raise BadConfig(f"{folder} cannot be made: {exc.strerror}", hint=CHOOSE_HOME) from None
        return folder

    def socket_folder(self) -> Path:
        """A short private folder for Unix sockets: their paths are limited to about 100 bytes.

        Raises BadConfig when somebody else made it first.
        """
        import hashlib  # imported here: `hyperpi ls` has 250 ms, and finds the socket in run.json

        tag = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        base = Path(runtime) if runtime and len(runtime) < 48 and Path(runtime).is_dir() else Path("/tmp")  # noqa: S108  owner and mode are checked below
        if not base.is_dir():
            import tempfile

            base = Path(tempfile.gettempdir())
        folder = base / f"hyperpi-{os.getuid()}-{tag}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise BadConfig(
                f"{folder} is not a private folder of yours", hint="remove it, or set XDG_RUNTIME_DIR"
            )
        return folder


def default_home() -> Path:
    """The platform's user data folder."""
    import platformdirs  # imported here: most starts name a home in the environment

    return Path(platformdirs.user_data_dir("hyperpi", appauthor=False))


def _toml(text: str) -> Mapping[str, Any]:
    import tomllib  # imported here: most homes have no config.toml

    return tomllib.loads(text)


@dataclass(frozen=True, slots=True)
class Environment:
    """What the process environment and config.toml say; flags are laid over it by the command."""

    home: Home
    hypivisor: str | None = None  # address of a Pi-DE to talk to, HOST:PORT or URL
    token: str | None = None  # pre-shared operator token
    log_level: str = "warning"
    mdns: bool = True  # false: neither announce nor browse, as with --no-mdns on every verb
    settings: Mapping[str, Any] | None = None  # config.toml, whole

    def defaults(self) -> dict[str, Any]:
        """Tables of config.toml named like verbs, as defaults for their flags: [up] port = 8080."""
        tables = {name: table for name, table in (self.settings or {}).items() if isinstance(table, dict)}
        return {name: {k.replace("-", "_"): v for k, v in table.items()} for name, table in tables.items()}


def chosen_home(flag: str | None) -> Path | None:
    """The home that a flag or HYPERPI_HOME names, if one does."""
    chosen = flag or os.environ.get("HYPERPI_HOME")
    return Path(chosen).expanduser().absolute() if chosen else None


def read_environment(home: str | None = None) -> Environment:
    """Read HYPERPI_HOME, HYPIVISOR, HYPI_TOKEN, HYPERPI_LOG and config.toml. Raises BadConfig."""
    path = chosen_home(home) or default_home()
    settings: Mapping[str, Any] = {}
    file = path / "config.toml"
    try:
        settings = _toml(file.read_text("utf-8"))
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise BadConfig(f"{path} is no folder", hint="choose another with HYPERPI_HOME or --home") from None
    except OSError as exc:
        raise BadConfig(f"{file} cannot be read: {exc.strerror}", hint=CHOOSE_HOME) from None
    except ValueError as exc:
        raise BadConfig(f"{file}: {exc}", hint="mend or remove the file") from None
    mdns = settings.get("mdns", True)
    if not isinstance(mdns, bool):
        raise BadConfig(f"{file}: mdns is {mdns!r}", hint="mdns = false, or leave it out")
    return Environment(
        home=Home(path),
        hypivisor=os.environ.get("HYPIVISOR") or settings.get("hypivisor"),
        token=os.environ.get("HYPI_TOKEN") or None,
        log_level=os.environ.get("HYPERPI_LOG") or str(settings.get("log", "warning")),
        mdns=mdns,
        settings=settings,
    )


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for a part that we start, without secrets."""
    kept = {k: v for k, v in os.environ.items() if k not in SECRET_VARIABLES}
    return {**kept, **(extra or {})}


def owners_environment() -> dict[str, str]:
    """The environment that this process was started with: what agents of this machine inherit from."""
    return dict(os.environ)


def search_path() -> str:
    """Where this process finds programs."""
    return os.environ.get("PATH", os.defpath)


def sudo_user() -> str | None:
    """Who asks through sudo, if it is somebody else than root."""
    name = os.environ.get("SUDO_USER")
    return name if os.getuid() == 0 and name and name != "root" else None


def take_notify_socket() -> str | None:
    """Where a service manager waits for word; None if nobody does. Nothing that we start is to find it."""
    return os.environ.pop("NOTIFY_SOCKET", None)


def prepare_process() -> None:
    """Settle what libraries read from the environment once, at their import."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # with it 200 spawns take 1.6 s instead of 0.2
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its errors reach us as exceptions; stderr is for people
