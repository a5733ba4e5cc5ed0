"""Hand-crafted descriptors against the network: a linear classifier on HOG and colour, and nearest neighbours."""

import hashlib
from pathlib import Path

import numpy as np
from descriptors import class_folders, compare, hog_descriptor, read_pictures
from lecture_results import Results, Values
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from index.errors import PhotoError
from retrieval.evaluation.evaluate import evaluate
from retrieval.evaluation.metrics import top_k_accuracy
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.pipeline.executor import prepare_photos
from training.data.dataset import Split, scan_dataset
from training.errors import DatasetError

STRENGTHS = (0.0001, 0.001, 0.01, 0.1)
"""What scikit-learn's C is chosen from, by a tenth of the training pictures that is set aside."""

CHUNK = 10_000
"""Pictures whose descriptors are stored in one file."""

BINS = 4
"""Steps of red, of green and of blue in the histogram of colours."""


def descriptor(image: Image.Image) -> NDArray[np.float32]:
    """Return HOG (1764,) and the square roots of the shares of 4×4×4 colours (64,), side by side."""
    small = np.asarray(image.convert("RGB").resize((64, 64))).reshape(-1, 3) // (256 // BINS)
    counts = np.bincount(small @ np.array([BINS * BINS, BINS, 1]), minlength=BINS**3)
    return np.concatenate([hog_descriptor(image), np.sqrt(counts / counts.sum())]).astype(np.float32)


def descriptors_of(split: Split, results: Results) -> NDArray[np.float32]:
    """Return the descriptors (n, 1828) of a split; those that were made before are read from the results' folder."""
    chunks = []
    for start in range(0, len(split), CHUNK):
        paths = split.paths[start : start + CHUNK]
        digest = hashlib.sha256("\0".join(map(str, paths)).encode()).hexdigest()
        path = results.folder / f"handmade-{digest[:12]}.npy"
        if not path.is_file():
            rows = []
            for picture, row in prepare_photos(paths, lambda path: descriptor(open_photo(path))):
                if isinstance(row, PhotoError):
                    raise DatasetError(f"{picture} cannot be read ({row}); remove it")
                rows.append(row)
            np.save(path, np.stack(rows).astype(np.float16))
        chunks.append(np.load(path).astype(np.float32))
    return np.concatenate(chunks)


def accuracy(
    train: NDArray[np.float32], labels: NDArray[np.int64], test: NDArray[np.float32], truth: NDArray[np.int64], c: float
) -> tuple[float, float]:
    """Return top-1 and top-5 accuracy of a multinomial logistic regression on standardised descriptors."""
    scaler = StandardScaler().fit(train)
    classifier = LogisticRegression(C=c, max_iter=100, tol=1e-3).fit(scaler.transform(train), labels)
    # A class that a part of the pictures has none of is never guessed.
    probabilities = np.zeros((len(test), max(labels.max(), truth.max()) + 1), np.float32)
    probabilities[:, classifier.classes_] = classifier.predict_proba(scaler.transform(test))
    return top_k_accuracy(probabilities, truth, 1), top_k_accuracy(probabilities, truth, 5)


def classify_by_hand(results: Results, data: Path, model: Path | None, *, most: int) -> None:
    """Measure both on the validation pictures; `most` training pictures are drawn by a seed if there are more."""
    dataset, loaded = scan_dataset(data), Model.load(model, device="cpu")
    if [known.id for known in loaded.spec.classes] != [known.id for known in dataset.classes]:
        raise DatasetError(f"{loaded.spec.name} does not know the classes of {data}; give a model that learned from it")
    order = np.random.default_rng(0).permutation(len(dataset.train))[:most]
    learn = dataset.train.take(order)
    settings = {"pictures": [len(learn), len(dataset.validation)], "classes": len(dataset.classes)}

    def by_hand() -> Values:
        train, test = descriptors_of(learn, results), descriptors_of(dataset.validation, results)
        labels, truth = np.array(learn.labels), np.array(dataset.validation.labels)
        # The strength is chosen on a part: a fifth to learn from, a twentieth to judge by.
        fifth, quarter = len(learn) // 5, len(learn) // 4
        found = {
            c: accuracy(train[:fifth], labels[:fifth], train[fifth:quarter], labels[fifth:quarter], c)[1]
            for c in STRENGTHS
        }
        best = max(found, key=lambda c: found[c])
        top1, top5 = accuracy(train, labels, test, truth, best)
        return {"values": train.shape[1], "c": best, "chosen": list(found.values()), "top1": top1, "top5": top5}

    def by_network() -> Values:
        found = evaluate(loaded, dataset.validation.paths, dataset.validation.labels)
        return {"name": loaded.spec.name, "top1": found.top1, "top5": found.top5}

    results.measure("handmade/network", {**settings, "model": loaded.spec.fingerprint}, by_network)
    results.measure("handmade/linear", settings, by_hand)


def find_neighbours(results: Results, data: Path, model: Path | None, *, unseen: Path | None, most: int) -> None:
    """Measure neighbours by HOG, fc7 and `embedding`, as descriptors.py does."""
    loaded = Model.load(model, device="cpu")
    folder = data / "val" if (data / "val").is_dir() else data
    names = class_folders(folder)
    chosen = set(unseen.read_text().split()) if unseen else set(names)

    def run() -> Values:
        images, labels = read_pictures(folder, [name for name in names if name in chosen], most=most)
        scores = {name: list(row) for name, (_, row) in compare(loaded, images, labels).items()}
        known = {name for c in loaded.spec.classes for name in (c.id, c.name)}
        return {
            "pictures": len(images),
            "classes": len(set(labels.tolist())),
            "known": len(chosen & set(names) & known),
            "scores": scores,
        }

    settings = {"model": loaded.spec.fingerprint, "classes": sorted(chosen & set(names)), "most": most}
    results.measure("neighbours/" + ("unseen" if unseen else "all"), settings, run)
