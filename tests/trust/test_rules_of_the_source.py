"""What the shipped source must not hold: rules that no running part could show."""

import ast
import hmac
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from trust_world import World

from hyperpi import secret_text
from hyperpi.errors import Unauthenticated

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("hyperpi", "hypivisor", "node", "pide", "pxldisk")
STATIC = ROOT / "pide" / "static"


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every shipped module that somebody wrote."""
    for package in SHIPPED:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "wire/hyperpi" not in path.as_posix():
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls in a tree with the last part of what is called."""
    for part in ast.walk(tree):
        if isinstance(part, ast.Call):
            named = part.func
            yield getattr(named, "attr", getattr(named, "id", "")), part


def test_grpc_without_tls_is_on_unix_sockets_alone() -> None:
    insecure = {
        (path, ast.unparse(call))
        for path, tree in modules()
        for name, call in calls(tree)
        if name.startswith("insecure_") or name in {"add_insecure_port", "local_channel_credentials"}
    }
    mentioned = {
        path
        for path, tree in modules()
        for part in ast.walk(tree)
        if "insecure" in str(getattr(part, "attr", getattr(part, "id", "")))
    }
    assert insecure == {
        ("hypivisor/app.py", "console_server.add_insecure_port(f'unix:{console_path}')"),
        ("hyperpi/console_client.py", "grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)"),
    }
    assert mentioned == {path for path, _ in insecure}


def test_the_one_insecure_channel_is_opened_to_unix_sockets_alone() -> None:
    from hyperpi.console_client import local_channel

    for target in ("127.0.0.1:31416", "dns:///example.org", "ipv4:10.0.0.1:1", "vsock:1:2", ""):
        with pytest.raises(ValueError, match="unix"):
            local_channel(target)


def test_no_program_is_started_through_a_shell() -> None:
    shells = {
        (path, name)
        for path, tree in modules()
        for name, call in calls(tree)
        if ast.unparse(call.func) in {"os.system", "os.popen"}
        or name in {"create_subprocess_shell", "getoutput", "getstatusoutput"}
        or any(k.arg == "shell" and getattr(k.value, "value", True) for k in call.keywords)
    }
    assert shells == set()


def test_certificates_are_left_unchecked_only_where_they_are_compared_by_hand() -> None:
    unchecked = {
        path
        for path, tree in modules()
        for part in ast.walk(tree)
        if getattr(part, "attr", "") in {"CERT_NONE", "_create_unverified_context"}
    }
    assert unchecked == {"node/enroll.py"}


def ours_in_the_browser() -> list[Path]:
    """The scripts of the page that are not somebody else's."""
    found = [path for path in STATIC.rglob("*.js") if "vendor" not in path.parts]
    assert len(found) > 10
    return found


def test_the_page_keeps_no_secret_where_it_outlives_the_tab_and_puts_none_into_an_address() -> None:
    for path in ours_in_the_browser():
        text = path.read_text()
        assert "document.cookie" not in text, path.name
        assert "indexedDB" not in text, path.name
        for line in text.splitlines():
            if "localStorage" in line or "sessionStorage" in line:
                assert not re.search(r"token|secret|code|cookie", line, re.IGNORECASE), (path.name, line)
            assert not re.search(r"[?&](token|access_token|code|secret)=", line), (path.name, line)


def test_the_page_never_turns_text_into_elements_by_itself() -> None:
    forbidden = re.compile(
        r"\.(innerHTML|outerHTML)\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function\("
    )
    for path in ours_in_the_browser():
        assert forbidden.search(path.read_text()) is None, path.name
    # What they show was made by markdown.js, which cleans it, or by the highlighter, which escapes it.
    handed_over = {path.name for path in ours_in_the_browser() if "unsafeHTML(" in path.read_text()}
    assert handed_over == {"entry.js", "tool.js"}


def test_secrets_are_compared_in_a_time_that_tells_nothing(
    trust: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((bytes(one), bytes(other)))
        return real(one, other)

    monkeypatch.setattr(secret_text.hmac, "compare_digest", spy)
    made = trust.tokens.create("viewer")
    trust.tokens.authenticate(made.token, None)
    assert len(compared) == 2  # with the pre-shared token, then with its own row
    compared.clear()
    other = made.token[:-1] + ("a" if made.token[-1] != "a" else "b")
    for text in ("wrong", other, "hp1u-aaaaaaaa." + "a" * 32):
        with pytest.raises(Unauthenticated):
            trust.tokens.authenticate(text, None)
    assert len(compared) == 1 + 2 + 2  # an unknown id costs as much as a wrong secret
    assert all(len(one) == len(other) == 32 for one, other in compared)
