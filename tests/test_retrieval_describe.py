import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index.records import SkippedPhoto
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.pipeline.embed import STANDARD_INPUT, embed_paths
from retrieval.pipeline.executor import Concurrency

MakePhoto = Callable[..., Path]


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_change_nothing(model: Model, make_photo: MakePhoto, tmp_path: Path, batch_size: int) -> None:
    photos = [make_photo(f"{number}.png", "green", seed=number) for number in range(5)]
    bad = tmp_path / "2a.png"
    bad.write_bytes(b"")
    paths, skipped = [*photos[:3], bad, *photos[3:]], list[SkippedPhoto]()
    described = list(embed_paths(model, paths, skipped=skipped, concurrency=Concurrency(2, batch_size, 2)))
    assert [photo.path for photo in described] == photos
    assert skipped == [SkippedPhoto(bad, "empty file")]
    alone = np.stack([model.run(model.prepare(open_photo(path))[None]).embedding[0] for path in photos])
    np.testing.assert_allclose(np.stack([photo.embedding for photo in described]), alone, atol=1e-6)


def test_progress_counts_what_was_skipped_too(model: Model, make_photo: MakePhoto, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    paths = [make_photo("a.png"), tmp_path / "none.png", make_photo("b.png")]
    list(
        embed_paths(
            model, paths, skipped=[], concurrency=Concurrency(1, 2, 1), progress=lambda *call: calls.append(call)
        )
    )
    assert calls == [(2, 3), (3, 3)]


def test_standard_input_is_read_where_it_is_named(model: Model, make_photo: MakePhoto) -> None:
    photo = make_photo("a.png", "blue")
    paths, stream = [photo, STANDARD_INPUT], io.BytesIO(photo.read_bytes())
    first, second = embed_paths(model, paths, skipped=[], standard_input=stream)
    assert second.path == STANDARD_INPUT
    np.testing.assert_array_equal(first.embedding, second.embedding)


def test_standard_input_is_read_no_further_than_a_photo_may_be_long(
    model: Model, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.pipeline.embed.MAX_BYTES", 1 << 20)
    monkeypatch.setattr("retrieval.photos.files.MAX_BYTES", 1 << 20)
    stream, skipped = io.BytesIO(bytes(3 << 20)), list[SkippedPhoto]()
    assert list(embed_paths(model, [STANDARD_INPUT], skipped=skipped, standard_input=stream)) == []
    assert skipped == [SkippedPhoto(STANDARD_INPUT, "more than 1 MiB")]
    assert stream.tell() == (1 << 20) + 1


def test_an_empty_folder_has_no_photos(model: Model, tmp_path: Path) -> None:
    assert list(embed_paths(model, [tmp_path], skipped=[])) == []
