"""Measures of a model on labelled pictures, against the same worked out in the test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.model_tables import format_facts
from index.errors import UserError
from retrieval.evaluation.evaluate import _result, evaluate
from retrieval.info import evaluation_facts
from retrieval.models.model import Model

MakePhoto = Callable[..., Path]


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model, device="cpu")


@pytest.fixture
def labelled(make_photo: MakePhoto) -> tuple[list[Path], list[int]]:
    """Four pictures of each colour; one red picture is said to be blue."""
    paths = [make_photo(f"{colour}/{n}.png", colour, seed=n) for colour in ("red", "green", "blue") for n in range(4)]
    return paths, [2, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_measures_are_those_of_all_pictures_in_one_matrix(model: Model, labelled: tuple[list[Path], list[int]]) -> None:
    paths, labels = labelled
    found = evaluate(model, paths, labels)
    images = [Image.open(path) for path in paths]
    embeddings, targets = model.embed(images).astype(np.float64), np.array(labels)
    scores = embeddings @ embeddings.T
    precision_1, precision_10, average = [], [], []
    for query in range(12):
        order = [other for other in np.argsort(-scores[query]) if other != query]
        same = targets[order] == targets[query]
        ranks = np.flatnonzero(same) + 1
        precision_1.append(same[0])
        precision_10.append(same[:10].mean())
        average.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    assert (found.pictures, found.classes, found.skipped) == (12, 3, ())
    assert found.top1 == pytest.approx(11 / 12)
    assert found.top5 == 1.0, "there are three classes"
    assert found.precision_at_1 == pytest.approx(np.mean(precision_1))
    assert found.precision_at_10 == pytest.approx(np.mean(precision_10))
    assert found.mean_average_precision == pytest.approx(np.mean(average))


def test_each_picture_has_its_result(model: Model, labelled: tuple[list[Path], list[int]]) -> None:
    paths, labels = labelled
    found = evaluate(model, paths, labels)
    assert [result.path for result in found.results] == paths
    assert [result.label for result in found.results] == [("red", "green", "blue")[label] for label in labels]
    assert [result.predicted.label for result in found.results] == ["red"] * 4 + ["green"] * 4 + ["blue"] * 4
    assert [result.rank for result in found.results[1:]] == [1] * 11
    mistaken = found.results[0]
    assert mistaken.rank == 3, "green and blue are as improbable: ties count against the model"
    assert mistaken.predicted == model.classify([Image.open(paths[0])], k=1)[0][0]


def test_pictures_that_cannot_be_read_are_left_out_and_move_no_other(
    model: Model, labelled: tuple[list[Path], list[int]]
) -> None:
    paths, labels = labelled
    paths[5].write_bytes(b"")
    found = evaluate(model, paths, labels)
    assert [(photo.path, photo.reason) for photo in found.skipped] == [(paths[5], "empty file")]
    assert [result.path for result in found.results] == paths[:5] + paths[6:]
    assert found.top1 == pytest.approx(10 / 11)


def test_progress_ends_with_all(model: Model, labelled: tuple[list[Path], list[int]]) -> None:
    told: list[tuple[int, int]] = []
    evaluate(model, *labelled, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_say_nothing(model: Model, labelled: tuple[list[Path], list[int]], count: int) -> None:
    paths, labels = labelled
    with pytest.raises(UserError, match=rf"{count} readable pictures are too few to evaluate"):
        evaluate(model, paths[:count], labels[:count])


def test_every_picture_needs_a_label(model: Model, labelled: tuple[list[Path], list[int]]) -> None:
    paths, labels = labelled
    with pytest.raises(ValueError, match="shorter"):
        evaluate(model, paths, labels[:-1])


def test_a_probability_that_is_no_number_is_a_mistake(model: Model) -> None:
    unknown = _result(model, Path("p.png"), np.full(3, np.nan, np.float32), 1)
    assert unknown.rank == 3


def test_what_cannot_be_measured_is_no_number(model: Model, labelled: tuple[list[Path], list[int]]) -> None:
    paths, labels = labelled
    few = evaluation_facts(evaluate(model, paths[1:11], labels[1:11])).values
    assert (few["precision_at_1"], few["precision_at_10"]) == (1.0, None)
    alone = evaluation_facts(evaluate(model, paths[1::4], labels[1::4]))
    assert alone.values["top1"] == 1.0
    assert [alone.values[name] for name in ("precision_at_1", "mean_average_precision")] == [None, None]
    assert alone.rows["mean_average_precision"] == "too few pictures"
    assert "NaN" not in "".join(format_facts(alone, "json"))
