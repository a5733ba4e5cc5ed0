"""What is said at the end of a run."""

from pathlib import Path
from typing import Any

from commands.training_report import most_confused, summary
from index.records import Prediction
from retrieval.evaluation.evaluate import Evaluation, PictureResult
from retrieval.models.spec import ModelSpec
from training.loop.run import TrainResult


def evaluation(*pairs: tuple[str, str]) -> Evaluation:
    """Pictures of a class, and what each was taken for."""
    results = tuple(
        PictureResult(
            Path(f"{number}.png"), label, None, Prediction(predicted, None, 0.5), 1 if label == predicted else 2
        )
        for number, (label, predicted) in enumerate(pairs)
    )
    return Evaluation(len(results), 3, 0.5, 1.0, 0.5, 0.5, 0.5, results, ())


def spec(**values: Any) -> ModelSpec:
    given: dict[str, Any] = {"name": "run", "arch": "tiny", "classes": (), "resize": 32, "crop": 28, "dim": 8}
    return ModelSpec(**{**given, "fc7_dim": 16, "fingerprint": "0" * 64, **values})


def test_the_most_frequent_mistakes_come_first_and_are_few() -> None:
    found = evaluation(
        *[("cat", "dog")] * 2, *[("dog", "cat")] * 3, ("cat", "cow"), ("cow", "cat"), *[("cow", "cow")] * 9
    )
    assert most_confused(found) == [(("dog", "cat"), 3), (("cat", "dog"), 2), (("cat", "cow"), 1)]


def test_classes_of_one_name_are_told_by_their_ids() -> None:
    def crane(number: int, label: str, predicted: str) -> PictureResult:
        return PictureResult(Path(f"{number}.png"), "crane", label, Prediction("crane", predicted, 0.5), 2)

    results = (crane(0, "n1", "n2"), crane(1, "n1", "n2"), crane(2, "n2", "n1"))
    found = Evaluation(3, 2, 0.0, 1.0, 0.5, 0.5, 0.5, results, ())
    assert most_confused(found) == [(("crane (n1)", "crane (n2)"), 2), (("crane (n2)", "crane (n1)"), 1)]


def test_the_end_names_figures_files_and_mistakes() -> None:
    accuracy = {"top1": 0.75, "top5": 1.0}
    found = evaluation(("cat", "dog"), ("cat", "cat"), ("dog", "dog"), ("dog", "dog"))
    model, mistaken, *pairs = summary(TrainResult(Path("run"), (), (), spec(accuracy=accuracy), found))
    assert model.startswith("run/model.onnx: tiny")
    assert "top-1 75.0%" in model
    assert mistaken == "1 of 4 validation pictures mistaken: run/mistakes.csv; all classes: run/confusion.csv"
    assert pairs == ["  1 of cat taken for dog"]


def test_names_cannot_steer_the_terminal() -> None:
    result = TrainResult(Path("run\x1b[2J"), (), (), spec(), evaluation(("cat", "dog\x1b[31m")))
    assert "\x1b" not in "".join(summary(result))
    assert list(summary(result))[-1] == "  1 of cat taken for dog\\x1b[31m"


def test_nothing_is_said_of_a_run_that_was_interrupted() -> None:
    assert list(summary(TrainResult(Path("run"), (), ()))) == []
