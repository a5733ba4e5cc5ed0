"""Writes the handwritten digits that come with scikit-learn as a folder of classes: 1,797 pictures to play with.

python docs/make_digits.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 32


def write_digits(folder: Path) -> int:
    """Write each digit, of 8×8 pixels, enlarged to 32×32 into `folder`/DIGIT, and return how many there are."""
    digits = load_digits()
    for number, (picture, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((picture * (255 / 16)).astype(np.uint8))
        grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place / f"{number:04}.png")
    return len(digits.target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(f"{write_digits(arguments.folder):,} pictures of 10 classes in {arguments.folder}")
