"""Puts pi-socket where every pi of this user loads it, and takes it away again.

The files are copied, not linked: an upgrade or removal of this distribution must not break somebody's pi.
`node` is not imported (shared code stays below the parts); its folder is only located.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperpi.errors import Conflict, NotFound

FOLDER = Path("extensions", "pi-socket")
SETTINGS = "install.json"  # ours; says which home and how to start the node
SHIPPED_SUFFIXES = (".ts", ".json")
NOT_SHIPPED = ("tsconfig.json", SETTINGS)


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
    Returns the folder. Raises Conflict when something else is in its place.
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
    shutil.rmtree(folder)
    return folder


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
    if os.path.lexists(folder) and not _is_ours(folder):
        raise Conflict(f"{folder} is not Hyper-Pi's pi-socket", hint="move it away, then try again")


def _swap(fresh: Path, folder: Path) -> None:
    # A folder cannot be renamed over one that has files, so the old one steps aside first.
    aside = fresh.with_name(fresh.name + ".old")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _read_json(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
