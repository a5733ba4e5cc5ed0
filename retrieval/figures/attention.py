"""The picture of what in a photo speaks for a label."""

from PIL import Image

from retrieval.detection.attention import attention
from retrieval.figures.canvas import PLAIN, Look
from retrieval.figures.drawing import fitted, tiles, warmed
from retrieval.models.model import Model, model_word
from retrieval.searching.labels import classes_called

SIDE = 420


def draw_attention(model: Model, photo: Image.Image, label: str, look: Look = PLAIN) -> Image.Image:
    """Draw a photo, and beside it what speaks for a label, which is a name, a WordNet id or a word for several classes.

    Raises UserError for a label that the model does not know, ModelError where it has no classes.
    """
    known = {found: number for number, found in enumerate(model.spec.classes)}
    classes = [known[found] for found in classes_called(label, model.spec, model=model_word(model.path))]
    seen, heat, probability, method = attention(model, photo, classes)
    shown = fitted(seen, SIDE * look.scale)
    title = f"{label}: {probability:.1%} ({model.spec.name})"
    pictures, captions = [shown, warmed(shown, heat)], ["what is looked at", method]
    return tiles(pictures, captions, columns=2, side=SIDE, title=title, look=look)
