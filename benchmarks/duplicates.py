"""How many altered copies `fc7 duplicates` finds among photos and documents, how many mistakes it makes, and how long.

    python benchmarks/duplicates.py PHOTOS OTHERS [--photos 60] [--others 10000] [--documents 200] [--small 0]

PHOTOS is a folder of different photos, of which altered copies are made; OTHERS has one folder of pictures a class (two
or more), all of them different. Documents are drawn: so many of each kind, and altered copies of the first 50. With
--small, so many of OTHERS are altered too. All are indexed with the built-in model, in a folder that is removed
afterwards. Beside it stands a perceptual hash (pHash, 64 bits, up to 10 of them different) of the same files.
"""

import argparse
import platform
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from documents import KINDS
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from retrieval.duplicates import find as duplicates
from retrieval.duplicates.find import Duplicates, find_duplicates
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.pipeline.machine import usable_cores

Alteration = Callable[[Image.Image], Image.Image]
PHASH_DISTANCE = 10
ALTERED_DOCUMENTS = 50
QUALITY = 90  # of the JPEG that a copy is saved as, where nothing else is said


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float, *, left: float = 0.3, top: float = 0.7) -> Image.Image:
    """Take `share` off each side, `left` of what goes across from the left, `top` of what goes down from the top."""
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    x, y = round((image.width - width) * left), round((image.height - height) * top)
    return image.crop((x, y, x + width, y + height))


def written_on(image: Image.Image) -> Image.Image:
    image = image.copy()
    place = (image.width * 0.05, image.height * 0.88)
    ImageDraw.Draw(image).text(place, "Holidays 2019", fill="white", font_size=max(8, image.height // 12))
    return image


def warmer(image: Image.Image) -> Image.Image:
    return image.convert("RGB", (1.12, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0.85, 0))


def watermarked(image: Image.Image) -> Image.Image:
    mask = Image.new("L", image.size, 0)
    for line in range(3):
        place = (image.width * 0.05, image.height * (0.1 + 0.3 * line))
        ImageDraw.Draw(mask).text(place, "SAMPLE PHOTO", fill=100, font_size=max(12, image.width // 9))
    return Image.composite(Image.new("RGB", image.size, "white"), image, mask)


def sides_cut_off(image: Image.Image, share: float) -> Image.Image:
    """Take `share` off each of the four sides."""
    width, height = image.size
    return image.crop(
        (round(width * share), round(height * share), round(width * (1 - share)), round(height * (1 - share)))
    )


def on_a_screen(image: Image.Image) -> Image.Image:
    """A screenshot of a phone that shows the picture, with wide margins above and below."""
    screen = Image.new("RGB", (round(image.width * 1.1), round(image.height * 1.9)), (18, 18, 18))
    screen.paste(image, (round(image.width * 0.05), round(image.height * 0.45)))
    return screen


ALTERATIONS: dict[str, tuple[Alteration, int]] = {
    "resaved at quality 90": (lambda image: image, 90),
    "resaved at quality 60": (lambda image: image, 60),
    "resaved at quality 20": (lambda image: image, 20),
    "resized to 50 %": (lambda image: scaled(image, 0.5), QUALITY),
    "resized to 25 %": (lambda image: scaled(image, 0.25), QUALITY),
    "5 % of each side cut off": (lambda image: cropped(image, 0.05), QUALITY),
    "10 %": (lambda image: cropped(image, 0.1), QUALITY),
    "20 %": (lambda image: cropped(image, 0.2), QUALITY),
    "20 %, at right and bottom": (lambda image: cropped(image, 0.2, left=0, top=0), QUALITY),
    "30 %": (lambda image: cropped(image, 0.3), QUALITY),
    "brightness × 1.3": (lambda image: ImageEnhance.Brightness(image).enhance(1.3), QUALITY),
    "brightness × 0.7": (lambda image: ImageEnhance.Brightness(image).enhance(0.7), QUALITY),
    "contrast × 1.4": (lambda image: ImageEnhance.Contrast(image).enhance(1.4), QUALITY),
    "contrast × 0.6": (lambda image: ImageEnhance.Contrast(image).enhance(0.6), QUALITY),
    "saturation × 1.6": (lambda image: ImageEnhance.Color(image).enhance(1.6), QUALITY),
    "warmer colours": (warmer, QUALITY),
    "grey": (lambda image: image.convert("L"), QUALITY),
    "mirrored": (ImageOps.mirror, QUALITY),
    "white frame of 5 %": (lambda image: ImageOps.expand(image, round(min(image.size) * 0.05), "white"), QUALITY),
    "writing on it": (written_on, QUALITY),
    "sepia": (lambda image: ImageOps.colorize(image.convert("L"), "#20120a", "#ffe8c0"), QUALITY),
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 160)), QUALITY),
    "watermark": (watermarked, QUALITY),
    "stretched": (lambda image: image.resize((round(image.width * 1.3), image.height)), QUALITY),
    "5 % cut off on each of four sides": (lambda image: sides_cut_off(image, 0.05), QUALITY),
    "15 % cut off on each of four sides": (lambda image: sides_cut_off(image, 0.15), QUALITY),
    "screenshot with wide margins": (on_a_screen, QUALITY),
    "turned by 2°": (lambda image: image.rotate(2, Image.Resampling.BICUBIC), QUALITY),
    "tilted by 5°": (lambda image: image.rotate(5, Image.Resampling.BICUBIC), QUALITY),
    "turned by 90°": (lambda image: image.rotate(90, expand=True), QUALITY),
    "10 % cut off, × 1.15, 50 %, quality 60": (
        lambda image: scaled(ImageEnhance.Brightness(cropped(image, 0.1)).enhance(1.15), 0.5),
        60,
    ),
}


DOCUMENT_ALTERATIONS: dict[str, tuple[Alteration, int]] = {
    "resaved at quality 50": (lambda image: image, 50),
    "resized to 70 %": (lambda image: scaled(image, 0.7), QUALITY),
    "5 % of each side cut off": (lambda image: cropped(image, 0.05), QUALITY),
    "10 %": (lambda image: cropped(image, 0.1), QUALITY),
    "20 %": (lambda image: cropped(image, 0.2), QUALITY),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos_folder", metavar="PHOTOS", type=Path)
    parser.add_argument("others_folder", metavar="OTHERS", type=Path)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--others", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--small", type=int, default=0, help="so many of OTHERS are altered too")
    arguments = parser.parse_args()

    model = Model.load(threads=1)
    packages = ", ".join(f"{name} {version(name)}" for name in ("faiss-cpu", "numpy", "onnxruntime", "pillow"))
    print(f"{platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}, {packages}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        links(pictures_below(arguments.photos_folder, arguments.photos), place / "photos")
        links(pictures_below(arguments.others_folder, arguments.others), place / "others")
        for kind, draw in KINDS.items():
            (place / "documents").mkdir(exist_ok=True)
            for number in range(arguments.documents):
                draw(number).save(place / "documents" / f"{kind} {number}.png")
        some = [path for path in (place / "documents").iterdir() if int(path.stem.split()[1]) < ALTERED_DOCUMENTS]
        make_copies(sorted((place / "photos").iterdir()), ALTERATIONS, place / "altered")
        make_copies(sorted(some), DOCUMENT_ALTERATIONS, place / "altered documents")
        make_copies(pictures_below(place / "others", arguments.small), ALTERATIONS, place / "altered others")
        spec = model.spec
        with IndexWriter.open_for_writing(
            place / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
        ) as index:
            begun = time.perf_counter()
            folders = [
                place / name
                for name in ("photos", "others", "documents", "altered", "altered documents", "altered others")
            ]
            index_folders(index, model, [folder for folder in folders if folder.is_dir()])
            print(f"{len(index.photos.ids())} pictures indexed in {time.perf_counter() - begun:.1f} s")
        with PhotoIndex.open(place / "index") as index:
            measure(index, place)


def pictures_below(folder: Path, count: int) -> list[Path]:
    """Draw at most `count` files, always the same ones."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return sorted(random.Random(0).sample(paths, min(count, len(paths))))


def links(paths: Sequence[Path], folder: Path) -> None:
    """Link to pictures from folders of their classes."""
    for number, path in enumerate(paths):
        link = folder / (path.parent.name if folder.name == "others" else "") / f"{number:05} {path.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def make_copies(paths: Sequence[Path], alterations: dict[str, tuple[Alteration, int]], folder: Path) -> None:
    for path in paths:
        image = open_photo(path)
        for name, (alter, quality) in alterations.items():
            copy = folder / name / f"{path.stem}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            alter(image).save(copy, quality=quality)


def measure(index: PhotoIndex, place: Path) -> None:
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        report = find_duplicates(index, likenesses=["altered"])
        times.append(time.perf_counter() - begun)
    print(f"Copies looked for in {times[0]:.1f} s, and again in {times[1]:.1f} s\n")

    files = index.photos.files(index.photos.ids())
    together = {path: group.paths for group in report.groups for path in group.paths}
    hashes = {file.path: phash(open_photo(file.path)) for file in files}
    for folder, originals, alterations in (
        ("altered", "photos", ALTERATIONS),
        ("altered documents", "documents", DOCUMENT_ALTERATIONS),
        ("altered others", "others", ALTERATIONS),
    ):
        first = {path.stem: path for path in hashes if path.is_relative_to(place / originals)}
        if not (place / folder).is_dir():
            continue
        print(f"| {folder} | found | by pHash |\n|---|---|---|")
        for name in alterations:
            copies = [path for path in hashes if path.parent == place / folder / name]
            found = [first[copy.stem] in together.get(copy, ()) for copy in copies]
            by_hash = [different_bits(hashes[copy], hashes[first[copy.stem]]) <= PHASH_DISTANCE for copy in copies]
            print(f"| {name} | {np.mean(found):.1%} | {np.mean(by_hash):.1%} |")
        print()
    tell_mistakes(report, place)
    print(f"Pairs of different pictures that pHash takes for one: {wrong_pairs_of(hashes, place)}\n")
    tell_scores(index, index.photos.ids_below(place / "others"))


def tell_mistakes(report: Duplicates, place: Path) -> None:
    """Print the groups in which there is more than one picture."""
    wrong = [group.paths for group in report.groups if len({identity(path, place) for path in group.paths}) > 1]
    print(f"Groups that hold different pictures: {len(wrong)} of {len(report.groups)}, among {report.photos} pictures")
    for paths in wrong:
        print("   ", *sorted({identity(path, place) for path in paths}), sep="  ")


def identity(path: Path, place: Path) -> str:
    """Say of which picture this is a copy."""
    kind = path.relative_to(place).parts[0]
    return f"{kind.removeprefix('altered ').replace('altered', 'photos')}: {path.stem}"


def phash(image: Image.Image) -> int:
    """Hash a picture as the library imagehash does: the 8 × 8 lowest frequencies of 32 × 32 pixels, by their median."""
    pixels = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    wave = np.cos(np.pi / 32 * (np.arange(32) + 0.5) * np.arange(8)[:, None])
    low = wave @ pixels @ wave.T
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def different_bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def wrong_pairs_of(hashes: dict[Path, int], place: Path) -> Counter[str]:
    """Count pairs of pictures that are different, and whose hashes are not, by the folder that they are in."""
    wrong: Counter[str] = Counter()
    for kind in ("photos", "others", "documents"):
        values = np.array([value for path, value in hashes.items() if path.is_relative_to(place / kind)], np.uint64)
        for row, value in enumerate(values):
            wrong[kind] += int((np.bitwise_count(values[row + 1 :] ^ value) <= PHASH_DISTANCE).sum())
    return wrong


def tell_scores(index: PhotoIndex, others: NDArray[np.int64]) -> None:
    """Print how many pairs of different pictures have a score of the embedding, by which look-alikes are listed."""
    scores, nearest = index.neighbours(others, 2 * duplicates.NEIGHBOURS)
    rows, columns = np.nonzero((scores >= 0.6) & np.isin(nearest, others))
    pairs = np.sort(np.stack([others[rows], nearest[rows, columns]], axis=1), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    scores = scores[rows, columns][first]
    classes = {file.id: file.path.parent for file in index.photos.files(others)}
    one_class = np.array([classes[one] == classes[other] for one, other in pairs.tolist()])
    print("| score at least | pairs of other pictures | of one class | pictures in them |\n|---|---|---|---|")
    for level in (0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9):
        near = scores >= level
        share = one_class[near].mean() if near.any() else float("nan")
        print(f"| {level} | {near.sum()} | {share:.0%} | {len(np.unique(pairs[near])) / len(others):.1%} |")


if __name__ == "__main__":
    main()
