"""Measuring indexing: what is measured adds up, what is said of it follows, and nothing is left behind."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from told import told

import retrieval.evaluation.speed
from cli import main
from commands.model_tables import format_measured
from index.errors import UserError
from index.index_writer import IndexWriter
from retrieval.evaluation.speed import Costs, Measured, Speed, concurrencies_to_try, enough_photos, measure
from retrieval.evaluation.speed_photos import make_photos, photos_to_measure
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from retrieval.pipeline.executor import Concurrency

USUAL, WIDER = Concurrency(2, 16, 2), Concurrency(4, 16, 4)


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model, device="cpu", threads=1)


@pytest.fixture
def photos(make_photo: Callable[..., Path], tmp_path: Path) -> Path:
    for number in range(12):
        make_photo(f"photos/{number}.png", "red", seed=number)
    return tmp_path / "photos"


def measured(usual: float, wider: float, *, costs: Costs | None = None, cores: float = 2.0) -> Measured:
    costs = costs or Costs(0.001, 0.002, 0.005)
    speeds = Speed(USUAL, (usual,) * 3, (cores,) * 3), Speed(WIDER, (wider,) * 3, (cores,) * 3)
    return Measured("tiny", 100, 2, (costs,) * 3, speeds)


def text_of(found: Measured, **options: int) -> str:
    return "".join(format_measured(found, "table", source="of here", **options))


def test_the_bound_is_what_all_cores_do_without_waiting() -> None:
    assert Costs(0.001, 0.002, 0.005).bound(2) == pytest.approx(250)
    assert Costs(0.001, 0.002, 0.0, gpu=0.0001).bound(2) == pytest.approx(2 / 0.003)
    assert Costs(0.001, 0.002, 0.0, gpu=0.01).bound(2) == pytest.approx(100)
    assert measured(200, 200).ratios == pytest.approx((0.8, 0.8, 0.8))


def test_the_bound_is_less_by_what_the_host_took() -> None:
    found = measured(150, 150, cores=1.5)
    assert found.bounds == pytest.approx((187.5, 187.5, 187.5))
    assert (found.ratios[0], found.taken) == pytest.approx((0.8, 0.25))
    assert "less the 25% of their time that this virtual machine's host gave to others" in text_of(found)
    assert json.loads("".join(format_measured(found, "json", source="of here")))["taken_by_host"] == 0.25
    assert "host" not in text_of(measured(150, 150))


def test_another_concurrency_is_best_only_if_clearly_faster() -> None:
    assert measured(200, 205).best.concurrency == USUAL
    assert "the usual --workers and --batch-size are best" in text_of(measured(200, 205))
    assert measured(200, 230).best.concurrency == WIDER
    assert "fastest is fc7 index --workers 4" in text_of(measured(200, 230))


@pytest.mark.parametrize(
    ("costs", "limit"),
    [
        (Costs(0.001, 0.002, 0.005), "network"),
        (Costs(0.001, 0.006, 0.005), "decoding"),
        (Costs(0.009, 0.006, 0.005), "reading"),
        (Costs(0.001, 0.002, 0.0, gpu=0.01), "network"),
        (Costs(0.001, 0.002, 0.0, gpu=0.0001), "decoding"),
    ],
)
def test_what_takes_most_limits(costs: Costs, limit: str) -> None:
    found = measured(200, 200, costs=costs)
    assert f"{limit} limits it" in text_of(found)
    assert json.loads("".join(format_measured(found, "json", source="of here")))["limit"] == limit


def test_text_fits_the_terminal() -> None:
    assert max(map(len, text_of(measured(200, 230), width=40).splitlines()[1:])) <= 40


@pytest.mark.slow
def test_stages_and_indexing_are_measured(model: Model, photos: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    calls: list[tuple[int, int]] = []
    concurrencies = [Concurrency.chosen(model, workers=1), Concurrency.chosen(model, workers=2, batch_size=4)]
    found = measure(
        model,
        sorted(photos.iterdir()),
        concurrencies=concurrencies,
        rounds=2,
        work=work,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [speed.concurrency for speed in found.speeds] == concurrencies
    assert [len(speed.rates) for speed in found.speeds] == [2, 2]
    assert len(found.costs) == 2
    assert all(min(costs.reading, costs.decoding, costs.network) > 0 for costs in found.costs)
    assert calls == [(done, 9) for done in range(9)]
    assert list(work.iterdir()) == []
    assert len(list(photos.iterdir())) == 12


def test_a_bad_photo_is_named(model: Model, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with told(UserError, match=r"bad\.jpg"):
        measure(model, sorted(photos.iterdir()), concurrencies=[Concurrency.chosen(model)], rounds=1)
    assert photos / "bad.jpg" not in enough_photos(model, sorted(photos.iterdir()))


def test_photos_that_cannot_be_read_are_no_measure(model: Model, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with told(UserError, match="--photos"):
        enough_photos(model, [tmp_path / "bad.jpg"])


def test_the_usual_concurrency_is_tried_first(model: Model) -> None:
    concurrencies = concurrencies_to_try(model)
    assert concurrencies[0] == Concurrency.chosen(model)
    assert len(set(concurrencies)) == len(concurrencies) >= 4


def test_where_photos_come_from(model: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert photos_to_measure(photos, tmp_path / "none", tmp_path)[0] == f"of {photos}"
    spec = model.spec
    with IndexWriter.open_for_writing(
        tmp_path / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
    ) as index:
        index_folders(index, model, [photos])
    (photos / "3.png").unlink()
    source, found = photos_to_measure(None, tmp_path / "index", tmp_path)
    assert source == f"of the index in {tmp_path / 'index'}"
    assert sorted(found) == sorted(photos.iterdir())
    monkeypatch.setattr("retrieval.evaluation.speed_photos.SIZE", (200, 150))
    source, found = photos_to_measure(None, tmp_path / "none", tmp_path)
    assert source == "made for this, 200×150 pixels"
    assert len({path.read_bytes() for path in found}) == 24
    for wrong in (tmp_path / "nowhere", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with told(UserError, match="--photos"):
            photos_to_measure(wrong, tmp_path / "index", tmp_path)


def test_made_photos_are_whole(tmp_path: Path) -> None:
    [path] = make_photos(tmp_path, 1)
    with Image.open(path) as image:
        assert image.size == (4000, 3000)
        image.load()
    assert 1e6 < path.stat().st_size < 10e6


def bench(*words: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, words)])


@pytest.mark.slow
def test_the_command(tiny_model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval.evaluation.speed, "SECONDS_A_RUN", 0.05)
    done = bench(tiny_model, "--photos", photos, "--format", "json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert 1 <= record["photos"] <= 12  # as many as the machine does in the time
    assert record["speeds"][0]["photos_a_second"] == record["photos_a_second"]
    assert done.stderr == ""
    table = bench(tiny_model, "--photos", photos)
    assert table.exit_code == 0
    assert re.match(rf"tiny on \d+ photos, of {re.escape(str(photos))}", table.stdout)


def test_the_command_without_photos_or_model(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = bench(tiny_model, "--photos", tmp_path / "empty")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no photos" in done.stderr
    assert bench(tmp_path / "missing.onnx").exit_code == 1
