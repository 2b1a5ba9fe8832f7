"""Tokens, login codes, sessions and the limit on failures: on a real store, with a clock that tests move."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from trust_world import World, make_world

from hyperpi import join_token
from hyperpi.clock import from_rfc3339
from hyperpi.errors import BadRequest, Conflict, NotFound, Unauthenticated
from hypivisor.attempts import AttemptLimiter, TooManyAttempts, address_key
from hypivisor.rows import Certified
from hypivisor.sessions import NoSession
from hypivisor.store import Store

HERE = "192.0.2.7"
ORIGIN = "https://den.local:31415"
PRE_SHARED = "correct horse battery staple"


# --- tokens ------------------------------------------------------------------------------------------


def test_what_token_create_answers_has_the_shape_of_the_contract(trust: World):
    made = trust.tokens.create("node")
    assert set(made.as_contract()) == {"id", "token", "role", "expires"}
    assert made.token.startswith("hp1-")
    parsed = join_token.parse_join_token(made.token.upper())
    assert (parsed.ca_fingerprint, parsed.id) == (trust.ca.fingerprint, made.id)
    assert len(parsed.secret) * 5 >= 128
    expires = from_rfc3339(str(made.as_contract()["expires"]))
    assert expires == pytest.approx(trust.clock() + 900, abs=0.01)
    assert made.token not in repr(made)


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_a_token_gives_its_role_until_it_expires(trust: World, role: str):
    made = trust.tokens.create(role, ttl_s=60, name="phone")
    for _ in range(3):
        found = trust.tokens.authenticate(made.token, HERE)
        assert (found.name, found.role, found.token_id) == ("phone", role, made.id)
    trust.clock.advance(60)
    with pytest.raises(Unauthenticated, match="expired"):
        trust.tokens.authenticate(made.token, HERE)


def test_the_last_use_of_a_token_is_known_to_a_minute_and_from_where(trust: World):
    made = trust.tokens.create("viewer", ttl_s=3600)

    def last_use() -> tuple[float | None, str | None]:
        row = trust.store.token(made.id)
        assert row is not None
        return row.used_at, row.used_from

    assert last_use() == (None, None)
    start = trust.clock()
    trust.tokens.authenticate(made.token, HERE)
    assert last_use() == (start, HERE)
    trust.clock.advance(59)
    trust.tokens.authenticate(made.token, "192.0.2.8")
    assert last_use() == (start, HERE)  # not worth a write that reaches the disk
    trust.clock.advance(1)
    assert trust.tokens.keep(made.id)  # an open connection is a use, from where it was opened
    assert last_use() == (start + 60, HERE)
    trust.clock.advance(3600)
    assert not trust.tokens.keep(made.id)
    with pytest.raises(Unauthenticated):
        trust.tokens.authenticate(made.token, "192.0.2.8")
    assert last_use() == (start + 60, HERE)


def test_a_full_disk_locks_nobody_out_who_has_a_token_or_a_session(trust: World):
    made = trust.tokens.create("admin", ttl_s=86400)
    opened = log_in(trust)
    trust.clock.advance(3600)
    trust.store._db.execute("PRAGMA query_only = ON")
    assert trust.tokens.authenticate(made.token, HERE).role == "admin"
    assert trust.tokens.keep(made.id)
    assert trust.sessions.check(opened.cookie, ORIGIN).role == "admin"


def test_tokens_without_a_name_are_told_apart(trust: World):
    first, second = trust.tokens.create("operator"), trust.tokens.create("operator")
    names = {trust.tokens.authenticate(made.token, HERE).name for made in (first, second)}
    assert names == {f"token:{first.id}", f"token:{second.id}"}
    assert trust.tokens.authenticate(PRE_SHARED, HERE).name not in names


def test_a_token_for_two_uses_works_twice(trust: World):
    token = trust.tokens.create("viewer", uses=2).token
    trust.tokens.authenticate(token, HERE)
    trust.tokens.authenticate(token, None)
    with pytest.raises(Unauthenticated, match="used"):
        trust.tokens.authenticate(token, HERE)


def test_a_one_use_token_lets_one_of_many_threads_in(trust: World):
    token = trust.tokens.create("viewer", uses=1).token
    # As many callers as there may be, one thread that owns the store: what DiskThread does.
    with ThreadPoolExecutor(1) as pool:
        results = [pool.submit(trust.tokens.authenticate, token, None) for _ in range(50)]
    assert sum(result.exception() is None for result in results) == 1


def test_the_pre_shared_token_is_an_operators(trust: World):
    found = trust.tokens.authenticate(PRE_SHARED, HERE)
    assert (found.role, found.token_id) == ("operator", None)


def test_without_a_pre_shared_token_an_empty_one_is_refused(trust: World):
    from hypivisor.tokens import Tokens

    for nothing in (None, ""):
        tokens = Tokens(trust.store, trust.ca.fingerprint, trust.clock, trust.limiter, pre_shared=nothing)
        with pytest.raises(Unauthenticated):
            tokens.authenticate("", HERE)


@pytest.mark.parametrize("text", ["", "x", "hp1u-aaaaaaaa." + "a" * 32, "é\ud800", "a" * 10_000_000, "\0"])
def test_what_is_no_token_of_ours_is_refused_with_a_way_out(trust: World, text: str):
    with pytest.raises(Unauthenticated) as refused:
        trust.tokens.authenticate(text, HERE)
    assert "make a new one" in str(refused.value.hint)


def test_a_join_token_is_no_token_for_people(trust: World):
    made = trust.tokens.create("node")
    secret = join_token.parse_join_token(made.token).secret
    for text in (made.token, f"hp1u-{made.id}.{secret}"):
        with pytest.raises(Unauthenticated):
            trust.tokens.authenticate(text, HERE)


def test_a_revoked_token_ends_with_the_sessions_opened_with_it(trust: World):
    made = trust.tokens.create("operator")
    with_token = trust.sessions.login_with_token(made.token, address=HERE, origin=ORIGIN)
    code = trust.sessions.create_code().code
    other = trust.sessions.login_with_code(code, address=HERE, origin=ORIGIN)
    assert trust.tokens.revoke(made.id) == [with_token.session.id]
    with pytest.raises(Unauthenticated, match="revoked"):
        trust.tokens.authenticate(made.token, HERE)
    with pytest.raises(NoSession):
        trust.sessions.check(with_token.cookie, ORIGIN)
    assert trust.sessions.check(other.cookie, ORIGIN).role == "admin"
    with pytest.raises(NotFound):
        trust.tokens.revoke("nothing")


@pytest.mark.parametrize(
    "options", [{"role": "root"}, {"ttl_s": 0}, {"ttl_s": 1e12}, {"ttl_s": float("nan")}, {"uses": -1}]
)
def test_a_token_that_makes_no_sense_is_not_made(trust: World, options: dict):
    with pytest.raises(BadRequest):
        trust.tokens.create(**options)
    assert trust.tokens.ls() == []


def test_an_ended_token_is_remembered_for_a_month(trust: World):
    trust.tokens.create("node")
    trust.clock.advance(20 * 86400)
    second = trust.tokens.create("node")
    assert len(trust.tokens.ls()) == 2
    trust.clock.advance(20 * 86400)
    third = trust.tokens.create("node")
    assert [row.id for row in trust.tokens.ls()] == [second.id, third.id]


# --- login codes and sessions ------------------------------------------------------------------------


def test_a_login_code_works_once(trust: World):
    made = trust.sessions.create_code("viewer", name="anna")
    opened = trust.sessions.login_with_code(made.code, address=HERE, origin=ORIGIN)
    assert (opened.session.name, opened.session.role) == ("anna", "viewer")
    assert trust.sessions.check(opened.cookie, ORIGIN) == opened.session
    with pytest.raises(Unauthenticated, match="used"):
        trust.sessions.login_with_code(made.code, address=HERE, origin=ORIGIN)


def test_a_login_code_lasts_five_minutes_and_is_gone_after_a_late_try(trust: World):
    made = trust.sessions.create_code()
    assert made.expires_at == trust.clock() + 300
    trust.clock.advance(300)
    with pytest.raises(Unauthenticated, match="expired"):
        trust.sessions.login_with_code(made.code, address=HERE, origin=ORIGIN)
    trust.clock.advance(-300)
    with pytest.raises(Unauthenticated):
        trust.sessions.login_with_code(made.code, address=HERE, origin=ORIGIN)


def test_a_session_ends_after_twelve_idle_hours(trust: World):
    opened = log_in(trust)
    for _ in range(3):
        trust.clock.advance(11.9 * 3600)
        trust.sessions.check(opened.cookie, ORIGIN)
    trust.clock.advance(12 * 3600)
    with pytest.raises(NoSession, match="ended"):
        trust.sessions.check(opened.cookie, ORIGIN)
    assert trust.sessions.ls() == []


def test_a_session_ends_after_seven_days_however_much_it_is_used(trust: World):
    opened = log_in(trust)
    for _ in range(15):
        trust.clock.advance(11 * 3600)
        assert trust.sessions.keep(opened.session.id)
    trust.clock.advance(3 * 3600)  # seven days since the login, three hours since the last use
    assert not trust.sessions.keep(opened.session.id)
    with pytest.raises(NoSession):
        trust.sessions.check(opened.cookie, ORIGIN)


def test_sessions_whose_time_is_over_are_swept_and_named(trust: World):
    old = log_in(trust)
    trust.clock.advance(11 * 3600)
    new = log_in(trust)
    trust.clock.advance(3600)
    assert trust.sessions.sweep() == [old.session.id]
    assert [row.id for row in trust.sessions.ls()] == [new.session.id]


def test_a_session_belongs_to_the_origin_it_was_opened_from(trust: World):
    opened = log_in(trust)
    with pytest.raises(NoSession):
        trust.sessions.check(opened.cookie, "https://den.local:8000")
    assert trust.sessions.check(opened.cookie, None).id == opened.session.id


def test_sessions_are_listed_and_revoked_and_logged_out(trust: World):
    first, second = log_in(trust), log_in(trust)
    assert [row.id for row in trust.sessions.ls()] == [first.session.id, second.session.id]
    trust.sessions.revoke(first.session.id)
    with pytest.raises(NoSession):
        trust.sessions.check(first.cookie, ORIGIN)
    assert trust.sessions.logout(second.cookie) == second.session
    assert trust.sessions.logout(second.cookie) is None
    assert trust.sessions.ls() == []
    with pytest.raises(NotFound):
        trust.sessions.revoke(first.session.id)


def test_sessions_hold_over_a_restart_and_no_cookie_is_stored(trust: World):
    opened = log_in(trust)
    again = make_world(trust.folder, trust.clock)
    assert again.sessions.check(opened.cookie, ORIGIN) == opened.session
    again.store.close()
    again.audit.close()
    for file in trust.folder.iterdir():
        assert opened.cookie.encode() not in file.read_bytes(), file
    assert opened.cookie not in repr(opened)


def test_a_session_opened_with_the_pre_shared_token_is_an_operators(trust: World):
    opened = trust.sessions.login_with_token(PRE_SHARED, address=HERE, origin=ORIGIN)
    assert opened.session.role == "operator"


def log_in(trust: World):
    code = trust.sessions.create_code().code
    return trust.sessions.login_with_code(code, address=HERE, origin=ORIGIN)


# --- failures ----------------------------------------------------------------------------------------


def test_of_a_thousand_guesses_ten_are_looked_at(trust: World):
    refusals: list[type] = []
    for guess in range(1000):
        with pytest.raises((Unauthenticated, TooManyAttempts)) as refused:
            trust.tokens.authenticate(f"guess {guess}", "127.0.0.1")
        refusals.append(refused.type)
    assert refusals.count(TooManyAttempts) == 990
    assert 0 < float(str(refused.value.data["retry_after_s"])) <= 900
    with pytest.raises(TooManyAttempts):
        trust.tokens.authenticate(PRE_SHARED, "127.0.0.1")  # not even the right one now
    assert trust.tokens.authenticate(PRE_SHARED, HERE).role == "operator"  # elsewhere it works


def test_guessing_never_locks_out_the_control_socket_or_a_session(trust: World):
    opened = log_in(trust)
    token = trust.tokens.create("viewer").token
    for number in range(300):
        with pytest.raises((Unauthenticated, TooManyAttempts)):
            trust.sessions.login_with_code("guess", address=f"198.51.100.{number}", origin=ORIGIN)
    with pytest.raises(TooManyAttempts):
        trust.tokens.authenticate(token, "203.0.113.1")  # everybody waits: 200 failures in all
    assert trust.tokens.authenticate(token, None).role == "viewer"
    assert trust.sessions.check(opened.cookie, ORIGIN).role == "admin"


def test_codes_and_tokens_share_one_limit(trust: World):
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            trust.tokens.authenticate("guess", HERE)
        with pytest.raises(Unauthenticated):
            trust.sessions.login_with_code("guess", address=HERE, origin=ORIGIN)
    with pytest.raises(TooManyAttempts):
        trust.sessions.login_with_code(trust.sessions.create_code().code, address=HERE, origin=ORIGIN)


def test_the_limit_holds_over_a_restart_and_ends_with_time(trust: World):
    limiter = AttemptLimiter("x", trust.store, trust.clock, per_address=3)
    for _ in range(3):
        limiter.check(HERE)
        limiter.failed(HERE)
        trust.clock.advance(10)
    restarted = AttemptLimiter("x", trust.store, trust.clock, per_address=3)
    with pytest.raises(TooManyAttempts) as waits:
        restarted.check(HERE)
    assert waits.value.data["retry_after_s"] == 870
    AttemptLimiter("y", trust.store, trust.clock, per_address=3).check(HERE)
    trust.clock.advance(870)
    restarted.check(HERE)


def test_an_expired_token_with_the_right_secret_is_no_guess(trust: World):
    token = trust.tokens.create("viewer", ttl_s=1).token
    trust.clock.advance(2)
    for _ in range(20):
        with pytest.raises(Unauthenticated, match="expired"):
            trust.tokens.authenticate(token, HERE)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("unix", "unix"),
    ],
)
def test_one_attacker_is_one_address(address: str, key: str):
    assert address_key(address) == key


# --- the store itself --------------------------------------------------------------------------------


def test_a_store_of_a_newer_version_or_of_another_mesh_is_refused(trust: World, tmp_path: Path):
    from hyperpi.database import StoreUnusable, open_database

    with pytest.raises(StoreUnusable, match="another mesh"):
        trust.store.ensure_mesh("b" * 16, "home")
    db = open_database(tmp_path / "s.db", ())
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreUnusable, match="newer"):
        Store.open(tmp_path / "s.db")
    (tmp_path / "d.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreUnusable):
        Store.open(tmp_path / "d.db")


def test_the_store_itself_never_gives_a_use_that_is_not_there(trust: World):
    made = trust.tokens.create("viewer", uses=1)
    trust.store.use_token(made.id, lambda row: row, trust.clock(), address=HERE, exact_s=60)
    with pytest.raises(Conflict, match="used"):
        trust.store.use_token(made.id, lambda row: row, trust.clock(), address=HERE, exact_s=60)


def test_whoever_came_with_a_token_may_stay_until_it_ends_though_its_uses_are_spent(trust: World):
    made = trust.tokens.create("viewer", uses=1, ttl_s=60)
    assert trust.tokens.authenticate(made.token, None).token_id == made.id
    assert trust.tokens.keep(made.id)
    trust.clock.now += 61
    assert not trust.tokens.keep(made.id)

    other = trust.tokens.create("viewer", ttl_s=60)
    trust.tokens.revoke(other.id)
    assert not trust.tokens.keep(other.id)
    assert not trust.tokens.keep("nobody's")


def test_a_store_that_others_could_read_is_closed_to_them(tmp_path: Path):
    (tmp_path / "store.db").touch(mode=0o644)
    (tmp_path / "store.db").chmod(0o644)
    Store.open(tmp_path / "store.db").close()
    assert (tmp_path / "store.db").stat().st_mode & 0o777 == 0o600


def test_a_migration_runs_once_and_wholly_or_not_at_all(tmp_path: Path):
    import sqlite3

    from hyperpi.database import StoreUnusable, open_database

    first = "CREATE TABLE a (x)"
    open_database(tmp_path / "s.db", (first,)).close()
    with pytest.raises(StoreUnusable):
        open_database(tmp_path / "s.db", (first, "CREATE TABLE b (x); CREATE TABLE a (x)"))
    db = open_database(tmp_path / "s.db", (first, "CREATE TABLE b (x)"))
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    with pytest.raises(sqlite3.OperationalError):
        db.execute("CREATE TABLE b (x)")
    db.close()


def test_a_full_disk_is_said_so_and_changes_nothing(trust: World):
    from hyperpi.database import StoreUnwritable

    trust.store._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreUnwritable, match="full"):
        _ = [trust.tokens.create("viewer", name="x" * 60) for _ in range(200)]
    held = len(trust.tokens.ls())
    trust.store._db.execute("PRAGMA max_page_count = 100000")
    trust.tokens.create("viewer")
    assert len(trust.tokens.ls()) == held + 1


def test_rosters_outlive_a_restart_and_a_stale_one_never_replaces_a_newer(trust: World):
    node, _ = trust.store.add_node(
        b"key", lambda *_: Certified(b"", 0.0, 0.0, 0.0), new_id="n-1", name="den", now=trust.clock()
    )
    trust.store.save_roster(node.id, 2, b'["new"]', trust.clock())
    trust.store.save_roster(node.id, 1, b'["stale"]', trust.clock())
    again = Store.open(trust.folder / "store.db")
    assert dict(again.rosters()) == {"n-1": b'["new"]'}
    assert again.node_seen("n-1", 5, trust.clock()) == 5
    assert again.node_seen("n-1", 3, trust.clock()) == 5
    assert not again.is_revoked("n-1")
    again.revoke_node("n-1", trust.clock())
    assert again.is_revoked("n-1")
    assert dict(again.rosters()) == {}
    again.close()


async def test_the_disk_thread_refuses_what_it_cannot_hold(monkeypatch: pytest.MonkeyPatch):
    import asyncio
    import threading

    from hyperpi import database
    from hyperpi.errors import Overloaded

    monkeypatch.setattr(database, "MAX_WAITING", 2)
    disk = database.DiskThread("test")
    gate = threading.Event()
    waiting = [asyncio.ensure_future(disk.call(gate.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await disk.call(len, "x")
    gate.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await disk.call(len, "x") == 1
    disk.close()
