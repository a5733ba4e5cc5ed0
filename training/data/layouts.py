"""What is wrong with the layout of a folder that should hold a folder of pictures for each class."""

import os
from collections.abc import Collection
from pathlib import Path

from retrieval.photos.exclusions import is_left_out
from retrieval.photos.scan import has_photo_suffix


def layout_problem(root: Path, classes: Collection[str] | None = None) -> str:
    """Say that the pictures below a folder lie too deep or too high, and which folder to name; empty if neither is so.

    `classes` are the names that its folders may have, if not any.
    """
    here, folders = _pictures_and_folders(root)
    if here and not any(_pictures_and_folders(folder)[0] for folder in folders):
        if classes is not None and root.name in classes:
            return f"{root} is the folder of one class; name the folder that it lies in, {root.parent}"
        return (
            f"the pictures lie one level too high, in {root} itself; make a folder for each class in it, and move them "
            "there"
        )
    inside = {folder: _pictures_and_folders(folder) for folder in folders}
    deep = [folder for folder, (pictures, below) in inside.items() if not pictures and _holds_classes(below, classes)]
    if not deep or any(pictures for pictures, _ in inside.values()):
        return ""
    place = deep[0] if len(deep) == 1 else f"one of {', '.join(map(str, deep))}"
    return f"the pictures of {root} lie one level too deep; name {place}"


def _holds_classes(folders: Collection[Path], classes: Collection[str] | None) -> bool:
    named = [folder for folder in folders if classes is None or folder.name in classes]
    return len(named) >= 2 and any(_pictures_and_folders(folder)[0] for folder in named)


def _pictures_and_folders(folder: Path) -> tuple[bool, list[Path]]:
    """Return whether pictures lie in a folder itself, and the folders in it; neither where it cannot be read."""
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if not is_left_out(os.fsencode(entry.name))]
    except OSError:
        return False, []
    return (
        any(has_photo_suffix(os.fsencode(entry.name)) and os.path.isfile(entry) for entry in entries),
        [entry for entry in entries if os.path.isdir(entry)],
    )
