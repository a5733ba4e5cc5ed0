"""A process that writes or reads an index until it is killed: `python index_process.py add|finish|save|read FOLDER`."""

import sys
from pathlib import Path

from photo_samples import SampleFile, bring_up_to_date, embed, new_photo, open_for_writing

from index.photo_index import PhotoIndex

ROOT = Path("/photos")
BATCH = 5
ENOUGH = 100
FILES = {b"%05d.jpg" % name: SampleFile(b"content %d" % name) for name in range(20_000)}
QUERY = embed(b"query")[None]


def add(folder: Path) -> None:
    """Store batch after batch, and say so after each."""
    with open_for_writing(folder) as index:
        sync = index.begin_sync(ROOT, {path: file.stamp for path, file in FILES.items()})
        print("to read", len(sync.to_read), flush=True)
        for start in range(0, len(sync.to_read), BATCH):
            sync.add([new_photo(path, FILES[path]) for path in sync.to_read[start : start + BATCH]])
            print("stored", flush=True)


def finish(folder: Path) -> None:
    """End one sync after another, each with a batch more than the one before, so that the file is written each time."""
    with open_for_writing(folder) as index:
        index.set_kind("IVF2,SQ8")
        for photos in range(BATCH, len(FILES), BATCH):
            bring_up_to_date(index, ROOT, dict(list(FILES.items())[:photos]), batch_size=BATCH)


def save(folder: Path) -> None:
    """Write the vectors again and again."""
    with open_for_writing(folder) as index:
        print("ready", flush=True)
        while True:
            index.rebuild()


def read(folder: Path) -> None:
    """Say how many photos are found, until it is enough, and stop at what seems wrong."""
    with PhotoIndex.open(folder, fingerprint="abc") as index:
        found = -1
        while found < ENOUGH:
            written = (folder / "vectors.faiss").exists()
            found = len(index.search(QUERY, len(FILES))[0])
            print(found, flush=True)
            if written and (problems := index.problems()):
                sys.exit(str(problems))


if __name__ == "__main__":
    {"add": add, "finish": finish, "save": save, "read": read}[sys.argv[1]](Path(sys.argv[2]))
