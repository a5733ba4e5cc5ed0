"""Copies among indexed photos, against oracles that compare all with all; and what is printed can be removed safely."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import skimage.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from told import told

from index.errors import PhotoIndexError, UserError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from retrieval.duplicates import find as duplicates
from retrieval.duplicates.compare import compare_pictures
from retrieval.duplicates.find import find_duplicates
from retrieval.duplicates.keep import DuplicateGroup, Likeness
from retrieval.duplicates.likeness import SAME_PICTURE, fine_likeness, is_flat, locate, small_pictures
from retrieval.duplicates.pictures import PhotoPictures
from retrieval.duplicates.windows import PHOTOS
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from retrieval.photos.thumbnail import thumbnail

PICTURES = {
    name: Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((160, 120))
    for name in ("astronaut", "chelsea", "coffee", "rocket")
}
ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda image: image.resize((80, 60)),
    "mirrored": ImageOps.mirror,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "cropped": lambda image: image.crop((10, 4, 152, 112)),
}


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def put(path: Path, data: bytes, *, day: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (day * 86_400, day * 86_400))
    return path


def open_index(folder: Path, model: Model) -> IndexWriter:
    spec = model.spec
    return IndexWriter.open_for_writing(folder, fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim)


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model, device="cpu", threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures, copies of the same bytes of two, and altered copies of two."""
    folder = tmp_path / "photos"
    for number, (name, image) in enumerate(PICTURES.items()):
        put(folder / f"{name}.jpg", jpeg(image), day=number + 3)
    put(folder / "more" / "coffee again.jpg", jpeg(PICTURES["coffee"]), day=2)
    put(folder / "more" / "coffee once more.jpg", jpeg(PICTURES["coffee"]), day=9)
    put(folder / "more" / "rocket again.jpg", jpeg(PICTURES["rocket"]), day=9)
    for name in ("chelsea", "coffee"):
        for alteration, alter in ALTERATIONS.items():
            put(folder / "altered" / f"{name} {alteration}.jpg", jpeg(alter(PICTURES[name]), quality=75))
    return folder


@pytest.fixture
def index(tmp_path: Path, photos: Path, model: Model) -> Iterator[IndexWriter]:
    with open_index(tmp_path / "index", model) as index:
        index_folders(index, model, [photos])
        yield index


def grouped(groups: Iterable[DuplicateGroup], kind: Likeness) -> list[list[str]]:
    return sorted([photo.path.stem for photo in group.photos] for group in groups if group.likeness == kind)


def test_copies_and_altered_copies_are_kept_apart_best_first(index: PhotoIndex) -> None:
    found = find_duplicates(index, min_score=1)
    assert (found.photos, found.left_out) == (15, 0)
    assert grouped(found.groups, "exact") == [
        ["coffee again", "coffee", "coffee once more"],
        ["rocket", "rocket again"],
    ]
    chelsea, coffee = grouped(found.groups, "altered")
    # Of the copies of the same bytes only the best is here.
    assert chelsea[0] == "chelsea"
    assert coffee[0] == "coffee again"
    assert sorted(chelsea[1:]) == sorted(f"chelsea {name}" for name in ALTERATIONS)
    assert sorted(coffee[1:]) == sorted(f"coffee {name}" for name in ALTERATIONS)
    assert (chelsea[-1], coffee[-1]) == ("chelsea half", "coffee half")
    assert grouped(found.groups, "alike") == []


def test_altered_copies_are_those_that_comparing_all_with_all_finds(index: PhotoIndex, photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    pictures = np.stack([thumbnail(Image.open(path)) for path in paths])
    pairs = np.stack(np.triu_indices(len(paths), 1), axis=1)
    found_there = locate(small_pictures(pictures), pairs, PHOTOS)
    same = np.eye(len(paths), dtype=bool)
    same[tuple(pairs.T)] = fine_likeness(pictures, pairs, found_there, is_flat(pictures)) >= SAME_PICTURE
    same |= same.T
    for _ in paths:
        same = same @ same
    expected = {frozenset(path for path, is_same in zip(paths, row, strict=True) if is_same) for row in same}

    found = find_duplicates(index, min_score=1)
    merged: dict[Path, set[Path]] = {path: {path} for path in paths}
    for group in found.groups:
        together = set().union(*(merged[photo.path] for photo in group.photos))
        merged.update(dict.fromkeys(together, together))
    assert {frozenset(group) for group in merged.values()} == expected


def test_what_was_seen_and_compared_is_not_computed_again(
    tmp_path: Path, photos: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_index(tmp_path / "index", model) as writer:
        index_folders(writer, model, [photos])
    with PhotoIndex.open(tmp_path / "index") as index:
        found = find_duplicates(index)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("this was computed before")

    with monkeypatch.context() as patch, PhotoIndex.open(tmp_path / "index") as index:
        for name in (
            "pictures.decode",
            "pictures.small_pictures",
            "pictures.is_flat",
            "candidates.nearest_hashes",
            "candidates.described_windows",
            "compare.locate",
            "compare.fine_likeness",
            "remembered.quality_of",
        ):
            patch.setattr(f"retrieval.duplicates.{name}", fail)
        again = find_duplicates(index)
    assert again == found
    # What is new is compared with all others.
    put(photos / "later.jpg", jpeg(ImageOps.mirror(PICTURES["astronaut"]), quality=70))
    with open_index(tmp_path / "index", model) as writer:
        index_folders(writer, model, [photos])
    with PhotoIndex.open(tmp_path / "index") as index:
        assert {"astronaut", "later"} in map(set, grouped(find_duplicates(index).groups, "altered"))


@pytest.mark.parametrize("side", [96, 160])
def test_small_photos_must_be_more_alike_than_large_ones(tmp_path: Path, model: Model, side: int) -> None:
    photo = PICTURES["chelsea"].resize((side, side * 3 // 4))
    # What is different is one picture in the corner, as on playing cards.
    other = photo.copy()
    other.paste(PICTURES["rocket"].resize((side // 4, side * 3 // 16)), (side // 20, side // 20))
    put(tmp_path / "photos" / "one.jpg", jpeg(photo))
    put(tmp_path / "photos" / "other.jpg", jpeg(other))
    put(tmp_path / "photos" / "resaved.jpg", jpeg(photo, quality=80))
    with open_index(tmp_path / "index", model) as index:
        index_folders(index, model, [tmp_path / "photos"])
        [group] = find_duplicates(index, likenesses=["altered"]).groups
    expected = {"one", "resaved"} if side == 96 else {"one", "resaved", "other"}
    assert {path.stem for path in group.paths} == expected


def test_look_alikes_are_those_above_the_score_that_are_no_copies(index: PhotoIndex) -> None:
    [batch] = index.photos.embeddings()
    stems = [path.stem.split()[0] for path in batch.paths]
    score = float((batch.embeddings[stems.index("coffee")] * batch.embeddings[stems.index("rocket")]).sum())
    # So low that all are alike: the best of all groups before make one.
    [everything] = grouped(find_duplicates(index, min_score=-1).groups, "alike")
    assert sorted(everything) == ["astronaut", "chelsea", "coffee again", "rocket"]
    just = find_duplicates(index, likenesses=["alike"], min_score=score - 1e-3)
    assert any({"coffee again", "rocket"} <= set(group) for group in grouped(just.groups, "alike"))
    assert {group.likeness for group in just.groups} == {"alike"}


def test_a_folder_alone_and_one_compared_with_another(index: PhotoIndex, photos: Path) -> None:
    assert find_duplicates(index, [photos / "altered"], likenesses=["exact"]).groups == ()
    [group] = find_duplicates(index, [photos / "more"], likenesses=["exact"]).groups
    assert [photo.path.stem for photo in group.photos] == ["coffee again", "coffee once more"]

    found = find_duplicates(index, [photos / "more"], against=[photos], likenesses=["exact"])
    assert grouped(found.groups, "exact") == [
        ["coffee", "coffee again", "coffee once more"],
        ["rocket", "rocket again"],
    ]
    spare = [photo.path.stem for group in found.groups for photo in group.spare]
    assert sorted(spare) == ["coffee again", "coffee once more", "rocket again"]

    # The other way round: what else is indexed, compared with more. It is the reference now, and better.
    found = find_duplicates(index, against=[photos / "more"], min_score=1)
    assert [photo.path.stem for group in found.groups for photo in group.spare if group.likeness == "exact"] == [
        "coffee",
        "rocket",
    ]
    [altered] = grouped(found.groups, "altered")
    assert altered[0] == "coffee again"
    assert "chelsea" not in " ".join(altered)


def test_photos_of_one_side_are_not_compared_with_each_other(index: PhotoIndex, photos: Path) -> None:
    assert find_duplicates(index, [photos / "altered"], against=[photos / "more"], likenesses=["exact"]).groups == ()
    [group] = find_duplicates(index, [photos / "altered"], against=[photos / "more"], likenesses=["altered"]).groups
    assert {photo.path.stem.split()[0] for photo in group.photos} == {"coffee"}
    assert (
        group.spare
        == tuple(photo for photo in group.photos if photo.path.parent.name == "altered")[
            0 if group.photos[0].reference else 1 :
        ]
    )


def test_a_larger_copy_outside_the_reference_is_not_spare(tmp_path: Path, model: Model) -> None:
    put(tmp_path / "kept" / "small.jpg", jpeg(ALTERATIONS["half"](PICTURES["coffee"])))
    put(tmp_path / "new" / "large.jpg", jpeg(PICTURES["coffee"]))
    put(tmp_path / "new" / "smaller.jpg", jpeg(PICTURES["coffee"].resize((60, 45))))
    with open_index(tmp_path / "index", model) as index:
        index_folders(index, model, [tmp_path / "kept", tmp_path / "new"])
        [group] = find_duplicates(index, [tmp_path / "new"], against=[tmp_path / "kept"]).groups
    assert [photo.path.name for photo in group.photos] == ["large.jpg", "small.jpg", "smaller.jpg"]
    assert [photo.path.name for photo in group.spare] == ["smaller.jpg"]


@pytest.mark.parametrize("compared", [False, True])
def test_a_file_is_not_spare_beside_a_link_to_one_elsewhere(tmp_path: Path, model: Model, compared: bool) -> None:
    put(tmp_path / "drive" / "old.jpg", jpeg(PICTURES["coffee"]), day=1)
    put(tmp_path / "new" / "file.jpg", jpeg(PICTURES["coffee"]), day=2)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "link.jpg").symlink_to(tmp_path / "drive" / "old.jpg")
    folders, against = ([tmp_path / "new"], [tmp_path / "kept"]) if compared else ([], [])
    with open_index(tmp_path / "index", model) as index:
        index_folders(index, model, [tmp_path / "kept", tmp_path / "new"])
        [group] = find_duplicates(index, folders, against=against).groups
    assert [photo.path.name for photo in group.photos] == ["file.jpg", "link.jpg"]
    assert [photo.path.name for photo in group.spare] == ([] if compared else ["link.jpg"])


def test_many_copies_do_not_hide_an_altered_one(tmp_path: Path, model: Model) -> None:
    data = jpeg(PICTURES["chelsea"]), jpeg(ALTERATIONS["darker"](PICTURES["chelsea"]))
    for number in range(5 * duplicates.NEIGHBOURS):
        put(tmp_path / "photos" / f"{number}.jpg", data[number % 2], day=number + 1)
    with open_index(tmp_path / "index", model) as index:
        index_folders(index, model, [tmp_path / "photos"])
        groups = find_duplicates(index).groups
    assert [(group.likeness, len(group.photos)) for group in groups] == [("exact", 20), ("exact", 20), ("altered", 2)]
    assert sorted(photo.path.name for photo in groups[2].photos) == ["0.jpg", "1.jpg"]


def test_a_file_that_is_gone_or_has_changed_is_left_out(index: PhotoIndex, photos: Path) -> None:
    (photos / "more" / "coffee again.jpg").unlink()
    put(photos / "rocket.jpg", jpeg(PICTURES["astronaut"]), day=99)
    put(photos / "altered" / "chelsea half.jpg", b"no picture", day=99)
    found = find_duplicates(index, min_score=1)
    assert grouped(found.groups, "exact") == [["coffee", "coffee once more"]]
    altered = {name for group in grouped(found.groups, "altered") for name in group}
    assert {"chelsea", "chelsea darker", "coffee"} <= altered
    assert not {"chelsea half", "rocket", "coffee again", "rocket again"} & altered
    assert found.left_out == 3


def test_a_picture_that_cannot_be_read_is_like_nothing(index: PhotoIndex, photos: Path) -> None:
    ids = [
        index.photos.ids_below(photos / name)[0] for name in ("chelsea.jpg", "altered/chelsea darker.jpg", "coffee.jpg")
    ]
    order = np.argsort(ids)
    one, other, third = np.argsort(order)
    pairs = np.array([(one, other), (other, one), (one, third)])
    pictures = PhotoPictures(index, np.array(ids)[order])
    found = np.concatenate([compare_pictures(pictures, pair[None]) for pair in pairs])
    assert compare_pictures(pictures, pairs)[1] in (0, found[1])
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert found[:2].min() > SAME_PICTURE > found[2]
    assert pictures.seen.all()
    (photos / "chelsea.jpg").unlink()
    pictures = PhotoPictures(index, np.array(ids)[order])
    assert compare_pictures(pictures, pairs).tolist() == [0, 0, 0]
    assert pictures.ids[~pictures.seen].tolist() == [ids[0]]


def test_progress_ends_with_all_done(index: PhotoIndex) -> None:
    calls: list[tuple[int, int]] = []
    find_duplicates(index, progress=lambda done, total: calls.append((done, total)))
    # 5 copies of the same bytes are read, and 12 different contents are seen, compared and judged.
    assert {total for _, total in calls} == {41}
    assert calls[-1] == (41, 41)
    assert {(5, 41), (17, 41)} <= set(calls)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_bytes_that_changed_without_a_trace_are_no_exact_copy(index: PhotoIndex, photos: Path) -> None:
    changed = photos / "rocket.jpg"
    status, data = changed.stat(), bytearray(changed.read_bytes())
    data[-9] ^= 1
    changed.write_bytes(data)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = find_duplicates(index, likenesses=["exact"])
    assert grouped(found.groups, "exact") == [["coffee again", "coffee", "coffee once more"]]
    assert found.left_out == 1


def test_folders_that_cannot_be_compared(index: PhotoIndex, photos: Path) -> None:
    with told(PhotoIndexError, match="fc7 index"):
        find_duplicates(index, [photos / "none"])
    with told(PhotoIndexError, match="fc7 index"):
        find_duplicates(index, against=[photos.parent / "elsewhere"])
    with told(UserError, match="itself"):
        find_duplicates(index, [photos], against=[photos])


places = st.sampled_from(["a", "a/in", "b"])
files = st.lists(
    st.tuples(places, st.sampled_from(["chelsea", "coffee"]), st.sampled_from(["write", "hard link", "symbolic link"])),
    min_size=1,
    max_size=7,
)
folders = st.lists(places, max_size=2, unique=True)


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files, folders, folders)
def test_removing_what_is_printed_of_exact_copies_loses_nothing(
    model: Model, files: Sequence[tuple[str, str, str]], folders: Sequence[str], against: Sequence[str]
) -> None:
    with TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        for place in ("a/in", "b"):
            put(root / place / "other.jpg", jpeg(PICTURES["rocket"]))
        first: dict[str, Path] = {}
        for number, (place, name, way) in enumerate(files):
            path = root / place / f"{number} {name}.jpg"
            if way == "write" or name not in first:
                first.setdefault(name, put(path, jpeg(PICTURES[name]), day=9 - number))
            elif way == "hard link":
                os.link(first[name], path)
            else:
                path.symlink_to(first[name])
        chosen = [root / place for place in folders if place not in against]
        reference = [root / place for place in against]
        with open_index(root / "index", model) as index:
            index_folders(index, model, [root / "a", root / "b"])
            found = find_duplicates(index, chosen, against=reference, likenesses=["exact"])
        spare = [photo.path for group in found.groups for photo in group.spare]
        before = {path: path.read_bytes() for path in root.rglob("*.jpg")}
        names = Counter(os.stat(path).st_ino for path in before)
        for path in spare:
            path.unlink()
        after = {path: path.read_bytes() for path in before if path.exists()}

        assert len(spare) == len(set(spare))
        assert set(after.values()) == set(before.values())
        for path in spare:
            around = [folder for folder in [*chosen, *reference] if path.is_relative_to(folder)]
            assert max(around, key=lambda folder: len(folder.parts)) in chosen if around else not chosen
        if not chosen and not reference:
            # All that was not printed is as it was, links included, and of each content one file is left; those of
            # several names are all left.
            assert after.keys() == before.keys() - set(spare)
            for data in set(before.values()):
                left = {os.stat(path).st_ino for path, content in after.items() if content == data}
                assert sum(names[file] == 1 for file in left) == (1 if all(names[file] == 1 for file in left) else 0)
