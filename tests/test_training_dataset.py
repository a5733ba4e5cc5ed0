import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from told import told
from training_samples import write_shapes

from retrieval.models.model import Model
from retrieval.models.spec import ClassGroup, ClassName, ModelSpec
from retrieval.searching.labels import classes_called
from training.data.dataset import VALIDATION_NAMES, Dataset, Split, scan_dataset, scan_kinds, scan_labelled, scan_unseen
from training.data.image_hashes import image_hash, pack_hashes, unpack_hashes
from training.data.name_tables import read_class_names
from training.errors import DatasetError

WORDS = "n01443537\tgoldfish, Carassius auratus\nn02123045\ttabby, tabby cat\nn04067472\treel\n"
IDS = ("n01443537", "n02123045")


def touch(folder: Path, *names: str) -> Path:
    """Write files that are pictures by name, each another: finding them opens none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(f"{folder.name}/{name}".encode())
    return folder


def make_classes(root: Path, *, each: int = 3) -> Path:
    for name in ("cat", "dog"):
        touch(root / name, *(f"{number}.jpg" for number in range(each)))
    return root


def make_tiny_imagenet(root: Path) -> Path:
    """The layout of the public archive tiny-imagenet-200, with two classes."""
    lines = []
    for number, name in enumerate(IDS):
        touch(root / "train" / name / "images", *(f"{name}_{i}.JPEG" for i in range(4)))
        (root / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t10\t63\t58\n")
        for i in (number, number + 2):
            touch(root / "val" / "images", f"val_{i}.JPEG")
            lines.append(f"val_{i}.JPEG\t{name}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    touch(root / "test" / "images", "test_0.JPEG", "test_1.JPEG")
    (root / "wnids.txt").write_text("\n".join(reversed(IDS)))
    (root / "words.txt").write_text(WORDS)
    return root


def listed(split: Split, root: Path) -> list[tuple[str, int]]:
    return [(str(path.relative_to(root)), label) for path, label in zip(split.paths, split.labels, strict=True)]


def both(dataset: Dataset) -> set[Path]:
    return {*dataset.train.paths, *dataset.validation.paths}


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    make_classes(tmp_path, each=10)
    touch(tmp_path / "dog" / "more" / "deep", "x.png")
    touch(tmp_path / "cat", "notes.txt", ".hidden.jpg")
    touch(tmp_path / ".git", "a.jpg")
    touch(tmp_path / "@eaDir", "a.jpg")
    touch(tmp_path, "stray.jpg", "notes.txt")
    dataset = scan_dataset(tmp_path)
    assert dataset.classless == (tmp_path / "stray.jpg",)
    assert dataset.classes == (ClassName("cat"), ClassName("dog"))
    assert len(both(dataset)) == len(dataset.train) + len(dataset.validation) == 21
    assert tmp_path / "dog" / "more" / "deep" / "x.png" in both(dataset)
    for split in (dataset.train, dataset.validation):
        assert [dataset.classes[label].name for label in split.labels] == [
            path.relative_to(tmp_path).parts[0] for path in split.paths
        ]


@pytest.mark.parametrize("name", VALIDATION_NAMES)
def test_train_and_a_validation_set_matched_by_name(tmp_path: Path, name: str) -> None:
    make_classes(tmp_path / "train")
    touch(tmp_path / name / "dog", "a.jpg")
    with told(DatasetError, "has pictures of cat for training and none for validation; folders of both"):
        scan_dataset(tmp_path)
    touch(tmp_path / name / "cat", "b.jpg")
    dataset = scan_dataset(tmp_path)
    assert len(dataset.train) == 6
    assert listed(dataset.validation, tmp_path) == [(f"{name}/cat/b.jpg", 0), (f"{name}/dog/a.jpg", 1)]


def test_val_comes_before_test(tmp_path: Path) -> None:
    make_classes(tmp_path / "train")
    make_classes(tmp_path / "val", each=1)
    make_classes(tmp_path / "test", each=2)
    assert len(scan_dataset(tmp_path).validation) == 2


def test_train_alone_is_split(tmp_path: Path) -> None:
    make_classes(tmp_path / "train", each=10)
    dataset = scan_dataset(tmp_path)
    assert (len(dataset.train), len(dataset.validation)) == (18, 2)


def test_an_empty_validation_folder_counts_as_none(tmp_path: Path) -> None:
    make_classes(tmp_path / "train")
    (tmp_path / "val" / "cat").mkdir(parents=True)
    assert len(scan_dataset(tmp_path).validation) == 2


def test_the_archive_tiny_imagenet_200(tmp_path: Path) -> None:
    dataset = scan_dataset(make_tiny_imagenet(tmp_path))
    assert dataset.classes == (
        ClassName("goldfish", "n01443537", ("Carassius auratus",)),
        ClassName("tabby", "n02123045", ("tabby cat",)),
    )
    assert listed(dataset.train, tmp_path) == [
        (f"train/{name}/images/{name}_{i}.JPEG", label) for label, name in enumerate(IDS) for i in range(4)
    ]
    assert listed(dataset.validation, tmp_path) == [
        ("val/images/val_0.JPEG", 0),
        ("val/images/val_2.JPEG", 0),
        ("val/images/val_1.JPEG", 1),
        ("val/images/val_3.JPEG", 1),
    ]


def test_its_test_pictures_have_no_labels_and_do_not_serve_to_check_with(tmp_path: Path) -> None:
    make_tiny_imagenet(tmp_path)
    shutil.rmtree(tmp_path / "val")
    dataset = scan_dataset(tmp_path, validation=0.25)
    assert (len(dataset.train), len(dataset.validation)) == (6, 2)
    assert all("train" in path.parts for path in both(dataset))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path / "train", "a.jpg", "b.jpg")
    touch(tmp_path / "car", "a.jpg", "b.jpg")
    assert [known.name for known in scan_dataset(tmp_path).classes] == ["car", "train"]


def test_a_link_to_a_folder_is_a_class(tmp_path: Path) -> None:
    make_classes(tmp_path / "data")
    (tmp_path / "data" / "emu").symlink_to(touch(tmp_path / "elsewhere", "1.jpg", "2.jpg"))
    assert [known.name for known in scan_dataset(tmp_path / "data").classes] == ["cat", "dog", "emu"]


@pytest.mark.parametrize(("share", "held_out"), [(0.1, 1), (0.25, 2), (0.5, 5), (0.0, 1), (1.0, 9)])
def test_the_share_set_aside_leaves_something_on_both_sides(tmp_path: Path, share: float, held_out: int) -> None:
    dataset = scan_dataset(make_classes(tmp_path, each=10), validation=share)
    assert list(dataset.validation.labels) == [0] * held_out + [1] * held_out
    assert len(both(dataset)) == len(dataset.train) + len(dataset.validation) == 20


def test_the_split_depends_on_the_seed_and_each_class_alone(tmp_path: Path) -> None:
    make_classes(tmp_path, each=20)
    first = scan_dataset(tmp_path, validation=0.3)
    assert scan_dataset(tmp_path, validation=0.3) == first
    assert scan_dataset(tmp_path, validation=0.3, seed=1).validation.paths != first.validation.paths
    make_classes(tmp_path / "x", each=20)
    shutil.move(tmp_path / "x" / "cat", tmp_path / "ant")
    shutil.rmtree(tmp_path / "x")
    assert set(first.validation.paths) < set(scan_dataset(tmp_path, validation=0.3).validation.paths)


def test_names_come_from_words_txt_or_the_file_that_is_given(tmp_path: Path) -> None:
    for name in IDS:
        touch(tmp_path / "data" / name, "a.jpg", "b.jpg")
    touch(tmp_path / "data" / "n09999999", "a.jpg", "b.jpg")
    (tmp_path / "data" / "words.txt").write_text(WORDS)
    (tmp_path / "own.tsv").write_text("n01443537\tgolden friend\n")
    names = [(known.name, known.id) for known in scan_dataset(tmp_path / "data").classes]
    assert names == [("goldfish", "n01443537"), ("tabby", "n02123045"), ("n09999999", None)]
    names = [(known.name, known.id) for known in scan_dataset(tmp_path / "data", names=tmp_path / "own.tsv").classes]
    assert names == [("golden friend", "n01443537"), ("tabby", "n02123045"), ("n09999999", None)]


def test_folders_named_by_wordnet_ids_alone_get_names_from_wordnet(tmp_path: Path) -> None:
    spec = Model.load(fast_start=True).spec
    ids = {known.id for known in spec.classes if known.id}
    for id in ids:
        touch(tmp_path / id, "a.jpg", "b.jpg")
    touch(tmp_path / "goldfish", "a.jpg", "b.jpg")
    dataset = scan_dataset(tmp_path)
    assert {known.id for known in dataset.classes} == {*ids, None}
    assert all(known.name != known.id for known in dataset.classes)
    learned = replace(spec, classes=dataset.classes, groups=())
    assert classes_called("Carassius auratus", learned) == [ClassName("goldfish", "n01443537", ("Carassius auratus",))]


def test_folders_are_matched_with_the_group_that_has_all_of_them(tmp_path: Path) -> None:
    classes = (
        ClassName("volcano", "n09472597"),
        ClassName("goldfish", "n01443537"),
        *map(ClassName, ("church", "volcano")),
    )
    classes = (*classes[:2], replace(classes[2], synonyms=("church_outdoor",)), classes[3])
    groups = (ClassGroup("objects", 2), ClassGroup("scenes", 2))
    for folders, expected in (
        (("goldfish", "volcano"), {0, 1}),
        (("n01443537", "n09472597"), {0, 1}),
        (("church_outdoor", "volcano"), {2, 3}),
    ):
        root = tmp_path / folders[0]
        for name in folders:
            touch(root / name, "a.jpg")
        assert set(scan_labelled(root, classes, groups).labels) == expected
    for name in ("church", "goldfish", "volcano"):
        touch(tmp_path / "both" / name, "a.jpg")
    with told(DatasetError, r"the name of several classes of the model; .*volcano by"):
        scan_labelled(tmp_path / "both", classes, groups)


def test_a_table_of_validation_pictures_reaches_no_other_folder(tmp_path: Path) -> None:
    root = make_tiny_imagenet(tmp_path / "data")
    touch(tmp_path, "private.jpg")
    with (root / "val" / "val_annotations.txt").open("a") as table:
        table.write(f"../../../private.jpg\t{IDS[0]}\t0\t0\t9\t9\n{tmp_path}/private.jpg\t{IDS[0]}\t0\t0\t9\t9\n")
    assert all(path.parent == root / "val" / "images" for path in scan_dataset(root).validation.paths)


def test_class_names_with_synonyms_empty_lines_and_what_windows_adds(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_bytes("\ufeffn1\tA, b ,,c,\r\n\r\n n2 \tsåpe\r\n".encode())
    assert read_class_names(tmp_path / "names.tsv") == {
        "n1": ClassName("A", "n1", ("b", "c")),
        "n2": ClassName("såpe", "n2"),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n1\tcat\nn2 dog\n", r"names.tsv, line 2: expected an id, a tab and a name, found 'n2 dog'"),
        (b"n1\t\n", r"names.tsv, line 1: expected an id"),
        (b"\tcat\n", r"names.tsv, line 1: expected an id"),
        (b"n1\t\xff\xfe\n", r"class names cannot be read from .*names.tsv: it is no UTF-8; save it as UTF-8"),
        ("n1\tKätzchen\n".encode("latin-1"), "save it as UTF-8"),
        ("n1\tcat\n".encode("utf-16"), "save it as UTF-8"),
        (None, r"there is no file .*names.tsv"),
    ],
)
def test_class_names_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "names.tsv").write_bytes(content)
    with told(DatasetError, message):
        scan_dataset(make_classes(tmp_path / "data"), names=tmp_path / "names.tsv")


def empty_class(root: Path) -> None:
    make_classes(root)
    for name in ("emu", "fox"):
        (root / name).mkdir()


def one_class(root: Path) -> None:
    touch(root / "train" / "cat", "a.jpg")


def flat(root: Path) -> None:
    touch(root, "a.jpg")


def flat_train(root: Path) -> None:
    touch(root / "train", "a.jpg")
    touch(root / "val", "a.jpg")


def unknown_validation_class(root: Path) -> None:
    make_classes(root / "train")
    make_classes(root / "val")
    touch(root / "val" / "emu", "a.jpg")


def other_validation_classes(root: Path) -> None:
    make_classes(root / "train")
    touch(root / "val" / "Cat", "a.jpg")
    touch(root / "val" / "Dog", "a.jpg")


def single_picture(root: Path) -> None:
    touch(make_classes(root) / "emu", "a.jpg")


def annotations_of_no_text(root: Path) -> None:
    make_classes(root / "train")
    (root / "val").mkdir()
    (root / "val" / "val_annotations.txt").write_bytes(b"\xff\xfe\tcat\n")


def unreadable(root: Path) -> None:
    make_classes(root)
    (root / "cat" / "x.jpg").symlink_to("x" * 300)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty_class, "no pictures in {root}/emu, {root}/fox; add some or remove what is empty"),
        (one_class, "{root}/train holds 1 folder of pictures; a classifier needs two classes or more"),
        (flat, "{root} holds 0 folders of pictures; the pictures lie one level too high, in {root} itself"),
        (flat_train, "{root}/train holds 0 folders of pictures"),
        (unknown_validation_class, "{root}/val has classes that are not among those learned: emu; the folders"),
        (other_validation_classes, "{root}/val has classes that are not among those learned: Cat, Dog; the folders"),
        (annotations_of_no_text, "{root}/val/val_annotations.txt cannot be read ('utf-8' codec"),
        (single_picture, "one picture alone of emu; it takes two of each class"),
        (unreadable, "{root}/cat/x.jpg cannot be read (name too long); make readable what is not, or remove it"),
    ],
)
def test_a_folder_that_is_no_data_set(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path)
    with told(DatasetError, re.escape(message.format(root=tmp_path))):
        scan_dataset(tmp_path)


@pytest.mark.parametrize("scan", [scan_dataset, lambda root: scan_labelled(root, ())])
def test_a_folder_that_is_not_there(tmp_path: Path, scan: Callable[[Path], object]) -> None:
    with pytest.raises(DatasetError, match=r"there is no folder .*nothing"):
        scan(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"there is no folder .*file"):
        scan(tmp_path / "file")


def test_the_fingerprint_is_of_the_pictures_and_not_of_the_place(tmp_path: Path) -> None:
    first = scan_dataset(write_shapes(tmp_path / "here", each=3)).fingerprint
    assert len(first) == 64
    assert scan_dataset(Path(shutil.copytree(tmp_path / "here", tmp_path / "there"))).fingerprint == first
    touched = scan_dataset(tmp_path / "there").train.paths[0]
    touched.write_bytes(touched.read_bytes() + b"more")
    assert scan_dataset(tmp_path / "there").fingerprint != first
    assert scan_dataset(tmp_path / "here", seed=3).fingerprint != first


def test_pictures_to_judge_a_model_by_are_matched_by_id_and_by_name(tmp_path: Path) -> None:
    classes = (ClassName("tabby", "n02123045"), ClassName("goldfish", "n01443537"), ClassName("reel", "n04067472"))
    touch(tmp_path / "goldfish", "a.jpg")
    touch(tmp_path / "n02123045", "b.jpg")
    (tmp_path / "empty").mkdir()
    assert listed(scan_labelled(tmp_path, classes), tmp_path) == [("goldfish/a.jpg", 1), ("n02123045/b.jpg", 0)]
    assert len(scan_labelled(make_tiny_imagenet(tmp_path / "archive"), classes)) == 4


def test_names_with_accents_are_the_same_however_they_are_spelled(tmp_path: Path) -> None:
    composed, apart = unicodedata.normalize("NFC", "nüt"), unicodedata.normalize("NFD", "nüt")
    assert composed != apart
    touch(tmp_path / "1" / composed, "a.jpg")
    touch(tmp_path / "2" / apart, "a.jpg")
    assert len(scan_labelled(tmp_path / "1", (ClassName(apart),))) == 1
    assert len(scan_labelled(tmp_path / "2", (ClassName(composed),))) == 1


def test_a_name_of_two_classes_does_not_tell_which(tmp_path: Path) -> None:
    classes = (ClassName("crane", "n02012849"), ClassName("crane", "n03126707"), ClassName("reel", "n04067472"))
    touch(tmp_path / "n03126707", "a.jpg")
    assert listed(scan_labelled(tmp_path, classes), tmp_path) == [("n03126707/a.jpg", 1)]
    touch(tmp_path / "crane", "b.jpg")
    with pytest.raises(DatasetError, match=r"several classes .*: crane by n02012849 or n03126707"):
        scan_labelled(tmp_path, classes)


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (["Train/cat", "Train/dog", "Val/cat"], "Train"),
        (["training/cat", "training/dog", "validation/cat"], "training"),
        (["val/cat", "val/dog", "test/cat"], "test"),
        (["cat", "dog", "val/cat", "val/dog"], "val"),
        (["car", "train/steam", "train/diesel"], "car"),
        (["train/cat", "train/dog", "Val/cat", "Val/dog"], "Val"),
    ],
)
def test_folders_that_leave_open_what_is_a_class(tmp_path: Path, folders: list[str], named: str) -> None:
    for folder in folders:
        touch(tmp_path / folder, "1.jpg", "2.jpg")
    with told(DatasetError, rf"{tmp_path}/{named} holds (folders|pictures).* move"):
        scan_dataset(tmp_path)


@pytest.mark.parametrize("folders", [["car", "train"], ["test", "quiz"], ["train/cat", "train/dog", "scripts"]])
def test_folders_that_are_named_like_a_split_and_are_none(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        touch(tmp_path / folder, *(["1.jpg", "2.jpg"] if folder != "scripts" else ["notes.txt"]))
    assert len(scan_dataset(tmp_path).classes) == 2


def test_pictures_of_a_class_that_the_model_does_not_know(tmp_path: Path) -> None:
    with told(DatasetError, rf"class of the model: {tmp_path}/dog; `fc7 info"):
        scan_labelled(make_classes(tmp_path), (ClassName("cat"),))
    many = [f"class {number:03}" for number in range(120)]
    for name in many:
        touch(tmp_path / "many" / name, "a.jpg")
    all_told = ", ".join(many[:100])
    with told(DatasetError, re.escape(f"{all_told} and 20 more; ")):
        scan_labelled(tmp_path / "many", (ClassName("cat"),))
    with pytest.raises(DatasetError, match="holds no folders of pictures"):
        scan_labelled(touch(tmp_path / "flat", "a.jpg"), (ClassName("cat"),))


def trained_on(root: Path, *, seed: int = 0, share: float = 0.3) -> ModelSpec:
    """What the model of a run on a folder says of itself."""
    dataset = scan_dataset(root, seed=seed, validation=share)
    return ModelSpec("m", "tiny", dataset.classes, 32, 28, 8, 16, "ab" * 32, learned=dataset.learned)


@pytest.mark.parametrize("below", ["", "train"])
def test_a_model_is_judged_by_what_was_set_aside_when_it_was_trained(tmp_path: Path, below: str) -> None:
    root = tmp_path / "data"
    make_classes(root / below, each=10)
    model = trained_on(root, seed=3)
    assert scan_unseen(root, [model]) == (scan_dataset(root, seed=3, validation=0.3).validation, 14)
    moved = root.rename(tmp_path / "moved")
    assert scan_unseen(moved, [model])[1] == 14, "wherever it lies"
    for number, path in enumerate(sorted(moved.rglob("*.jpg"))):
        path.rename(path.with_name(f"new name {number}.jpg"))
    assert scan_unseen(moved, [model])[1] == 14, "whatever it is called"


def test_several_models_are_judged_by_what_none_of_them_learned_from(tmp_path: Path) -> None:
    make_classes(tmp_path, each=10)
    models = [trained_on(tmp_path, seed=seed) for seed in (0, 1)]
    split, left_out = scan_unseen(tmp_path, models)
    apart = [set(scan_dataset(tmp_path, seed=seed, validation=0.3).validation.paths) for seed in (0, 1)]
    assert set(split.paths) == apart[0] & apart[1]
    assert left_out == 20 - len(split)
    with told(DatasetError, r"learned from all the pictures in .*; give a folder with"):
        scan_unseen(tmp_path, [trained_on(tmp_path, seed=seed, share=0.1) for seed in range(9)])


def test_pictures_that_came_later_are_measured_and_those_learned_from_are_not(tmp_path: Path) -> None:
    model = trained_on(make_classes(tmp_path, each=10))
    touch(tmp_path / "cat", "new.jpg")
    (tmp_path / "dog" / "3.jpg").write_bytes(b"another picture under an old name")
    (tmp_path / "empty").mkdir()
    split, left_out = scan_unseen(tmp_path, [model])
    assert {"new.jpg", "3.jpg"} <= {path.name for path in split.paths}
    assert left_out in (13, 14)
    assert left_out + len(split) == 21


def test_all_pictures_are_measured_where_a_model_did_not_learn_from_them(tmp_path: Path) -> None:
    model = trained_on(make_classes(tmp_path / "known", each=10))
    other = make_classes(tmp_path / "other", each=9)
    for path in other.rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[::-1])
    assert scan_unseen(other, [model])[1] == 0
    assert scan_unseen(tmp_path / "known", [replace(model, learned="")])[1] == 0


def test_a_validation_set_is_measured_whole(tmp_path: Path) -> None:
    root = make_tiny_imagenet(tmp_path)
    assert scan_unseen(root, [trained_on(root)]) == (scan_dataset(root).validation, 0)


def test_pictures_of_one_size_and_name_are_told_apart(tmp_path: Path) -> None:
    """As numbered bitmaps are, of which the margin is all white besides."""
    rng = np.random.default_rng(0)
    for place in ("learned", "other"):
        for name in ("cat", "dog"):
            for number in range(10):
                pixels = np.full((200, 200, 3), 255, np.uint8)
                pixels[80:120, 80:120] = rng.integers(0, 256, (40, 40, 3))
                path = tmp_path / place / name / f"{number}.bmp"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    assert len({path.stat().st_size for path in tmp_path.rglob("*.bmp")}) == 1
    model = trained_on(tmp_path / "learned")
    assert scan_unseen(tmp_path / "learned", [model])[1] == 14
    assert scan_unseen(tmp_path / "other", [model])[1] == 0


def test_what_cannot_be_read_was_not_learned_from(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [image_hash(tmp_path / name) for name in ("none.jpg", "pipe.jpg")] == [None, None]
    assert unpack_hashes(pack_hashes([b"abcd", None, b"efgh", b"abcd"])) == {b"abcd", b"efgh"}
    assert unpack_hashes(pack_hashes([])) == set()


def test_a_picture_that_goes_while_a_set_is_read_is_told(tmp_path: Path) -> None:
    dataset = scan_dataset(make_classes(tmp_path))
    dataset.train.paths[0].unlink()
    with pytest.raises(DatasetError, match=r"\d\.jpg is gone"):
        _ = dataset.fingerprint


@given(known=st.sets(st.integers(0, 19)), seed=st.integers(0, 3))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pictures_that_a_start_learned_from_are_set_aside_last(tmp_path: Path, known: set[int], seed: int) -> None:
    paths = sorted(make_classes(tmp_path, each=10).rglob("*.jpg"))
    learned = pack_hashes(image_hash(paths[number]) for number in known)
    dataset = scan_dataset(tmp_path, validation=0.4, seed=seed, learned=learned)
    hashes = unpack_hashes(learned)
    for label, name in enumerate(("cat", "dog")):
        apart = [
            path for path, own in zip(dataset.validation.paths, dataset.validation.labels, strict=True) if own == label
        ]
        unknown = sum(image_hash(path) not in hashes for path in (tmp_path / name).iterdir())
        assert len(apart) == 4
        assert sum(image_hash(path) not in hashes for path in apart) == min(4, unknown)
    assert sorted(dataset.train.paths + dataset.validation.paths) == paths


def test_the_folder_of_a_validation_set_is_understood_by_itself(tmp_path: Path) -> None:
    root = make_tiny_imagenet(tmp_path)
    classes = scan_dataset(root).classes
    assert scan_labelled(root / "val", classes) == scan_labelled(root, classes)


def test_pictures_that_lie_too_deep_or_too_high_are_told(tmp_path: Path) -> None:
    known = [ClassName("cat"), ClassName("dog")]
    deep = make_classes(tmp_path / "download" / "animals").parent
    for folder, said in (
        (deep, f"the pictures of {deep} lie one level too deep; name {deep / 'animals'}"),
        (deep / "animals" / "cat", "one level too high, in "),
    ):
        with told(DatasetError, re.escape(said)):
            scan_dataset(folder)
    for folder, said in (
        (deep, f"the pictures of {deep} lie one level too deep; name {deep / 'animals'}"),
        (deep / "animals" / "cat", f"is the folder of one class; name the folder that it lies in, {deep / 'animals'}"),
    ):
        with told(DatasetError, re.escape(said)):
            scan_labelled(folder, known)
    assert len(scan_labelled(deep / "animals", known)) == 6
    (deep / "more").mkdir()
    make_classes(deep / "more")
    with told(DatasetError, rf"too deep; name one of {deep}/animals, {deep}/more"):
        scan_labelled(deep, known)


def test_neighbours_of_one_class_are_not_measured(tmp_path: Path) -> None:
    deep = make_classes(tmp_path / "download" / "animals").parent
    with told(DatasetError, re.escape(f"the pictures of {deep} lie one level too deep; name {deep / 'animals'}")):
        scan_kinds(deep, [])
    assert len(scan_kinds(deep / "animals", [])[0]) == 6
    shutil.rmtree(deep / "animals" / "dog")
    with told(DatasetError, "pictures of one class; neighbours are measured of two or more"):
        scan_kinds(deep / "animals", [])


def test_a_model_of_other_classes_is_refused_in_a_line(tmp_path: Path) -> None:
    data = make_classes(tmp_path / "data")
    with pytest.raises(DatasetError) as refused:
        scan_labelled(data, [ClassName("car"), ClassName("bus")], model="my cars.onnx")
    assert refused.value.with_hint == (
        f"the model knows none of the classes in {data}, so it cannot be measured on them: cat, dog; "
        "`fc7 info 'my cars.onnx' --format json` lists its classes"
    )
