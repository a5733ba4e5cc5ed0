"""Draws the pictures of docs/gallery.md, each by the command that the page prints, and writes the page.

    python docs/make_gallery.py                   # docs/gallery.md and docs/gallery/
    python docs/make_gallery.py --into FOLDER     # the same elsewhere

The photos are the samples of the demo, which come with scikit-image and scikit-learn. The run of training is one on the
digits of scikit-learn, so that all of it is made on any machine in some minutes.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo import write_query, write_samples
from make_digits import write_digits

DOCS = Path(__file__).resolve().parent
INTRODUCTION = """# What fc7 draws

Each picture was drawn by the command above it, with the built-in model where no other is named, and all of them by
`python docs/make_gallery.py`. The photos come with scikit-image (public domain or CC0) and scikit-learn (`china.jpg`,
`flower.jpg`, CC BY 2.0); `query.jpg` is a copy of the cat, cropped, mirrored, recoloured and resaved. The suffix says
whether a picture becomes a PNG, a JPEG, a PDF, or for sheets and maps one HTML file.
"""


@dataclass(frozen=True)
class Figure:
    """A picture of the gallery: its file's stem, what it shows, and the words of the command that draws it."""

    name: str
    text: str
    command: str

    @property
    def words(self) -> list[str]:
        """The command without its output, in words."""
        return shlex.split(self.command)[1:]


SECTIONS = {
    "Photos": (
        Figure(
            "neighbours",
            "Photos and what looks most like them; the score is the cosine of their embeddings.",
            "fc7 search query.jpg photos/rocket.jpg photos/coffee.png --index my-index -k 5 --sheet neighbours.jpg",
        ),
        Figure(
            "names",
            "What is in photos: the most probable names, as bars.",
            "fc7 classify photos/coffee.png photos/chelsea.png photos/motorcycle_left.png -m efficientnet-lite0 "
            "--picture names.jpg",
        ),
        Figure(
            "label",
            "All that a label finds.",
            "fc7 search --label 'coffee shop' --index my-index -k 6 --sheet label.jpg",
        ),
        Figure(
            "copies",
            "Groups of copies. What is kept comes first, with the reason.",
            "fc7 duplicates --like altered --index my-index --sheet copies.jpg",
        ),
        Figure(
            "boxes",
            "What is where in a photo, as boxes and as a heat map.",
            "fc7 detect photos/coffee.png -m efficientnet-lite0 --picture boxes.jpg",
        ),
    ),
    "Collections": (
        Figure(
            "map",
            "The collection in the plane: what looks alike lies near.",
            "fc7 show map --index my-index -o map.jpg",
        ),
        Figure(
            "collage",
            "One photo for each group of photos that look alike; a larger one stands for more.",
            "fc7 show collage --index my-index --photos 12 -o collage.jpg",
        ),
    ),
    "Networks": (
        Figure("filters", "The filters of the first layer, on one scale.", "fc7 show filters builtin -o filters.jpg"),
        Figure(
            "activations",
            "The maps of a layer that a photo excites most.",
            "fc7 show activations builtin photos/chelsea.png --layer conv1 -o activations.jpg",
        ),
        Figure(
            "attention",
            "What in a photo speaks for a label.",
            "fc7 show attention builtin photos/coffee.png --label espresso -o attention.jpg",
        ),
        Figure(
            "architecture",
            "The layers, with sizes, parameters and multiply-adds.",
            "fc7 show architecture builtin -o architecture.jpg",
        ),
        Figure(
            "nearest",
            "The photos that excite one unit of fc7 most.",
            "fc7 show nearest builtin 12 --index my-index -k 6 -o nearest.jpg",
        ),
    ),
    "Training": (
        Figure("curves", "Loss and accuracy by epoch.", "fc7 show curves digits-run -o curves.jpg"),
        Figure("confusion", "Which classes are taken for which.", "fc7 show confusion digits-run -o confusion.jpg"),
    ),
}
FIGURES = [figure for figures in SECTIONS.values() for figure in figures]


def prepare(folder: Path) -> None:
    """Write what the commands need into a folder: photos, a query, an index, and a run of training."""
    fc7(folder, "import", "efficientnet-lite0")
    photos = write_samples(folder / "photos")
    write_query(photos / "chelsea.png", folder / "query.jpg")
    fc7(folder, "index", "photos", "--index", "my-index")
    write_digits(folder / "digits")
    fc7(folder, "train", "digits", "-o", "digits-run", "--epochs", "3", "--lr", "0.02", "--no-mirror")


def draw(figure: Figure, folder: Path) -> Path:
    """Run the command of a figure in a prepared folder, and return the picture that it drew."""
    fc7(folder, *figure.words)
    return folder / figure.words[-1]


def fc7(folder: Path, *words: str) -> None:
    """Run fc7 in a folder, where imported models lie too. Raises CalledProcessError."""
    environment = {**os.environ, "XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-P", "-m", "cli", *words]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def page() -> Iterator[str]:
    """Yield the lines of docs/gallery.md."""
    yield INTRODUCTION
    for title, figures in SECTIONS.items():
        yield f"## {title}\n"
        for figure in figures:
            yield f"{figure.text}\n\n    {figure.command}\n\n![{figure.text}](gallery/{figure.words[-1]})\n"


def main() -> None:
    """Draw all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=DOCS)
    into = parser.parse_args().into
    (into / "gallery").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        prepare(Path(work))
        for figure in FIGURES:
            picture = draw(figure, Path(work))
            (into / "gallery" / picture.name).write_bytes(picture.read_bytes())
            print(picture.name)
    (into / "gallery.md").write_text("\n".join(page()), encoding="utf-8")


if __name__ == "__main__":
    main()
