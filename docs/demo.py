"""The whole program on real photos: classify three, index all, search with an altered copy, show what was found.

    make demo                      on the sample photos that the wheels of scikit-image and scikit-learn carry
    make demo PHOTOS=~/Pictures    on your own; nothing is written into that folder

Everything is written below build/demo. The commands are the installed ones, each printed before it runs.
"""

import base64
import html
import importlib.util
import io
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

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
TILE, GAP, CAPTION = 224, 16, 44  # pixels of the contact sheet


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
    fc7("search", query, "--index", index, "-k", RESULTS)
    answer = fc7("search", query, "--index", index, "-k", RESULTS, "--format", "json", to=out / "results.json")
    results = [(Path(result["path"]), result["score"]) for result in json.loads(answer)[0]["results"]]

    tiles = [(thumbnail(query), "query", query), *((thumbnail(path), f"{score:.3f}", path) for path, score in results)]
    contact_sheet(tiles).save(out / "results.png")
    (out / "results.html").write_text(page(tiles), encoding="utf-8", errors="surrogateescape")
    print(f"\nThe query and what was found, in {time.monotonic() - start:.0f} s:")
    print(f"  {(out / 'results.png').resolve()}\n  {(out / 'results.html').resolve().as_uri()}")
    if not own:
        of_the_cat = [path.name.startswith("chelsea") for path, _ in results]
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
            open_photo(path, shorter_side=TILE)
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


def thumbnail(path: Path) -> Image.Image:
    return ImageOps.contain(open_photo(path, shorter_side=TILE), (TILE, TILE))


def contact_sheet(tiles: Sequence[tuple[Image.Image, str, Path]]) -> Image.Image:
    """The query alone in the first row, the results below it in rows of four."""
    columns = 4
    rows = 1 + (len(tiles) - 1 + columns - 1) // columns
    size = (columns * (TILE + GAP) + GAP, rows * (TILE + CAPTION + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for number, (image, caption, path) in enumerate(tiles):
        row, column = (0, 0) if number == 0 else divmod(number + columns - 1, columns)
        left, top = GAP + column * (TILE + GAP), GAP + row * (TILE + CAPTION + GAP)
        sheet.paste(image, (left, top + TILE - image.height))
        name = path.name.encode("ascii", "replace").decode()
        draw.text((left, top + TILE + 4), caption, "black", font)
        draw.text((left, top + TILE + 22), name if len(name) <= 28 else f"{name[:12]}...{name[-13:]}", "#555", font)
    return sheet


def page(tiles: Sequence[tuple[Image.Image, str, Path]]) -> str:
    """One HTML file that needs nothing beside it, the photos shown small and linked to where they lie."""
    figures = []
    for image, caption, path in tiles:
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=88)
        source = base64.b64encode(jpeg.getvalue()).decode()
        link, text = html.escape(path.resolve().as_uri()), html.escape(str(path))
        figures.append(
            f'<figure><a href="{link}"><img src="data:image/jpeg;base64,{source}" alt="{html.escape(path.name)}"></a>'
            f"<figcaption><b>{caption}</b> {text}</figcaption></figure>"
        )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>fc7: results</title>
<style>
  body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }}
  main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1.5rem }}
  figure {{ margin: 0 }} img {{ max-width: 100%; border-radius: 4px }}
  figcaption {{ overflow-wrap: anywhere; color: #555 }}
  b {{ color: #000 }}
</style>
<h1>Searched with</h1>
{figures[0]}
<h1>Found, most alike first</h1>
<main>
{chr(10).join(figures[1:])}
</main>
</html>
"""


if __name__ == "__main__":
    main()
