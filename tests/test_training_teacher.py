"""What a teacher says of pictures: the same as in use, asked once, and kept."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM
from training_samples import write_colours

from index.errors import ModelError
from retrieval.models.model import Model
from retrieval.models.spec import ClassGroup
from retrieval.photos.decode import open_photo
from training.distillation.lesson import Taught
from training.distillation.teacher import Answers, kept_answers
from training.loop.hardware import Hardware, choose_hardware


@pytest.fixture
def teacher(tiny_model: Path) -> Model:
    return Model.load(tiny_model, device="cpu")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Twelve pictures of three colours."""
    return sorted(write_colours(tmp_path / "photos", each=4).iterdir())


def ask(teacher: Model, paths: list[Path], tmp_path: Path) -> Answers:
    return kept_answers(teacher, paths, tmp_path, tmp_path / "answers")


def never(*_: object) -> None:
    raise AssertionError("the teacher was asked again")


def test_answers_are_those_that_the_teacher_gives_in_use(
    teacher: Model, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.distillation.teacher.BATCH", 2)
    monkeypatch.setattr("training.data.row_store.BLOCK", 5)
    told: list[tuple[int, int]] = []
    answers = kept_answers(
        teacher, paths, tmp_path, tmp_path / "answers", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(5, 12), (10, 12), (12, 12)]
    assert len(answers) == 12
    for number, path in enumerate(paths):
        expected = teacher.run([teacher.prepare(open_photo(path))])
        # Kept in half precision.
        np.testing.assert_allclose(answers.probabilities[number], expected.probabilities[0], rtol=1e-3, atol=1e-7)
        np.testing.assert_allclose(answers.embeddings[number], expected.embedding[0], rtol=1e-3, atol=1e-7)
        assert teacher.spec.classes[answers.probabilities[number].argmax()].name in path.name


def test_a_signal_ends_the_asking_after_a_block_and_keeps_the_answers(
    teacher: Model, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.row_store.BLOCK", 5)
    for done in (5, 10, 12):
        told: list[int] = []

        def interrupt(known: int, total: int, told: list[int] = told) -> None:
            told.append(known)
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            kept_answers(teacher, paths, tmp_path, tmp_path / "answers", progress=interrupt)
        assert told == [done]
    with monkeypatch.context() as patched:
        patched.setattr(Model, "run_uncalibrated", never)
        assert ask(teacher, paths, tmp_path).probabilities.any(1).all()


def test_the_teacher_is_asked_once(
    teacher: Model, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(teacher, paths, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Model, "run_uncalibrated", never)
        again = ask(teacher, paths, tmp_path)
        np.testing.assert_array_equal(again.probabilities, first.probabilities)
        np.testing.assert_array_equal(again.embeddings, first.embeddings)
        with pytest.raises(AssertionError):
            ask(teacher, paths[1:], tmp_path)
    paths[0].write_bytes(paths[1].read_bytes())
    other = ask(teacher, paths, tmp_path)
    np.testing.assert_array_equal(other.probabilities[1:], first.probabilities[1:])
    np.testing.assert_array_equal(other.probabilities[0], other.probabilities[1])


def test_another_teacher_is_asked_itself(
    teacher: Model, other_model: Path, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(teacher, paths, tmp_path)
    other = ask(Model.load(other_model, device="cpu"), paths, tmp_path)
    assert not np.allclose(first.embeddings, other.embeddings, atol=0.1)
    monkeypatch.setattr(Model, "run_uncalibrated", never)
    np.testing.assert_array_equal(ask(teacher, paths, tmp_path).embeddings, first.embeddings)


def test_of_pictures_that_cannot_be_read_it_says_nothing(
    teacher: Model, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.distillation.teacher.BATCH", 3)
    expected = ask(teacher, paths, tmp_path)
    whole = {paths[number]: paths[number].read_bytes() for number in (1, 3, 4, 5)}  # the second batch is of nothing
    for path, content in whole.items():
        path.write_bytes(bytes(len(content)))
    paths[2].unlink()
    answers = ask(teacher, paths, tmp_path)
    read = [0, 6, 7, 8, 9, 10, 11]
    assert not answers.probabilities[1:6].any()
    assert not answers.embeddings[1:6].any()
    np.testing.assert_allclose(answers.probabilities[read], expected.probabilities[read], atol=1e-3)
    # Of the same size, and to be read now: as with a decoder that was missing.
    for path, content in whole.items():
        path.write_bytes(content)
    answers = ask(teacher, paths, tmp_path)
    read = [0, 1, *range(3, 12)]
    np.testing.assert_allclose(answers.probabilities[read], expected.probabilities[read], atol=1e-3)
    assert not answers.probabilities[2].any()


def test_of_several_groups_the_first_is_taught(teacher: Model, paths: list[Path], tmp_path: Path) -> None:
    everything = ask(teacher, paths, tmp_path)
    teacher.spec = replace(teacher.spec, groups=(ClassGroup("warm", 1), ClassGroup("cold", 2)))
    answers = ask(teacher, paths, tmp_path)
    np.testing.assert_array_equal(answers.probabilities, everything.probabilities[:, :1])
    np.testing.assert_array_equal(answers.embeddings, everything.embeddings)


def test_of_no_pictures_there_are_no_answers(teacher: Model, tmp_path: Path) -> None:
    answers = ask(teacher, [], tmp_path)
    assert (answers.probabilities.shape, answers.embeddings.shape) == ((0, 3), (0, DIM))


def test_a_teacher_is_a_model_file(tmp_path: Path, tiny_model: Path) -> None:
    hardware: Hardware = choose_hardware("cpu")
    assert Taught.by(tiny_model, hardware, folder=tmp_path).teacher.spec.name == "tiny"
    (tmp_path / "photo.jpg").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"there is no model file .*none\.onnx"):
        Taught.by(tmp_path / "none.onnx", hardware, folder=tmp_path)
    with pytest.raises(ModelError, match=r"photo\.jpg"):
        Taught.by(tmp_path / "photo.jpg", hardware, folder=tmp_path)
