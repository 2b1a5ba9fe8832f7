"""Folders listed, made and opened; and every way out of the allowed ones that we know, tried."""

import contextlib
import errno
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperpi import strict_json
from hyperpi.errors import BadRequest, Conflict, HyperPiError, NotFound, RefusedByPolicy
from node import folders
from node.folders import (
    Project,
    check_name,
    create_folder,
    list_folders,
    open_beneath,
    opened,
    project_kind,
    project_of,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's home with a few folders, beside a place that is none of their business."""
    home = Path(os.path.realpath(tmp_path)) / "home"
    for name in ("src/app/.git", "src/lib", "Music", ".config/secret", "zoo"):
        (home / name).mkdir(parents=True)
    (home / "src/lib/pyproject.toml").touch()
    (home / "notes.txt").touch()
    outside = home.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "loot").touch()
    return home


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to open: one system call, and step by step where the kernel lacks it."""
    if request.param == "walk":
        monkeypatch.setattr(folders, "_openat2", lambda *_: None)
    return str(request.param)


def names(home: Path, path: str | None = None, **more: bool) -> list[str]:
    return [f.name for f in list_folders([home], path, user_home=home, **more).folders]


# --- listing -------------------------------------------------------------------------------------------


def test_without_a_path_the_home_is_listed_without_hidden_folders_and_files(home: Path) -> None:
    listing = list_folders([home], None, user_home=home)
    assert [f.name for f in listing.folders] == ["Music", "src", "zoo"]
    assert (listing.path, listing.parent, listing.allowed, listing.more) == (str(home), None, True, False)


def test_hidden_folders_are_listed_when_asked_for(home: Path) -> None:
    assert names(home, hidden=True) == [".config", "Music", "src", "zoo"]


def test_a_listing_is_what_the_contract_says(home: Path) -> None:
    working = [f"{home}/src/app", f"{home}/src/app/deep", f"{home}/src", f"{home}/srcs", "/elsewhere"]
    listing = list_folders([home], "~/src", user_home=home, agent_folders=working)
    assert strict_json.loads(strict_json.encode(listing.to_json())) == {
        "path": f"{home}/src",
        "parent": str(home),
        "folders": [
            {"name": "app", "path": f"{home}/src/app", "project": "git", "agents": 2},
            {"name": "lib", "path": f"{home}/src/lib", "project": "python", "agents": 0},
        ],
        "allowed": True,
    }
    above = list_folders([home], None, user_home=home, agent_folders=working)
    assert {f.name: f.agents for f in above.folders} == {"Music": 0, "src": 3, "zoo": 0}


def test_a_huge_folder_is_cut_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (home / "zoo" / f"{number:02}").mkdir()
    monkeypatch.setattr(folders, "MAX_FOLDERS", 10)
    listing = list_folders([home], f"{home}/zoo", user_home=home)
    assert [f.name for f in listing.folders] == [f"{n:02}" for n in range(10)]
    assert listing.to_json()["more"] is True
    monkeypatch.setattr(folders, "MAX_FOLDERS", 100)
    assert not list_folders([home], f"{home}/zoo", user_home=home).more
    monkeypatch.setattr(folders, "MAX_SCANNED", 20)
    assert list_folders([home], f"{home}/zoo", user_home=home).more


def test_links_are_listed_only_if_they_end_at_a_folder_inside(home: Path) -> None:
    links = {
        "inside": home / "src",
        "to-outside": home.parent / "outside",
        "to-root": Path("/"),
        "to-file": home / "notes.txt",
        "broken": home / "nothing",
        "loop": home / "zoo/loop",
        "relative": Path("../src/app"),
    }
    for name, target in links.items():
        (home / "zoo" / name).symlink_to(target)
    assert names(home, f"{home}/zoo") == ["inside", "relative"]
    followed = list_folders([home], f"{home}/zoo/inside", user_home=home)
    assert followed.path == f"{home}/src"


def test_names_that_cannot_be_said_in_json_are_left_out(home: Path) -> None:
    try:
        os.mkdir(os.fsencode(home / "zoo") + b"/\xff")
    except OSError:
        pytest.skip("this file system knows only UTF-8")
    (home / "zoo" / "ünï").mkdir()
    assert names(home, f"{home}/zoo") == ["ünï"]
    with pytest.raises(BadRequest):
        list_folders([home], f"{home}/zoo/\udcff", user_home=home)


def test_above_the_roots_only_the_way_to_them_is_shown(home: Path) -> None:
    roots = [home / "src/app", home / "zoo"]
    listing = list_folders(roots, None, user_home=home)
    assert ([f.name for f in listing.folders], listing.allowed) == (["src", "zoo"], False)
    listing = list_folders(roots, f"{home}/src", user_home=home)
    assert ([f.name for f in listing.folders], listing.allowed) == (["app"], False)
    assert list_folders(roots, f"{home}/src/app", user_home=home).allowed
    assert list_folders(roots, f"{home}/src/app", user_home=home).parent == f"{home}/src"
    assert list_folders(roots, None, user_home=home).parent is None


def test_what_neither_holds_a_root_nor_lies_in_one_is_not_listed(home: Path) -> None:
    for path in (f"{home}/Music", f"{home.parent}/outside", "/etc", f"{home}/src/app/../../Music"):
        with pytest.raises(RefusedByPolicy):
            list_folders([home / "src"], path, user_home=home)


def test_with_roots_far_from_the_home_the_listing_starts_near_them(home: Path) -> None:
    outside = home.parent / "outside"
    assert list_folders([outside], None, user_home=home).path == str(outside)
    both = list_folders([outside / "deep", home / "zoo"], None, user_home=Path("/nonexistent"))
    assert (both.path, [f.name for f in both.folders]) == (str(home.parent), ["home", "outside"])
    with pytest.raises(NotFound):
        list_folders([home / "gone"], None, user_home=home)


def test_a_folder_that_may_not_be_read_says_so() -> None:
    with tempfile.TemporaryDirectory() as place, somebody_else_than_root(Path(place)):
        home = Path(os.path.realpath(place)) / "home"
        (home / "locked").mkdir(parents=True)
        (home / "locked").chmod(0)
        assert names(home) == ["locked"]
        with pytest.raises(RefusedByPolicy, match="no permission"):
            names(home, f"{home}/locked")
        with pytest.raises(RefusedByPolicy, match="no permission"):
            names(home, f"{home}/locked/below")
        (home / "locked").chmod(0o500)
        with pytest.raises(RefusedByPolicy):
            create_folder([home], f"{home}/locked", "new")
        (home / "locked").chmod(0o700)


@contextlib.contextmanager
def somebody_else_than_root(place: Path) -> Iterator[None]:
    """Root may read everything, so a test of what may not be read needs another user."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(place, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# --- ways out ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("{home}/..", RefusedByPolicy),
        ("{home}/../outside", RefusedByPolicy),
        ("{home}/src/../../outside", RefusedByPolicy),
        ("{home}/./src/..//../outside/.", RefusedByPolicy),
        ("/", RefusedByPolicy),
        ("/etc", RefusedByPolicy),
        ("/proc/self/root", RefusedByPolicy),
        ("/proc/self/cwd", RefusedByPolicy),
        ("{home}x", NotFound),
        ("{home}/zoo/out", RefusedByPolicy),
        ("{home}/zoo/out/deep", RefusedByPolicy),
        ("{home}/zoo/out/../outside", RefusedByPolicy),
        ("{home}/zoo/chain", RefusedByPolicy),
        ("{home}/zoo/absolute", RefusedByPolicy),
        ("{home}/zoo/magic", RefusedByPolicy),
        ("{home}/zoo/loop", Conflict),
        ("{home}/zoo/broken", NotFound),
        ("{home}/nothing", NotFound),
        ("{home}/nothing/../src", NotFound),
        ("{home}/notes.txt", BadRequest),
        ("{home}/zoo/fifo", BadRequest),
        ("{home}/zoo/socket", BadRequest),
        ("{home}/src\0/etc", BadRequest),
        ("{home}/\ud800", BadRequest),
        ("src", BadRequest),
        ("", BadRequest),
        ("..", BadRequest),
        ("~root", BadRequest),
        ("~/../outside", RefusedByPolicy),
        ("/" + "a/" * 5000, BadRequest),
        ("{home}/" + "a" * 300, BadRequest),
    ],
)
def test_every_way_out_is_closed(home: Path, path: str, refused: type[HyperPiError]) -> None:
    zoo = home / "zoo"
    (zoo / "out").symlink_to("../../outside")
    (zoo / "chain").symlink_to("out")
    (zoo / "absolute").symlink_to(home.parent / "outside")
    (zoo / "magic").symlink_to("/proc/self/root")
    (zoo / "loop").symlink_to("loop")
    (zoo / "broken").symlink_to("nothing")
    os.mkfifo(zoo / "fifo")
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(zoo)  # socket paths are limited to about 100 bytes
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        wanted = path.replace("{home}", str(home))
        with pytest.raises(refused), opened([home], wanted, home):
            pass
        with pytest.raises(HyperPiError):
            create_folder([home], wanted, "new", user_home=home)
    assert not (home.parent / "outside/new").exists()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("path", ["", "/", "/src/app", "/src/./lib/../app", "/zoo/inside", "/zoo/inside/app"])
def test_what_lies_inside_is_opened_even_through_links(home: Path, path: str) -> None:
    (home / "zoo/inside").symlink_to(home / "src")
    with opened([home], f"{home}{path}") as (fd, real):
        assert os.path.samestat(os.fstat(fd), os.stat(f"{home}{path}"))
        assert real == os.path.realpath(f"{home}{path}")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.usefixtures("way")
def test_a_root_may_itself_be_a_link(home: Path) -> None:
    alias = home.parent / "alias"
    alias.symlink_to(home)
    with opened([alias], f"{alias}/src") as (_, real):
        assert real == f"{home}/src"
    assert list_folders([alias], None, user_home=alias).path == str(home)


@pytest.mark.usefixtures("way")
def test_opening_beneath_follows_no_link_at_all(home: Path) -> None:
    (home / "zoo/inside").symlink_to(home / "src")
    (home / "zoo/out").symlink_to("../../outside")
    for path in ("zoo/inside", "zoo/inside/app", "zoo/out", "zoo/out/deep"):
        with pytest.raises(OSError, match=r".") as refused:
            open_beneath(home, home / path)
        assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)
    for path in (home.parent, home / "src/..", home.parent / "outside", Path(f"{home}x")):
        with pytest.raises(OSError, match=r".") as refused:
            open_beneath(home, path)
        assert refused.value.errno == errno.EXDEV


def test_the_kernel_has_the_call_that_we_test() -> None:
    """Else both ways above would be the same one, and nobody would know."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if os.uname().sysname != "Linux" or release < (5, 6):
        pytest.skip("no openat2 here")
    start = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fd = folders._openat2(start, ".")
    finally:
        os.close(start)
    if fd is None:
        pytest.skip("a sandbox forbids openat2")
    assert os.path.samestat(os.fstat(fd), os.stat("/"))
    os.close(fd)


@contextlib.contextmanager
def renamer(place: Path, other: Path) -> Iterator[None]:
    """Somebody who swaps a folder for a link to the outside, and back, as fast as can be."""
    real, link = place.with_name("real"), place.with_name("link")
    link.symlink_to(other)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            os.rename(place, real)
            os.rename(link, place)
            os.rename(place, link)
            os.rename(real, place)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("below", ["", "deep"])
def test_a_racing_renamer_wins_nothing(home: Path, below: str) -> None:
    outside = home.parent / "outside"
    (home / "zoo/cage/deep").mkdir(parents=True)
    bait = outside / below
    inside = 0
    refused: dict[str, int] = {}
    with renamer(home / "zoo/cage", outside):
        for _ in range(1_000):
            for attempt in (opened([home], home / "zoo/cage" / below), beneath(home, below)):
                try:
                    with attempt as (fd, _):
                        assert not os.path.samestat(os.fstat(fd), os.stat(bait))
                        inside += 1
                except (HyperPiError, OSError) as exc:
                    refused[type(exc).__name__] = refused.get(type(exc).__name__, 0) + 1
            with contextlib.suppress(HyperPiError, OSError):
                os.rmdir(create_folder([home], f"{home}/zoo/cage/{below}", "made"))
    assert not (bait / "made").exists()
    assert inside, "the race was always lost, so nothing was shown"
    assert sum(refused.values()), "there was no race, so nothing was shown"


@contextlib.contextmanager
def beneath(home: Path, below: str) -> Iterator[tuple[int, str]]:
    """The worst moment: the path was resolved and found good, and then swapped."""
    fd = open_beneath(home, home / "zoo/cage" / below)
    try:
        yield fd, ""
    finally:
        os.close(fd)


# --- making --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_a_folder_is_made_once(home: Path) -> None:
    assert create_folder([home], "~/src", "new app", user_home=home) == f"{home}/src/new app"
    assert (home / "src/new app").is_dir()
    for taken in ("new app", "app"):
        with pytest.raises(Conflict):
            create_folder([home], f"{home}/src", taken)


@pytest.mark.parametrize("name", [
    "", ".", "..", "a/b", "/etc", "../x", "a\\b", "a\0b", "a\nb", "\x1b[2J", " a", "a ", "\u2028", "\u202e",
    "\ud800", "x" * 256, "ü" * 128,
])  # fmt: skip
def test_names_that_mean_something_else_are_refused(home: Path, name: str) -> None:
    with pytest.raises(BadRequest):
        create_folder([home], str(home), name)
    assert sorted(os.listdir(home)) == [".config", "Music", "notes.txt", "src", "zoo"]


@pytest.mark.parametrize("name", ["a", "...", "..a", ".hidden", "-rf", "ü" * 127, "a b", "名前", "$(id)"])
def test_other_names_are_taken(name: str) -> None:
    check_name(name)


# --- projects ------------------------------------------------------------------------------------------


def test_the_kind_of_a_project_is_its_strongest_sign(home: Path) -> None:
    (home / "src/app/package.json").touch()
    assert project_kind(home / "src/app") == "git"
    assert project_kind(home / "src/lib") == "python"
    assert project_kind(home / "Music") is None


def test_a_project_is_the_nearest_repository_else_the_nearest_manifest(home: Path) -> None:
    deep = home / "src/app/packages/ui/src"
    deep.mkdir(parents=True)
    (home / "src/app/packages/ui/package.json").touch()
    assert project_of(str(deep), home) == Project("app", f"{home}/src/app", "git")
    inner = home / "src/lib/tests"
    inner.mkdir()
    assert project_of(str(inner), home) == Project("lib", f"{home}/src/lib", "python")
    assert project_of(str(home / "Music"), home) is None
    assert project_of(f"{home}/nothing/there", home) is None


def test_settings_kept_in_the_home_make_no_project_of_everything(home: Path) -> None:
    (home / ".git").mkdir()
    assert project_of(f"{home}/Music", home) is None
    assert project_of(str(home), home) == Project("home", str(home), "git")


def test_a_second_work_tree_belongs_to_the_project_of_the_first(home: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(home / "zoo")]
    (home / "src/app/.git").rmdir()
    for command in (
        ["init", "-q", str(home / "src/app")],
        ["-C", str(home / "src/app"), "commit", "-q", "--allow-empty", "-m", "first"],
        ["-C", str(home / "src/app"), "worktree", "add", "-q", str(home / "zoo/app-fix")],
    ):
        subprocess.run([*git, *command], check=True, capture_output=True)
    assert project_of(f"{home}/zoo/app-fix", home) == Project("app", f"{home}/zoo/app-fix", "git")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"gitdir:", b"gitdir: ../.git/modules/sub", b"x" * 9999]
)
def test_a_git_file_of_any_content_is_just_a_sign(home: Path, content: bytes) -> None:
    (home / "zoo/.git").write_bytes(content)
    assert project_of(f"{home}/zoo", home) == Project("zoo", f"{home}/zoo", "git")


def test_a_pipe_in_place_of_a_git_file_is_not_waited_for(home: Path) -> None:
    os.mkfifo(home / "zoo/.git")
    assert project_of(f"{home}/zoo", home) == Project("zoo", f"{home}/zoo", "git")
