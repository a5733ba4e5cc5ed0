"""What bringing colours to sRGB costs: photos with an ICC profile against the same ones without it.

    python benchmarks/colours.py [--small 100] [--large 12] [--rounds 7] [-o FOLDER]

Profiles of sRGB are recognised and skipped; Adobe RGB stands for all that are not. `load_photo` is called as indexing
calls it, for networks of 64 and of 256 pixels. In turn, in one thread; what counts is the time of its processor. The
ratio is with ÷ without.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import ImageCms
from report import FOUND, Goal, save, spread, table
from sample_photos import LARGE, SMALL, write_photos

from retrieval.photos.colour import adobe_rgb
from retrieval.photos.decode import load_photo

PROFILES = {
    "sRGB": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "Adobe RGB": adobe_rgb(),
}
SIDES = (64, 256)
SRGB_COSTS_AT_MOST = 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=100, help="photos of 500×400")
    parser.add_argument("--large", type=int, default=12, help="photos of 12 megapixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    rows, goals = [], []
    with TemporaryDirectory(prefix="fc7-") as temporary:
        for size_name, count, size in (("500×400", arguments.small, SMALL), ("12 megapixels", arguments.large, LARGE)):
            plain = [path.read_bytes() for path in write_photos(Path(temporary) / size_name, count, size)]
            for name, profile in PROFILES.items():
                described = list(map(partial(with_profile, profile=profile), plain))
                for side in SIDES:
                    ratios = compared(described, plain, side, arguments.rounds)
                    rows.append((size_name, name, side, spread(ratios, ".2f")))
                    if name == "sRGB":
                        what = f"decoding photos of {size_name} with a profile of sRGB ÷ without, side {side}"
                        goals.append(Goal(what, SRGB_COSTS_AT_MOST, ratios, at_most=True))
    text = f"{arguments.rounds} rounds.\n\n{table(('photos of', 'profile', 'side', 'with ÷ without'), rows)}"
    save(arguments.out, "colours", text=text, goals=goals, packages=["pillow"])


def with_profile(jpeg: bytes, *, profile: bytes) -> bytes:
    """Return a JPEG with the same data and a profile before it."""
    body = b"ICC_PROFILE\0\1\1" + profile
    return jpeg[:2] + b"\xff\xe2" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def compared(described: list[bytes], plain: list[bytes], side: int, rounds: int) -> tuple[float, ...]:
    """Return the ratio of the times that both take, in each round after one to warm up."""
    times = [(seconds(described, side), seconds(plain, side)) for _ in range(rounds + 1)]
    return tuple(ours / theirs for ours, theirs in times[1:])


def seconds(files: list[bytes], side: int) -> float:
    started = time.thread_time()
    for data in files:
        load_photo(data, shorter_side=side)
    return time.thread_time() - started


if __name__ == "__main__":
    main()
