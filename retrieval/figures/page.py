"""What pages in one file are made of: pictures in the page itself, links to photos, the colours of all pictures."""

import base64
import html
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

from PIL import Image

from index.files import absolute
from index.object_path import as_path
from retrieval.figures.style import DARK, LIGHT, Theme

# The page asks no host for anything, whatever names it holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def html_page(title: str, style: str, body: str, script: str = "", *, dark: bool = False) -> str:
    """Return a page; its style may use the colours of a `Theme`: --paper, --ink and so on, --accent_bar.

    They are light or dark as the reader's system is; with `dark` always dark.
    """
    colours = (
        f":root {{ color-scheme: dark; {_colours(DARK)} }}\n"
        if dark
        else f":root {{ color-scheme: light dark; {_colours(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_colours(DARK)} }} }}\n"
    )
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>\n<style>\n{colours}{style.strip()}\n</style>"
    )
    code = f"<script>\n{script.strip()}\n</script>\n" if script else ""
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n{code}</body>\n</html>\n'


def data_address(picture: Image.Image, *, quality: int = 80) -> str:
    """Return a picture as the address of an <img>, a JPEG in the address itself."""
    data = BytesIO()
    picture.save(data, "JPEG", quality=quality, optimize=True)
    return jpeg_address(data.getvalue())


def jpeg_address(data: bytes) -> str:
    """Return a JPEG as the address of an <img>."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def file_address(path: Path) -> str:
    """Return the address of a file for an attribute."""
    return html.escape(as_path(absolute(path)).as_uri())


def _colours(theme: Theme) -> str:
    return "; ".join(f"--{name}: {colour}" for name, colour in asdict(theme).items())
