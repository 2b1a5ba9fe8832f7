"""A PXLDisk in Pi-DE, in a real browser, while scrolls are really sent."""

import asyncio
import base64

import pytest
from live import Program, System
from live_page import CHROMIUM, PHONE, page_of
from playwright.async_api import Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

# The pixels of any picture or canvas, without alpha, as base64.
PIXELS_OF = """async (of) => {
  const shown = typeof of === "string" ? new Image() : of;
  if (typeof of === "string") {
    shown.src = of;
    await shown.decode().catch(() => ((shown.src = of), shown.decode()));  // see INTERFACE_CHANGED
  }
  const canvas = new OffscreenCanvas(shown.width, shown.height);
  const context = canvas.getContext("2d");
  context.drawImage(shown, 0, 0);
  const rgba = context.getImageData(0, 0, shown.width, shown.height).data;
  const bytes = rgba.filter((_, index) => index % 4 !== 3);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}"""
ROWS_SHOWN = f"async () => ({PIXELS_OF})(document.querySelector('.pxl-pixels'))"
# Every row that flashes from now on is remembered.
NOTE_FLASHES = """() => {
  const bank = document.querySelector("pxl-bank");
  window.flashed = new Set();
  const note = () => {
    for (const row of bank.dataset.flashing.split(" ").filter(Boolean)) window.flashed.add(Number(row));
  };
  new MutationObserver(note).observe(bank, { attributes: true, attributeFilter: ["data-flashing"] });
}"""


async def open_disk(page: Page, program: Program) -> None:
    """The page of the machine, with its disk watched and read."""
    await program.call("mesh.get")
    node = next(iter(program.nodes))
    await page.evaluate("id => { location.hash = '#/n/' + id }", node)
    await page.wait_for_selector("pxl-bank[data-size]")
    await expect(page.locator(".pxl-mode")).to_have_text("live")


def pixels_on_disk(system: System) -> bytes:
    """The rows of the file itself, by their places in it."""
    png = (system.home / "node" / "disk" / "8.png").read_bytes()
    return b"".join(png[61 + row * 786 :][:768] for row in range(256))


async def quiet(program: Program, system: System) -> None:
    """Return when the file has what the node says that the rows are."""
    rows = (await program.call("disk.rows", node="den", bank=8, content=True))["rows"]
    async with asyncio.timeout(10):
        while True:
            on_disk = pixels_on_disk(system)
            wanted = [base64.b64decode(row["content"]).ljust(768, b"\0") for row in rows[2:]]
            if b"".join(wanted) == on_disk[2 * 768 :]:
                return
            await asyncio.sleep(0.01)  # a file of another process tells nobody that it was written
            rows = (await program.call("disk.rows", node="den", bank=8, content=True))["rows"]


async def sent_and_kept(program: Program, to: str, message: str) -> str:
    scroll = (await program.call("scroll.send", to=to, message=message))["scroll_id"]
    await program.until(
        lambda: program.params_of("scroll.changed", scroll_id=scroll, state="stored"), "its row"
    )
    return str(scroll)


async def test_the_picture_read_through_a_canvas_is_the_file_on_disk(system: System, program: Program):
    async with system.agent("canvas") as agent, page_of(system) as page:
        await program.knows(agent.id)
        await agent.cut()  # so that its scrolls stay in their rows
        for number in range(5):
            await sent_and_kept(program, "canvas", f"scroll {number} " + "äöü☃ " * 100 * number)
        await open_disk(page, program)
        await quiet(program, system)
        png = base64.b64decode(await page.evaluate(PIXELS_OF, "/nodes/den/8.png"))
        drawn = base64.b64decode(await page.evaluate(ROWS_SHOWN))
        on_disk = pixels_on_disk(system)
        # Rows 0 and 1 tell which commit a picture holds: a served copy is stamped, the file is now and then.
        assert png[2 * 768 :] == on_disk[2 * 768 :]
        assert drawn[2 * 768 :] == on_disk[2 * 768 :]
        assert any(on_disk[2 * 768 :])
        await agent.dial()


async def test_a_scroll_flashes_is_read_in_words_and_is_gone_in_the_past(system: System, program: Program):
    async with system.agent("pixel") as agent, page_of(system) as page:
        await program.knows(agent.id)
        await agent.cut()
        await open_disk(page, program)
        bank = page.locator("pxl-bank")
        before = (await program.call("disk.list", node="den"))["commit"]
        await page.evaluate(NOTE_FLASHES)
        await sent_and_kept(program, "pixel", "look at this row")
        rows = (await program.call("disk.rows", node="den", bank=8))["rows"]
        row = max((r for r in rows if r["kind"] == "scroll_in"), key=lambda r: r["seq"])["row"]
        await page.wait_for_function("row => window.flashed.has(row)", arg=row)

        box = await bank.bounding_box()
        assert box is not None
        middle = {"x": 200.0, "y": (row + 0.5) * box["height"] / 256}
        await bank.hover(position=middle)
        readout = page.locator(".pxl-readout")
        await expect(readout).to_contain_text(f"row {row}, input_scrolls, live scroll_in")
        await expect(readout).to_contain_text("look at this row")
        await expect(readout).to_contain_text("pixel@den")
        await expect(readout).to_contain_text("just now")
        await bank.click(position=middle)
        record = page.locator(".pxl-record")
        await expect(record).to_contain_text("scroll_in")
        await expect(record).to_contain_text('"message": "look at this row"')

        await page.get_by_role("button", name="Replay").click()
        slider = page.get_by_label("Commit to look at")
        await slider.wait_for()
        await slider.evaluate(
            "(slider, commit) => { slider.value = commit; slider.dispatchEvent(new Event('input')) }", before
        )
        await expect(page.locator(".pxl-mode")).to_have_text("as it was")
        await expect(page.locator(".pxl-when")).to_contain_text(f"commit {before} of")
        await expect(page.locator(".pxl")).not_to_contain_text("look at this row")
        past = base64.b64decode(await page.evaluate(ROWS_SHOWN))
        assert b"look at this row" not in past
        await page.get_by_role("button", name="Now", exact=True).click()
        await expect(page.locator(".pxl-mode")).to_have_text("live")
        await expect(record).to_contain_text("look at this row")
        await agent.dial()


async def test_the_disk_is_looked_at_with_the_keyboard_alone(system: System, program: Program):
    async with system.agent("keys") as agent, page_of(system) as page:
        await program.knows(agent.id)
        await agent.cut()
        long = "a record of several rows " * 100
        await sent_and_kept(program, "keys", long)
        await open_disk(page, program)
        bank = page.locator("pxl-bank")
        await bank.focus()
        await page.keyboard.press("End")
        await expect(bank).to_have_attribute("aria-valuenow", "255")
        await page.keyboard.press("ArrowUp")
        await expect(bank).to_have_attribute("aria-valuetext", "row 254, output_opcodes, free")
        rows = (await program.call("disk.rows", node="den", bank=8))["rows"]
        newest = max(row["seq"] for row in rows if row["state"] == "live" and row["kind"] == "scroll_in")
        parts = [row["row"] for row in rows if row["seq"] == newest]
        assert len(parts) > 3
        for _ in range(256):  # from record to record
            if await bank.get_attribute("aria-valuenow") == str(parts[0]):
                break
            at = await bank.get_attribute("aria-valuenow")
            await page.keyboard.press("ArrowLeft")
            await expect(bank).not_to_have_attribute("aria-valuenow", str(at))
        await page.keyboard.press("ArrowDown")
        await expect(bank).to_have_attribute("aria-valuenow", str(parts[0] + 1))
        await page.keyboard.press("Enter")
        record = page.locator(".pxl-record")
        await expect(record).to_contain_text(f"{parts[0]}, {parts[1]}")
        await expect(record).to_contain_text("a record of several rows")
        await page.keyboard.press("Escape")
        await expect(record).to_have_count(0)
        await agent.dial()


async def test_the_disk_can_be_checked_from_the_page_of_a_phone(system: System, program: Program):
    async with page_of(system, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        await open_disk(page, program)
        box = await page.locator("pxl-bank").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
        await page.get_by_role("button", name="Verify").tap()
        await expect(page.locator(".pxl-sound")).to_contain_text("as it was written")
        wide = await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert wide, "the page can be scrolled sideways"


async def test_without_motion_a_row_is_marked_and_does_not_fade(system: System, program: Program):
    async with system.agent("still") as agent, page_of(system, reduced_motion="reduce") as page:
        await program.knows(agent.id)
        await open_disk(page, program)
        await page.evaluate(NOTE_FLASHES)
        await program.call("scroll.send", to="still", message="no motion")
        await page.wait_for_function("() => window.flashed.size > 0")
        await expect(page.locator("pxl-bank")).to_have_attribute("data-flashing", "")


async def test_who_looks_away_stops_the_telling_and_who_looks_again_misses_nothing(
    system: System, program: Program
):
    async with system.agent("away") as agent, page_of(system) as page:
        await program.knows(agent.id)
        await agent.cut()
        sent: list[str] = []
        page.on(
            "websocket",
            lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))),
        )
        await page.reload()  # so that the socket is seen
        await expect(page.locator(".roster-foot")).to_contain_text("admin")
        await open_disk(page, program)
        await page.evaluate("location.hash = '#/'")
        await expect(page.locator("pxl-bank")).to_have_count(0)
        async with asyncio.timeout(10):
            while not any("disk.unwatch" in frame for frame in sent):
                await page.wait_for_timeout(10)
        await sent_and_kept(program, "away", "written while nobody looked")
        await open_disk(page, program)
        await expect(page.locator(".pxl-newest")).to_contain_text("written while nobody looked")
        await agent.dial()
