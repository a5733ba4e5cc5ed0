"""Learning from a teacher: what its answers make of a data set, the loss against NumPy, and whole runs."""

import json
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import make_model
from numpy.typing import NDArray
from test_training_processes import BATCH_8, done, torchrun
from test_training_run import Record, state
from told import told
from training_samples import COLOURS, CPU, SHAPES, TINY, TINY_RECIPE, write_colours, write_shapes

from index.errors import ModelError, OptionError
from retrieval.evaluation.evaluate import evaluate
from retrieval.models.model import Model
from retrieval.models.spec import ClassGroup, ClassName, ModelSpec
from retrieval.photos.decode import open_photo
from training.data.augment import centre_crops
from training.data.dataset import Dataset, Split
from training.data.sources import UNLABELLED, Source
from training.distillation.lesson import Lesson, as_lesson
from training.distillation.objective import Student, TeacherObjective, check_unmixed
from training.distillation.teacher import Answers
from training.errors import DatasetError, RunError
from training.export.checkpoint_export import export_checkpoint
from training.export.embedding import EmbeddingRecipe
from training.loop.checkpoint import Checkpoint
from training.loop.recipe import RECIPES
from training.loop.run import TrainResult, resume, train
from training.loop.run_folder import BEST, LAST, MODEL
from training.loop.validation import within_groups
from training.networks.alexnet import AlexNet
from training.networks.architectures import CONFIGS
from training.pretrained.fine_tuning import read_pretrained

NAMES = ("ant", "bee", "cat", "dog", "eel")
"""Classes of a teacher."""


def answers_of(probabilities: Sequence[Sequence[float]], *, dim: int = 4) -> Answers:
    embeddings = np.random.default_rng(0).standard_normal((len(probabilities), dim))
    return Answers(np.array(probabilities, np.float16).reshape(len(probabilities), -1), embeddings.astype(np.float16))


def sure_of(*classes: int, of: float = 0.8) -> list[list[float]]:
    """Probabilities of one picture for each of the classes, the others alike; nothing at all for -1."""
    rest = (1 - of) / (len(NAMES) - 1)
    return [[0.0 if best < 0 else of if n == best else rest for n in range(len(NAMES))] for best in classes]


def dataset_of(
    labels: Sequence[int], checked: Sequence[int] = (0, 1, 2, 3), *, more: Sequence[str] = (), name: str = "more"
) -> Dataset:
    classes = tuple(map(ClassName, (*NAMES, *more)))
    return Dataset(
        Path("data"),
        classes,
        Split(tuple(Path(f"{n}.jpg") for n in range(len(labels))), tuple(labels)),
        Split(tuple(Path(f"check{n}.jpg") for n in range(len(checked))), tuple(checked)),
        groups=(ClassGroup("objects", len(NAMES)), ClassGroup(name, len(more))) if more else (),
    )


NOTHING = Answers(np.empty((0, len(NAMES)), np.float16), np.empty((0, 4), np.float16))


def test_classes_that_pictures_show_are_learned() -> None:
    """By a label, or where there is none by a teacher that is sure."""
    labels = [0, 0, UNLABELLED, UNLABELLED, UNLABELLED, UNLABELLED, 3]
    said = sure_of(4, 4, 2, 2, 2, 2, 3)
    said[2] = sure_of(2, of=0.45)[0]
    dataset, lesson = as_lesson(dataset_of(labels), answers_of(said), NOTHING, evidence=2)
    assert lesson.kept.tolist() == [0, 2], "a label outweighs what the teacher says of the picture"
    assert [known.name for known in dataset.classes] == ["ant", "cat"]
    assert lesson.labels.tolist() == [0, 0, *[UNLABELLED] * 5], "a class that is not learned is no label"
    assert lesson.slices == (slice(0, 2),)
    assert dataset.groups == ()


def test_as_many_pictures_as_are_asked_for_count_as_evidence() -> None:
    dataset, answers = dataset_of([UNLABELLED] * 7), answers_of(sure_of(1, 1, 1, 2, 2, 2, 4))
    assert as_lesson(dataset, answers, NOTHING, evidence=3)[1].kept.tolist() == [1, 2]
    assert as_lesson(dataset, answers, NOTHING, evidence=1)[1].kept.tolist() == [1, 2, 4]
    assert as_lesson(dataset, answers, NOTHING, evidence=0)[1].kept.tolist() == [0, 1, 2, 3, 4]
    with told(
        DatasetError,
        "4 or more pictures show 0 of the teacher's classes; give more photos, or a lower --evidence",
    ):
        as_lesson(dataset, answers, NOTHING, evidence=4)


def test_a_picture_that_cannot_be_read_shows_nothing() -> None:
    dataset = dataset_of([UNLABELLED] * 8)
    answers = answers_of(sure_of(1, 1, 2, 2, -1, -1, -1, -1))
    assert as_lesson(dataset, answers, NOTHING, evidence=2)[1].kept.tolist() == [1, 2]


def test_classes_that_are_named_are_kept() -> None:
    """As a run does that goes on."""
    dataset = dataset_of([UNLABELLED] * 4, [1, 3])
    _, lesson = as_lesson(dataset, answers_of(sure_of(1, 1, 2, 2)), NOTHING, evidence=2, kept=[1, 3])
    assert lesson.kept.tolist() == [1, 3]


def test_groups_of_others_follow_the_classes_that_are_learned() -> None:
    labels = [5, 6, 7, 1, 4, UNLABELLED]
    dataset, lesson = as_lesson(
        dataset_of(labels, [6, 4, 0, 1], more=("hut", "inn", "jail")),
        answers_of(sure_of(0, 0, 0, 1, 4, 1)),
        NOTHING,
        evidence=1,
    )
    # What pictures of other groups show counts as well: the teacher sees ants in all of them.
    assert [known.name for known in dataset.classes] == ["ant", "bee", "eel", "hut", "inn", "jail"]
    assert dataset.groups == (ClassGroup("objects", 3), ClassGroup("more", 3))
    assert lesson.labels.tolist() == [3, 4, 5, 1, 2, UNLABELLED]
    assert lesson.slices == (slice(0, 3), slice(3, 6))
    assert dataset.validation.labels == (4, 2, 0, 1)


def test_pictures_without_labels_are_judged_by_what_the_teacher_says() -> None:
    train = answers_of(sure_of(1, 1, 2, 2))
    check = answers_of(sure_of(2, 0, 1))
    dataset, _ = as_lesson(dataset_of([UNLABELLED] * 4, [UNLABELLED] * 3), train, check, evidence=2)
    assert [path.name for path in dataset.validation.paths] == ["check0.jpg", "check2.jpg"], "ants are not learned"
    assert dataset.validation.labels == (1, 0)
    # One that cannot be read stays, and is listed by whoever reads it.
    check = answers_of(sure_of(2, -1, 1))
    dataset, _ = as_lesson(dataset_of([UNLABELLED] * 4, [UNLABELLED] * 3), train, check, evidence=2)
    assert len(dataset.validation) == 3


def test_too_few_pictures_to_check_with_are_told() -> None:
    for checked in ([], [0], [1], [1, 0, 3]):
        with told(DatasetError, r"[01] pictures of the classes to learn are too few for validation; give"):
            as_lesson(dataset_of([1, 1, 2, 2], checked), answers_of(sure_of(1, 1, 2, 2)), NOTHING, evidence=2)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max())
    found: NDArray[np.float64] = powers / powers.sum()
    return found


def loss_of_one(
    scores: NDArray[np.float64],
    projected: Sequence[NDArray[np.float64]],
    said: NDArray[np.float64],
    embedding: NDArray[np.float64],
    label: int,
    lesson: Lesson,
    *,
    share: float,
    imitation: float,
    smoothing: float,
) -> tuple[float, bool]:
    """The loss of one picture, and whether it is named right, as the documentation has it."""
    first, *others = lesson.slices
    mass = said.sum()
    target = said / mass if mass else said
    if first.start <= label < first.stop:
        target = target * (1 - share)
        target[label] += share
        mass = 1.0
    loss = -mass * float((target * np.log(softmax(scores[first]))).sum())
    right = scores[first].argmax() == target.argmax()
    for group in others:
        if group.start <= label < group.stop:
            size, truth = group.stop - group.start, label - group.start
            smooth = np.full(size, smoothing / size)
            smooth[truth] += 1 - smoothing
            loss -= float((smooth * np.log(softmax(scores[group]))).sum())
            right = scores[group].argmax() == truth
    for values in projected:
        lengths = float(np.linalg.norm(values) * np.linalg.norm(embedding))
        loss += imitation * (1 - float(values @ embedding) / max(lengths, 1e-8))
    return loss, bool(right)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_numpy(share: float, smoothing: float) -> None:
    random = np.random.default_rng(3)
    said = random.dirichlet(np.ones(5), 9)
    said[4] = 0  # cannot be read
    said[5] = [0, 0.5, 0, 0.5, 0]  # says nothing of what is learned
    answers = Answers(said.astype(np.float16), random.standard_normal((9, 4)).astype(np.float16))
    # Kept are three of the teacher's; two groups of others follow.
    labels = np.array([UNLABELLED, 0, 2, 3, UNLABELLED, UNLABELLED, 6, 1, 4])
    kept = np.array([0, 2, 4])
    lesson = Lesson(labels, answers, kept, (slice(0, 3), slice(3, 5), slice(5, 8)))
    recipe = TINY_RECIPE.changed(label_share=share, label_smoothing=smoothing, imitation=1.7)
    objective = TeacherObjective(recipe, lesson, CPU.device)
    numbers = [7, 0, 4, 8, 1, 1, 3, 2, 6, 5]
    scores, projected = random.standard_normal((10, 8)) * 3, random.standard_normal((2, 10, 4))

    x, targets = objective.prepare(torch.zeros(10, 3, 4, 4), torch.tensor(numbers))
    assert x.shape == (10, 3, 4, 4)
    logits = torch.from_numpy(scores).float().requires_grad_()
    found = objective.outcome((logits, [torch.from_numpy(values).float() for values in projected]), targets)

    expected = [
        loss_of_one(
            scores[row],
            list(projected[:, row]),
            answers.probabilities[number][kept].astype(np.float64),
            answers.embeddings[number].astype(np.float64),
            int(labels[number]),
            lesson,
            share=share,
            imitation=1.7,
            smoothing=smoothing,
        )
        for row, number in enumerate(numbers)
    ]
    assert found.loss.item() == pytest.approx(np.mean([loss for loss, _ in expected]), rel=1e-5)
    assert found.right.item() == sum(right for _, right in expected)
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    rows = dict(zip(numbers, logits.grad, strict=True))
    assert not rows[5].any(), "nothing is learned where the teacher says nothing of the classes"
    assert not rows[0][3:].any(), "without a label, the other groups learn nothing"
    assert rows[6][5:].any()
    assert not rows[6][3:5].any()


def test_a_teacher_is_imitated_by_the_cosine_alone() -> None:
    """A projection of any length that points where the embedding does costs nothing."""
    answers = answers_of(sure_of(0, 1))
    lesson = Lesson(np.array([-1, -1]), answers, np.arange(5), (slice(0, 5),))
    objective = TeacherObjective(TINY_RECIPE.changed(imitation=5.0), lesson, CPU.device)
    _, targets = objective.prepare(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]))
    logits, same = torch.zeros(2, 5), torch.from_numpy(answers.embeddings).float()
    least = objective.outcome((logits, [same * 3, same]), targets).loss
    assert least.item() == pytest.approx(np.log(5), rel=1e-3)
    assert objective.outcome((logits, [same, -same]), targets).loss.item() == pytest.approx(np.log(5) + 10, rel=1e-3)


def test_a_student_is_the_network_and_projections_of_two_layers() -> None:
    torch.manual_seed(0)
    network = AlexNet(TINY, 3)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    network.train()
    student = Student(network, 7)
    assert network.training
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    student.eval()
    x = torch.rand(2, 3, 28, 28)
    logits, projected = student(x)
    assert torch.equal(logits, network(x))
    assert [values.shape for values in projected] == [(2, 7), (2, 7)]
    beside = {name for name in student.state_dict() if not name.startswith("network.")}
    assert beside == {f"projections.{layer}.{kind}" for layer in ("pool5", "fc7") for kind in ("weight", "bias")}


def test_projections_fitted_to_a_network_find_what_depends_on_its_layers() -> None:
    network = AlexNet(TINY, 3)
    student = Student(network, 6)
    x = torch.randn(400, 3, TINY.crop, TINY.crop, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fc7 = network.eval().activations(x)["fc7"]
        fc7 = fc7 / fc7.norm(dim=1, keepdim=True).clamp(min=1e-9)
        embeddings = fc7 @ torch.randn(fc7.shape[1], 6, generator=torch.Generator().manual_seed(1)) + 0.5
    before = {name: values.clone() for name, values in network.state_dict().items()}
    student.fit_projections((x[part], embeddings[part]) for part in (slice(0, 250), slice(250, 400)))
    with torch.no_grad():
        _, (_, projected) = student.eval()(x)
    # Less than all, as each direction of the layer is held back a little.
    rest = (projected - embeddings).square().sum() / (embeddings - embeddings.mean(0)).square().sum()
    assert rest < 0.1
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_a_student_may_be_where_no_processor_computes() -> None:
    """As on a GPU: nothing that makes it may lie elsewhere."""
    device = torch.device("meta")
    student = Student(AlexNet(TINY, 3).to(device), 7).to(device)
    logits, projected = student.eval()(torch.rand(2, 3, 28, 28, device=device))
    assert (logits.shape, projected[0].device) == ((2, 3), device)


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_mixed_pictures_are_refused(mixing: str) -> None:
    check_unmixed(TINY_RECIPE)
    with told(OptionError, "the teacher has not seen mixed pictures; leave out --mixup and --cutmix"):
        check_unmixed(TINY_RECIPE.changed(**{mixing: 0.2}))


RECIPE = TINY_RECIPE.changed(
    precision="float32", epochs=2, batch_size=8, lr=0.05, validation=0.2, evidence=3, colour_noise=0.0
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen photos of each of three colours, without labels."""
    return write_colours(tmp_path_factory.mktemp("photos") / "photos", each=15)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of each of three shapes, of which the teacher knows nothing."""
    return write_shapes(tmp_path_factory.mktemp("shapes") / "shapes", each=10)


def learn(
    sources: Sequence[Source | Path],
    out: Path,
    teacher: Path | None,
    recipe: Any = RECIPE,
    *,
    report: Record | None = None,
    **options: Any,
) -> TrainResult:
    found = [source if isinstance(source, Source) else Source(source) for source in sources]
    given = {"hardware": CPU, "config": TINY, "embedding": EmbeddingRecipe(dim=8), "teacher": teacher, **options}
    return train(found, out, recipe, report=report or Record(), **given)


def go_on(sources: Sequence[Source | Path], out: Path, *, report: Record | None = None, **options: Any) -> TrainResult:
    found = [source if isinstance(source, Source) else Source(source) for source in sources]
    given = {"hardware": CPU, "embedding": EmbeddingRecipe(dim=8), **options}
    return resume(found, out, report=report or Record(), **given)


def weights(out: Path) -> dict[str, Any]:
    """All that a run leaves, the projections too."""
    return {**state(out), "beside": {name: v.tolist() for name, v in Checkpoint.load(out / LAST).beside.items()}}


def stop_at(*batches: int) -> Record:
    return Record(lambda number: signal.raise_signal(signal.SIGINT) if number in batches else None)


@pytest.fixture
def report_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.trainer.SECONDS_BETWEEN_REPORTS", -1.0)


def test_a_student_learns_from_photos_without_labels(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    report = Record()
    recipe = RECIPE.changed(epochs=15)
    result = learn([photos], tmp_path / "run", tiny_model, recipe, report=report)
    assert report.notes[:4] == [
        f"{photos}: 36 training pictures without labels",
        f"tiny says what is in 45 pictures; that is kept in {tmp_path / 'run' / 'answers'}",
        "classes to learn: 3 objects",
        "36 pictures of 3 classes for training, 9 for validation",
    ]
    assert result.spec is not None
    teacher, student = (Model.load(path, device="cpu") for path in (tiny_model, tmp_path / "run" / MODEL))
    assert student.spec.classes == teacher.spec.classes, "with their WordNet ids"
    assert student.spec.groups == ()
    fresh = sorted(write_colours(tmp_path / "fresh", each=10, seed=99).iterdir())
    prepared = [[model.prepare(open_photo(path)) for path in fresh] for model in (teacher, student)]
    said, learned = teacher.run(prepared[0]), student.run(prepared[1])
    assert (learned.probabilities.argmax(1) == said.probabilities.argmax(1)).mean() > 0.9
    assert result.history[-1].validation_top1 > 0.9
    assert result.history[-1].train_loss < result.history[0].train_loss - 1, "it imitates the embedding too"


def test_a_model_says_who_taught_it_and_nothing_of_the_machine(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    result = learn([photos], tmp_path / "run", tiny_model, cache=tmp_path / "kept")
    assert result.spec is not None
    known = Model.load(tmp_path / "run" / MODEL, device="cpu").spec
    assert known.training["teacher"] == {"name": "tiny", "fingerprint": f"{1:064x}"}
    assert known.training["name"] == "photos"
    assert str(tmp_path) not in json.dumps(known.to_metadata())
    assert str(photos.parent) not in json.dumps(known.to_metadata())


class Mixed(NamedTuple):
    """A run of labels that the teacher knows, photos without any, and labels that it does not know."""

    result: TrainResult
    spec: ModelSpec
    notes: list[str]
    labelled: Path


@pytest.fixture(scope="module")
def mixed(photos: Path, shapes: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    home, report = tmp_path_factory.mktemp("mixed"), Record()
    labelled = write_colours(home / "labelled", each=5, seed=5, labelled=True)
    sources = [Source(labelled, 2.0), Source(photos), Source(shapes)]
    result = learn(sources, home / "run", tiny_model, RECIPE.changed(epochs=10), report=report)
    assert result.spec is not None
    return Mixed(result, result.spec, report.notes, labelled)


def test_labels_and_photos_are_learned_together(mixed: Mixed) -> None:
    assert f"{mixed.labelled}: 12 labelled training pictures" in mixed.notes
    assert "classes to learn: 3 objects, 3 shapes" in mixed.notes
    assert "72 pictures of 6 classes for training, 9 for validation" in mixed.notes
    assert "tiny, float32 on cpu, 10 epochs of 10 batches" in mixed.notes, "24 + 36 + 24 are drawn"
    assert mixed.spec.groups == (ClassGroup("objects", 3), ClassGroup("shapes", 3))
    assert [known.name for known in mixed.spec.classes] == [*COLOURS, *sorted(SHAPES)]
    assert mixed.result.history[-1].validation_top1 > 0.6
    assert Checkpoint.load(mixed.result.folder / BEST).groups == mixed.spec.groups


def test_projections_fitted_to_pictures_that_are_all_alike_give_their_mean() -> None:
    student = Student(AlexNet(TINY, 3), 2)
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x = torch.zeros(2, 3, TINY.crop, TINY.crop)
    student.fit_projections([(x, embeddings)])
    with torch.no_grad():
        for projected in student.eval()(x)[1]:
            np.testing.assert_allclose(projected, [[0.5, 0.5]] * 2, atol=1e-5)
    before = {name: values.clone() for name, values in student.state_dict().items()}
    student.fit_projections([])
    assert all(torch.equal(values, before[name]) for name, values in student.state_dict().items())


@pytest.fixture
def known_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small architecture of the tests is one that can be started from."""
    monkeypatch.setitem(RECIPES, TINY.arch, TINY_RECIPE)
    monkeypatch.setitem(CONFIGS, TINY.arch, TINY)


@pytest.mark.usefixtures("known_tiny")
def test_classes_that_the_start_knows_begin_with_its_last_layer(mixed: Mixed) -> None:
    best = read_pretrained(mixed.labelled.parent / "run" / BEST)
    classes, groups = best.classes, best.groups
    wanted = (*classes[: groups[0].size][::-1], ClassName("unheard of"), *classes[groups[0].size :])
    sizes = (replace(groups[0], size=groups[0].size + 1), *groups[1:])
    network = best.network(best.config, len(wanted))
    new = network.fc8.weight[groups[0].size].clone()
    assert best.give_scores(network, wanted, sizes) == len(classes)
    assert best.scores is not None
    weight, bias = best.scores
    kept = [*range(groups[0].size)[::-1], *range(groups[0].size, len(classes))]
    rows = [number for number in range(len(wanted)) if number != groups[0].size]
    assert torch.equal(network.fc8.weight[rows], weight[kept])
    assert torch.equal(network.fc8.bias[rows], bias[kept])
    assert torch.equal(network.fc8.weight[groups[0].size], new)
    # A class's own name goes before the synonym of another.
    bath = replace(
        best, classes=(ClassName("tub", None, ("bath",)), ClassName("bath")), groups=(), scores=(weight[:2], bias[:2])
    )
    network = best.network(best.config, 2)
    assert bath.give_scores(network, [ClassName("bath"), ClassName("tub")], ()) == 2
    assert torch.equal(network.fc8.bias, bias[:2].flip(0))
    # Another group with the same names is about something else.
    elsewhere = best.network(best.config, len(classes))
    assert best.give_scores(elsewhere, classes, (ClassGroup("elsewhere", len(classes)),)) == 0


@pytest.mark.usefixtures("known_tiny")
def test_a_run_that_goes_on_from_another_begins_where_that_ended(
    mixed: Mixed, photos: Path, shapes: Path, tiny_model: Path, tmp_path: Path
) -> None:
    report, before = Record(), mixed.labelled.parent / "run"
    result = learn(
        [Source(mixed.labelled, 2.0), Source(photos), Source(shapes)],
        tmp_path / "further",
        tiny_model,
        RECIPE.changed(epochs=1, lr=1e-6),
        report=report,
        start=read_pretrained(before / BEST),
    )
    assert f"6 of the 6 classes begin with the last layer of {BEST}" in report.notes
    assert result.history[-1].train_top1 > 0.6
    # With projections that knew nothing, each cosine would be about 0, and the loss 5 for it alone.
    assert result.history[-1].train_loss < mixed.result.history[-1].train_loss + 0.5


def test_each_group_has_probabilities_of_its_own(mixed: Mixed, shapes: Path, photos: Path) -> None:
    model = Model.load(mixed.result.folder / MODEL, device="cpu")
    paths = [*sorted(photos.iterdir())[::5], *sorted(shapes.glob("*/*"))[::5]]
    pixels = np.stack([model.prepare(open_photo(path)) for path in paths])
    found = model.run(pixels).probabilities
    for group in mixed.spec.slices.values():
        np.testing.assert_allclose(found[:, group].sum(1), 1, atol=1e-5)
    checkpoint = Checkpoint.load(mixed.result.folder / BEST)
    with torch.inference_mode():
        logits = checkpoint.build()(centre_crops(torch.from_numpy(pixels), TINY.crop, checkpoint.normalisation))
    expected = torch.cat([torch.softmax(logits[:, group], 1) for group in mixed.spec.slices.values()], 1)
    np.testing.assert_allclose(found, expected, atol=5e-3)  # weights are rounded to half precision
    [named] = model.classify([open_photo(paths[0])], k=6)
    assert {prediction.group for prediction in named} == {"objects", "shapes"}


def test_a_picture_is_judged_in_the_group_of_its_label(mixed: Mixed, shapes: Path) -> None:
    assert mixed.result.evaluation is not None
    judged = mixed.result.evaluation.results
    groups = [{known.name for known in mixed.spec.classes[place]} for place in mixed.spec.slices.values()]
    assert {picture.label in groups[0] for picture in judged} == {True, False}
    for picture in judged:
        assert 1 <= picture.rank <= 3
        assert any({picture.label, picture.predicted.label} <= names for names in groups)
    paths = sorted((shapes / "red square").iterdir())
    found = evaluate(Model.load(mixed.result.folder / MODEL, device="cpu"), paths, [5] * len(paths))
    assert {picture.predicted.group for picture in found.results} == {"shapes"}


def test_logits_of_other_groups_are_out_of_the_question() -> None:
    logits, labels = torch.tensor([[1.0, 2, 9, 3], [8, 2, 5, 3]]), torch.tensor([1, 3])
    found = within_groups(logits, labels, (slice(0, 2), slice(2, 4)))
    assert found.tolist() == [[1, 2, -np.inf, -np.inf], [-np.inf, -np.inf, 5, 3]]
    losses = torch.nn.functional.cross_entropy(found, labels, reduction="none")
    assert losses.tolist() == pytest.approx([np.log(1 + np.exp(-1)), np.log(1 + np.exp(2))])
    assert within_groups(logits, labels, (slice(0, 4),)) is logits


def test_a_teacher_of_several_groups_teaches_its_first(mixed: Mixed, photos: Path, tmp_path: Path) -> None:
    report, teacher = Record(), mixed.result.folder / MODEL
    found = learn([photos], tmp_path / "run", teacher, RECIPE.changed(evidence=0), report=report)
    assert "classes to learn: 3 objects" in report.notes
    assert found.spec is not None
    assert [known.name for known in found.spec.classes] == list(COLOURS)


@pytest.mark.usefixtures("report_every_batch")
@pytest.mark.parametrize("cached", [False, True], ids=["memory", "cache"])
def test_an_interrupted_run_ends_as_if_nothing_had_been(
    photos: Path, shapes: Path, tiny_model: Path, tmp_path: Path, cached: bool
) -> None:
    sources = [Source(shapes, 1.5), Source(photos, 0.5, labelled=False)]
    recipe = RECIPE.changed(ema=0.9)
    learn(sources, tmp_path / "whole", tiny_model, recipe)
    # In the midst of the first epoch, at its end, and at the end of the second, before it is validated.
    stops = [3, 6, 9]
    options = {"cache": tmp_path / "cache"} if cached else {}
    first = learn(sources, tmp_path / "run", tiny_model, recipe, report=stop_at(stops[0]), **options)
    assert first.spec is None
    for stop in stops[1:]:
        assert go_on([shapes, photos], tmp_path / "run", report=stop_at(stop)).spec is None
    assert (state(tmp_path / "run")["epoch"], state(tmp_path / "run")["step"]) == (1, 9)
    assert not (tmp_path / "run" / MODEL).exists()
    assert go_on([shapes, photos], tmp_path / "run").spec is not None
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert (tmp_path / "run" / "answers").exists() != cached


def test_the_same_seed_gives_the_same_student(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        learn([photos], tmp_path / name, tiny_model, RECIPE.changed(seed=seed), cache=tmp_path / "cache")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a")["network"] != weights(tmp_path / "c")["network"]


@pytest.mark.slow
def test_a_student_may_start_from_another_network(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    recipe = RECIPE.changed(epochs=3, head_epochs=1)
    result = learn([photos], tmp_path / "run", tiny_model, recipe)
    assert [row.epoch for row in result.history] == [1, 2, 3]
    assert go_on([photos], tmp_path / "run", epochs=4).spec is not None


def test_photos_that_cannot_be_read_are_listed(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(photos, tmp_path / "photos"))
    bad = sorted(mine.iterdir())[::4]
    for number, path in enumerate(bad):
        path.write_bytes(b"" if number % 2 else path.read_bytes()[:100])
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        report, run = Record(), tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        result = learn([mine], run, tiny_model, report=report, cache=cache)
        assert {photo.path for photo in result.skipped} == set(bad)
        assert sorted(note for note in report.notes if note.startswith("left out: ")) == sorted(
            f"left out: {path}: {'empty file' if number % 2 else 'truncated PNG'}" for number, path in enumerate(bad)
        )
        assert all(np.isfinite(row.train_loss) for row in result.history)


@pytest.mark.parametrize("count", [2, 6])
def test_a_few_photos_are_too_few(tiny_model: Path, tmp_path: Path, count: int) -> None:
    photos = write_colours(tmp_path / "photos", each=count // 2, colours=COLOURS[:2])
    with told(DatasetError, r"3 or more pictures show [01] .*a lower --evidence|too few for validation"):
        learn([photos], tmp_path / "run", tiny_model)
    if count == 6:
        assert learn([photos], tmp_path / "enough", tiny_model, RECIPE.changed(evidence=1, validation=0.4)).spec


def test_weights_so_low_that_nothing_is_drawn_are_told(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    with told(DatasetError, "an epoch of 1 pictures is too short; give a higher --weight"):
        learn([Source(photos, 0.03)], tmp_path / "run", tiny_model)
    report = Record()
    learn([Source(photos, 0.25)], tmp_path / "other", tiny_model, report=report)
    assert "tiny, float32 on cpu, 2 epochs of 2 batches" in report.notes, "batches are as small as the epoch asks for"


def test_one_labelled_folder_may_be_drawn_more_often_too(shapes: Path, tmp_path: Path) -> None:
    report = Record()
    learn([Source(shapes, 2)], tmp_path / "run", None, report=report, cache=tmp_path / "cache")
    assert "tiny, float32 on cpu, 2 epochs of 12 batches" in report.notes
    report = Record()
    go_on([shapes], tmp_path / "run", epochs=3, report=report)
    assert "tiny, float32 on cpu, 3 epochs of 12 batches" in report.notes
    assert report.loaded == [], "what the cache has is not decoded again"


def test_going_on_with_other_folders_is_refused(photos: Path, shapes: Path, tiny_model: Path, tmp_path: Path) -> None:
    learn([photos, shapes], tmp_path / "run", tiny_model)
    before = (tmp_path / "run" / LAST).read_bytes()
    for sources, count in (([photos], 1), ([photos, shapes, tmp_path], 3)):
        with told(DatasetError, rf"the run learned from 2 folders, not {count}; name them all, in their order"):
            go_on(sources, tmp_path / "run")
    learn([shapes], tmp_path / "labels", None)
    with told(DatasetError, r"the run learned from 1 folder, not 2; name them all, in their order"):
        go_on([shapes, Source(photos, labelled=False)], tmp_path / "labels")
    more = Path(shutil.copytree(photos, tmp_path / "more" / "photos"))
    shutil.copy(more / "red000.png", more / "red999.png")
    asked = sorted((tmp_path / "run" / "answers").iterdir())
    with told(DatasetError, r"is not the set of pictures that the run in .*run learned from; start a new"):
        go_on([more, shapes], tmp_path / "run")
    assert sorted((tmp_path / "run" / "answers").iterdir()) == asked, "before the teacher is asked about them"
    assert (tmp_path / "run" / LAST).read_bytes() == before


def test_going_on_without_the_teacher_is_refused(photos: Path, tmp_path: Path) -> None:
    teacher = make_model(tmp_path / "teacher.onnx", seed=3)
    learn([photos], tmp_path / "run", teacher)
    make_model(teacher, seed=4)
    with told(
        ModelError,
        r"teacher\.onnx is another model than the run's teacher was; put that one back, or start a new run",
    ):
        go_on([photos], tmp_path / "run")
    teacher.unlink()
    with told(
        ModelError,
        r"the run's teacher, teacher, is not at .*teacher\.onnx any more; put it back, or start a new run",
    ):
        go_on([photos], tmp_path / "run")
    make_model(teacher, seed=3)
    assert go_on([photos], tmp_path / "run", epochs=3).spec is not None


def test_a_run_goes_on_from_elsewhere(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its teacher was named from another folder; it and its photos have moved."""
    (tmp_path / "here").mkdir()
    make_model(tmp_path / "here" / "teacher.onnx", seed=3)
    mine = Path(shutil.copytree(photos, tmp_path / "here" / "photos"))
    monkeypatch.chdir(tmp_path / "here")
    learn([Path("photos")], Path("run"), Path("teacher.onnx"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "run").rename("run")
    mine.rename("photos")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "answers").iterdir()}
    assert go_on([Path("photos")], Path("run"), epochs=3).spec is not None
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "nothing is asked again"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["teacher.onnx"]


def test_what_cannot_be_is_refused_before_the_teacher_is_asked(
    photos: Path, shapes: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with told(OptionError, "leave out --mixup and --cutmix"):
        learn([photos], tmp_path / "run", tiny_model, RECIPE.changed(mixup=0.2))
    with told(RunError, r"the cache would lie among its pictures, in .*photos, .* outside with --cache"):
        learn([shapes, photos], tmp_path / "run", tiny_model, cache=photos / "cache")
    assert not (tmp_path / "run" / "answers").exists()


def test_a_run_with_a_teacher_is_exported_again(mixed: Mixed, tmp_path: Path) -> None:
    report = Record()
    spec = export_checkpoint(
        mixed.result.folder / BEST, tmp_path / "new.onnx", hardware=CPU, report=report, embedding=EmbeddingRecipe(dim=4)
    )
    assert (spec.groups, spec.classes, spec.accuracy) == (mixed.spec.groups, mixed.spec.classes, mixed.spec.accuracy)
    assert not any("its accuracy stays" in note for note in report.notes)


def test_after_ctrl_c_the_teacher_is_asked_about_the_rest(
    photos: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.distillation.teacher.BATCH", 4)
    monkeypatch.setattr("training.data.row_store.BLOCK", 8)
    asked: list[int] = []
    answer = Model.run_uncalibrated

    def interrupted(model: Model, pixels: Any) -> Any:
        asked.append(len(pixels))
        if len(asked) > 6:
            raise KeyboardInterrupt
        return answer(model, pixels)

    with monkeypatch.context() as patched:
        patched.setattr(Model, "run_uncalibrated", interrupted)
        patched.setattr("training.distillation.teacher.usable_cores", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            learn([photos], tmp_path / "run", tiny_model)
    [note] = (tmp_path / "run" / "answers").glob("*.json")
    assert json.loads(note.read_text())["done"] == 24
    assert learn([photos], tmp_path / "run", tiny_model).spec is not None
    learn([photos], tmp_path / "whole", tiny_model)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_ask_the_teacher_once_and_learn_together(
    photos: Path, shapes: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    options = ("--arch", "alexnet-64", "--evidence", 3, "--teacher", tiny_model, "--cache", cache, *BATCH_8)
    code, out, err = done(torchrun("-m", "cli", "train", shapes, photos, "-o", run, "--epochs", 1, *options))
    assert code == 0, err
    assert err.count("classes to learn: 3 objects, 3 shapes") == 1
    assert err.count("tiny says what is in 68 pictures") == 1
    assert "in 2 processes" in err
    assert out.count("alexnet-64, 3 objects and 3 shapes") == 1
    assert len(list(cache.glob("answers-*.rows"))) == 1, "no photo without a label is needed for validation"
    last = Checkpoint.load(run / LAST)
    assert set(last.random) == {"cpu", "cpu:1"}
    assert np.isfinite(last.history[0].train_loss)
    code, out, err = done(torchrun("-m", "cli", "train", shapes, photos, "-o", run, "--resume", "--epochs", 2))
    assert code == 0, err
    assert err.count("Epoch 2/2: ") == 1
