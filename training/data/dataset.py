"""Which pictures there are to learn from: folders of classes, read into a `Dataset`."""

import hashlib
import os
import random
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval.models.spec import ClassGroup, ClassName, ModelSpec, group_slices, require_classes
from retrieval.photos.exclusions import is_left_out
from retrieval.photos.scan import has_photo_suffix, scan_folder
from training.data.image_hashes import image_hash, pack_hashes, unpack_hashes
from training.data.layouts import layout_problem
from training.data.name_tables import read_class_names, wordnet_names
from training.data.tar_shards import SUFFIX, inside, pictures_in_shards
from training.errors import DatasetError, UnknownClassesError

VALIDATION_NAMES = ("val", "validation", "valid", "test")
MANY = 100
"""Names that a message has at most."""
SPLIT_NAMES = {"train", "training", *VALIDATION_NAMES}


@dataclass(frozen=True)
class Split:
    """Pictures and the class of each, as a number into `Dataset.classes`."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, numbers: Iterable[int]) -> "Split":
        """Return the pictures with these numbers, in their order."""
        chosen = tuple(numbers)
        return Split(tuple(self.paths[n] for n in chosen), tuple(self.labels[n] for n in chosen))


@dataclass(frozen=True)
class Draw:
    """Training pictures from `start` to `stop`, each of which an epoch draws `weight` times on average."""

    start: int
    stop: int
    weight: float = 1.0


@dataclass(frozen=True)
class Dataset:
    """Training pictures (`train`) and validation pictures (`validation`); without a teacher all have labels."""

    root: Path
    classes: tuple[ClassName, ...]
    train: Split
    validation: Split
    divided: bool = False
    """Whether the validation pictures were set aside because the data has no validation set."""
    classless: tuple[Path, ...] = ()
    """Pictures beside the folders of classes, which are left out."""
    groups: tuple[ClassGroup, ...] = ()
    """What the classes consist of where they are several groups."""
    draws: tuple[Draw, ...] = ()
    """How often the pictures of each source are drawn; empty: each once an epoch."""
    marked: tuple[Path, ...] = ()
    """Training pictures of those sources of several whose validation pictures were set aside."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the training pictures' paths below the root, sizes and classes."""
        return self._fingerprint(self.train)

    @property
    def validation_fingerprint(self) -> str:
        """The same of the validation pictures."""
        return self._fingerprint(self.validation)

    def _fingerprint(self, split: Split) -> str:
        digest = hashlib.sha256()
        for path, label in sorted(zip(split.paths, split.labels, strict=True)):
            relative = os.fsencode(os.path.relpath(path, self.root))
            try:
                size = path.stat().st_size
            except OSError as error:
                raise DatasetError(f"{path} is gone ({error.strerror}); leave the folder as it is meanwhile") from error
            digest.update(b"%s\0%d\0%d\n" % (relative, size, label))
        return digest.hexdigest()

    @property
    def learned(self) -> str:
        """The hashes of the training pictures, packed; nothing where there is a validation set."""
        return pack_hashes(map(image_hash, self.marked or self.train.paths)) if self.divided else ""


def scan_dataset(
    root: Path,
    *,
    validation: float = 0.1,
    seed: int = 0,
    names: Path | None = None,
    learned: str = "",
    fewest: int = 2,
) -> Dataset:
    """Find the pictures of a data set of at least `fewest` classes.

    Known layouts: one folder a class, or tar shards (`tar_shards.py`); `train/` and `val/` (or `validation/`, `valid/`,
    `test/`) of such; the public tiny-imagenet-200 archive.
    Without a validation set, the share `validation` of each class is set aside, by `seed`;
    of pictures whose hashes are in `learned`, packed, only where there are too few others.
    `names` (or a `words.txt` in the folder) maps folder names that are WordNet ids to names; fc7 itself knows those of
    ImageNet. Raises DatasetError.
    """
    if not os.path.isdir(root):
        if root.suffix == SUFFIX:
            raise DatasetError(f"{root} is no folder; name the folder that holds the shards, {root.parent}")
        raise DatasetError(f"there is no folder {root}; give one that holds a folder of pictures for each class")
    named = read_class_names(names if names is not None else root / "words.txt", required=names is not None)
    known = wordnet_names() | named
    train_root = root / "train" if _is_split(root) else root
    train = _class_folders(train_root)
    if len(train) < fewest:
        raise DatasetError(
            f"{train_root} holds {len(train)} folder{'s' * (len(train) != 1)} of pictures; "
            + (f"{problem}. A" if (problem := layout_problem(train_root)) else "a")
            + " classifier needs two classes or more, each in a folder of its own",
            hint="for photos without classes name a model that knows what is in them with --teacher",
        )
    empty = sorted(name for name, paths in train.items() if not paths)
    if empty:
        raise DatasetError(f"no pictures in {_listing(empty, train_root)}; add some or remove what is empty")
    given = _validation(root, set(train)) if train_root != root else None
    if given is not None and (unchecked := sorted(set(train) - set(given))):
        raise DatasetError(
            f"{root} has pictures of {_listing(unchecked)} for training and none for validation; "
            "folders of both must have the same names"
        )
    train, held_out = (
        _split(train, share=validation, seed=seed, learned=unpack_hashes(learned)) if given is None else (train, given)
    )
    order = sorted(train)
    classes = tuple(known.get(name, ClassName(name)) for name in order)
    numbers = {name: number for number, name in enumerate(order)}
    splits = _as_split(train, order, numbers), _as_split(held_out, order, numbers)
    beside = [path for path in _listed(train_root) if has_photo_suffix(os.fsencode(path.name)) and os.path.isfile(path)]
    return Dataset(root, classes, *splits, divided=given is None, classless=tuple(beside))


def scan_labelled(
    root: Path, classes: Sequence[ClassName], groups: Sequence[ClassGroup] = (), *, model: str = "MODEL"
) -> Split:
    """Find the pictures to judge a model by: the validation set of a data set, its folder, or one folder a class.

    Folders are matched with the model's classes by WordNet id, name or synonym; where these are several `groups`, with
    those of the first group that has all of them. Raises DatasetError, whose message calls the model as `model` does.
    """
    if not os.path.isdir(root):
        raise DatasetError(f"there is no folder {root}; give one that holds a folder of pictures for each class")
    numbers: dict[str, list[int]] = {}
    for number, known in enumerate(classes):
        names = {known.id or known.name, known.name, *known.synonyms}
        # As it is, and with accents apart from their letters or not: macOS writes names otherwise than it reads them.
        for key in names | {unicodedata.normalize(form, name) for name in names for form in ("NFC", "NFD")}:
            numbers.setdefault(key, []).append(number)
    annotations = root / "val_annotations.txt"
    found = _annotated(root, annotations) if os.path.isfile(annotations) else _validation(root, set(numbers))
    if not found:
        folder = root / "train" if "train" not in numbers and _is_split(root) else root
        found = {name: paths for name, paths in _class_folders(folder).items() if paths}
    if not found:
        problem = layout_problem(root, numbers) or "give one that has a folder for each class"
        raise DatasetError(f"{root} holds no folders of pictures; {problem}")
    for place in group_slices(groups, len(classes)).values():
        of_group = {name: [n for n in numbers.get(name, ()) if place.start <= n < place.stop] for name in found}
        if all(of_group.values()):
            numbers = of_group
            break
    unknown = sorted(set(found) - set(numbers))
    if unknown and (problem := layout_problem(root, numbers)):
        raise DatasetError(problem)
    if unknown:
        listing = f"`{shlex.join(['fc7', 'info', model, '--format', 'json'])}` lists its classes"
        if len(unknown) == len(found):
            raise UnknownClassesError(
                f"the model knows none of the classes in {root}, so it cannot be measured on them: {_listing(unknown)}",
                hint=listing,
            )
        raise DatasetError(
            f"not named after a class of the model: {_listing(unknown, root)}",
            hint=f"{listing}; measure neighbours alone, for which any classes will do, with --neighbours",
        )
    # ImageNet has two kinds of crane.
    if several := sorted(name for name in found if len(numbers[name]) > 1):
        ids = (f"{name} by {' or '.join(classes[n].id or name for n in numbers[name])}" for name in several)
        raise DatasetError(f"the name of several classes of the model; name these folders by id: {', '.join(ids)}")
    return _as_split(found, sorted(found), {name: known[0] for name, known in numbers.items()})


def scan_unseen(root: Path, models: Sequence[ModelSpec], *, model: str = "MODEL") -> tuple[Split, int]:
    """Find the pictures to judge models of the same classes by, and count those left out because one learned from them.

    As `scan_labelled`; where a model set a part of its pictures aside, its metadata tell those that it learned from.
    Raises DatasetError, and ModelError for models without classes.
    """
    require_classes(models[0])
    return not_learned(scan_labelled(root, models[0].classes, models[0].groups, model=model), models, root)


def scan_kinds(root: Path, models: Sequence[ModelSpec]) -> tuple[Split, int]:
    """As `scan_unseen` for any two classes or more, known to the models or not, numbered as their folders are sorted.

    Raises DatasetError, also where there is one class: all neighbours would be of the same kind.
    """
    places = [folder for name in SPLIT_NAMES if os.path.isdir(folder := root / name) and _folders(folder)]
    folders = [folder for place in (root, *places) if os.path.isdir(place) for folder in _folders(place)]
    names = sorted({folder.name for folder in folders if folder not in places})
    found = scan_labelled(root, [ClassName(name) for name in names])
    if len(set(found.labels)) < 2:
        problem = layout_problem(root) or "neighbours are measured of two or more, each in a folder of its own"
        raise DatasetError(f"{root} holds pictures of one class; {problem}")
    return not_learned(found, models, root)


def not_learned(found: Split, models: Sequence[ModelSpec], root: Path) -> tuple[Split, int]:
    """Return the pictures that no model learned from, and how many others there were. Raises DatasetError."""
    learned = set[bytes]().union(*(unpack_hashes(model.learned) for model in models))
    if not learned:
        return found, 0
    kept = [number for number, path in enumerate(found.paths) if image_hash(path) not in learned]
    if not kept:
        raise DatasetError(f"the models have learned from all the pictures in {root}; give a folder with others")
    return found.take(kept), len(found) - len(kept)


def holds_classes(root: Path) -> bool:
    """Return whether a folder looks like one of labelled pictures: two folders with photos in each, and no deeper ones.

    Raises DatasetError.
    """
    if not os.path.isdir(root):
        raise DatasetError(f"there is no folder {root}; give one that holds pictures")
    folder = root / "train" if _is_split(root) else root
    if os.path.isfile(root / "val" / "val_annotations.txt"):
        return True
    if _shards(folder):
        return True
    held = [photos for path in _folders(folder) if (photos := scan_folder(path).photos)]
    deeper = any(b"/" in photo for photos in held for photo in photos)
    beside = any(has_photo_suffix(os.fsencode(path.name)) for path in _listed(folder))
    return len(held) > 1 and not deeper and not beside


def _is_split(root: Path) -> bool:
    """Return whether `train` in a folder holds what to learn from, and is no class beside others (cars and trains).

    Raises DatasetError where the names of the folders leave open what is a class.
    """
    folders = {folder.name: folder for folder in _folders(root)}
    divided = "train" in folders and (
        bool(_folders(folders["train"])) or folders.keys() <= {"train", *VALIDATION_NAMES}
    )
    for name, folder in folders.items():
        if not divided and name.casefold() in SPLIT_NAMES and _folders(folder):
            raise DatasetError(
                f"{folder} holds folders, so it is no class: name the training pictures `train` and the validation "
                f"pictures `val`, both in {root}; or move {name} elsewhere"
            )
        if divided and name not in ("train", *VALIDATION_NAMES) and scan_folder(folder).photos:
            raise DatasetError(
                f"{folder} holds pictures, but is not in {folders['train']}, where the classes are; move it there, "
                "rename it to `val` if it holds validation pictures, or move it elsewhere"
            )
    return divided


def _shards(root: Path) -> list[Path]:
    """Return the tar shards in a folder that holds no folders."""
    found = [path for path in _listed(root) if path.suffix == SUFFIX and os.path.isfile(path)]
    return found if found and not _folders(root) else []


def _class_folders(root: Path) -> dict[str, list[Path]]:
    if shards := _shards(root):
        return pictures_in_shards(shards)
    found, unread = {}, list[str]()
    for folder in _folders(root):
        scan = scan_folder(folder)
        unread += (f"{folder / os.fsdecode(path)} cannot be read ({reason})" for path, reason in scan.unlisted.items())
        found[folder.name] = [folder / os.fsdecode(path) for path in scan.photos]
    if unread:
        raise DatasetError(f"{_listing(unread)}; make readable what is not, or remove it")
    return found


def _folders(root: Path) -> list[Path]:
    return [path for path in _listed(root) if os.path.isdir(path)]


def _listed(root: Path) -> list[Path]:
    try:
        found = sorted(root.iterdir())
    except OSError as error:
        raise DatasetError(f"{root} cannot be read ({error.strerror}); make it readable or remove it") from error
    return [path for path in found if not is_left_out(os.fsencode(path.name))]


def _validation(root: Path, known: set[str]) -> dict[str, list[Path]] | None:
    """Return the pictures of the first validation folder there is, by class; None if there is none."""
    for name in VALIDATION_NAMES:
        folder = root / name
        if not os.path.isdir(folder):
            continue
        annotations = folder / "val_annotations.txt"
        found = _annotated(folder, annotations) if os.path.isfile(annotations) else _class_folders(folder)
        found = {key: paths for key, paths in found.items() if paths}
        if set(found) <= {"images"} - known:
            continue  # tiny-imagenet-200 has test/images without labels
        if unknown := sorted(set(found) - known):
            raise (UnknownClassesError if len(unknown) == len(found) else DatasetError)(
                f"{folder} has classes that are not among those learned: {_listing(unknown)}; "
                "the folders of training and validation pictures must have the same names"
            )
        return found
    return None


def _annotated(folder: Path, annotations: Path) -> dict[str, list[Path]]:
    """Read the validation set of the tiny-imagenet-200 archive: `images/` and a table of file, class and box.

    Raises DatasetError.
    """
    try:
        lines = annotations.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{annotations} cannot be read ({error}); put the one of the data set in its place"
        ) from error
    found: dict[str, list[Path]] = {}
    for line in lines:
        file, tab, rest = line.partition("\t")
        # Bare names only: a table that somebody else wrote says nothing about files elsewhere.
        if tab and "/" not in file and os.path.isfile(path := folder / "images" / file):
            found.setdefault(rest.split("\t")[0], []).append(path)
    return found


def _split(
    found: Mapping[str, Sequence[Path]], *, share: float, seed: int, learned: Collection[bytes]
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    train, held_out = {}, {}
    if single := sorted(name for name, paths in found.items() if len(paths) < 2):
        raise DatasetError(
            f"one picture alone of {_listing(single)}; it takes two of each class, for training and validation"
        )
    for name, paths in found.items():
        # Seeded by the class as well: adding a class moves no picture of another.
        shuffled = random.Random(os.fsencode(f"{seed}/{name}")).sample(list(paths), len(paths))
        if learned:
            shuffled.sort(key=lambda path: image_hash(path) in learned)
        count = min(max(round(len(paths) * share), 1), len(paths) - 1)
        held_out[name], train[name] = (sorted(part, key=inside) for part in (shuffled[:count], shuffled[count:]))
    return train, held_out


def _as_split(found: Mapping[str, Sequence[Path]], order: Sequence[str], numbers: Mapping[str, int]) -> Split:
    pairs = [(path, numbers[name]) for name in order for path in found.get(name, ())]
    return Split(tuple(path for path, _ in pairs), tuple(label for _, label in pairs))


def _listing(names: Sequence[str], folder: Path | None = None) -> str:
    """Return names with commas between, all of them if they are few enough; as paths where a folder is given."""
    told = names if len(names) <= MANY else names[:MANY]
    text = ", ".join(name if folder is None else str(folder / name) for name in told)
    return f"{text} and {len(names) - len(told)} more" if len(told) < len(names) else text
