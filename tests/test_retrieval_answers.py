"""What was found is plain values, which JSON can hold as they are, with documented names."""

import json
from dataclasses import replace
from math import nan
from pathlib import Path

from index.records import IndexProblem, Prediction, SearchResult, SkippedPhoto
from retrieval.answers import (
    answered_query,
    checked_index,
    classified_photo,
    duplicate_group,
    evaluated_model,
    measured_speed,
    model_layers,
)
from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
from retrieval.evaluation.evaluate import Evaluation
from retrieval.evaluation.speed import Costs, Measured, Speed
from retrieval.indexing.check import CheckReport
from retrieval.indexing.missing import MissingPhotos
from retrieval.models.cost import LayerCost, ModelCost
from retrieval.pipeline.executor import Concurrency
from retrieval.searching.search import Answer


def plain(value: object) -> object:
    """The value after a trip through JSON that refuses what is no plain value."""
    return json.loads(json.dumps(value, allow_nan=False))


def test_names_of_a_photo() -> None:
    predictions = [Prediction("cat", "n1", 0.12345678, ""), Prediction("old", None, 0.1, "style")]
    assert plain(classified_photo("a.jpg", predictions)) == {
        "path": "a.jpg",
        "predictions": [
            {"label": "cat", "id": "n1", "probability": 0.123457},
            {"label": "old", "id": None, "probability": 0.1, "group": "style"},
        ],
    }


def test_results_of_a_query() -> None:
    answer = Answer("cat", [SearchResult(Path("a.jpg"), 0.5)])
    assert plain(answered_query(answer)) == {
        "query": "cat",
        "results": [{"path": "a.jpg", "score": 0.5, "copy_of": None, "is_query": False}],
    }
    assert plain(answered_query(answer, labelled=True)) == {
        "query": "cat",
        "results": [{"path": "a.jpg", "probability": 0.5, "copy_of": None, "is_query": False}],
    }


def test_a_group_of_copies() -> None:
    photo = DuplicatePhoto(Path("a.jpg"), 4, 3, 100, 0, False, False)
    found = duplicate_group(DuplicateGroup("exact", (photo,)))
    assert plain(found) == found
    assert found["photos"][0].keys() == {"path", "width", "height", "bytes", "modified"}


def test_an_evaluation_has_no_value_where_nothing_was_measured() -> None:
    skipped = (SkippedPhoto(Path("b.jpg"), "empty file"),)
    assert plain(evaluated_model(Evaluation(3, 2, 0.33333, 1.0, nan, nan, nan, (), skipped))) == {
        "pictures": 3,
        "classes": 2,
        "top1": 0.3333,
        "top5": 1.0,
        "precision_at_1": None,
        "precision_at_10": None,
        "mean_average_precision": None,
        "skipped": 1,
    }


def test_a_check_of_an_index() -> None:
    report = CheckReport(5, 2, (IndexProblem("a.jpg: gone", None),), (SkippedPhoto(Path("b.jpg"), "empty file"),))
    report = replace(report, missing=(MissingPhotos(Path("/old"), 3, True, 2, Path("/new")),))
    assert plain(checked_index(report)) == {
        "photos": 5,
        "embedded": 2,
        "problems": ["a.jpg: gone"],
        "skipped": [{"path": "b.jpg", "reason": "empty file"}],
        "missing": [{"folder": "/old", "photos": 3, "gone": True, "elsewhere": 2, "now": "/new"}],
    }


def test_measurements() -> None:
    speed = Speed(Concurrency(2, 16, 2), (200.0,), (2.0,))
    found = measured_speed(Measured("tiny", 9, 2, (Costs(0.001, 0.002, 0.005),), (speed,)), "of here")
    assert plain(found) == found
    assert (found["bound"], found["limit"], found["best"]) == (250.0, "network", {"workers": 2, "batch_size": 16})
    layer = LayerCost("fc6", "dense", (9,), 9, 90, 90, 180, 0.5)
    layers = plain(model_layers(ModelCost("tiny", 1, 20, (layer,))))
    assert isinstance(layers, dict)
    assert layers["total"]["parameters"] == layers["layers"][0]["parameters"] == 90
