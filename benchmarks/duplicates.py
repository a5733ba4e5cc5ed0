"""Precision and recall of `fc7 duplicates` on altered copies of real photos, among pictures that are none.

    python benchmarks/duplicates.py PHOTOS OTHERS

PHOTOS is a folder of different photos, of which altered copies are made; OTHERS has one folder of pictures a class (two
or more), all of them different. Everything is indexed with the built-in model in a folder that is removed afterwards.
"""

import argparse
import platform
import tempfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from retrieval.duplicates import find as duplicates
from retrieval.duplicates.compare import compare_pictures
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.pipeline.machine import usable_cores

Alteration = Callable[[Image.Image], Image.Image]
LEAST_TRIED = 0.5
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


ALTERATIONS: dict[str, tuple[Alteration, int]] = {
    "resaved at quality 90": (lambda image: image, 90),
    "resaved at quality 60": (lambda image: image, 60),
    "resaved at quality 30": (lambda image: image, 30),
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
    "turned by 2°": (lambda image: image.rotate(2, Image.Resampling.BICUBIC), QUALITY),
    "turned by 90°": (lambda image: image.rotate(90, expand=True), QUALITY),
    "10 % cut off, × 1.15, 50 %, quality 60": (
        lambda image: scaled(ImageEnhance.Brightness(cropped(image, 0.1)).enhance(1.15), 0.5),
        60,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("others", type=Path)
    arguments = parser.parse_args()

    model = Model.load()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "onnxruntime", "pillow"))
    print(f"{platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}, {packages}")
    with tempfile.TemporaryDirectory() as folder:
        altered = Path(folder).resolve() / "altered"
        make_copies(arguments.photos, altered)
        spec = model.spec
        with IndexWriter.open_for_writing(
            Path(folder) / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
        ) as index:
            index_folders(index, model, [arguments.photos, altered, arguments.others])
            measure(index, arguments.photos, altered, arguments.others)


def make_copies(photos: Path, altered: Path) -> None:
    for path in sorted(photos.iterdir()):
        image = open_photo(path)
        for name, (alter, quality) in ALTERATIONS.items():
            copy = altered / name / f"{path.stem}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            alter(image).save(copy, quality=quality)


def measure(index: PhotoIndex, photos: Path, altered: Path, others: Path) -> None:
    originals = {file.path.stem: file.id for file in index.files(index.ids_below(photos))}
    strangers = index.ids_below(others)
    print(f"{len(originals)} photos, {len(ALTERATIONS)} altered copies of each, {len(strangers)} other pictures\n")

    pairs, scores = candidate_pairs(index, strangers, least=LEAST_TRIED)
    same, _ = compare_pictures(index, pairs)
    found = copies_found(index, photos, altered, others)
    threshold = duplicates.SAME_PICTURE
    compared = scores >= duplicates.LEAST_SCORE
    wrong = int((same[compared] >= threshold).sum())
    alone = float(np.sort(scores)[::-1][wrong])
    print(f"Pairs of other pictures taken for one picture: {wrong} of {compared.sum()} compared (likeness {threshold})")
    print(f"As few by the embedding alone: cosine above {alone:.3f}\n")

    copies = {name: index.files(index.ids_below(altered / name)) for name in ALTERATIONS}
    own = {name: np.array([(file.id, originals[file.path.stem]) for file in files]) for name, files in copies.items()}
    cosines = {name: cosine(index, pairs) for name, pairs in own.items()}
    likenesses = {name: compare_pictures(index, pairs)[0] for name, pairs in own.items()}
    print("| alteration | found | by the embedding alone | likeness: least, 5 % below |\n|---|---|---|---|")
    for name in ALTERATIONS:
        least, low = np.quantile(likenesses[name], (0, 0.05))
        alone_found = (cosines[name] > alone).mean()
        print(f"| {name} | {found[name] / len(copies[name]):.1%} | {alone_found:.1%} | {least:.2f}, {low:.2f} |")

    print("\n| likeness at least | other pictures taken for one | copies told to be one |\n|---|---|---|")
    every = np.concatenate(list(likenesses.values()))
    for level in (0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.95):
        print(f"| {level} | {(same >= level).sum()} | {(every >= level).mean():.1%} |")

    near_enough = np.concatenate(list(cosines.values()))[every >= threshold]
    print("\n| compared from score | pairs of other pictures | copies told to be one that are left |\n|---|---|---|")
    for level in (LEAST_TRIED, 0.55, 0.6, 0.65, 0.7, 0.75):
        print(f"| {level} | {(scores >= level).sum()} | {(near_enough >= level).mean():.1%} |")

    classes = {file.id: file.path.parent for file in index.files(strangers)}
    one_class = np.array([classes[one] == classes[other] for one, other in pairs.tolist()])
    print("\n| score at least | pairs of other pictures | of one class | pictures in them |\n|---|---|---|---|")
    for level in (0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9):
        near = scores >= level
        share = one_class[near].mean() if near.any() else float("nan")
        pictures = len(np.unique(pairs[near])) / len(strangers)
        print(f"| {level} | {near.sum()} | {share:.0%} | {pictures:.1%} |")


def candidate_pairs(
    index: PhotoIndex, ids: NDArray[np.int64], *, least: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pair photos with their nearest among each other, as `find_duplicates` does: pairs (m, 2) and scores (m,)."""
    scores, nearest = index.neighbours(ids, 2 * duplicates.NEIGHBOURS)
    rows, columns = np.nonzero((scores >= least) & np.isin(nearest, ids))
    pairs = np.sort(np.stack([ids[rows], nearest[rows, columns]], axis=1), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    return pairs, scores[rows, columns][first]


def copies_found(index: PhotoIndex, photos: Path, altered: Path, others: Path) -> Counter[str]:
    """Count the copies of each kind that are grouped with their original; tell of what is grouped wrongly."""
    found: Counter[str] = Counter()
    report = duplicates.find_duplicates(index, [altered], against=[photos, others], likenesses=["altered"])
    for group in report.groups:
        references = [photo.path for photo in group.photos if photo.reference]
        copies = [photo.path for photo in group.photos if not photo.reference]
        found.update(copy.parent.name for copy in copies if copy.stem in {path.stem for path in references})
        if len({path.stem for path in references + copies}) > 1:
            print("grouped wrongly:", *sorted({path.name for path in references + copies}))
    return found


def cosine(index: PhotoIndex, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    embeddings = {
        id: row for photos in index.embeddings() for id, row in zip(photos.ids, photos.embeddings, strict=True)
    }
    return np.array([np.dot(embeddings[one], embeddings[other]) for one, other in pairs.tolist()])


if __name__ == "__main__":
    main()
