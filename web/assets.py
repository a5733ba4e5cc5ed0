"""Scripts and styles of the pages: read once, under addresses that change with them, so that browsers keep them."""

import hashlib
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

FOLDER = Path(__file__).parent / "static"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
KEEP = {"cache-control": "public, max-age=31536000, immutable"}
router = APIRouter(include_in_schema=False)


@lru_cache(maxsize=1)
def assets() -> dict[str, bytes]:
    """Read all files, by name."""
    return {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in KINDS}


@lru_cache(maxsize=1)
def address() -> str:
    """Return the folder of addresses in which all files are as they are now; scripts import each other within it."""
    told = hashlib.sha256()
    for name, data in assets().items():
        told.update(f"{name}\0{len(data)}\0".encode() + data)
    return f"/static/{told.hexdigest()[:16]}"


@router.get("/static/{state}/{name}")
async def asset(state: str, name: str) -> Response:
    """Send one file."""
    if f"/static/{state}" != address() or name not in assets():
        raise HTTPException(404, "there is no such file")
    return Response(assets()[name], media_type=KINDS[Path(name).suffix], headers=KEEP)
