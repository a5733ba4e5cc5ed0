"""The whole program on real photos: classify three, index all, search with an altered copy, show what was found.

    make demo                      on the sample photos that the wheels of scikit-image and scikit-learn carry
    make demo PHOTOS=~/Pictures    on your own; nothing is written into that folder

Everything is written below build/demo. The commands are the installed ones, each printed before it runs.
"""

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

from index.errors import PhotoError
from retrieval.photos.decode import open_photo
from retrieval.photos.scan import expand_paths

OUT = Path("build/demo")
SAMPLES = {
    "skimage/data": "astronaut.png brick.png camera.png cell.png chelsea.png coffee.png coins.png grass.png gravel.png "
    "hubble_deep_field.jpg ihc.png microaneurysms.png moon.png motorcycle_left.png page.png retina.jpg rocket.jpg "
    "text.png",
    "sklearn/datasets/images": "china.jpg flower.jpg",
}
ALTERED = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")
RESULTS = 8


def main() -> None:
    start = time.monotonic()
    own = Path(sys.argv[1]).expanduser().resolve() if len(sys.argv) > 1 and sys.argv[1] else None
    if own is None:
        out = OUT / "samples"
        shutil.rmtree(out, ignore_errors=True)
        photos = write_samples(out / "photos")
        examples = [photos / "coffee.png", photos / "rocket.jpg", photos / "chelsea.png"]
        query = write_query(photos / "chelsea.png", out / "query.jpg")
    elif own.is_dir():
        out, photos = OUT / str(own).strip("/").replace("/", "-"), own
        out.mkdir(parents=True, exist_ok=True)
        examples = list(islice(readable_photos(own), 3))
        if not examples:
            sys.exit(f"Error: no photo that can be read lies in {own}")
        query = examples[0]
    else:
        sys.exit(f"Error: there is no folder {own}; name one that holds photos: make demo PHOTOS=~/Pictures")

    index = out / "index"
    fc7("classify", *examples, "-k", 2)
    fc7("index", photos, "--index", index)
    fc7("search", query, "--index", index, "-k", RESULTS, "--sheet", out / "results.html")
    search = ("search", query, "--index", index, "-k", RESULTS, "--sheet", out / "results.png", "--format", "json")
    answer = fc7(*search, to=out / "results.json")
    print(f"\nThe query and what was found, in {time.monotonic() - start:.0f} s:")
    print(f"  {(out / 'results.png').resolve()}\n  {(out / 'results.html').resolve().as_uri()}")
    if not own:
        of_the_cat = [Path(found["path"]).name.startswith("chelsea") for found in json.loads(answer)[0]["results"]]
        first = of_the_cat.index(False) if False in of_the_cat else len(of_the_cat)
        print(f"Proven: an altered copy finds {sum(of_the_cat)} pictures of the same cat, {first} before any other.")


def fc7(*arguments: object, to: Path | None = None) -> str:
    """Print a command line and run it; what it prints goes on to the terminal, or to a file and back to the caller."""
    words = ["fc7", *map(str, arguments)]
    print(f"\n$ {shlex.join(words)}" + (f" > {shlex.quote(str(to))}" if to else ""), flush=True)
    command = [str(Path(sys.executable).with_name("fc7")), *words[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE if to else None)
    if done.returncode:
        sys.exit(done.returncode)
    if to is None:
        return ""
    to.write_bytes(done.stdout)
    return done.stdout.decode()


def readable_photos(folder: Path) -> Iterator[Path]:
    for path in expand_paths([folder]):
        try:
            open_photo(path, shorter_side=224)
        except PhotoError:
            continue
        yield path


def write_samples(folder: Path) -> Path:
    """Write the sample photos, and four altered copies of some, into a new folder."""
    folder.mkdir(parents=True)
    for place, names in SAMPLES.items():
        package, _, inside = place.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            sys.exit(f"Error: {package} is missing; `make demo` installs it")
        for name in names.split():
            shutil.copy(Path(spec.submodule_search_locations[0], inside, name), folder)
    for original in sorted(folder.iterdir()):
        if original.stem in ALTERED:
            image = open_photo(original)
            width, height = image.size
            crop = image.crop((width // 5, height // 6, width - width // 12, height - height // 8))
            crop.save(folder / f"{original.stem}-cropped.jpg", quality=92)
            ImageOps.mirror(image).save(folder / f"{original.stem}-mirrored.jpg", quality=92)
            recoloured(image).save(folder / f"{original.stem}-recoloured.jpg", quality=92)
            image.save(folder / f"{original.stem}-resaved.jpg", quality=8)
    return folder


def write_query(original: Path, query: Path) -> Path:
    """Write a copy that is altered in every way at once, and is not among the indexed photos."""
    image = open_photo(original)
    width, height = image.size
    part = image.crop((width // 10, height // 10, width - width // 5, height - height // 20))
    recoloured(ImageOps.mirror(part)).save(query, quality=30)
    return query


def recoloured(image: Image.Image) -> Image.Image:
    """A warmer, paler copy, as an old print would look."""
    faded = [
        band.point(lambda v, b=black, w=white: b + v * (w - b) / 255)
        for band, (black, white) in zip(image.split(), [(60, 255), (35, 240), (0, 190)], strict=True)
    ]
    return Image.merge("RGB", faded)


if __name__ == "__main__":
    main()
