"""Takes the picture of the page that README shows: a photo is dropped into `fc7 serve`, with the samples of the demo.

    python docs/make_page.py [--into FOLDER]

Needs a Chromium and Playwright. The photos come with scikit-image (public domain or CC0); the two of other licences
that come with scikit-learn are left out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from demo import write_query, write_samples
from PIL import Image
from playwright.sync_api import expect, sync_playwright

DOCS = Path(__file__).resolve().parent
OTHER_LICENCES = ("china.jpg", "flower.jpg")
QUERY = "coffee.png"
SIZE = (1280, 800)
SECONDS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=DOCS, help="folder that page.jpg is written into  [default: docs]")
    into: Path = parser.parse_args().into
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Error: there is no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = write_samples(folder / "photos")
        query = write_query(photos / QUERY, folder / "query.jpg")
        for name in OTHER_LICENCES:
            (photos / name).unlink()
        fc7 = [sys.executable, "-P", "-m", "cli"]
        environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
        place = ["--index", str(folder / "index")]
        subprocess.run([*fc7, "index", str(photos), *place], env=environment, check=True, stdout=subprocess.DEVNULL)
        command = [*fc7, "serve", *place, "--port", "0"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                [address] = re.findall(r"http://\S+", server.stdout.readline())
                take(chromium, address, query, folder / "page.png")
            finally:
                server.terminate()
        into.mkdir(parents=True, exist_ok=True)
        with Image.open(folder / "page.png") as image:
            image.convert("RGB").save(into / "page.jpg", quality=85)


def take(chromium: str, address: str, query: Path, picture: Path) -> None:
    """Choose a photo on the page, and keep what it shows once every photo is there."""
    expect.set_options(timeout=1000 * SECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce")
        page.set_default_timeout(1000 * SECONDS)
        page.goto(address)
        page.locator("#file").set_input_files(query)
        expect(page.locator("#names a").first).to_be_visible()
        expect(page.locator("#status")).to_contain_text("The most alike first")
        page.wait_for_function("() => [...document.images].every((image) => image.complete && image.naturalWidth)")
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
