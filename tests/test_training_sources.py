"""Several folders to learn from: which have labels, whose classes they are, and how often each is drawn."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_training_dataset import make_classes, make_tiny_imagenet, touch
from told import told

from index.errors import OptionError
from index.records import SkippedPhoto
from retrieval.models.spec import ClassGroup, ClassName
from retrieval.photos.scan import LINK
from training.data.dataset import Dataset, Draw
from training.data.image_hashes import image_hash, pack_hashes
from training.data.sources import UNLABELLED, Source, photos_alone, scan_sources
from training.errors import DatasetError
from training.loop.trainer import drawn, epoch_order

CRANES = ("n02012849", "n03126707")
"""A bird and a machine: both are called crane."""
TAUGHT = (ClassName("tabby", "n02123045"), ClassName("dog"), ClassName("Cat"), ClassName("reel", "n04067472"))


def scan(*roots: Path | Source, taught: tuple[ClassName, ...] = TAUGHT, **options: object) -> Dataset:
    sources = [root if isinstance(root, Source) else Source(root) for root in roots]
    return scan_sources(sources, taught=taught, group="objects" if taught else "", **options)  # type: ignore[arg-type]


def flat(folder: Path, count: int) -> Path:
    """A folder of photos in no order."""
    return touch(folder, *(f"{number}.jpg" for number in range(count)))


def make_split(root: Path) -> Path:
    for part in ("train", "val"):
        make_classes(root / part)
    return root


def make_years(root: Path) -> Path:
    for year in ("2023", "2024"):
        touch(root / year, "first.jpg", "second.jpg")
        touch(root / year / "summer", "third.jpg")
    return root


def make_with_stray(root: Path) -> Path:
    return touch(make_classes(root), "stray.jpg")


def make_one_class(root: Path) -> Path:
    touch(root / "cat", "1.jpg", "2.jpg", "3.jpg")
    return root


@pytest.mark.parametrize("make", [make_classes, make_split, make_tiny_imagenet])
def test_folders_of_classes_are_labels(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    found = scan(make(tmp_path / "data"))
    assert UNLABELLED not in found.train.labels + found.validation.labels


@pytest.mark.parametrize("make", [make_years, make_with_stray, make_one_class, lambda root: flat(root, 5)])
def test_other_folders_are_photos_alone(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    found = scan(make(tmp_path / "data"))
    assert {*found.train.labels, *found.validation.labels} == {UNLABELLED}
    everything = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert sorted([*found.train.paths, *found.validation.paths]) == sorted(everything)


def test_folders_of_classes_are_photos_alone_where_that_is_said(tmp_path: Path) -> None:
    found = scan(Source(make_classes(tmp_path), labelled=False))
    assert {*found.train.labels, *found.validation.labels} == {UNLABELLED}
    assert found.classes == TAUGHT


def test_classes_are_those_of_the_teacher_by_id_or_else_by_name(tmp_path: Path) -> None:
    for name in ("n02123045", "cat", "DOG"):
        touch(tmp_path / name, "1.jpg", "2.jpg")
    found = scan(tmp_path)
    labels = {path.parent.name: label for path, label in zip(found.train.paths, found.train.labels, strict=True)}
    assert labels == {"n02123045": 0, "DOG": 1, "cat": 2}
    assert found.classes == TAUGHT
    assert found.groups == ()


def test_a_name_that_two_classes_have_is_neither(tmp_path: Path) -> None:
    taught = tuple(ClassName("crane", id) for id in CRANES)
    for name in ("crane", "dog"):
        touch(tmp_path / "birds" / name, "1.jpg", "2.jpg")
    found = scan(tmp_path / "birds", taught=taught)
    assert found.groups == (ClassGroup("objects", 2), ClassGroup("birds", 2))


def test_what_the_teacher_does_not_know_becomes_a_group(tmp_path: Path) -> None:
    known = make_classes(tmp_path / "known")
    scenes = tmp_path / "scenes"
    for name in ("cat", "forest", "street"):  # one that it knows goes with the others
        touch(scenes / name, "1.jpg", "2.jpg")
    found = scan(known, scenes, flat(tmp_path / "photos", 4))
    assert found.groups == (ClassGroup("objects", 4), ClassGroup("scenes", 3))
    assert [known.name for known in found.classes[4:]] == ["cat", "forest", "street"]
    assert Counter(found.train.labels) == {2: 2, 1: 2, 4: 1, 5: 1, 6: 1, UNLABELLED: 3}
    assert Counter(found.validation.labels) == {2: 1, 1: 1, 4: 1, 5: 1, 6: 1}


def test_groups_have_names_of_their_own(tmp_path: Path) -> None:
    roots = [tmp_path / "a" / "scenes", tmp_path / "b" / "scenes", tmp_path / "objects"]
    for root in roots:
        for name in ("forest", "street"):
            touch(root / name, "1.jpg", "2.jpg")
    found = scan(*roots)
    assert [group.name for group in found.groups] == ["objects", "scenes", "scenes 2", "objects 2"]


def test_without_a_teacher_classes_of_one_id_or_name_are_one(tmp_path: Path) -> None:
    for place in ("a/n02123045", "a/dog", "b/Dog", "b/n02123045", "b/bird"):
        touch(tmp_path / place, "1.jpg", "2.jpg")
    found = scan(tmp_path / "a", tmp_path / "b", taught=())
    assert [known.name for known in found.classes] == ["dog", "tabby", "bird"]
    assert found.train.labels == (0, 1, 0, 2, 1)
    assert found.groups == ()
    assert found.divided


def test_two_ids_are_two_classes_of_one_name(tmp_path: Path) -> None:
    for root, crane in zip(("a", "b"), CRANES, strict=True):
        for name in (crane, "n02123045"):
            touch(tmp_path / root / name, "1.jpg", "2.jpg")
        (tmp_path / root / "words.txt").write_text(f"{crane}\tcrane\nn02123045\ttabby\n")
    found = scan(tmp_path / "a", tmp_path / "b", taught=())
    assert [known.id for known in found.classes] == ["n02012849", "n02123045", "n03126707"]
    # What words.txt calls an id may be any name of a folder.
    (tmp_path / "b" / CRANES[1]).rename(tmp_path / "b" / "c1")
    (tmp_path / "b" / "words.txt").write_text("c1\tcrane\n")
    assert len(scan(tmp_path / "a", tmp_path / "b", taught=()).classes) == 2


@pytest.mark.parametrize("place", ["photos", "photos/2024", "link"])
def test_a_folder_is_learned_from_once(tmp_path: Path, place: str) -> None:
    make_years(tmp_path / "photos")
    (tmp_path / "link").symlink_to("photos")
    for roots in ([tmp_path / "photos", tmp_path / place], [tmp_path / place, tmp_path / "photos"]):
        with pytest.raises(DatasetError, match=r"photos, and would be learned from twice|photos is named twice"):
            scan(*roots)


def test_folders_without_enough_photos_are_refused(tmp_path: Path) -> None:
    for count, message in ((0, "holds no photos; give a folder with more"), (1, "holds 1 photo; give a folder")):
        folder = flat(tmp_path / str(count), count)
        for source in (Source(folder), Source(folder, labelled=False)):
            with told(DatasetError, rf"{folder} {message}"):
                scan(source)
    for source in (Source(tmp_path / "none"), Source(tmp_path / "none", labelled=False)):
        with told(DatasetError, r"there is no folder .*none; give one that holds"):
            scan(source)
    found = scan(flat(tmp_path / "2", 2))
    assert (len(found.train), len(found.validation)) == (1, 1)


def test_albums_that_cannot_be_classes_are_told_how_to_name(tmp_path: Path) -> None:
    touch(tmp_path / "holiday", "1.jpg")
    touch(tmp_path / "party", "1.jpg", "2.jpg")
    message = f"where its folders are no classes, name {tmp_path} with --unlabelled"
    with told(DatasetError, f"one picture alone of holiday; .*; {message}"):
        scan(tmp_path)
    touch(tmp_path / "test" / "prints", "1.jpg")
    with told(DatasetError, f"test holds folders, so it is no class: .*; {message}"):
        scan(tmp_path)
    assert len(scan(Source(tmp_path, labelled=False)).train) == 3
    with told(DatasetError, r"so it is no class: .*; or move test elsewhere$"):
        scan(tmp_path, taught=())


def test_photos_without_labels_are_of_no_use_without_a_teacher(tmp_path: Path) -> None:
    labelled, photos = make_classes(tmp_path / "labelled"), flat(tmp_path / "photos", 5)
    for sources in (
        [Source(labelled), Source(photos)],
        [Source(labelled), Source(photos, labelled=False)],
        [Source(photos, labelled=False)],
    ):
        with told(DatasetError, r"photos is without labels; name who knows .* with --teacher"):
            scan(*sources, taught=())
    with told(DatasetError, r"photos holds 0 folders of pictures; .* A classifier needs two classes"):
        scan(photos, taught=())


def test_a_part_is_set_aside_to_check_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = flat(tmp_path, 40)
    found = photos_alone(photos, 0.25, 0)
    assert (len(found.train), len(found.validation)) == (30, 10)
    assert sorted([*found.train.paths, *found.validation.paths]) == sorted(photos.iterdir())
    assert photos_alone(photos, 0.25, 0) == found
    assert photos_alone(photos, 0.25, 1).validation != found.validation
    assert len(photos_alone(photos, 0.0, 0).validation) == 1
    assert len(photos_alone(photos, 1.0, 0).train) == 1
    monkeypatch.setattr("training.data.sources.LARGEST_CHECK", 3)
    assert len(photos_alone(photos, 0.25, 0).validation) == 3


def test_only_photos_whose_labels_are_known_judge_where_there_are_some(tmp_path: Path) -> None:
    photos = flat(tmp_path / "photos", 20)
    assert len(scan(photos).validation) == 2
    found = scan(photos, make_classes(tmp_path / "labelled"))
    assert len(found.train) == 18 + 4
    assert [path.parent.parent.name for path in found.validation.paths] == ["labelled"] * 2


def test_what_cannot_be_listed_is_told(tmp_path: Path) -> None:
    photos = flat(tmp_path / "photos", 3)
    (tmp_path / "elsewhere").mkdir()
    (photos / "link").symlink_to(tmp_path / "elsewhere")
    skipped: list[SkippedPhoto] = []
    assert len(scan(photos, skipped=skipped).train) == 2
    assert skipped == [SkippedPhoto(photos / "link", LINK)]


def test_only_pictures_of_divided_folders_are_marked(tmp_path: Path) -> None:
    divided, given = make_classes(tmp_path / "divided"), make_split(tmp_path / "given")
    found = scan(divided, given, flat(tmp_path / "photos", 4))
    of_divided = [path for path in found.train.paths if divided in path.parents]
    assert len(of_divided) == 4
    assert found.learned == pack_hashes(map(image_hash, of_divided))
    assert scan(given, tmp_path / "photos").learned == ""


def test_folders_that_move_together_are_the_same_set(tmp_path: Path) -> None:
    make_classes(tmp_path / "all" / "labelled")
    flat(tmp_path / "all" / "photos", 5)

    def fingerprints(root: Path) -> tuple[str, str]:
        found = scan(root / "labelled", root / "photos")
        return found.fingerprint, found.validation_fingerprint

    before = fingerprints(tmp_path / "all")
    assert fingerprints((tmp_path / "all").rename(tmp_path / "moved")) == before
    (tmp_path / "moved" / "labelled" / "cat" / "0.jpg").write_bytes(b"another size")
    assert fingerprints(tmp_path / "moved") != before


def test_weights_say_how_often_pictures_are_drawn(tmp_path: Path) -> None:
    found = scan(Source(flat(tmp_path / "a", 12), 0.5), Source(flat(tmp_path / "b", 6), 2.5), flat(tmp_path / "c", 11))
    assert found.draws == (Draw(0, 11, 0.5), Draw(11, 16, 2.5), Draw(16, 26, 1.0))
    assert [drawn(draw) for draw in found.draws] == [6, 12, 10]
    order = epoch_order(found.draws, seed=1)
    times = Counter(order.tolist())
    assert len(order) == 28
    assert [times[number] for number in range(11)].count(1) == 6, "half of them, none twice"
    assert Counter(times[number] for number in range(11, 16)) == {2: 3, 3: 2}
    assert all(times[number] == 1 for number in range(16, 26))
    assert torch.equal(order, epoch_order(found.draws, seed=1))
    other = epoch_order(found.draws, seed=2)
    assert set(order.tolist()) != set(other.tolist()), "another half in another epoch"


def test_an_epoch_mixes_the_folders() -> None:
    order = epoch_order([Draw(0, 100), Draw(100, 200)], seed=0)
    assert sorted(order.tolist()) == list(range(200))
    assert 30 < (order[:100] < 100).sum() < 70


def test_one_folder_is_drawn_as_it_always_was() -> None:
    expected = torch.randperm(50, generator=torch.Generator().manual_seed(7))
    assert torch.equal(epoch_order([Draw(0, 50)], seed=7), expected)


def test_the_only_folder_may_have_a_weight_too(tmp_path: Path) -> None:
    data = make_classes(tmp_path)
    assert scan(data, taught=()).draws == ()
    assert scan(Source(data, 2), taught=()).draws == (Draw(0, 4, 2),)


@pytest.mark.parametrize("weight", [0, -1, 101, float("nan"), float("inf")])
def test_weights_that_make_no_sense_are_refused(weight: float) -> None:
    with told(OptionError, r"the weight .* of photos is not above 0 and at most 100"):
        Source(Path("photos"), weight)


def test_names_that_are_no_text_are_found(folder_of_no_text: Path) -> None:
    for number in range(3):
        (folder_of_no_text / f"{number}.jpg").write_bytes(bytes(number))
    found = scan(folder_of_no_text)
    assert len(found.train) + len(found.validation) == 3
    assert found.fingerprint
