"""Filter expressions of Milvus, and the text that they compare: all of them are made here.

What Milvus stores of paths and classes is percent-encoded, as in a URL: letters, digits and `_.-~/%` are all there is.
So nothing that a file or a label is called can end a string of an expression, or be an escape or a wildcard in it, and
bytes that are no valid UTF-8 can be stored. Encoded paths keep what they begin with, and their slashes.
"""

import os
from collections.abc import Sequence
from urllib.parse import quote_from_bytes, unquote_to_bytes

from index.catalog.rows import pack_taken
from index.catalog.selection import Selection

ID, PATH, HASH, CLASSES, TAKEN = "id", "path", "content_hash", "classes", "taken"
NAMES = "names"
"""In `classes`: the encoded names of classes. Their probabilities are beside them."""
STATE_ID = 0
"""The row that has the state of the collection. Ids of photos begin at 1."""
PHOTOS = f"{ID} > {STATE_ID}"
SKIPPED_PHOTOS = f"{ID} < {STATE_ID}"


def encoded(text: bytes | str) -> str:
    """Return any bytes, or a text that may have surrogate escapes, as ASCII without quotes, backslashes and spaces."""
    return quote_from_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), safe="/")


def decoded_path(stored: str) -> bytes:
    """Return the path that was `encoded`."""
    return unquote_to_bytes(stored)


def at_path(path: bytes) -> str:
    """Make the condition for the photo with this absolute path."""
    return f'{PATH} == "{encoded(path)}"'


def below(folder: bytes) -> str:
    """Make the condition for photos below an absolute path."""
    inside = encoded(folder.rstrip(b"/"))
    # 0 is the character after the slash, so all that begins with "folder/" sorts before "folder0".
    return f'({PATH} >= "{inside}/" and {PATH} < "{inside}0")'


def at_or_below(path: bytes) -> str:
    """Make the condition for photos at or below an absolute path."""
    return f"({at_path(path)} or {below(path)})"


def any_path_of(paths: Sequence[bytes]) -> str:
    """Make the condition for photos with one of these absolute paths."""
    names = ", ".join(f'"{encoded(path)}"' for path in paths)
    return f"{PATH} in [{names}]"


def any_content_of(hashes: Sequence[bytes]) -> str:
    """Make the condition for photos whose files have one of these contents."""
    names = ", ".join(f'"{content.hex()}"' for content in hashes)
    return f"{HASH} in [{names}]"


def with_any_class(classes: Sequence[str]) -> str:
    """Make the condition for photos that have any of these classes stored, however probable."""
    names = ", ".join(f'"{encoded(name)}"' for name in classes)
    return f'json_contains_any({CLASSES}["{NAMES}"], [{names}])'


def selected(selection: Selection | None) -> str:
    """Make the condition for the photos that may be selected, "" for all.

    How probable classes are together is not in it: expressions cannot add up.
    """
    terms = []
    if selection and selection.folders:
        terms.append(f"({' or '.join(at_or_below(os.fsencode(folder)) for folder in selection.folders)})")
    if selection and selection.classes:
        terms.append(with_any_class(selection.classes))
    if selection and (selection.since or selection.before):
        # What says nothing of its time is the empty text, which comes before all others.
        terms.append(f'{TAKEN} >= "{encoded(pack_taken(selection.since) or "0")}"')
    if selection and selection.before:
        terms.append(f'{TAKEN} < "{encoded(pack_taken(selection.before))}"')
    return " and ".join([*terms, PHOTOS] if terms else [])


def ids_between(after: int, last: int) -> str:
    """Make the condition for ids greater than `after`, up to `last`."""
    return f"({ID} > {int(after)} and {ID} <= {int(last)})"
