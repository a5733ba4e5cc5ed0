"""The picture of a detection: boxes with their labels on the photo, and beside it the heat map."""

from PIL import Image, ImageDraw

from retrieval.detection.detect import Found, Scene
from retrieval.figures.drawing import GAP, INK, MARGIN, PAPER, SMALL, TEXT, fitted, font, shortened, text_width, warmed

SIDE = 720
"""Pixels of the longer side of the photo."""
COLOURS = ("#e4572e", "#1c7ed6", "#2f9e44", "#ae3ec9", "#f08c00", "#0c8599", "#c2255c", "#5c7cfa", "#74b816", "#495057")


def draw_detections(photo: Image.Image, scene: Scene, name: str) -> Image.Image:
    """Draw an upright photo with its boxes, and the heat map of all that was found beside it."""
    shown = fitted(photo, SIDE)
    heat = warmed(shown, scene.heat)
    # From the least probable to the most, which so lies on top.
    draw = ImageDraw.Draw(shown)
    for number, found in reversed(list(enumerate(scene.found))):
        _box(draw, shown.size, found, COLOURS[number % len(COLOURS)])
    top = MARGIN + TEXT + GAP
    # A panorama has its heat map below it.
    beside = shown.width < 2 * shown.height
    place = (MARGIN + shown.width + GAP, top) if beside else (MARGIN, top + shown.height + GAP)
    width, height = place[0] + shown.width + MARGIN, place[1] + shown.height + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    sheet.paste(shown, (MARGIN, top))
    sheet.paste(heat, place)
    told = name if scene.found else f"{name}: nothing is probable enough"
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN - 6), shortened(told, width - 2 * MARGIN), INK, font(TEXT))
    return sheet


def _box(draw: ImageDraw.ImageDraw, size: tuple[int, int], found: Found, colour: str) -> None:
    x, y, width, height = found.region.pixels(*size)
    draw.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=3)
    text = shortened(f"{found.label}  {found.probability:.0%}", size[0] - 12, SMALL)
    across, high = text_width(text, SMALL) + 10, SMALL + 8
    left = max(0, min(x, size[0] - across))
    upper = y - high if y >= high else y
    draw.rectangle((left, upper, left + across, upper + high), fill=colour)
    draw.text((left + 5, upper + 2), text, "white", font(SMALL))
