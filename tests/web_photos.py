"""The few photos that the tests of `web/` serve."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ("red", "green", "blue")
COLOURED = tuple(f"{colour}-{number}.png" for colour in COLOURS for number in range(3))


def make_photos(folder: Path) -> Path:
    """Write three pictures of each colour, a copy of the first below them, and a turned one with EXIF data."""
    (folder / "below").mkdir(parents=True)
    for seed, name in enumerate(COLOURED):
        shade = np.random.default_rng(seed).integers(60, 256, (4, 4), np.uint8)
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[:, :, seed // 3] = shade
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(folder / name)
    shutil.copy(folder / COLOURED[0], folder / "below" / "copy.png")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Maker", "Model"
    Image.fromarray(np.full((300, 600, 3), (9, 9, 200), np.uint8)).save(folder / "turned.jpg", exif=exif)
    return folder
