"""What a search of folders leaves out: bins, snapshots, thumbnails and backups, and what people say.

People say it in `.fc7ignore` files, which have the rules of `.gitignore`, and by patterns of the same form that an
index remembers. As in git, a line applies to what lies below its file, the last line that matches decides, files in
inner folders come before those in outer ones, and patterns that were given come before all files.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import OptionError, PhotoError
from index.files import path_below
from index.object_path import as_path
from retrieval.photos.files import are_there, read_photo

if TYPE_CHECKING:
    from pathspec import RegexPattern

IGNORE_FILE = b".fc7ignore"

LEFT_OUT = (
    # Bins: Synology, QNAP, Windows (two names since Vista, two before), other NAS systems, macOS, Nextcloud.
    *("#recycle", "#Recycle", "@Recycle", "$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "RECYCLED"),
    *("Recycle Bin", "Network Recycle Bin*", "Network Trash Folder", "files_trashbin"),
    # Snapshots: Synology, QNAP, NetApp, snapper, Windows over Samba.
    *("#snapshot", "@sharesnap", "@Recently-Snapshot", "~snapshot", "@snapshots", "@GMT-*"),
    # Backups: Time Machine, File History of Windows, old versions in Nextcloud.
    *("Backups.backupdb", "FileHistory", "files_versions"),
    # Thumbnails and previews: Synology, QNAP, Lightroom, Nextcloud, iPhoto and iTunes.
    *("@eaDir", "@SynoResource", "@__thumb", "@Transcode", "*.lrdata", "appdata_*", "iPod Photo Cache"),
    # What systems and programs keep for themselves.
    *("System Volume Information", "lost+found", "@tmp", "__MACOSX", "node_modules"),
)
"""Files and folders that are left out, besides hidden ones: names as their systems write them, `*` for anything."""

LIBRARIES = (".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary")
"""How the names of folders end in which Apple's programs keep photos; only the originals in them are photos."""
_ORIGINALS = {b"originals", b"Originals", b"Masters"}

_LISTED = re.compile("|".join(map(translate, LEFT_OUT)).encode())
_LIBRARY_SUFFIXES = tuple(suffix.encode() for suffix in LIBRARIES)


def is_left_out(name: bytes, parent: bytes = b"") -> bool:
    """Tell whether a file or folder of this name is left out of every search; `parent` is the name of its folder."""
    if name.startswith(b".") or _LISTED.match(name):
        return True
    return parent.endswith(_LIBRARY_SUFFIXES) and name not in _ORIGINALS


def is_listed(path: bytes) -> bool:
    """Tell whether a path leads through a bin, a snapshot or the like, by the name of one of its folders."""
    return any(_LISTED.match(name) for name in path.split(b"/"))


def in_library(path: bytes) -> bool:
    """Tell whether a file lies in a library of Apple's programs, which would miss it."""
    return any(name.endswith(_LIBRARY_SUFFIXES) for name in path.split(b"/")[:-1])


def check_patterns(patterns: Iterable[str]) -> None:
    """Raise OptionError for a pattern that has no meaning in a `.gitignore`."""
    for pattern in patterns:
        try:
            # An empty line and a comment are no mistakes in a file, but they are in an option.
            if "\n" in pattern or not _rules([pattern]):
                raise ValueError
        except ValueError:
            raise OptionError(
                f"{pattern!r} is not a pattern of what is left out",
                hint="patterns are written as in a .gitignore, for example: --exclude 'export/' --exclude '*.gif'",
            ) from None


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line of an ignore file: what it says of the paths that it matches, or only of folders."""

    leaves_out: bool
    folders_only: bool
    pattern: "RegexPattern"

    def matches(self, path: str, *, folder: bool) -> bool:
        """Tell whether it matches a path itself, and not only a folder above it: those were asked about before."""
        if self.folders_only and not folder:
            return False
        found = self.pattern.match_file(path)
        # pathspec calls the slash by which a folder above matches "ps_d".
        return found is not None and found.match.groupdict().get("ps_d") is None


Rules = tuple[_Rule, ...]


@dataclass(frozen=True, slots=True)
class Exclusions:
    """What is left out in one folder of a search; paths are relative to `root`, bytes, `/` between the parts."""

    root: Path
    base: bytes = b""
    """The folder that is searched, where it lies below the root, with a slash behind it."""
    given: Rules = ()
    files: tuple[tuple[str, Rules], ...] = ()
    """The rules of ignore files, innermost first, each with its folder and a slash behind it."""
    brought_back: frozenset[bytes] = frozenset()
    """Names that are not left out, although LEFT_OUT has them or they are hidden."""

    @classmethod
    def made(cls, root: Path, patterns: Sequence[str] = (), folder: Path | None = None) -> "Exclusions":
        """Begin a search of `folder`, which is `root` or lies below it. Raises PhotoError as `entering` does."""
        made = cls(root, given=_rules(patterns), brought_back=_brought_back(patterns))
        base = path_below(os.fsencode(folder or root), os.fsencode(root)) or b""
        # What the folders above say, so that a folder that is searched alone has what it has in the whole.
        above = b""
        for name in base.split(b"/") if base else []:
            if are_there([as_path(os.path.join(os.fsencode(root), above, IGNORE_FILE))])[0]:
                made = made.entering(above)
            above = os.path.join(above, name)
            if made.leave_out(above, folder=True):
                return replace(made, base=base + b"/", given=_rules(["*"]))
        return replace(made, base=base and base + b"/")

    def entering(self, folder: bytes) -> "Exclusions":
        """Return what holds in a folder (relative to where the search began) that has an ignore file of its own.

        Raises PhotoError, with the reason, where that cannot be read: photos must not be indexed by mistake.
        """
        inside = (self.base + folder).rstrip(b"/")
        place = as_path(os.path.join(os.fsencode(self.root), inside, IGNORE_FILE))
        try:
            lines = read_photo(place).decode("utf-8-sig", "surrogateescape").splitlines()
            rules = _rules(lines)
        except PhotoError as error:
            raise PhotoError(f"its .fc7ignore cannot be read: {error}") from error
        except ValueError as error:
            raise PhotoError(f"its .fc7ignore has a line that is no pattern ({error})") from error
        files = ((os.fsdecode(inside and inside + b"/"), rules), *self.files)
        return replace(self, files=files, brought_back=self.brought_back.union(_brought_back(lines)))

    def has_name(self, name: bytes, parent: bytes) -> bool:
        """Tell whether a file or folder is left out by its name, and was not brought back by it."""
        return is_left_out(name, parent) and name not in self.brought_back

    def leave_out(self, path: bytes, *, folder: bool) -> bool:
        """Tell whether people said that a file or folder of the search is left out."""
        if not self.given and not self.files:
            return False
        text = os.fsdecode(self.base + path)
        for place, rules in (("", self.given), *self.files):
            for rule in reversed(rules):
                if rule.matches(text.removeprefix(place), folder=folder):
                    return rule.leaves_out
        return False


def _rules(lines: Iterable[str]) -> Rules:
    lines = list(lines)
    if not lines:
        return ()
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    rules = []
    for line in lines:
        folders_only = line.rstrip().endswith("/")
        pattern = GitIgnoreSpecPattern(line.rstrip().rstrip("/") if folders_only else line)
        if pattern.include is not None:  # neither empty nor a comment
            rules.append(_Rule(pattern.include, folders_only, pattern))
    return tuple(rules)


def _brought_back(lines: Iterable[str]) -> frozenset[bytes]:
    return frozenset(os.fsencode(line[1:].strip().strip("/")) for line in lines if line.startswith("!"))
