"""The tables of a run, read back."""

import csv
from pathlib import Path

from told import told

from index.records import Prediction
from retrieval.evaluation.evaluate import Evaluation, PictureResult
from retrieval.models.spec import ClassName
from training.errors import RunError
from training.loop.results import write_confusion, write_metrics, write_mistakes

CLASSES = (ClassName("crane", "n02012849"), ClassName("crane", "n03126707"), ClassName("snail", "n01944390"))
TAKEN_FOR = [(0, 0), (0, 1), (1, 1), (1, 1), (2, 0)]


def evaluation() -> Evaluation:
    results = tuple(
        PictureResult(
            Path(f"{number}.png"),
            CLASSES[label].name,
            CLASSES[label].id,
            Prediction(CLASSES[predicted].name, CLASSES[predicted].id, 0.5 + number / 10),
            1 if label == predicted else 2,
        )
        for number, (label, predicted) in enumerate(TAKEN_FOR)
    )
    return Evaluation(5, 3, 0.6, 1.0, 1.0, 1.0, 1.0, results, ())


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_classes_of_one_name_have_lines_and_columns_of_their_own(tmp_path: Path) -> None:
    write_confusion(tmp_path / "confusion.csv", evaluation(), CLASSES)
    assert rows(tmp_path / "confusion.csv") == [
        ["label", "crane", "crane", "snail"],
        ["crane", "1", "1", "0"],
        ["crane", "0", "2", "0"],
        ["snail", "1", "0", "0"],
    ]


def test_the_surest_mistakes_come_first(tmp_path: Path) -> None:
    write_mistakes(tmp_path / "mistakes.csv", evaluation())
    assert [row[0] for row in rows(tmp_path / "mistakes.csv")] == ["path", "4.png", "1.png"]


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    with told(RunError, r"gone/metrics.csv could not be written .*; choose another place with -o"):
        write_metrics(tmp_path / "gone" / "metrics.csv", ())
    (tmp_path / "metrics.csv").mkdir()
    (tmp_path / "last.pt").touch()
    with told(RunError, r"metrics.csv could not be written .* resume it with --resume"):
        write_metrics(tmp_path / "metrics.csv", ())
