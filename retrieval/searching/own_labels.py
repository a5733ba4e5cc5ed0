"""Labels of the user's own: learned from a few photos, with the other photos of the index for a background.

Logistic regression on the embedding. The background holds photos of the label too, which nobody has told it of; with
strong regularisation, and as much weight on the few photos as on the whole background, they do little harm
(benchmarks/own_labels.py).
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from index.catalog.own_labels import SURE, LabelExample
from index.errors import OptionError, PhotoError, PhotoIndexError, UserError
from index.files import absolute
from index.index_writer import IndexWriter
from index.object_path import as_path
from index.photo_index import PhotoIndex
from index.records import OWN_GROUP, OwnLabel, Prediction, SearchResult, SkippedPhoto
from index.searchable import SearchableIndex
from retrieval.logistic_regression import LinearClassifier, fit
from retrieval.models.model import Model
from retrieval.searching.labels import plain
from retrieval.searching.query import embed_query_photos

BACKGROUND = 2000
"""Other photos of the index, drawn at random, that a label is told from."""
STRENGTH = 0.01
"""Of regularisation."""
COPY = 0.9995
"""Cosine from which on a photo of the background is a copy of one that shows what is meant."""
LONGEST_NAME = 100


def add_label(
    index: IndexWriter,
    model: Model,
    name: str,
    photos: Sequence[Path],
    *,
    unlike: Sequence[Path] = (),
    skipped: list[SkippedPhoto],
) -> OwnLabel:
    """Teach an index a label, or teach it more of one: `photos` show what is meant, those of `unlike` do not.

    Folders stand for the photos in them; what cannot be read is appended to `skipped`. Raises PhotoError where no photo
    shows what is meant, PhotoIndexError where the index has no other photos, and OptionError for a name that is none.
    """
    name = stored_name(index, name) or checked_name(name)
    known = {example.path: example for example in index.own_labels.examples(name)}
    for paths, positive in ((photos, True), (unlike, False)):
        for photo in embed_query_photos(index, model, paths, skipped=skipped):
            path = as_path(absolute(as_path(str(photo.path))))
            known[path] = LabelExample(path, photo.embedding, positive)
    if skipped and not any(example.positive for example in known.values()):
        raise PhotoError(f"cannot read {skipped[0].path}: {skipped[0].reason}")
    return put_label(index, name, list(known.values()))


def put_label(index: IndexWriter, name: str, examples: Sequence[LabelExample]) -> OwnLabel:
    """Learn a label from its examples, and store it with what it says of all photos. Raises as `add_label`."""
    if not any(example.positive for example in examples):
        raise PhotoError(f"there is no photo that shows {name}", hint="name some, five or more")
    classifier = learn_label(examples, background(index))
    if classifier is None:
        raise PhotoIndexError(
            f"the index in {index.folder} has no other photos to tell {name} from",
            hint="index more photos with `fc7 index FOLDER`, or name some with --not",
        )
    return _store(index, name, examples, classifier)


def _store(index: IndexWriter, name: str, examples: Sequence[LabelExample], classifier: LinearClassifier) -> OwnLabel:
    # Of two classes, the difference of their scores is the logit of the second.
    weights, bias = classifier.weights[1] - classifier.weights[0], float(classifier.bias[1] - classifier.bias[0])
    index.own_labels.put(name, examples, weights, bias)
    [label] = [label for label in index.own_labels.all() if label.name == name]
    return label


def learn_label(examples: Sequence[LabelExample], others: NDArray[np.float32]) -> LinearClassifier | None:
    """Learn to tell examples from embeddings of other photos (m, dim); None where there is nothing to tell them from.

    The positive examples count as much as all others together, a negative one as much as a positive one.
    """
    rows = np.stack([example.embedding for example in examples])
    labels = np.array([example.positive for example in examples], np.int64)
    others = others[~((others @ rows.T) >= COPY).any(axis=1)]
    if not len(others) and labels.all():
        return None
    weights = np.full(len(rows), 1 / labels.sum())
    return fit(
        np.concatenate([rows, others]),
        np.concatenate([labels, np.zeros(len(others), np.int64)]),
        2,
        strength=STRENGTH,
        weights=np.concatenate([weights, np.full(len(others), 1 / max(len(others), 1))]),
    )


def background(index: PhotoIndex) -> NDArray[np.float32]:
    """Return the embeddings (m, dim) of photos of an index, drawn at random and always alike."""
    ids = index.photos.ids()
    drawn = Random(0).sample(range(len(ids)), min(BACKGROUND, len(ids)))
    return index.photos.vectors(ids[np.array(sorted(drawn), np.int64)])


def carry_labels(old: PhotoIndex, new: IndexWriter, model: Model) -> list[str]:
    """Teach a new index the labels of an old one, from the photos that can be read.

    With the same model their embeddings are known. Return the names of those left out: no photo that shows what is
    meant can be read, or there are no others to tell it from.
    """
    if not (names := old.own_labels.names()):
        return []
    same, others, lost = old.fingerprint == new.fingerprint, background(new), []
    for name in names:
        examples = old.own_labels.examples(name)
        if not same:
            positive = {example.path: example.positive for example in examples}
            found = embed_query_photos(new, model, list(positive), skipped=[])
            examples = [
                LabelExample(path := as_path(str(photo.path)), photo.embedding, positive[path]) for photo in found
            ]
        shown = any(example.positive for example in examples)
        classifier = learn_label(examples, others) if shown else None
        if classifier is None:
            lost.append(name)
        else:
            _store(new, name, examples, classifier)
    return lost


def own_predictions(index: SearchableIndex, embedding: NDArray[np.float32]) -> tuple[Prediction, ...]:
    """Return the labels of the user's own that a photo with this embedding (dim,) has, most probable first."""
    scorer = index.own_labels.scorer()
    found = zip(scorer.names, scorer.probabilities(embedding[None])[0].tolist(), strict=True)
    sure = [Prediction(name, None, probability, OWN_GROUP) for name, probability in found if probability >= SURE]
    return tuple(sorted(sure, key=lambda prediction: -prediction.probability))


def suggestions(index: PhotoIndex, name: str, k: int) -> list[SearchResult]:
    """Find photos of which it is least sure whether they show a label (uncertainty sampling; Lewis, Gale 1994).

    Raises UserError for a label that there is not.
    """
    return index.own_labels.least_sure(known_name(index, name), k)


def known_name(index: PhotoIndex, name: str) -> str:
    """Return how a label is spelled in an index. Raises UserError for one that there is not."""
    if (found := stored_name(index, name)) is None:
        raise UserError(
            f"the index in {index.folder} has no label {name} of your own",
            hint="`fc7 label list` lists those that it has",
        )
    return found


def stored_name(index: SearchableIndex, name: str) -> str | None:
    """Return how a label is spelled in an index, whatever its capitals and spaces are here; None if there is none."""
    return next((known for known in index.own_labels.names() if plain(known) == plain(name)), None)


def checked_name(name: str) -> str:
    """Return a name for a label. Raises OptionError for an empty or overlong one, or one with control characters."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise OptionError(f"{name[:LONGEST_NAME]!r} is no name for a label; take 1 to {LONGEST_NAME} letters")
    return name
