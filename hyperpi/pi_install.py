"""Puts pi-socket where every pi of this user loads it, and takes it away again.

The files are copied, not linked: an upgrade or removal of this distribution must not break somebody's pi.
`node` is not imported (shared code stays below the parts); its folder is only located.
"""

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperpi.errors import Conflict, NotFound

FOLDER = Path("extensions", "pi-socket")
SETTINGS = "install.json"  # ours; says which home and how to start the node
SHIPPED_SUFFIXES = (".ts", ".json")
NOT_SHIPPED = ("tsconfig.json", SETTINGS)
SWAP_ATTEMPTS = 20  # each fails only if another installer was quicker between two renames
LOOKS_S = (0.01, 0.05, 0.0)  # another installer may have put ours there between the two questions
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


@dataclass(frozen=True, slots=True)
class PiInstall:
    """What stands in pi's extension folder. `current`: the same files as this distribution's."""

    folder: Path
    installed: bool
    version: str | None = None
    current: bool = False
    home: Path | None = None


def agent_dir(environ: Mapping[str, str]) -> Path:
    """pi's own folder, as pi finds it."""
    chosen = environ.get("PI_CODING_AGENT_DIR")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".pi" / "agent"


def install(agent_dir: Path, home: Path, start: Sequence[str] = ()) -> Path:
    """Copy pi-socket for the state folder `home`; `start` is the command that starts its node.

    An older pi-socket is replaced; the folder is whole at every moment but the one between two renames.
    Of two that install at the same moment the later one's stays. Returns the folder. Raises Conflict when
    something else is in its place.
    """
    folder = agent_dir / FOLDER
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not below extensions/: pi would load a half-copied folder there.
    fresh = Path(tempfile.mkdtemp(prefix=".pi-socket-", dir=agent_dir))
    try:
        for file in _shipped():
            shutil.copyfile(file, fresh / file.name)
        settings = {"home": str(home.absolute()), "start": list(start)}
        (fresh / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        fresh.chmod(0o755)
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def uninstall(agent_dir: Path) -> Path | None:
    """Remove pi-socket; the folder that it was in, or None when there was none. Raises Conflict."""
    folder = agent_dir / FOLDER
    if not os.path.lexists(folder):
        return None
    _refuse_foreign(folder)
    aside = Path(tempfile.mkdtemp(prefix=".pi-socket-", dir=agent_dir))
    try:
        # In one step: an installer may put a new one there while this one's files are removed.
        return folder if _step_aside(folder, aside) else None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def status(agent_dir: Path) -> PiInstall:
    """What is installed now."""
    folder = agent_dir / FOLDER
    if not _is_ours(folder):
        return PiInstall(folder, installed=False)
    settings = _read_json(folder / SETTINGS)
    home = settings.get("home")
    return PiInstall(
        folder,
        installed=True,
        version=str(_read_json(folder / "package.json").get("version")),
        current=_fingerprint(_shipped_in(folder)) == _fingerprint(_shipped()),
        home=Path(home) if isinstance(home, str) else None,
    )


def _shipped() -> list[Path]:
    spec = importlib.util.find_spec("node")
    found = [Path(place) / "pi_socket" for place in (spec.submodule_search_locations or [])] if spec else []
    for folder in found:
        if (folder / "index.ts").is_file():
            return _shipped_in(folder)
    raise NotFound("this installation has no pi-socket in it", hint="install the hyper-pi package again")


def _shipped_in(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.suffix in SHIPPED_SUFFIXES and file.name not in NOT_SHIPPED
    )


def _fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _is_ours(folder: Path) -> bool:
    return not folder.is_symlink() and _read_json(folder / "package.json").get("name") == "pi-socket"


def _refuse_foreign(folder: Path) -> None:
    for pause_s in LOOKS_S:
        if _is_ours(folder) or not os.path.lexists(folder):
            return
        time.sleep(pause_s)
    raise Conflict(f"{folder} is not Hyper-Pi's pi-socket", hint="move it away, then try again")


def _swap(fresh: Path, folder: Path) -> None:
    # A folder cannot be renamed over one that has files, so what is there steps aside first. Another
    # installer may put its own there just then, as whole as ours: that steps aside in its turn.
    for attempt in range(SWAP_ATTEMPTS):
        aside = fresh.with_name(f"{fresh.name}.old-{attempt}")
        _step_aside(folder, aside)
        try:
            fresh.rename(folder)
        except OSError as exc:
            if exc.errno not in TAKEN:
                with contextlib.suppress(OSError):  # none was there, or another's is
                    aside.rename(folder)
                raise
        else:
            return
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    raise Conflict(
        f"{folder} is being installed by something else all the time", hint="try again when it is done"
    )


def _step_aside(folder: Path, aside: Path) -> bool:
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return False
    return True


def _read_json(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
