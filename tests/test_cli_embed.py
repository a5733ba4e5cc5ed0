import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from cli import main
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo

MakePhoto = Callable[..., Path]


NO_INDEX = {"FC7_INDEX": os.devnull + "/none"}


def names_of(file: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    return bytes(file["names"]).decode("utf-8", "surrogateescape").split("\0")


def embed(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["embed", "-m", str(model), *map(str, arguments)], env=NO_INDEX)


@pytest.mark.parametrize("output", ["embedding", "fc7"])
def test_vectors_are_the_models_with_their_names_beside_them(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path, output: str
) -> None:
    photos = [make_photo(f"photos/{number}.png", seed=number) for number in range(3)]
    done = embed(tiny_model, tmp_path / "photos", "-o", tmp_path / "out.npz", "--output", output)
    assert (done.exit_code, done.output) == (0, "")
    model = Model.load(tiny_model)
    expected = [getattr(model.run(model.prepare(open_photo(photo))[None]), output)[0] for photo in photos]
    with np.load(tmp_path / "out.npz") as file:
        assert names_of(file) == list(map(str, photos))
        np.testing.assert_allclose(file["embeddings"], np.stack(expected), atol=1e-6)


def test_a_wrong_suffix_is_refused_before_any_work(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    done = embed(tiny_model, make_photo("a.png"), "-o", tmp_path / "out.txt")
    assert done.exit_code == 2
    assert ".npz" in done.stderr


def test_a_file_stays_where_there_is_nothing_to_write(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    assert embed(tiny_model, make_photo("a.png"), "-o", out).exit_code == 0
    before = out.read_bytes()
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "b.png").write_bytes(b"")
    done = embed(tiny_model, tmp_path / "empty", "-o", out, "--force")
    assert (done.exit_code, done.stderr) == (1, f"Error: cannot read {tmp_path}/empty: no photos in this folder\n")
    done = embed(tiny_model, tmp_path / "bad", "-o", out, "--force")
    assert done.exit_code == 1
    assert "Skipped" in done.stderr
    assert done.stderr.endswith(f"Error: there is nothing to write to {out}, which is as it was\n")
    assert out.read_bytes() == before


def test_a_bad_photo_moves_no_other_row(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        make_photo(f"photos/{name}")
    (tmp_path / "photos" / "b.png").write_bytes(b"")
    done = embed(tiny_model, tmp_path / "photos", "-o", tmp_path / "out.npz")
    assert done.exit_code == 0
    assert "b.png: empty file" in done.stderr
    with np.load(tmp_path / "out.npz") as file:
        assert [Path(name).name for name in names_of(file)] == ["a.png", "c.png"]
        assert len(file["embeddings"]) == 2


def test_a_link_stays_and_its_target_is_replaced(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    target.write_bytes(b"old")
    link.symlink_to(target.name)
    assert embed(tiny_model, make_photo("a.png"), "-o", link, "--force").exit_code == 0
    assert link.is_symlink()
    with np.load(target) as file:
        assert len(names_of(file)) == 1


def test_a_pipe_is_written_to(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        read = threads.submit(pipe.read_bytes)
        assert embed(tiny_model, make_photo("a.png"), "-o", pipe).exit_code == 0
        with np.load(BytesIO(read.result(timeout=30))) as file:
            assert len(names_of(file)) == 1
    assert pipe.is_fifo()


def test_a_folder_is_no_place_for_vectors(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    (tmp_path / "out.npz").mkdir()
    done = embed(tiny_model, make_photo("a.png"), "-o", tmp_path / "out.npz")
    assert (done.exit_code, "is a directory" in done.stderr) == (1, True)


def test_a_file_is_not_overwritten_without_a_word(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    out.write_bytes(b"mine")
    done = embed(tiny_model, make_photo("a.png"), "-o", out)
    assert (done.exit_code, done.stderr) == (1, f"Error: there is a file {out} already; --force overwrites it\n")
    assert out.read_bytes() == b"mine"
    assert embed(tiny_model, tmp_path / "a.png", "-o", out, "--force").exit_code == 0
    assert out.read_bytes() != b"mine"


def test_indexed_photos_that_have_not_changed_are_not_computed_again(
    fc7: Callable[..., Result], tiny_model: Path, other_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    photos, index = tmp_path / "photos", tmp_path / "index"
    for number in range(4):
        make_photo(f"photos/{number}.png", seed=number)
    fc7("index", photos)
    make_photo("photos/1.png", "blue", seed=9)
    make_photo("photos/new.png", "green", seed=7)
    (photos / "2.png").write_bytes(b"")
    out, plain = tmp_path / "out.npz", tmp_path / "plain.npz"
    done = fc7("embed", photos, "-o", out)
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == (
        f"2 of 4 vectors are those of the index in {index}; --recompute computes all"
    )
    assert "2.png" in done.stderr.splitlines()[1]
    again = fc7("embed", photos, "-o", plain, "--recompute")
    assert "vectors are those" not in again.stderr
    with np.load(out) as file, np.load(plain) as computed:
        assert file["names"].tolist() == computed["names"].tolist()
        difference = np.abs(file["embeddings"] - computed["embeddings"]).max(axis=1)
        np.testing.assert_allclose(difference, 0, atol=1e-3)
        assert (difference > 0).sum() <= 2
    for options, reason in (
        (("--output", "fc7"), f"All were computed: the index in {index} has no fc7."),
        (("-m", other_model), f"All were computed: the index in {index} was made with another model."),
    ):
        assert reason in fc7("embed", photos, "-o", out, "--force", *options).stderr
    assert "All were" not in fc7("embed", make_photo("elsewhere/a.png"), "-o", out, "--force").stderr
