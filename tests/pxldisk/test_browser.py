"""A browser sees the same bytes: pixels read back from a canvas are the rows on disk."""

import asyncio
import base64
import shutil
from pathlib import Path

import pytest
from disk_rig import small

READ_PIXELS = """async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, image.width, image.height).data;
  return Array.from(rgba).filter((_, index) => index % 4 !== 3);
}"""


def pixels_in_browser(chromium: str, png: bytes) -> bytes:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            source = "data:image/png;base64," + base64.b64encode(png).decode()
            return bytes(page.evaluate(READ_PIXELS, source))
        finally:
            browser.close()


@pytest.mark.browser
async def test_pixels_read_from_a_canvas_are_the_bytes_on_disk(folder: Path) -> None:
    pytest.importorskip("playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    async with small(folder) as disk:
        await disk.append("in", bytes(range(91)))
        await disk.append("in", bytes(range(255, 164, -1)))
    png = (folder / "8.png").read_bytes()
    rows = b"".join(png[61 + row * 162 :][:144] for row in range(10))
    assert rows[3 * 144 :][49:140] == bytes(range(91))
    assert await asyncio.to_thread(pixels_in_browser, chromium, png) == rows
