"""Tables of class names: those of ImageNet and WordNet, and files that a user gives."""

from pathlib import Path

from retrieval.models.spec import ClassName
from retrieval.searching.wordnet import read_wordnet
from training.errors import DatasetError

IMAGENET = Path(__file__).with_name("imagenet-1k.tsv")
"""Names of the 1,000 classes of ImageNet in their usual order, that of their WordNet ids."""


def read_class_names(path: Path, *, required: bool = True) -> dict[str, ClassName]:
    """Read lines of `id <tab> name, other name, …`, as in `words.txt`; DatasetError if a file is not like that."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        if required:
            raise DatasetError(f"there is no file {path} to read class names from") from None
        return {}
    except UnicodeDecodeError as error:
        raise DatasetError(f"class names cannot be read from {path}: it is no UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise DatasetError(f"class names cannot be read from {path} ({error.strerror or error})") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, tab, text = line.partition("\t")
        name, *synonyms = [part.strip() for part in text.split(",")]
        if not tab or not name or not key.strip():
            raise DatasetError(f"{path}, line {number}: expected an id, a tab and a name, found {line[:40]!r}")
        found[key.strip()] = ClassName(name, key.strip(), tuple(filter(None, synonyms)))
    return found


def wordnet_names() -> dict[str, ClassName]:
    """Return the classes that WordNet's table names, by id."""
    return {id: ClassName(name, id, tuple(synonyms)) for id, ([name, *synonyms], _) in read_wordnet().items()}
