"""Queries on a small index with a small real model, against the same computed with NumPy."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from photo_samples import embedding_of
from PIL import Image

from index.errors import PhotoError, PhotoIndexError, UserError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import SkippedPhoto
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model, Outputs
from retrieval.photos.decode import open_photo
from retrieval.searching.query import Box
from retrieval.searching.search import LEAST_PROBABILITY, UNLIKE_WEIGHT, Answer, Query, search_index

MakePhoto = Callable[..., Path]


class CountingModel(Model):
    """A model that counts the pictures it is shown."""

    def __init__(self, model: Model) -> None:
        super().__init__(model._session, model.spec)
        self.shown = 0

    def run(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Outputs:
        self.shown += len(pixels)
        return super().run(pixels)


@pytest.fixture
def model(tiny_model: Path) -> CountingModel:
    return CountingModel(Model.load(tiny_model, device="cpu", threads=1))


@pytest.fixture
def photos(make_photo: MakePhoto, tmp_path: Path) -> Path:
    for number in range(12):
        make_photo(f"photos/{'ab'[number % 2]}/{number}.png", ("red", "green", "blue")[number % 3], seed=number)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path, model: CountingModel, photos: Path) -> Iterator[PhotoIndex]:
    spec = model.spec
    with IndexWriter.open_for_writing(
        tmp_path / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
    ) as index:
        index_folders(index, model, [photos])
        model.shown = 0
        yield index


def search(index: PhotoIndex, model: Model, *photos: Path, **options: object) -> list[Answer]:
    skipped: list[SkippedPhoto] = []
    answers = list(search_index(index, model, Query(photos=photos, **options), skipped=skipped))  # type: ignore[arg-type]
    assert skipped == []
    return answers


def stored(index: PhotoIndex) -> tuple[list[Path], NDArray[np.float32]]:
    [everything] = index.photos.embeddings()
    return everything.paths, everything.embeddings


def embeddings_of(index: PhotoIndex, photos: Sequence[Path]) -> NDArray[np.float32]:
    paths, embeddings = stored(index)
    return embeddings[[paths.index(path) for path in photos]]


def check_is_search_for(answer: Answer, vector: NDArray[np.float32], index: PhotoIndex, *, atol: float = 1e-5) -> None:
    """The answer is the product of all that is stored with the direction of a vector (dim,), sorted."""
    paths, embeddings = stored(index)
    scores = embeddings.astype(np.float64) @ (vector / np.linalg.norm(vector)).astype(np.float64)
    expected = dict(zip(paths, scores, strict=True))
    found = [result.score for result in answer.results]
    np.testing.assert_allclose(found, [expected[result.path] for result in answer.results], rtol=0, atol=atol)
    np.testing.assert_allclose(found, np.sort(scores)[::-1][: len(found)], rtol=0, atol=atol)
    assert len(found) == min(10, len(paths))


def test_a_photo_in_the_index_is_not_read_again(index: PhotoIndex, model: CountingModel, photos: Path) -> None:
    path = photos / "a" / "0.png"
    [answer] = search(index, model, path)
    assert model.shown == 0
    embedding = embedding_of(index, path)
    assert embedding is not None
    check_is_search_for(answer, embedding, index)
    assert (answer.query, answer.results[0].path) == (str(path), path)
    assert answer.results[0].score == pytest.approx(1, abs=1e-6)
    photos.rename(photos.with_name("unplugged"))
    [gone] = search(index, model, path)
    assert gone.results == [replace(found, missing=True) for found in answer.results]
    assert model.shown == 0


def test_a_photo_that_changed_since_is_read(
    index: PhotoIndex, model: CountingModel, photos: Path, make_photo: MakePhoto
) -> None:
    changed, touched = photos / "a" / "0.png", photos / "b" / "1.png"
    make_photo("photos/a/0.png", "blue", seed=99)
    os.utime(touched, ns=(5, 5))
    answers = search(index, model, changed, touched)
    assert model.shown == 2
    for path, answer in zip((changed, touched), answers, strict=True):
        check_is_search_for(answer, model.embed([open_photo(path)])[0], index)


def test_a_photo_that_is_not_in_the_index_is_read(
    index: PhotoIndex, model: CountingModel, photos: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = make_photo("new.png", "blue", seed=99)
    monkeypatch.chdir(photos)
    answers = search(index, model, Path("a/0.png"), new, Path("../photos/b/1.png"))
    assert model.shown == 1
    assert [answer.query for answer in answers] == ["a/0.png", str(new), "../photos/b/1.png"]
    assert answers[2].results[0].path == photos / "b" / "1.png"


def test_standard_input_is_read(index: PhotoIndex, model: CountingModel, photos: Path) -> None:
    piped = io.BytesIO((photos / "a" / "0.png").read_bytes())
    [answer] = search_index(index, model, Query((Path("-"),)), skipped=[], standard_input=piped)
    assert answer.query == "-"
    assert answer.results[0].path == photos / "a" / "0.png"


def test_the_average_is_of_what_each_looks_like(
    index: PhotoIndex, model: CountingModel, photos: Path, make_photo: MakePhoto
) -> None:
    known, new = photos / "a" / "0.png", make_photo("new.png", "blue", seed=99)
    [answer] = search(index, model, known, new, average=True)
    stored_embedding = embedding_of(index, known)
    assert stored_embedding is not None
    check_is_search_for(answer, stored_embedding + model.embed([open_photo(new)])[0], index)
    assert answer.query == f"{known} + {new}"
    [of_folder] = search(index, model, photos / "b", average=True)
    paths, embeddings = stored(index)
    check_is_search_for(of_folder, embeddings[[path.parent.name == "b" for path in paths]].sum(axis=0), index)


@given(chosen=st.lists(st.integers(0, 11), min_size=1, max_size=6), data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_average_does_not_depend_on_the_order(
    index: PhotoIndex, model: CountingModel, photos: Path, chosen: list[int], data: st.DataObject
) -> None:
    def ask(numbers: list[int]) -> Answer:
        return search(index, model, *[photos / "ab"[n % 2] / f"{n}.png" for n in numbers], average=True)[0]

    answer, other = ask(chosen), ask(data.draw(st.permutations(chosen)))
    # Scores have six digits, and what lies between two of them may be rounded either way.
    np.testing.assert_allclose(
        [result.score for result in answer.results], [result.score for result in other.results], rtol=0, atol=1.5e-6
    )
    vectors = embeddings_of(index, [photos / "ab"[n % 2] / f"{n}.png" for n in chosen])
    check_is_search_for(answer, vectors.sum(axis=0), index)


@pytest.mark.parametrize("average", [False, True])
def test_what_results_should_not_look_like_is_subtracted(
    index: PhotoIndex, model: CountingModel, photos: Path, average: bool
) -> None:
    wanted = [photos / "a" / "0.png", photos / "b" / "1.png"]
    unlike = (photos / "b" / "3.png", photos / "a" / "4.png")
    away = embeddings_of(index, unlike).sum(axis=0)
    away /= np.linalg.norm(away)
    answers = search(index, model, *wanted, unlike=unlike, average=average)
    embeddings = embeddings_of(index, wanted)
    if average:
        mean = embeddings.sum(axis=0)
        embeddings = mean[None] / np.linalg.norm(mean)
    for answer, embedding in zip(answers, embeddings, strict=True):
        check_is_search_for(answer, embedding - UNLIKE_WEIGHT * away, index)
    plain = search(index, model, *wanted, average=average)[0]
    scores = [{r.path: r.score for r in found.results}.get(unlike[0], -1) for found in (plain, answers[0])]
    assert scores[0] > scores[1]


def test_the_mirror_image_is_averaged_in(index: PhotoIndex, model: CountingModel, photos: Path) -> None:
    path = photos / "a" / "0.png"
    picture = open_photo(path)
    both = model.embed([picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    [answer] = search(index, model, path, mirror=True)
    check_is_search_for(answer, both.sum(axis=0), index)
    # A picture and its mirror image ask the same.
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos.parent / "mirrored.png")
    [other] = search(index, model, photos.parent / "mirrored.png", mirror=True)
    assert [result.path for result in other.results] == [result.path for result in answer.results]


@pytest.mark.parametrize("box", [Box(0, 0, 64, 64), Box(16, 0, 32, 48), Box(63, 63, 1, 1), Box(0, 10, 64, 1)])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_region_is_looked_at_as_if_it_were_cut_out(
    index: PhotoIndex, model: CountingModel, photos: Path, box: Box, mirror: bool
) -> None:
    path = photos / "b" / "7.png"
    cut = open_photo(path).crop((box.x, box.y, box.x + box.width, box.y + box.height))
    cut.save(photos.parent / "cut.png")
    [answer], [expected] = (
        search(index, model, path, box=box, mirror=mirror),
        search(index, model, photos.parent / "cut.png", mirror=mirror),
    )
    assert answer.results == expected.results
    assert answer.query == str(path)


def test_a_region_is_of_the_upright_picture_at_its_full_size(
    index: PhotoIndex, model: CountingModel, photos: Path
) -> None:
    generator = np.random.default_rng(7)
    blocks = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
    upright = blocks.resize((1600, 1200), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90° to the right to be upright
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save(photos.parent / "turned.jpg", quality=95, exif=exif)
    assert open_photo(photos.parent / "turned.jpg").size == (1600, 1200)
    upright.crop((1400, 600, 1600, 800)).save(photos.parent / "cut.png")
    [answer] = search(index, model, photos.parent / "turned.jpg", box=Box(1400, 600, 200, 200))
    check_is_search_for(answer, model.embed([open_photo(photos.parent / "cut.png")])[0], index, atol=0.01)


@pytest.mark.parametrize("box", [Box(0, 0, 65, 64), Box(0, 0, 64, 65), Box(64, 0, 1, 1), Box(0, 10**9, 1, 1)])
def test_a_region_outside_is_refused(index: PhotoIndex, model: CountingModel, photos: Path, box: Box) -> None:
    path = photos / "a" / "0.png"
    said = f"the box {box} does not lie inside {path}, which is 64 × 64 pixels"
    with pytest.raises(UserError, match=f"^{said}$"):
        search(index, model, path, box=box)


def test_a_region_is_of_one_photo(index: PhotoIndex, model: CountingModel, photos: Path) -> None:
    for paths in ((photos / "a",), (photos / "a" / "0.png", photos / "b" / "1.png")):
        with pytest.raises(UserError, match="a box is a region of one photo"):
            search(index, model, *paths, box=Box(0, 0, 1, 1))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,4,4", "0,0,0,4", "0,0,4,-4", "1.5,0,4,4"])
def test_what_is_no_box(text: str) -> None:
    with pytest.raises(ValueError, match=r"no region|invalid literal|values to unpack"):
        Box.parse(text)
    assert Box.parse(" 1, 2,3,4 ") == Box(1, 2, 3, 4)


def test_only_photos_within_folders_are_found(
    index: PhotoIndex, model: CountingModel, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [everything] = search(index, model, photos / "a" / "0.png", top=99)
    monkeypatch.chdir(photos)
    [answer] = search(index, model, photos / "a" / "0.png", within=(Path("b"),), top=3)
    assert answer.results == [result for result in everything.results if result.path.parent.name == "b"][:3]
    with pytest.raises(PhotoIndexError, match="not in the index"):
        search(index, model, photos / "a" / "0.png", within=(Path("c"),))


def test_labels_list_photos_by_probability(index: PhotoIndex, model: CountingModel, photos: Path) -> None:
    [answer] = search(index, model, labels=("green",), top=99)
    assert (answer.query, answer.classes) == ("green", ("green",))
    paths = [result.path for result in answer.results]
    probabilities = model.run(np.stack([model.prepare(open_photo(path)) for path in paths])).probabilities[:, 1]
    np.testing.assert_allclose([result.score for result in answer.results], probabilities, rtol=0, atol=1e-5)
    assert np.all(np.diff(probabilities) <= 1e-6)
    assert len(paths) == 12
    assert {int(path.stem) % 3 for path in paths[:4]} == {1}
    [likely] = search(index, model, labels=("green",), top=99, min_score=0.5)
    assert likely.results == [result for result in answer.results if result.score >= 0.5]
    [inside] = search(index, model, labels=("green",), top=2, within=(photos / "b",))
    assert inside.results == [result for result in answer.results if result.path.parent.name == "b"][:2]


def test_several_labels_mean_any_of_them(index: PhotoIndex, model: CountingModel) -> None:
    [green], [blue], [both] = (
        search(index, model, labels=labels, top=99) for labels in (("green",), ("blue",), ("blue", "n00000001"))
    )
    assert (both.query, both.classes) == ("blue, n00000001", ("blue", "green"))
    sums = {r.path: r.score for r in green.results}
    assert {r.path: r.score for r in both.results} == {
        r.path: pytest.approx(sums[r.path] + r.score, abs=2e-6) for r in blue.results
    }


def test_a_photo_with_a_label_finds_those_that_have_it(index: PhotoIndex, model: CountingModel, photos: Path) -> None:
    query = photos / "a" / "0.png"
    [everything] = search(index, model, query, top=99)
    [labelled] = search(index, model, labels=("blue",), top=99)
    blue = {result.path for result in labelled.results if result.score >= LEAST_PROBABILITY}
    assert 0 < len(blue) < 12
    [answer] = search(index, model, query, labels=("blue",), top=99)
    assert answer.query == str(query)
    assert answer.results == [result for result in everything.results if result.path in blue]


def test_an_unknown_label_is_told_before_any_photo_is_read(index: PhotoIndex, model: CountingModel) -> None:
    with pytest.raises(UserError, match=r"no class called gren, .* did you mean green"):
        search(index, model, Path("missing.png"), labels=("gren",))


@pytest.mark.parametrize("options", [{"average": True}, {"unlike": (Path("bad.png"),)}])
def test_one_query_of_several_photos_needs_all_of_them(
    index: PhotoIndex, model: CountingModel, photos: Path, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    (photos / "bad.png").write_bytes(b"no picture")
    named = [photos / "a" / "0.png", Path("bad.png")] if "average" in options else [photos / "a" / "0.png"]
    with pytest.raises(PhotoError, match=r"^cannot read bad.png: not a photo$"):
        search(index, model, *named, **options)


def test_a_bad_photo_in_a_folder_is_left_out_of_the_average(
    index: PhotoIndex, model: CountingModel, photos: Path
) -> None:
    [expected] = search(index, model, photos / "a", average=True)
    (photos / "a" / "bad.png").write_bytes(b"no picture")
    skipped: list[SkippedPhoto] = []
    [answer] = search_index(index, model, Query((photos / "a",), average=True), skipped=skipped)
    assert answer == expected
    assert skipped == [SkippedPhoto(photos / "a" / "bad.png", "not a photo")]


def test_an_average_of_nothing_is_told(index: PhotoIndex, model: CountingModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for options in ({"average": True}, {"unlike": (tmp_path / "empty",)}):
        with pytest.raises(PhotoError, match=f"^cannot read {tmp_path / 'empty'}: no photos in this folder$"):
            search(index, model, tmp_path / "empty", **options)
    (tmp_path / "empty" / "bad.png").write_bytes(b"")
    with pytest.raises(PhotoError, match=f"^there is no photo in {tmp_path / 'empty'}$"):
        search(index, model, tmp_path / "empty", average=True)


def test_a_photo_that_the_model_finds_nothing_in_asks_nothing(
    index: PhotoIndex, model: CountingModel, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = make_photo("new.png", seed=99)
    really_run = CountingModel.run

    def run(self: CountingModel, pixels: NDArray[np.uint8]) -> Outputs:
        outputs = really_run(self, pixels)
        outputs.embedding[:] = np.nan
        return outputs

    monkeypatch.setattr(CountingModel, "run", run)
    skipped: list[SkippedPhoto] = []
    assert list(search_index(index, model, Query((new,)), skipped=skipped)) == []
    assert skipped == [SkippedPhoto(new, "the model finds nothing in it")]
