"""Pictures in tar shards, as WebDataset writes them: `key.jpg` beside `key.cls`, or in a folder of its class.

Each shard is read once for what it holds, and a picture then where it lies, in any order. So they are shuffled and
divided as those in folders are.
"""

import os
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from retrieval.photos.exclusions import is_left_out
from retrieval.photos.scan import has_photo_suffix
from retrieval.photos.tar_member import TarMember
from training.errors import DatasetError

SUFFIX = ".tar"
LABEL = ".cls"
LONGEST_LABEL = 1000
"""Bytes."""


def pictures_in_shards(shards: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the pictures of shards by class, sorted by their names. Raises DatasetError."""
    found: defaultdict[str, list[tuple[str, TarMember]]] = defaultdict(list)
    for shard in shards:
        members, labels = _read(shard)
        for name, member in members:
            folder, _, _ = name.rpartition("/")
            label = labels.get(_key(name)) or folder.rpartition("/")[2]
            if not label:
                raise DatasetError(
                    f"{member} has no class: it lies in no folder of its class, and {shard} has no {_key(name)}{LABEL}"
                )
            found[label].append((name, member))
    return {label: [member for _, member in sorted(several)] for label, several in found.items()}


def inside(picture: Path) -> Path:
    """Return what a picture is sorted by: in a shard its name there, so that their number does not matter."""
    return Path(os.path.relpath(picture, picture.archive)) if isinstance(picture, TarMember) else picture


def _read(shard: Path) -> tuple[list[tuple[str, TarMember]], dict[str, str]]:
    """Return the pictures of a shard with their names, and the labels by key."""
    members: list[tuple[str, TarMember]] = []
    labels: dict[str, str] = {}
    archive = os.path.abspath(shard)
    try:
        whole = os.path.getsize(archive)
        with tarfile.open(archive, "r:") as tar:
            for entry in tar:
                name = entry.name.removeprefix("./")
                if entry.isreg() and entry.offset_data + entry.size > whole:
                    raise tarfile.ReadError("unexpected end of data")
                if not entry.isreg() or any(map(is_left_out, os.fsencode(name).split(b"/"))):
                    continue
                if has_photo_suffix(os.fsencode(name)):
                    members.append((name, TarMember.at(archive, name, entry.offset_data, entry.size)))
                elif name == _key(name) + LABEL and entry.size <= LONGEST_LABEL:
                    labels[_key(name)] = _label(shard, tar, entry)
    except OSError as error:
        raise DatasetError(f"{shard} cannot be read ({error.strerror or error}); make it readable") from error
    except tarfile.TarError as error:
        raise DatasetError(
            f"{shard} is damaged, compressed, or no tar archive ({error}); write it again, or remove it"
        ) from error
    return members, labels


def _label(shard: Path, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    """Return the text of a label. Raises DatasetError."""
    content = tar.extractfile(entry)
    try:
        return content.read().decode().strip() if content is not None else ""
    except UnicodeDecodeError as error:
        raise DatasetError(f"{entry.name} in {shard} is no text in UTF-8; write the name of a class there") from error


def _key(name: str) -> str:
    """Return what the files of one sample have in common: all before the first dot of the name, with the folder."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]
