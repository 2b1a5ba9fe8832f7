"""Notifications in a real browser: who does not look at the page is told, and brought to what it is about."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from look import PATIENCE_S, Look, play
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser

SWITCH = "Notify me when I am not looking"
ASKS = "waits for approval: git push"

# The browser that tests run in shows every page as looked at: what the page asks is answered here instead,
# and its frames wait until it is looked at again.
LOOKS = """looks => {
  const draw = window.drawing ??= window.requestAnimationFrame, held = window.held ?? [];
  window.held = [];
  window.requestAnimationFrame = looks ? draw : act => window.held.push(act);
  for (const act of held) window.requestAnimationFrame(act);
  const value = looks ? "visible" : "hidden";
  Object.defineProperty(document, "visibilityState", { value, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
SHOWN = """async () => {
  const worker = await navigator.serviceWorker.getRegistration("/static/notes/");
  return (await worker?.getNotifications() ?? []).map(note => [note.title, note.body]).sort();
}"""
WORKERS = "async () => (await navigator.serviceWorker.getRegistrations()).map(one => one.scope)"


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    look = Look(browser, server, allow=["notifications"])
    look.page.evaluate("location.hash = '#/inbox'")
    yield look.page
    look.context.close()
    assert look.complaints == []


def wait_until(page: Page, question: str, answer: Any) -> None:
    """`wait_for_function` takes a promise for a yes."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := page.evaluate(question)) != answer:
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(20)


def wait_for_notes(page: Page, *notes: tuple[str, str]) -> None:
    wait_until(page, SHOWN, [list(note) for note in notes])


def turn_on(page: Page) -> None:
    page.get_by_role("switch", name=SWITCH).check()
    wait_until(page, "localStorage.getItem('hyperpi.tells')", "on")  # the browser has been asked


def test_who_does_not_look_is_told_that_an_agent_waits_and_no_more_once_it_was_answered(
    page: Page, server: str
) -> None:
    expect(page.get_by_role("switch", name=SWITCH)).not_to_be_checked()
    turn_on(page)
    page.evaluate(LOOKS, False)
    play(server, "state-a2-waiting", ASKS)
    wait_for_notes(page, ("server@den", ASKS))
    expect(page).to_have_title("(3) Hyper-Pi")
    play(server, "state-a2-working")
    wait_for_notes(page)


def test_a_click_brings_to_the_agent_and_looking_closes_what_is_shown(page: Page, server: str) -> None:
    turn_on(page)
    page.evaluate(LOOKS, False)
    play(server, "state-a2-waiting", ASKS)
    play(server, "state-a9-stuck")  # on a machine that is away: what it did is not known
    play(server, "state-a4-stuck", "nothing has come from it for 5 min")
    wait_for_notes(
        page, ("archive@den", "seems stuck: nothing has come from it for 5 min"), ("server@den", ASKS)
    )
    [worker] = page.context.service_workers
    # What a click does, short of the focus, which a browser gives to real clicks only.
    address = "(await registration.getNotifications()).find(one => one.title === 'server@den').data.address"
    worker.evaluate(f"async () => {{ await bringTo({address}).catch(() => null) }}")
    expect(page).to_have_url(f"{server}/#/a/a2")
    page.evaluate(LOOKS, True)
    wait_for_notes(page)


def test_nobody_is_told_what_they_look_at_in_another_tab(page: Page, server: str) -> None:
    turn_on(page)
    other = page.context.new_page()
    other.goto(f"{server}/#/inbox")
    expect(other.get_by_role("switch", name=SWITCH)).to_be_checked()  # one browser, one switch
    page.evaluate(LOOKS, False)
    play(server, "state-a2-waiting", ASKS)
    expect(other).to_have_title("(3) Hyper-Pi")
    other.evaluate(LOOKS, False)
    play(server, "state-a4-waiting", ASKS)
    wait_for_notes(page, ("archive@den", ASKS))


def test_turned_off_it_shows_nothing_and_leaves_nothing_behind(page: Page, server: str) -> None:
    turn_on(page)
    assert page.evaluate(WORKERS) == [f"{server}/static/notes/"]
    page.get_by_role("switch", name=SWITCH).uncheck()
    wait_until(page, WORKERS, [])
    page.evaluate(LOOKS, False)
    play(server, "state-a2-waiting", ASKS)
    expect(page).to_have_title("(3) Hyper-Pi")
    wait_for_notes(page)
    page.reload()
    expect(page.get_by_role("switch", name=SWITCH)).not_to_be_checked()


def test_what_the_browser_refuses_is_told_with_what_to_do(browser: Browser, server: str) -> None:
    look = Look(browser, server)
    look.page.evaluate("location.hash = '#/inbox'")
    look.page.get_by_role("switch", name=SWITCH).click()
    expect(look.page.get_by_role("alert")).to_contain_text("Allow notifications for this page")
    expect(look.page.get_by_role("switch", name=SWITCH)).not_to_be_checked()
    look.context.close()


def test_a_browser_without_workers_shows_them_by_itself(browser: Browser, server: str) -> None:
    look = Look(browser, server, allow=["notifications"])
    page = look.page
    page.add_init_script("""
      Object.defineProperty(Navigator.prototype, "serviceWorker", { value: undefined });
      window.shown = [];
      window.Notification = class {
        static permission = "granted";
        static requestPermission = async () => "granted";
        constructor(title, { tag }) { Object.assign(this, { title, tag }); if (tag) shown.push(this); }
        close() { shown = shown.filter(one => one !== this); }
      };
    """)
    page.reload()
    page.evaluate("location.hash = '#/inbox'")
    turn_on(page)
    page.evaluate(LOOKS, False)
    play(server, "state-a2-waiting", ASKS)
    wait_until(page, "shown.map(one => one.title)", ["server@den"])
    page.evaluate("shown[0].onclick()")
    expect(page).to_have_url(f"{server}/#/a/a2")
    assert page.evaluate("shown.length") == 0
    look.context.close()
    assert look.complaints == []
