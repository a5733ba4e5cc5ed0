"""The memory that decoding takes: estimated from the header, budgeted over threads, and what happens without it."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cli import main
from index.errors import OutOfMemoryError
from index.index_writer import IndexWriter
from index.records import SyncCounts
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from retrieval.photos.decode import Photo, load_photo
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.machine import usable_memory
from retrieval.pipeline.memory import SHARE, MemoryBudget, decode_within_budget, shared_budget


def encoded(mode: str, size: tuple[int, int], format: str, **options: object) -> bytes:
    file = BytesIO()
    Image.new(mode, size).save(file, format, **options)
    return file.getvalue()


def claimed(data: bytes, *, shorter_side: int | None = None) -> int:
    claims: list[int] = []
    load_photo(data, shorter_side=shorter_side, claim=claims.append)
    [size] = claims
    return size


def test_what_decoding_takes_follows_from_the_header() -> None:
    pixels = 800 * 600
    assert claimed(encoded("RGB", (800, 600), "PNG")) == 8 * pixels
    assert claimed(encoded("RGBA", (800, 600), "PNG")) == 14 * pixels
    assert claimed(encoded("F", (800, 600), "TIFF")) == 28 * pixels
    assert claimed(encoded("RGB", (800, 600), "WEBP")) == 21 * pixels
    jpeg, progressive = (encoded("RGB", (800, 600), "JPEG", progressive=value) for value in (False, True))
    assert claimed(jpeg) == 8 * pixels
    # At an eighth of its sides it takes a sixty-fourth, but the coefficients of a progressive one are all in memory.
    assert claimed(jpeg, shorter_side=30) == 8 * pixels // 64
    assert claimed(progressive, shorter_side=30) == 8 * pixels // 64 + 6 * pixels


PEAK = """
import sys
from pathlib import Path
from retrieval.photos.decode import load_photo

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

small, large = (Path(name).read_bytes() for name in sys.argv[1:])
load_photo(small)
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before, claims = status("VmRSS"), []
load_photo(large, claim=claims.append)
print(status("VmHWM") - before, *claims)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("LA", "PNG", {}),
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
        ("CMYK", "JPEG", {"progressive": True}),
        ("F", "TIFF", {}),
        ("I;16", "TIFF", {}),
        ("P", "GIF", {}),
        ("RGB", "WEBP", {"method": 0}),
        ("RGBA", "WEBP", {"method": 0}),
        ("RGB", "JPEG2000", {}),
        ("RGBA", "JPEG2000", {}),
        ("RGB", "AVIF", {"speed": 10}),
    ],
)
def test_decoding_takes_no_more_than_is_claimed(
    tmp_path: Path, mode: str, format: str, options: dict[str, object]
) -> None:
    for name, size in (("small", (64, 64)), ("large", (1500, 1500))):
        (tmp_path / name).write_bytes(encoded(mode, size, format, **options))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, claim = map(int, done.stdout.split())
    assert taken < 1.1 * claim + (4 << 20)


@given(
    size=st.integers(1, 50),
    claims=st.lists(st.integers(0, 80), max_size=30),
    threads=st.integers(1, 6),
)
def test_threads_never_hold_more_than_there_is(size: int, claims: list[int], threads: int) -> None:
    budget, lock = MemoryBudget(size), threading.Lock()
    held: list[int] = []

    def take(count: int) -> bool:
        with budget.claims() as claim:
            claim(count)
            with lock:
                held.append(count)
                fits = sum(held) <= size or sum(1 for other in held if other) <= 1
            time.sleep(0)
            with lock:
                held.remove(count)
        return fits

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(take, claims))


def test_a_picture_larger_than_the_budget_goes_alone_and_in_its_turn() -> None:
    budget, order, begun = MemoryBudget(10), list[str](), threading.Event()

    def take(name: str, count: int) -> None:
        with budget.claims() as claim:
            claim(count)
            order.append(name)

    with budget.claims() as claim:
        claim(1)
        large = threading.Thread(target=take, args=("large", 99))
        large.start()
        while not budget._waiting:
            time.sleep(0.001)
        small = threading.Thread(target=take, args=("small", 1))
        small.start()
        begun.wait(0.05)
        assert order == []  # the small one would fit, but the large one would then wait for ever
    large.join(10)
    small.join(10)
    assert order == ["large", "small"]


def test_a_claim_is_given_back_after_an_error() -> None:
    budget = MemoryBudget(10)

    def fail() -> None:
        with budget.claims() as claim:
            claim(10)
            raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            fail()
    with budget.claims() as claim:
        claim(4)
        claim(99)  # what is held by the same block does not block it


def test_the_budget_is_a_quarter_of_the_memory() -> None:
    assert shared_budget() is shared_budget()
    assert shared_budget()._size == (usable_memory() or 0) // SHARE


def test_large_pictures_are_decoded_one_after_the_other() -> None:
    data, running, most = encoded("RGBA", (200, 200), "PNG"), 0, 0
    lock, budget = threading.Lock(), MemoryBudget(20 * 200 * 200)

    def use(photo: Photo) -> tuple[int, int]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1
        return photo.width, photo.height

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: decode_within_budget(data, use, budget=budget), range(12)))
    assert found == [(200, 200)] * 12
    assert most == 1


PEAK_OF_COMMAND = """
import sys
from pathlib import Path
from cli import main

try:
    main(sys.argv[1:], prog_name="fc7")
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    print(*(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process")
def test_threads_together_take_no_more_than_one_large_picture(tiny_model: Path, tmp_path: Path) -> None:
    peaks = []
    for side in (64, 2500):
        folder = tmp_path / str(side)
        folder.mkdir()
        for number in range(8):
            (folder / f"{number}.png").write_bytes(encoded("RGBA", (side, side + number), "PNG"))
        options = ["--index", tmp_path / f"index-{side}", "-m", tiny_model, "--workers", 8, "--memory", 1]
        command = [sys.executable, "-c", PEAK_OF_COMMAND, "index", *map(str, (folder, *options))]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split()[-1]))
    small, large = peaks
    assert 0 < large - small < 2 * 14 * 2500 * 2500


def test_a_run_has_the_budget_that_is_asked_for(
    tiny_model: Path, make_photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[MemoryBudget | None] = []
    monkeypatch.setattr(
        "retrieval.pipeline.stages.decode_within_budget",
        lambda *arguments, budget, **options: (
            asked.append(budget),  # type: ignore[func-returns-value]
            decode_within_budget(*arguments, budget=budget, **options),
        )[1],
    )
    for number in range(3):
        make_photo(f"photos/{number}.png", seed=number)
    settings = {"FC7_MODEL": str(tiny_model), "FC7_INDEX": str(tmp_path / "index")}
    done = CliRunner().invoke(main, ["index", str(tmp_path / "photos"), "--memory", "7"], env=settings)
    assert done.exit_code == 0, done.output
    assert [budget and budget._size for budget in asked] == [7 << 20] * 3


@pytest.mark.parametrize("words", ["Out of memory", "decoder error -9 when reading: out of memory error"])
def test_what_a_decoder_says_of_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    def load(_: Image.Image) -> None:
        raise OSError(words)

    data = encoded("RGB", (8, 8), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(OutOfMemoryError, match="not enough memory for it now"):
        load_photo(data)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory")
def test_too_little_memory_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(encoded("L", (6000, 6000), "PNG"))
    program = """
import resource, sys
from pathlib import Path
from index.errors import PhotoError
from retrieval.photos.decode import load_photo

data = Path(sys.argv[1]).read_bytes()
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (60 << 20), -1))
try:
    load_photo(data)
except PhotoError as error:
    print(type(error).__name__)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "large.png")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "OutOfMemoryError\n"


def test_a_photo_that_there_was_no_memory_for_is_tried_again(
    tiny_model: Path, make_photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_photo(f"photos/{number}.png", seed=number)
    model = Model.load(tiny_model, device="cpu", threads=1)
    spec, prepare, calls = model.spec, model.prepare, list[int]()

    def without_memory(image: Image.Image) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return prepare(image)

    with IndexWriter.open_for_writing(
        tmp_path / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
    ) as index:
        monkeypatch.setattr(model, "prepare", without_memory)
        one = Concurrency.chosen(model, workers=1)
        [report] = index_folders(index, model, [tmp_path / "photos"], concurrency=one)
        assert report.counts == SyncCounts(new=2, skipped=1)
        assert [photo.reason[:35] for photo in report.skipped] == ["there is not enough memory for it n"]
        assert index.photos.skipped() == []
        [report] = index_folders(index, model, [tmp_path / "photos"], concurrency=one)
        assert report.counts == SyncCounts(new=1, unchanged=2)


def test_two_that_claim_again_do_not_wait_for_each_other() -> None:
    budget, both = MemoryBudget(100), threading.Barrier(2)

    def claim_twice() -> bool:
        with budget.claims() as claim:
            claim(50)
            both.wait(timeout=10)
            claim(50)
        return True

    with ThreadPoolExecutor(2) as executor:
        claimed = [executor.submit(claim_twice) for _ in range(2)]
        assert [future.result(timeout=20) for future in claimed] == [True, True]
