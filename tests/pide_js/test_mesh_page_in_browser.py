"""The Mesh page in a real browser: who is let in, by whom, and who did what."""

import re

import pytest
from look import TURNED, Look, play
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.browser


def open_tab(page: Page, tab: str) -> None:
    page.evaluate("tab => { location.hash = '#/mesh/' + tab }", tab)
    page.wait_for_selector(f".mesh-page[data-tab={tab}]")


def rows(page: Page, label: str) -> Locator:
    return page.locator(f"[aria-label='{label}'] tbody tr")


def confirmed(page: Page, verb: str) -> str:
    """Answer the one question that is asked; what it said would happen."""
    dialog = page.get_by_role("dialog")
    said = dialog.inner_text()
    dialog.get_by_role("button", name=verb).click()
    expect(dialog).to_have_count(0)
    return said


# --- getting there -----------------------------------------------------------------------------------


def test_the_page_is_reached_from_the_foot_of_the_roster_and_by_keyboard(page: Page) -> None:
    foot = page.locator(".roster-foot")
    expect(foot.get_by_role("link", name="Mesh")).to_contain_text("1")  # one machine waits
    foot.get_by_role("link", name="Mesh").click()
    expect(page.get_by_role("main", name="Mesh")).to_be_visible()
    page.evaluate("location.hash = '#/'")
    expect(page.get_by_role("main", name="Mesh")).to_have_count(0)
    page.keyboard.press("m")
    expect(page.get_by_role("main", name="Mesh")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("the page of the mesh")


def test_a_reload_comes_back_to_the_same_part(page: Page) -> None:
    open_tab(page, "audit")
    page.reload()
    expect(rows(page, "Audit trail").first).to_be_visible()
    expect(page.locator(".mesh-tabs [aria-current=page]")).to_have_text("Audit trail")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_is_no_admin_sees_neither_the_way_nor_the_page(browser: Browser, server: str, role: str) -> None:
    look = Look(browser, server, token=role)
    play(server, "nearby")
    expect(look.page.locator(".roster-foot").get_by_role("link", name="Mesh")).to_have_count(0)
    look.page.keyboard.press("m")
    expect(look.page.get_by_role("main", name="Mesh")).to_have_count(0)
    look.page.evaluate("location.hash = '#/mesh/logins'")
    expect(look.page.get_by_role("heading", name="This page is for admins.")).to_be_visible()
    expect(look.page.locator("table, .machines, .join-code")).to_have_count(0)
    look.page.evaluate("location.hash = '#/n/n3'")
    expect(look.page.locator(".stage")).to_contain_text("an admin of this mesh can approve")
    look.context.close()


# --- letting in --------------------------------------------------------------------------------------


def test_a_machine_joins_with_the_command_that_was_made_and_the_page_shows_it(
    page: Page, server: str
) -> None:
    page.click("[aria-label='Add a machine']")
    page.get_by_label("Good for").select_option("3600")
    page.get_by_role("button", name="Make a token").click()
    command = page.locator(".made .command").inner_text()
    token = r"hp1-[a-z2-7]+-[a-z2-7]+\.[a-z2-7]+"
    assert re.fullmatch(rf"hyperpi node join 192\.168\.1\.20:31417 --token {token}", command)
    expect(page.get_by_role("img", name="QR code of the command")).to_be_visible()
    left = page.locator(".countdown")
    expect(left).to_have_text(re.compile(r"^(1:00:00|59:5\d)$"))
    before = left.inner_text()
    expect(left).not_to_have_text(before)  # it counts
    play(server, "join", command.rpartition(" ")[2])
    state = page.locator(".made-state")
    expect(state).to_contain_text("porch has joined.")
    expect(page.locator(".made .command, .made .qr")).to_have_count(0)
    state.get_by_role("link").click()
    expect(page.locator(".stage-head")).to_contain_text("porch")


def test_a_token_that_was_just_made_can_be_taken_back(page: Page) -> None:
    open_tab(page, "let-in")
    page.get_by_role("button", name="Make a token").click()
    page.locator(".made").get_by_role("button", name="Revoke…").click()
    assert "machines that have joined stay" in confirmed(page, "Revoke token")
    expect(page.locator(".made-state")).to_contain_text("It is revoked.")
    expect(page.locator(".made .command")).to_have_count(0)


def test_a_link_for_a_phone_is_a_code_for_its_camera_that_logs_it_in_once(
    page: Page, browser: Browser, server: str
) -> None:
    open_tab(page, "let-in")
    page.get_by_role("button", name="A browser").click()
    page.get_by_label("Role").select_option("viewer")
    page.get_by_label("Name").fill("carol")
    page.get_by_role("button", name="Make a link").click()
    expect(page.locator(".made .command")).to_contain_text("/#login=")
    expect(page.get_by_role("img", name="QR code of the link")).to_be_visible()
    expect(page.locator(".countdown")).to_have_text(re.compile(r"^(5:00|4:5\d)$"))


def test_a_token_for_a_program_is_shown_once(page: Page) -> None:
    open_tab(page, "let-in")
    page.get_by_role("button", name="A program").click()
    page.get_by_label("Name").fill("dashboard")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator(".made .command").inner_text()
    assert token.startswith("hp1u-")
    open_tab(page, "logins")
    expect(rows(page, "Tokens").filter(has_text="dashboard")).to_contain_text("operator")
    assert token.partition(".")[2] not in page.content()


def test_a_waiting_machine_is_approved_or_turned_away_by_its_digits(page: Page) -> None:
    open_tab(page, "let-in")
    waiting = page.locator(".machines.waiting li")
    expect(waiting).to_contain_text(["402 917"])
    waiting.get_by_role("button", name="Turn pi5-workshop away").click()
    assert "can ask again" in page.get_by_role("dialog").inner_text()
    page.get_by_role("button", name="Cancel").click()
    waiting.get_by_role("button", name="It shows the same: approve").click()
    expect(waiting).to_have_count(0)
    expect(page.locator(".toast")).to_contain_text("confirmed on that machine too")
    open_tab(page, "machines")
    expect(rows(page, "Machines").filter(has_text="pi5-workshop")).to_contain_text("online")


def test_machines_on_the_network_are_listed_as_they_appear_and_run_nothing(page: Page, server: str) -> None:
    open_tab(page, "let-in")
    expect(page.locator("[aria-label='Seen on this network']")).to_contain_text("None.")
    play(server, "nearby")
    seen = page.locator(".machines.nearby li")
    expect(seen.first).to_contain_text("porch")
    expect(seen.first).to_contain_text("192.168.1.31")
    assert page.evaluate("window.pwned") is None
    assert page.locator(".machines *:not(li, b, span, button)").count() == 0
    box, sheet = page.locator(".machines.nearby").bounding_box(), page.locator(".mesh-page").bounding_box()
    assert box and sheet and box["x"] + box["width"] <= sheet["x"] + sheet["width"]


# --- what there is, and taking it away ---------------------------------------------------------------


def test_a_machine_tells_its_certificate_and_is_revoked_after_one_question(page: Page) -> None:
    open_tab(page, "machines")
    den = rows(page, "Machines").filter(has_text="den")
    expect(den).to_contain_text("renews in 2 d")
    expect(den).to_contain_text("issued 2 d ago")
    den.get_by_role("button", name="Revoke den").click()
    said = confirmed(page, "Revoke")
    assert "no longer accepted" in said
    assert "joining again" in said
    expect(den).to_have_count(0)


def test_an_act_that_is_refused_says_why_and_what_to_do(page: Page) -> None:
    open_tab(page, "machines")
    page.get_by_role("button", name="Revoke attic").click()
    confirmed(page, "Revoke")
    expect(page.locator(".toast")).to_contain_text("the audit trail cannot be written (is the disk full?)")
    expect(rows(page, "Machines").filter(has_text="attic")).to_have_count(1)


def test_a_browser_elsewhere_is_logged_out_and_ones_own_is_marked(page: Page) -> None:
    open_tab(page, "logins")
    browsers = rows(page, "Browsers")
    own, phone = browsers.filter(has_text="this browser"), browsers.filter(has_text="192.168.1.77")
    expect(own).to_have_count(1)
    expect(phone).to_contain_text("https://den.example")
    own.get_by_role("button").click()
    assert "this page ends" in page.get_by_role("dialog").inner_text()
    page.get_by_role("button", name="Cancel").click()
    phone.get_by_role("button").click()
    assert "192.168.1.77" in confirmed(page, "Log out")
    expect(phone).to_have_count(0)


def test_a_token_tells_its_last_use_and_goes_to_the_ended_ones_when_it_is_revoked(page: Page) -> None:
    open_tab(page, "logins")
    bot = rows(page, "Tokens").filter(has_text="release-bot")
    expect(bot).to_contain_text("192.168.1.40")
    expect(bot).to_contain_text("good for")
    bot.get_by_role("button").click()
    assert "loses the connection now" in confirmed(page, "Revoke token")
    expect(bot).to_have_count(0)
    page.get_by_role("button", name="show 3 ended").click()
    expect(bot).to_contain_text("revoked")
    expect(rows(page, "Tokens").filter(has_text="used by attic")).to_have_count(1)
    expect(bot.get_by_role("button")).to_have_count(0)


# --- the audit trail ---------------------------------------------------------------------------------


def test_the_trail_is_filtered_by_the_server_and_read_page_by_page(page: Page) -> None:
    open_tab(page, "audit")
    trail = rows(page, "Audit trail")
    expect(trail).to_have_count(100)
    expect(page.locator(".verdict")).to_contain_text("none changed, none missing")
    page.get_by_role("button", name="Look further back").click()
    expect(trail).to_have_count(200)
    titles = trail.locator(".when").evaluate_all("cells => cells.map((cell) => cell.title)")
    numbers = [int(title.removeprefix("row ")) for title in titles]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 200
    page.get_by_label("Who").fill("release")
    page.get_by_label("About").fill("frontend-3")
    page.get_by_label("Result").select_option("refused")
    expect(trail.first).to_contain_text("frontend-3")
    expect(page.locator("text=That is all.")).to_be_visible()
    found = trail.count()
    assert 0 < found < 60
    assert trail.filter(has_text="release-bot").count() == found
    assert trail.filter(has_text="refused").count() == found
    page.get_by_label("What").fill("nothing like it")
    expect(page.locator("text=Nothing fits.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(trail).to_have_count(100)


def test_new_rows_come_by_themselves_and_do_not_move_who_reads_further_back(page: Page, server: str) -> None:
    open_tab(page, "audit")
    trail = rows(page, "Audit trail")
    expect(trail).to_have_count(100)
    play(server, "audit")
    expect(trail.first).to_contain_text("bob")
    page.get_by_role("button", name="Look further back").click()
    expect(trail).to_have_count(200)
    play(server, "audit")
    page.get_by_role("button", name="There are newer rows").click()
    expect(trail).to_have_count(100)
    expect(trail.filter(has_text="bob")).to_have_count(2)


# --- strangers' words, and small screens -------------------------------------------------------------


@pytest.mark.parametrize("server", [("--hostile",)], indirect=True)
def test_no_name_and_no_detail_runs_or_reads_as_something_else(page: Page, server: str) -> None:
    play(server, "nearby")
    for tab in ("let-in", "machines", "logins", "audit"):
        open_tab(page, tab)
        if tab in {"logins", "audit"}:
            expect(page.locator("tbody tr", has_text="window.pwned").first).to_be_visible()
        page.wait_for_timeout(200)
        assert page.evaluate("window.pwned") is None
        forbidden = "script, iframe, object, embed, style, math, img, [onerror], [onload], [srcdoc], [style]"
        assert page.locator(".mesh-page").locator(forbidden).count() == 0
        assert page.evaluate(TURNED) == []
    page.get_by_role("link", name="Logins").click()
    rows(page, "Tokens").filter(has_text="onerror").first.get_by_role("button").click()
    assert page.evaluate(TURNED) == []
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize("light", [False, True])
def test_every_part_fits_a_phone(browser: Browser, server: str, light: bool) -> None:
    look = Look(browser, server, phone=True, light=light)
    page = look.page
    page.locator(".roster-foot").get_by_role("link", name="Mesh").tap()
    expect(page.get_by_role("main", name="Mesh")).to_be_visible()
    page.get_by_role("button", name="Make a token").tap()
    expect(page.locator(".qr")).to_be_visible()
    for tab in ("let-in", "machines", "logins", "audit"):
        open_tab(page, tab)
        expect(page.locator(".sheet").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        wide = """() => [...document.querySelectorAll(".mesh-page *")]
          .filter((e) => e.getBoundingClientRect().right > innerWidth && !e.closest(".choice")).length"""
        assert page.evaluate(wide) == 0, tab
    page.locator(".stage").get_by_label("Back to the roster").tap()
    expect(page.locator(".roster")).to_be_visible()
    look.context.close()
