"""The names of a network's classes, from the files in which people have them."""

import json
from pathlib import Path

from retrieval.models.spec import ClassName
from training.data.name_tables import IMAGENET, read_class_names
from training.errors import DatasetError

IMAGENET_WORD = "imagenet"
"""Given as the file, this word means the 1,000 classes of ImageNet in their usual order."""


def read_classes(named: str | Path) -> tuple[ClassName, ...]:
    """Read the classes, in their order. Raises DatasetError.

    A file has a line for each: id, tab, names with commas between, or names alone; or it is JSON: a list, an object
    with numbers for keys, or transformers' config.json, whose id2label is such an object.
    """
    path = Path(named)
    if str(named) == IMAGENET_WORD:
        return tuple(read_class_names(IMAGENET).values())
    if path.suffix.lower() == ".json":
        names = _from_json(path)
    else:
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except FileNotFoundError:
            raise DatasetError(
                f"there is no file {path} to read class names from; give one, or the word {IMAGENET_WORD}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"class names cannot be read from {path} ({error}); give another file") from error
        if lines and all("\t" in line for line in lines):
            return tuple(read_class_names(path).values())
        names = lines
    if not names:
        raise DatasetError(f"{path} names no classes; give a file with a line for each")
    classes = tuple(_class(name) for name in names)
    for number, found in enumerate(classes, 1):
        if not found.name:
            raise DatasetError(f"class {number} in {path} has no name before its first comma; give it one")
    return classes


def _class(text: str) -> ClassName:
    name, *synonyms = [part.strip() for part in text.split(",")]
    return ClassName(name, None, tuple(synonyms))


def _from_json(path: Path) -> list[str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(values, dict):
            values = values.get("id2label", values)
        if isinstance(values, dict):
            values = [values[key] for key in sorted(values, key=int)]
        if not isinstance(values, list) or not all(isinstance(name, str) and name for name in values):
            raise ValueError("no names")
    except FileNotFoundError:
        raise DatasetError(f"there is no file {path} to read class names from; give one") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"class names cannot be read from {path} ({error}); give another file") from error
    return values
