"""How fast photos are decoded against libjpeg alone, which decodes a JPEG at an eighth of its size, or a half.

    python benchmarks/decoding.py [--small 500] [--large 24] [--side 64] [--rounds 7] [-o FOLDER]

Ours is `load_photo` with the side that a network wants, as indexing calls it: the file's bytes in memory to an upright
RGB picture, all checks included. Theirs is Pillow's draft mode and nothing else, at the same scale, which is libjpeg
within a few lines of C. Both in turn, one thread a core; what counts is the time of the threads' processors, so that
other work on the machine counts little. The share is theirs ÷ ours.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from PIL import Image
from report import FOUND, Goal, save, spread, table
from sample_photos import LARGE, SMALL, write_photos

from retrieval.photos.decode import load_photo
from retrieval.pipeline.machine import usable_cores

Decoder = Callable[[bytes, int], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=500, help="photos of 500×400")
    parser.add_argument("--large", type=int, default=24, help="photos of 12 megapixels")
    parser.add_argument("--side", type=int, default=64, help="pixels that the network wants")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    rows, goals = [], []
    with TemporaryDirectory(prefix="fc7-") as temporary:
        for name, count, size in (("500×400", arguments.small, SMALL), ("12 megapixels", arguments.large, LARGE)):
            files = [path.read_bytes() for path in write_photos(Path(temporary) / name, count, size)]
            ours, theirs = compared(files, arguments.side, arguments.rounds)
            shares = tuple(their / our for our, their in zip(ours, theirs, strict=True))
            goals.append(Goal(f"decoding photos of {name} ÷ libjpeg alone", 0.9, shares))
            rates = [usable_cores() / median(times) for times in (ours, theirs)]
            rows.append((name, len(files), *(f"{rate:,.0f}" for rate in rates), spread(shares, ".2f")))
    heads = ("photos of", "photos", "fc7, photos/s", "libjpeg, photos/s", "share")
    text = f"For a side of {arguments.side} pixels, {arguments.rounds} rounds.\n\n{table(heads, rows)}"
    save(arguments.out, "decoding", text=text, goals=goals, packages=["pillow"])


def compared(files: list[bytes], side: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of a core that a photo takes us and libjpeg, in each round after one to warm up."""
    ours, theirs = [], []
    with ThreadPoolExecutor(usable_cores()) as threads:
        for _ in range(rounds + 1):
            ours.append(seconds_each(decoded_by_us, files, side, threads))
            theirs.append(seconds_each(decoded_by_libjpeg, files, side, threads))
    return ours[1:], theirs[1:]


def seconds_each(decode: Decoder, files: list[bytes], side: int, threads: Executor) -> float:
    def seconds(data: bytes) -> float:
        started = time.thread_time()
        decode(data, side)
        return time.thread_time() - started

    return sum(threads.map(seconds, files)) / len(files)


def decoded_by_us(data: bytes, side: int) -> object:
    return load_photo(data, shorter_side=side)


def decoded_by_libjpeg(data: bytes, side: int) -> object:
    with Image.open(BytesIO(data), formats=["JPEG"]) as image:
        image.draft(None, (2 * side, 2 * side))
        image.load()
        return image


if __name__ == "__main__":
    main()
