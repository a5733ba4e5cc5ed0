"""What pages in one file are made of: pictures in the page itself, links to photos, the colours of all pictures."""

import base64
import html
from io import BytesIO
from pathlib import Path

from PIL import Image

from index.files import absolute
from retrieval.figures.style import DARK, LIGHT, Theme

# The page asks no host for anything, whatever names it holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def html_page(title: str, style: str, body: str, script: str = "") -> str:
    """Return a page; its style may use the colours --paper, --ink, --grey, --line and --accent, in light and dark."""
    colours = (
        f":root {{ color-scheme: light dark; {_colours(LIGHT)} }}\n"
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
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def file_address(path: Path) -> str:
    """Return the address of a file for an attribute."""
    return html.escape(Path(absolute(path)).as_uri())


def _colours(theme: Theme) -> str:
    names = ("paper", "ink", "grey", "line", "accent")
    return "; ".join(f"--{name}: {getattr(theme, name)}" for name in names)
