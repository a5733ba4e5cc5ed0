"""`fc7 serve` with 100,000 photos: under load of clients on this machine, and how soon and how smoothly the page shows.

    python benchmarks/serving.py [--photos 100000] [--clients 200] [--seconds 60] [-o FOLDER]

The vectors are those of benchmarks/search.py; 200 files of 1024 × 768 pixels are the photos, again and again (hard
links). Each client has a loopback address of its own, as the server limits how often one may ask, and sends its next
request when the last was answered: searches by id and by upload, names, thumbnails, pages of the list, facts. The same
is done once more by a server that runs the network for each picture alone. Memory is that of the server with the
processes that decode. First paint is of Chromium, where there is one: until the text is there, and until photos are, in
a window that is open already and has kept nothing of the page. A search is one for a photo that is chosen on the page,
from then until its neighbours are in it: while thumbnails still arrive, and after that. Scrolling: the page is scrolled
to its end until all photos are listed, and then by 60 pixels a frame in its middle.
"""

import argparse
import asyncio
import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from search import build, clustered, sizes, write_catalogue

from index.photo_index import PhotoIndex

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FILES = 200
SIDES = (1024, 768)
BOUNDARY = "benchmark"
MIX = {"search by id": 30, "search by photo": 15, "names": 10, "thumbnail": 25, "photos": 10, "one photo": 10}
ALONE, LOADS, SCROLLED = 30, 5, 300
SETTLED = 2000.0
"""Milliseconds after which a new window of Chromium is drawn, buttons and all."""
Times = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60, help="of load; with 0 only one client and the page")
    parser.add_argument("-o", "--out", type=Path, help="folder to work in, kept; a temporary one otherwise")
    parser.add_argument("--serve", nargs=2, metavar=("INDEX", "batched|alone"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = (arguments.out or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        prepare(place, arguments.photos)
        uploads = [path.read_bytes() for path in sorted((place / "photos" / "0000").iterdir())[:20]]
        for way in ("batched", "alone"):
            with serving(place / "index", way) as (port, process):
                if way == "batched":
                    tell_latency(asyncio.run(one_client(port, uploads)))
                    tell_page(port, arguments.photos, sorted((place / "photos" / "0000").iterdir()))
                if not arguments.seconds:
                    return
                memory: list[float] = []
                times, errors = asyncio.run(load(port, process, uploads, arguments.clients, arguments.seconds, memory))
                tell_load(way, arguments.clients, times, errors, memory)


def prepare(place: Path, count: int) -> None:
    """Write an index of `count` photos; nothing where there is one."""
    if (place / "index" / "vectors.faiss").exists():
        return
    write_catalogue(place, (clustered(size, seed=seed) for size, seed in sizes(count)), files=False)
    build(place, "auto")
    write_photos(place)


def write_photos(place: Path) -> None:
    """Write the files of the photos."""
    draw = np.random.default_rng(5)
    with PhotoIndex.open(place / "index") as index:
        files = index.photos.files(index.photos.ids())
    for number, file in enumerate(files):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        if number >= FILES:
            os.link(files[number % FILES].path, file.path)
            continue
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8))
        coarse.resize(SIDES, Image.Resampling.BICUBIC).save(file.path, quality=90)


def serve(index: str, way: str) -> None:
    """Run the command, in a process of its own."""
    from cli import main as fc7
    from web.batching import Batcher

    if way == "alone":

        async def submit(self: "Batcher[object, object]", item: object) -> object:
            return (await asyncio.to_thread(self._compute, [item]))[0]

        Batcher.submit = submit  # type: ignore[method-assign, assignment]
    fc7(["serve", "--index", index, "--port", "0"])


@contextmanager
def serving(index: Path, way: str) -> Iterator[tuple[int, int]]:
    """Start a server; gives its port and process."""
    command = [sys.executable, __file__, "--serve", str(index), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            told = process.stdout.readline()
            yield int(told.rpartition(":")[2].split()[0]), process.pid
        finally:
            process.terminate()
            process.wait(60)


class Client:
    """A client with one connection, from an address of its own."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._address = f"127.1.{number // 250}.{number % 250 + 1}"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> int:
        """Send a request and read the whole answer; returns its status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._address, 0))
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}\r\n".encode() + body)
        await writer.drain()
        headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in headers[1:] if line)
        await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        return int(headers[0].split(" ")[1])

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request(kind: str, draw: random.Random, uploads: Sequence[bytes]) -> tuple[str, str, bytes, str]:
    """Return method, path, body and its content type."""
    id = draw.randint(1, FILES)
    if kind == "thumbnail":
        return "GET", f"/api/thumbnails/{id}", b"", ""
    if kind == "photos":
        return "GET", f"/api/photos?after={draw.randint(0, 1000)}", b"", ""
    if kind == "one photo":
        return "GET", f"/api/photos/{id}", b"", ""
    if kind == "search by id":
        return "POST", "/api/search", f"ids={id}".encode(), "application/x-www-form-urlencoded"
    body = io.BytesIO()
    body.write(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'.encode())
    # Each is another one, as what was just looked for is known: a decoder ignores what follows a JPEG.
    body.write(draw.choice(uploads) + draw.randbytes(8) + f"\r\n--{BOUNDARY}--\r\n".encode())
    path = "/api/classify" if kind == "names" else "/api/search"
    return "POST", path, body.getvalue(), f"multipart/form-data; boundary={BOUNDARY}"


async def one_client(port: int, uploads: Sequence[bytes]) -> Times:
    """Ask alone, one request after the other."""
    times: Times = {}
    client, draw = Client(port, 0), random.Random(0)
    for kind in MIX:
        seconds = []
        for _ in range(ALONE):
            asked = request(kind, draw, uploads)
            begun = time.perf_counter()
            assert await client.ask(*asked) == 200
            seconds.append(time.perf_counter() - begun)
        times[kind] = seconds
    client.close()
    return times


async def load(
    port: int, process: int, uploads: Sequence[bytes], clients: int, seconds: float, memory: list[float]
) -> tuple[Times, Counter[str]]:
    """Ask with many clients at once until the time is over."""
    times: Times = defaultdict(list)
    errors: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def ask_on(number: int) -> None:
        client, draw = Client(port, number), random.Random(number)
        while time.monotonic() < until:
            [kind] = draw.choices(list(MIX), list(MIX.values()))
            asked = request(kind, draw, uploads)
            begun = time.perf_counter()
            try:
                status = await client.ask(*asked)
            except (OSError, asyncio.IncompleteReadError) as error:
                errors[type(error).__name__] += 1
                client.close()
                continue
            times[kind].append(time.perf_counter() - begun)
            if status != 200:
                errors[f"{kind}: {status}"] += 1
        client.close()

    async def watch() -> None:
        while time.monotonic() < until:
            await asyncio.sleep(seconds / 10)
            memory.append(megabytes(process))

    await asyncio.gather(watch(), *(ask_on(number) for number in range(1, clients + 1)))
    return times, errors


def megabytes(process: int) -> float:
    """Return the memory of a process and those that it started, shared pages once (PSS)."""
    total = 0.0
    pending = [process]
    while pending:
        number = pending.pop()
        try:
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
            pending += map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())
        except OSError:
            continue  # it has just ended
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def tell_latency(times: Times) -> None:
    print("| one client | median, ms |\n|---|---|")
    for kind, seconds in times.items():
        print(f"| {kind} | {1e3 * statistics.median(seconds):.0f} |")
    print(flush=True)


def tell_load(way: str, clients: int, times: Times, errors: Counter[str], memory: Sequence[float]) -> None:
    print(f"| {clients} clients, {way} | requests | p50, ms | p99, ms |\n|---|---|---|---|")
    whole = [second for seconds in times.values() for second in seconds]
    for kind, seconds in [*sorted(times.items()), ("all", whole)]:
        half, most = (1e3 * np.quantile(seconds, [0.5, 0.99])) if seconds else (float("nan"),) * 2
        print(f"| {kind} | {len(seconds):,} | {half:.0f} | {most:.0f} |")
    print(f"\nErrors: {dict(errors) or 'none'}. Memory, MB: {', '.join(f'{now:.0f}' for now in memory)}\n", flush=True)


PAINTED = """window.photosAt = new Promise((done) => new MutationObserver((_, observer) => {
  if (!document.querySelector("#grid li")) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => done(performance.now())));
}).observe(document, { childList: true, subtree: true }));"""
TO_THE_END = """(count) => new Promise((done) => {
  const begun = performance.now();
  const down = () => {
    scrollTo(0, document.documentElement.scrollHeight);
    if (document.querySelector("#grid > li:last-child").ariaPosInSet === count) done(performance.now() - begun);
    else requestAnimationFrame(down);
  };
  down();
})"""
FRAMES = """(count) => new Promise((done) => {
  scrollTo(0, document.documentElement.scrollHeight / 2);
  const times = [];
  const step = (now) => {
    times.push(now);
    if (times.length > count) return done(times.slice(1).map((time, number) => time - times[number]));
    scrollBy(0, 60);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
SEARCHED = """() => { window.searched = new Promise((done) => {
  let begun;
  document.querySelector("#file").addEventListener("change", () => { begun = performance.now(); }, true);
  new MutationObserver(() => {
    if (document.querySelector("#status").textContent.startsWith("The most alike")) done(performance.now() - begun);
  }).observe(document.querySelector("#status"), { childList: true });
}); }"""


def first_paint(page: "Page") -> float:
    """Return how many milliseconds after the navigation something was painted."""
    script = """() => new Promise((done) => new PerformanceObserver((list) => {
      const [entry] = list.getEntriesByName("first-contentful-paint");
      if (entry) done(entry.startTime);
    }).observe({ type: "paint", buffered: true }))"""
    return float(page.evaluate(script))


@contextmanager
def window(browser: "Browser") -> Iterator["Page"]:
    """Open a window that has kept nothing, and wait until the browser has drawn it."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto("about:blank")
    page.wait_for_timeout(SETTLED)
    yield page
    context.close()


def search(page: "Page", photo: Path) -> float:
    """Choose a photo on the page; returns after how many milliseconds its neighbours were there."""
    page.evaluate(SEARCHED)
    page.locator("#file").set_input_files(photo)
    return float(page.evaluate("window.searched"))


def tell_page(port: int, count: int, photos: Sequence[Path]) -> None:
    """Open the page in Chromium, each time with nothing kept, and look for photos on it; then scroll it."""
    path = shutil.which("chromium")
    if path is None:
        print("No Chromium here: the page is not measured.\n")
        return
    from playwright.sync_api import sync_playwright

    texts, shown, hurried, searches, empty = [], [], [], [], []
    unknown = iter(photos)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        for _ in range(LOADS):
            with window(browser) as page:
                page.goto(f"http://127.0.0.1:{port}/login")
                empty.append(first_paint(page))
            with window(browser) as page:
                page.add_init_script(PAINTED)
                page.goto(f"http://127.0.0.1:{port}/")
                shown.append(page.evaluate("window.photosAt"))
                texts.append(first_paint(page))
                hurried.append(search(page, next(unknown)))
                page.wait_for_load_state("networkidle")
                searches.append(search(page, next(unknown)))
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/", timeout=120_000)
        whole = page.evaluate(TO_THE_END, str(count))
        frames = page.evaluate(FRAMES, SCROLLED)
        tiles = page.locator("#grid > li").count()
        browser.close()
    median = [f"{statistics.median(times):.0f}" for times in (texts, empty, shown, searches, hurried)]
    print(f"First paint, ms: {median[0]} (of a page with one field: {median[1]}); photos in the page: {median[2]}")
    print(f"Search for a photo, ms: {median[3]}; while thumbnails arrive: {median[4]}")
    print(f"All {count:,} photos listed by scrolling to the end: {whole / 1000:.1f} s")
    half, most = np.quantile(frames, [0.5, 0.99])
    print(f"Frames while scrolling, ms: p50 {half:.0f}, p99 {most:.0f}; photos in the page then: {tiles}\n", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
