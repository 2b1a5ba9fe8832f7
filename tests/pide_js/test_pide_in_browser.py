"""The web app in a real browser against the stand-in: what a person sees, and what must never run."""

import base64
import re

import pytest
from look import TURNED, Look, play
from playwright.sync_api import Browser, FilePayload, Page, Response, expect

pytestmark = pytest.mark.browser


def open_agent(page: Page, agent: str) -> None:
    page.evaluate("id => { location.hash = '#/a/' + id }", agent)
    page.wait_for_selector("#stage-content[data-attached=true]")


def test_a_login_code_is_taken_out_of_the_address(page: Page) -> None:
    assert "login" not in page.url
    expect(page.locator(".roster-foot")).to_contain_text("ada")


def test_a_stranger_sees_the_login_page_and_a_token_opens_it(browser: Browser, server: str) -> None:
    page = browser.new_page()
    page.goto(server)
    page.fill("#token", "nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    page.fill("#token", "viewer")
    page.keyboard.press("Enter")
    expect(page.locator(".roster-foot")).to_contain_text("viewer")
    page.close()


def test_a_stranger_loads_the_login_page_and_nothing_of_the_app(browser: Browser, server: str) -> None:
    page = browser.new_page()
    loaded: dict[str, int] = {}

    def came(response: Response) -> None:
        loaded[response.url.removeprefix(server)] = len(response.body())

    page.on("requestfinished", lambda request: came(request.response()))
    page.goto(server, wait_until="networkidle")
    expect(page.locator(".login-card")).to_contain_text("hyperpi login")
    expect(page.locator(".login-card")).to_contain_text("On a phone")
    assert {"/", "/me", "/static/start.js", "/static/vendor/lit.js"} <= loaded.keys()
    assert "/static/main.js" not in loaded
    assert sum(loaded.values()) < 50_000
    page.close()


def test_a_link_that_was_used_says_so_and_what_to_do_and_another_one_in_the_same_tab_works(
    browser: Browser, server: str
) -> None:
    page = browser.new_page()
    page.goto(f"{server}/#login=spent")
    expect(page.get_by_role("alert")).to_contain_text("was used")
    expect(page.get_by_role("alert")).to_contain_text("get a new link with `hyperpi login`")
    assert "spent" not in page.url
    page.evaluate("location.hash = '#login=letmein'")
    expect(page.locator(".roster-foot")).to_contain_text("ada")
    page.close()


def test_a_spent_link_does_not_log_out_who_is_in(page: Page, server: str) -> None:
    page.goto("about:blank")
    page.goto(f"{server}/#login=spent")
    expect(page.locator(".roster-foot")).to_contain_text("ada")
    page.evaluate("location.hash = '#login=spent'")
    expect(page.locator(".login-card")).to_have_count(0)
    expect(page.locator(".roster-foot")).to_contain_text("ada")


def test_a_viewer_is_not_offered_what_it_may_not_do(browser: Browser, server: str) -> None:
    look = Look(browser, server, token="viewer")
    open_agent(look.page, "a3")
    expect(look.page.locator("#composer")).to_have_count(0)
    expect(look.page.get_by_label("Start an agent", exact=True)).to_have_count(0)
    expect(look.page.locator(".approval").first).to_contain_text("An operator answers this.")
    expect(look.page.get_by_role("button", name="Approve")).to_have_count(0)
    look.context.close()


@pytest.mark.parametrize("server", [("--interrupted",)], indirect=True)
def test_what_a_mishap_interrupted_is_offered_and_gone_on_with_by_one_click(page: Page) -> None:
    banner = page.locator(".banner")
    expect(banner).to_contain_text("2 agents were interrupted. Their machine was restarted.")
    banner.get_by_role("button", name="Not now").click()
    expect(banner).to_have_count(0)
    open_agent(page, "a10")
    expect(page.locator("#composer")).to_be_disabled()
    page.locator(".composer").get_by_role("button", name="Resume").click()
    expect(page.locator(".stage-head h1")).to_have_text("scratch@den")
    expect(page.locator("#composer")).to_be_enabled()
    expect(page.locator(".inspector").get_by_role("link", name="scratch-2")).to_have_count(1)


@pytest.mark.parametrize("server", [("--interrupted",)], indirect=True)
def test_all_that_a_mishap_interrupted_is_gone_on_with_by_one_click(page: Page) -> None:
    page.locator(".banner").get_by_role("button", name="Resume all").click()
    expect(page.locator(".toast")).to_contain_text("2 resumed")
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator("[data-agent=a10r]")).to_have_count(1)
    expect(page.locator("[data-agent=a11r]")).to_have_count(1)


def test_a_prompt_is_stored_then_delivered_and_answered_live(page: Page) -> None:
    open_agent(page, "a2")
    page.fill("#composer", "Why?")
    page.keyboard.press("Enter")
    expect(page.locator(".receipts")).to_contain_text("stored at its node")
    expect(page.locator(".entry[data-role=user]").last).to_contain_text("Why?")
    expect(page.locator(".receipts")).to_have_count(0)
    expect(page.locator(".running")).to_have_count(1)
    expect(page.locator(".tool[data-status=running]")).to_have_count(1)
    expect(page.locator(".entry[data-role=assistant]").last).to_contain_text("You asked: Why?")


def test_a_prompt_written_while_the_hypivisor_is_away_arrives_once_when_it_is_back(
    page: Page, server: str
) -> None:
    open_agent(page, "a2")
    play(server, "away")
    expect(page.locator(".banner")).to_contain_text("The hypivisor does not answer")
    expect(page.locator(".entry[data-role=user]").first).to_be_visible()
    page.fill("#composer", "Sent from a tunnel")
    page.keyboard.press("Enter")
    expect(page.locator(".receipts")).to_contain_text("kept here until the link is back")
    play(server, "back")
    expect(page.locator(".banner")).to_have_count(0, timeout=20_000)
    expect(page.locator(".entry[data-role=user]", has_text="Sent from a tunnel")).to_have_count(1)


def test_a_device_without_network_is_told_from_a_hypivisor_that_is_away(page: Page, server: str) -> None:
    page.context.set_offline(True)
    play(server, "away")
    expect(page.locator(".banner")).to_contain_text("This device is offline")
    page.context.set_offline(False)
    play(server, "back")
    expect(page.locator(".banner")).to_have_count(0, timeout=20_000)


def test_a_refused_prompt_says_why_and_can_be_edited(page: Page) -> None:
    open_agent(page, "a2")
    page.fill("#composer", "/refuse this")
    page.keyboard.press("Enter")
    expect(page.locator(".receipts")).to_contain_text("refused by the policy of den (ask its owner)")
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.locator("#composer")).to_have_value("/refuse this")


def test_only_what_is_open_is_marked_in_the_roster(page: Page) -> None:
    marked = page.locator(".roster [aria-current=true], .roster [data-cursor=true]")
    open_agent(page, "a2")
    expect(marked).to_have_count(1)
    page.evaluate("location.hash = '#/n/n1'")
    expect(page.locator(".node-row [aria-current=true]")).to_have_count(1)
    expect(marked).to_have_count(1)


def test_a_hole_in_the_stream_is_filled_from_the_cursor(page: Page, server: str) -> None:
    open_agent(page, "a2")
    play(server, "hole")
    expect(page.locator(".note", has_text="the event that was not sent")).to_have_count(1)
    expect(page.locator(".note", has_text="after the hole")).to_have_count(1)


def test_a_reset_conversation_is_read_anew(page: Page, server: str) -> None:
    open_agent(page, "a2")
    expect(page.locator(".entry")).not_to_have_count(0)
    play(server, "reset")
    expect(page.locator(".stage-empty")).to_contain_text("Nothing said yet")


def test_a_slow_close_resumes_without_losing_or_doubling(page: Page, server: str) -> None:
    open_agent(page, "a2")
    play(server, "burst")
    for _ in range(3):
        page.wait_for_timeout(150)
        play(server, "close4000")
    expect(page.locator(".entry[data-role=assistant]", has_text="You asked: burst")).to_have_count(1)
    expect(page.locator(".entry[data-role=assistant]").last).to_contain_text("why the jitter matters.")


def test_a_revoked_login_leads_to_the_login_page(page: Page, server: str) -> None:
    play(server, "close4001")
    expect(page.locator(".login-card")).to_contain_text("logged out")


def test_a_machine_that_goes_away_greys_its_agents_and_keeps_the_text(page: Page, server: str) -> None:
    open_agent(page, "a2")
    play(server, "node-away")
    expect(page.locator(".gap")).to_contain_text("den is not reachable")
    expect(page.locator(".agent-row:has([data-agent=a2])")).to_have_attribute("data-stale", "true")
    expect(page.locator(".state-pill")).to_contain_text("was idle")
    expect(page.locator(".entry[data-role=user]").first).to_be_visible()
    play(server, "node-back")
    expect(page.locator(".gap")).to_have_count(0)


def test_an_agent_that_ends_says_so_and_stays_readable(page: Page, server: str) -> None:
    open_agent(page, "a2")
    play(server, "exit")
    expect(page.locator(".gap")).to_contain_text("This agent ended: quit")
    expect(page.locator("#composer")).to_be_disabled()
    expect(page.locator(".entry[data-role=user]").first).to_be_visible()


def test_a_reader_further_up_is_not_moved_by_new_text(page: Page) -> None:
    open_agent(page, "a1")
    page.wait_for_selector(".running")
    page.evaluate("document.getElementById('stage-scroll').scrollTop = 60")
    page.wait_for_selector(".pill")
    where = "document.querySelector('[data-entry]').getBoundingClientRect().top"
    before = page.evaluate(where)
    page.wait_for_timeout(400)
    assert abs(page.evaluate(where) - before) < 2
    page.click(".pill")
    expect(page.locator(".pill")).to_have_count(0)
    page.wait_for_timeout(200)
    below = "e => e.scrollHeight - e.scrollTop - e.clientHeight"
    assert page.locator("#stage-scroll").evaluate(below) < 4


def test_scrolling_up_pages_through_ten_thousand_entries_in_place(page: Page) -> None:
    open_agent(page, "a4")
    assert page.locator(".entry").count() < 100
    page.mouse.move(700, 400)
    deadline = 60
    while page.locator("[data-entry]", has_text="Step 2400:").count() == 0 and deadline:
        page.mouse.wheel(0, -2_000)
        page.wait_for_timeout(50)
        deadline -= 1
    texts = page.locator(".entry[data-role=user] .prose").all_text_contents()
    steps = [int(text.split()[1].rstrip(":")) for text in texts]
    assert steps == list(range(steps[0], 2_500))
    assert steps[0] <= 2_400


def test_an_approval_can_be_answered(page: Page) -> None:
    open_agent(page, "a3")
    push = page.locator("[data-approval=ap-push7k2m]")
    expect(push).to_contain_text("git push origin v0.1.0 && gh release create v0.1.0")
    expect(push).to_contain_text("in /home/ada/src/hyper-pi")
    expect(push.locator(".reason")).to_have_text("git push leaves this machine")
    expect(push.locator(".approval-time")).to_have_text(re.compile(r"[78]:\d\d"))
    push.get_by_label("A note with the answer").fill("after the tests")
    expect(page.locator(".tool[data-status=asked]")).to_contain_text("waits for approval")
    push.get_by_role("button", name="Deny").click()
    expect(push).to_have_count(0)
    call = page.locator(".tool[data-status=denied]")
    expect(call).to_contain_text("denied by ada")
    page.reload()
    expect(call).to_contain_text("denied by ada")
    call.get_by_role("button").click()
    expect(call.locator(".tool-decision")).to_have_text("denied by ada: after the tests")
    edit = page.locator("[data-approval=ap-edit9qfx]")
    expect(edit.locator(".diff .ins")).to_have_count(3)
    expect(edit.locator(".approval-path")).to_have_text("../shared/link.py")


@pytest.mark.parametrize("width", [1200, 1280, 1600])
def test_the_name_the_folder_and_the_model_are_whole_beside_the_inspector(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    open_agent(page, "a3")
    expect(page.locator(".inspector")).to_be_visible()
    for part in (".stage-head h1", ".stage-sub span:first-child", ".stage-sub span + span"):
        cut = page.locator(part).evaluate("one => one.scrollWidth > one.clientWidth")
        assert not cut, f"{part} is cut at {width}"


def test_not_now_is_the_viewers_own(page: Page) -> None:
    open_agent(page, "a3")
    push = page.locator("[data-approval=ap-push7k2m]")
    push.get_by_role("button", name="Not now").click()
    expect(push.get_by_role("button", name="Approve")).to_have_count(0)
    expect(push).to_contain_text("git push origin v0.1.0")
    page.reload()
    expect(push).to_contain_text("git push origin v0.1.0")
    expect(push.get_by_role("button", name="Approve")).to_have_count(0)
    push.get_by_role("button", name="Show").click()
    expect(push.get_by_role("button", name="Approve")).to_be_visible()


def test_what_waits_on_all_machines_is_listed_and_answered_in_one_place(page: Page) -> None:
    badge = page.locator(".inbox-link .badge")
    expect(badge).to_have_text("3")
    page.locator(".inbox-link").click()
    cards = page.locator(".inbox .approval")
    expect(cards).to_have_count(3)
    asked = page.locator("[data-approval=ui-4f1a]")
    expect(asked).to_contain_text("Which database?")
    expect(asked).to_contain_text("It has users.")
    asked.get_by_role("button", name="staging").click()
    expect(cards).to_have_count(2)
    expect(badge).to_have_text("2")
    cards.first.locator(".approval-from").click()
    expect(page.locator(".stage-head h1")).to_contain_text("release")


def test_an_agent_is_started_in_a_folder_that_was_browsed_to(page: Page) -> None:
    page.keyboard.press("n")
    page.locator(".folder-name", has_text="src").click()
    page.locator(".folder-name", has_text="postgres-tools").click()
    page.get_by_role("button", name="New folder").click()
    page.get_by_label("New folder in it").fill("fresh")
    page.get_by_label("Name").fill("digger")
    expect(page.locator(".spawn footer")).to_contain_text("/home/ada/src/postgres-tools/fresh")
    page.get_by_role("button", name="Start here").click()
    expect(page.locator(".stage-head")).to_contain_text("digger@den")
    expect(page.locator(".agent-row", has_text="digger")).to_have_count(1)


def test_a_folder_outside_the_policy_cannot_be_chosen(page: Page) -> None:
    page.keyboard.press("n")
    page.locator(".crumbs").get_by_role("button", name="/", exact=True).click()
    expect(page.locator(".warning")).to_contain_text("does not allow")
    expect(page.get_by_role("button", name="Start here")).to_be_disabled()


def test_a_waiting_machine_is_approved_by_its_code(page: Page) -> None:
    page.evaluate("location.hash = '#/n/n3'")
    expect(page.locator(".join-code")).to_have_text("402 917")
    page.get_by_role("button", name="It shows the same: approve").click()
    expect(page.locator(".node-row", has_text="pi5-workshop").locator(".presence")).to_have_attribute(
        "data-tone", "online"
    )


def test_a_scroll_is_sent_and_its_receipts_follow(page: Page) -> None:
    open_agent(page, "a2")
    page.click("#tab-scrolls")
    page.get_by_role("textbox", name="Message").fill("schema changed")
    page.get_by_role("button", name="Send scroll").click()
    scroll = page.locator(".scroll", has_text="user:ada")
    expect(scroll).to_contain_text("accepted")
    expect(scroll).to_contain_text("answered")
    expect(scroll.locator(".opcode")).to_have_text("done")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("server")
    page.keyboard.press("Enter")
    expect(page.locator(".stage-head")).to_contain_text("server@den")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#filter")).to_have_value("")
    for _ in range(3):
        page.keyboard.press("j")
    expect(page.locator("[data-agent=a4]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[aria-current=true]")).to_have_attribute("data-agent", "a4")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("filter the roster")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_draft_stays_with_its_agent(page: Page) -> None:
    open_agent(page, "a2")
    page.fill("#composer", "half a thought")
    open_agent(page, "a4")
    expect(page.locator("#composer")).to_have_value("")
    open_agent(page, "a2")
    expect(page.locator("#composer")).to_have_value("half a thought")


def test_a_word_is_completed_by_keys_and_a_folder_leads_on_into_it(page: Page) -> None:
    open_agent(page, "a2")
    # Each text at once: an answer to half of it would come between a key and what the key is for.
    page.focus("#composer")
    page.keyboard.insert_text("/re")
    expect(page.get_by_role("option")).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text("/remember")
    page.keyboard.press("Enter")
    expect(page.locator("#composer")).to_have_value("/remember ")
    page.keyboard.insert_text("look at @s")
    page.get_by_role("option", name="@src/ folder").click()
    expect(page.locator("#composer")).to_have_value("/remember look at @src/")
    expect(page.get_by_role("option")).to_have_count(2)
    page.get_by_role("option").last.click()
    expect(page.locator("#composer")).to_have_value("/remember look at @src/main.py ")
    page.keyboard.insert_text("@s")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    expect(page.locator("#composer")).to_be_focused()


def test_pictures_are_added_made_small_and_sent_with_a_prompt(page: Page) -> None:
    open_agent(page, "a2")
    noise = page.evaluate("""() => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [1800, 1200];
        const context = canvas.getContext("2d"), image = context.createImageData(1800, 1200);
        for (let i = 0; i < image.data.length; i += 1) image.data[i] = (i * 7919) % 256;
        context.putImageData(image, 0, 0);
        return canvas.toDataURL("image/png").split(",")[1];
    }""")
    file = {"name": "photo.png", "mimeType": "image/png", "buffer": base64.b64decode(noise)}
    page.get_by_label("Add pictures").set_input_files([file, file])
    expect(page.locator(".pictures img")).to_have_count(2)
    assert len(page.locator(".pictures img").first.get_attribute("src") or "") < 200_000
    page.get_by_label("Remove picture 2").click()
    page.fill("#composer", "what is this?")
    page.keyboard.press("Enter")
    expect(page.locator(".pictures")).to_have_count(0)
    expect(page.locator(".entry[data-role=user] img.picture")).to_have_count(1)


def test_a_file_that_only_says_that_it_is_a_picture_is_refused(page: Page) -> None:
    open_agent(page, "a2")
    file: FilePayload = {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    page.get_by_label("Add pictures").set_input_files(file)
    expect(page.locator(".toast")).to_contain_text("That is no picture")
    expect(page.locator(".pictures")).to_have_count(0)


def test_what_waits_for_an_agent_is_edited_or_cancelled(page: Page) -> None:
    open_agent(page, "a2")
    for text in ("wait: first", "wait: second"):
        page.fill("#composer", text)
        page.keyboard.press("Enter")
        expect(page.locator(".queue")).to_contain_text(text)
    expect(page.locator(".receipts li")).to_have_count(2)
    page.locator(".queue li").filter(has_text="first").get_by_role("button", name="Edit").click()
    expect(page.locator("#composer")).to_have_value("wait: first")
    page.locator(".queue").get_by_role("button", name="Cancel").click()
    expect(page.locator(".receipts")).to_have_count(0)


def test_what_an_ended_agent_had_not_taken_is_said_and_can_be_sent_to_who_goes_on(
    page: Page, server: str
) -> None:
    open_agent(page, "a2")
    for text in ("wait: first", "wait: second", "wait: third"):
        page.fill("#composer", text)
        page.keyboard.press("Enter")
        expect(page.locator(".queue")).to_contain_text(text)
    play(server, "exit")
    expect(page.locator("#composer")).to_be_disabled()
    expect(page.locator(".queue li[data-receipt=unknown]")).to_have_count(3)
    expect(page.locator(".queue")).to_contain_text("not taken")
    first = page.locator(".queue li").filter(has_text="first")
    first.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".queue li")).to_have_count(2)
    page.locator(".queue li").filter(has_text="second").get_by_role("button", name="Send again").click()
    expect(page).to_have_url(re.compile("a2r$"))
    expect(page.locator(".composer, .stage").first).to_contain_text("wait: second")
    open_agent(page, "a2")
    expect(page.locator(".queue li")).to_have_count(1)
    page.reload()
    expect(page.locator(".queue")).to_contain_text("wait: third")


LONG = "wait: " + " ".join(f"word{number}" for number in range(700))


def test_a_long_prompt_that_was_not_taken_is_sent_again_and_copied_whole_after_a_reload(
    page: Page, server: str
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_agent(page, "a2")
    page.fill("#composer", LONG)
    page.keyboard.press("Enter")
    expect(page.locator(".queue")).to_contain_text("word699")
    play(server, "exit")
    expect(page.locator(".queue li[data-receipt=unknown]")).to_have_count(1)
    page.reload()
    expect(page.locator(".queue li[data-receipt=unknown]")).to_have_count(1)
    expect(page.locator(".queue")).not_to_contain_text("word699")
    page.locator(".queue").get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == LONG
    page.locator(".queue").get_by_role("button", name="Send again").click()
    expect(page).to_have_url(re.compile("a2r$"))
    expect(page.locator(".composer, .stage").first).to_contain_text("word699")
    expect(page.locator(".queue")).not_to_contain_text("were cut")


def test_a_long_prompt_of_which_only_the_beginning_is_known_is_not_offered_as_if_it_were_whole(
    page: Page, server: str
) -> None:
    open_agent(page, "a2")
    page.fill("#composer", LONG)
    page.keyboard.press("Enter")
    expect(page.locator(".queue")).to_contain_text("word699")
    play(server, "exit-of-a-node-that-was-restarted")
    lost = page.locator(".queue li[data-receipt=unknown]")
    expect(lost.get_by_role("button", name="Send again")).to_have_count(
        1
    )  # this page has sent it, and knows it
    page.reload()
    expect(lost).to_contain_text(f"only its beginning is known: {len(LONG) - 1_000} characters are missing")
    expect(lost.get_by_role("button", name="Copy the beginning")).to_have_count(1)
    expect(lost.get_by_role("button", name="Send again")).to_have_count(0)
    expect(lost.get_by_role("button", name="Copy", exact=True)).to_have_count(0)


def test_a_phone_walks_through_the_panes_as_screens(browser: Browser, server: str) -> None:
    look = Look(browser, server, phone=True)
    page = look.page
    page.locator("[data-agent=a2]").tap()
    expect(page.locator(".stage")).to_be_visible()
    expect(page.locator(".roster")).to_be_hidden()
    page.get_by_label("Inspector", exact=True).tap()
    expect(page.locator(".inspector")).to_be_visible()
    page.get_by_label("Back to the conversation").tap()
    page.locator(".stage").get_by_label("Back to the roster").tap()
    expect(page.locator(".roster")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    look.context.close()


@pytest.mark.parametrize("server", [("--empty",)], indirect=True)
def test_an_empty_mesh_says_what_to_do(page: Page) -> None:
    expect(page.locator(".stage")).to_contain_text("hyperpi pi install")


@pytest.mark.parametrize("server", [("--agents", "10000")], indirect=True)
def test_ten_thousand_agents_are_listed_without_drawing_them_all(page: Page) -> None:
    expect(page.locator(".chip[data-chip=all] .n")).to_have_text("10009")
    assert page.locator(".agent-row").count() < 150
    page.keyboard.press("/")
    page.keyboard.type("worker-9999")
    expect(page.locator(".agent-row")).to_have_count(1)


def test_what_went_wrong_in_a_dialog_is_said_above_its_backdrop(browser: Browser, server: str) -> None:
    look = Look(browser, server, token="operator")
    look.page.click("[aria-label='Add a machine']")
    expect(look.page.get_by_role("dialog")).to_contain_text("hyperpi node join HOST")
    look.page.evaluate("() => void (navigator.clipboard.writeText = () => Promise.reject(new Error('no')))")
    look.page.get_by_role("button", name="Copy").click()
    toast = look.page.locator(".toast[data-shown=true]")
    expect(toast).to_contain_text("select the text instead")
    on_top = """toast => {
      const box = toast.getBoundingClientRect();
      const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      return box.bottom <= innerHeight && toast.contains(found);
    }"""
    assert toast.evaluate(on_top)
    look.context.close()


def test_a_name_that_was_not_taken_as_written_is_told(page: Page) -> None:
    toast = page.locator(".toast[data-shown=true]")
    page.keyboard.press("n")
    page.get_by_label("Name", exact=True).fill("my agent!")
    page.get_by_role("button", name="Start here").click()
    expect(toast).to_contain_text("Started as my-agent.")
    open_agent(page, "a2")
    page.locator("details.menu summary").click()
    page.get_by_text("Rename").click()
    page.get_by_label("New name").fill("a server?")
    page.keyboard.press("Enter")
    expect(toast).to_contain_text("Renamed to a-server.")


def test_a_name_from_right_to_left_moves_nothing_that_stands_beside_it(page: Page) -> None:
    open_agent(page, "a2")
    for name in page.locator(
        "[data-agent=a2] .agent-name, .node-name, .agent-second, .stage-sub > span"
    ).all():
        assert name.evaluate("element => getComputedStyle(element).unicodeBidi").startswith("isolate")
    assert page.locator(".prose p").count() > 0
    for text in page.locator(".prose, .prose p").all():
        assert text.evaluate("element => getComputedStyle(element).unicodeBidi") == "plaintext"


@pytest.mark.parametrize("server", [("--hostile",)], indirect=True)
def test_nothing_that_an_agent_says_runs_in_the_page(page: Page) -> None:
    open_agent(page, "x0")
    page.wait_for_timeout(300)
    for line in page.query_selector_all(".tool-line, .thinking-line"):
        line.click()
    page.click("#tab-scrolls")
    page.click("#tab-node")
    for link in page.query_selector_all("#stage-content a"):
        assert (link.get_attribute("href") or "").startswith(("https://", "http://", "mailto:"))
    for tab in ("agent", "scrolls", "node"):
        page.click(f"#tab-{tab}")
        assert page.evaluate(TURNED) == []
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned") is None
    forbidden = "script, iframe, object, embed, form, style, math, [onerror], [onload], [srcdoc], [style]"
    assert page.locator("#stage-content").locator(forbidden).count() == 0
    assert page.locator("#stage-content img").count() == 0
    assert page.evaluate("typeof document.getElementById") == "function"
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned") is None


# --- a PXLDisk ------------------------------------------------------------------------------------------


def open_disk(page: Page) -> None:
    page.evaluate("location.hash = '#/n/n1'")
    page.wait_for_selector("pxl-bank[data-size]")
    expect(page.locator(".pxl-mode")).to_have_text("live")


def test_a_disk_that_was_written_to_while_the_link_was_away_is_whole_when_it_is_back(
    page: Page, server: str
) -> None:
    open_disk(page)
    newest = page.locator(".pxl-newest button .pxl-row").first
    before = newest.inner_text()
    play(server, "away")
    expect(page.locator(".pxl-mode")).to_have_text("as last seen")
    play(server, "disk-scroll")
    expect(newest).to_have_text(before)
    play(server, "back")
    expect(page.locator(".pxl-mode")).to_have_text("live", timeout=20_000)
    expect(newest).not_to_have_text(before)
    now = newest.inner_text()
    play(server, "disk-scroll")
    expect(newest).not_to_have_text(now)


def test_every_bank_of_a_disk_can_be_looked_at(page: Page, server: str) -> None:
    play(server, "disk-grow")
    open_disk(page)
    page.get_by_role("button", name="9.png").click()
    expect(page.get_by_role("button", name="9.png")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".pxl-newest")).to_contain_text("@")
    fill = page.locator(".pxl-fill").nth(1)
    before = fill.get_attribute("aria-label")
    for _ in range(3):  # the first bank may have a row left
        play(server, "disk-scroll")
    expect(fill).not_to_have_attribute("aria-label", str(before))


def test_the_log_of_a_disk_is_played_back_to_now(page: Page, server: str) -> None:
    open_disk(page)
    page.get_by_role("button", name="Replay").click()
    page.get_by_label("Play the log").click()
    expect(page.locator(".pxl-mode")).to_have_text("as it was")
    expect(page.locator("pxl-bank")).not_to_have_attribute("data-flashing", "")
    expect(page.locator(".pxl-mode")).to_have_text("live", timeout=60_000)
    expect(page.locator(".pxl-when")).to_contain_text("now")


def test_damage_of_a_disk_is_told_with_its_file_and_row(page: Page, server: str) -> None:
    play(server, "disk-damage")
    open_disk(page)
    page.get_by_role("button", name="Verify").click()
    expect(page.locator(".pxl-problems")).to_contain_text("row 12")
    expect(page.locator(".pxl-problems")).to_contain_text("hyperpi disk repair")
