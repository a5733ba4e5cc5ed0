"""What is where in a photo: labels with their boxes, found with a network that classifies whole photos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.detection.boxes import Region, around, best_box, covered, overlap, resized, shared_area
from retrieval.detection.convolutional import ScoreMaps
from retrieval.detection.pyramid import Level, cut, levels
from retrieval.models.model import Label, labels_of
from retrieval.searching.wordnet import kinds_of

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_PROBABILITY = 0.2
"""Least probability of a detection, where no other is asked for."""
TOP = 10
APART = 0.3
"""Windows of one label that overlap less may be two things."""
AS_PROBABLE = 0.5
"""The same label again counts where it is at least so probable, as a share of where it is most probable."""
VALLEY = 0.75
"""Boxes of one label that touch are of one thing, unless it is cooler than this share of both somewhere between."""
PLACES = 64
"""Places on a side of the heat map in which that is looked for."""
SAME_PLACE = 0.5
"""Boxes that overlap more are of one thing, whatever their labels."""
SAME_THING = 0.5
"""So much of the smaller of two boxes lies in the other where labels that say the same are of one thing."""


@dataclass(frozen=True, slots=True)
class Found:
    """A label, and where in the photo it is."""

    label: str
    id: str | None
    probability: float
    region: Region


@dataclass(frozen=True, slots=True)
class Part:
    """How probable a class is in a window, and its box there: of a thing, or of a part of one."""

    probability: float
    box: Region


@dataclass(frozen=True, eq=False)
class Scene:
    """What was found in a photo, the most probable first, and the heat (rows, columns) of all of it, 0 to 1."""

    found: tuple[Found, ...]
    heat: NDArray[np.float32]


def look(
    maps: ScoreMaps,
    image: "Image",
    *,
    min_probability: float = MIN_PROBABILITY,
    top: int = TOP,
    scales: Sequence[float] | None = None,
) -> Scene:
    """Find things in a photo: in windows of several sizes, the labels that are probable, and in each window their box.

    Boxes of one label that show parts of one thing are joined. Of boxes in one place only the most probable is kept.
    """
    labels, objects = labels_of(maps.spec), objects_of(maps)
    seen = list(levels(maps, image, scales))
    whole = seen[0].windows.max(axis=(1, 2))
    things = list[Found]()
    for number in range(*objects.indices(len(labels))):
        parts = [part for level in seen for part in _parts(level, whole, number, min_probability)]
        if parts:
            name, id, _ = labels[number]
            heat = seen[len(seen) // 2].heat_of(number)
            things += [Found(name, id, thing.probability, thing.box) for thing in joined(parts, heat)]
    found = best_of(things)[:top]
    return Scene(tuple(found), _heat(seen[0], found, labels))


def main_thing(maps: ScoreMaps, image: "Image") -> Region:
    """Return where the main thing in a photo is: the best box of what the whole photo most probably shows."""
    level = next(levels(maps, image))
    probabilities = level.windows[objects_of(maps)]
    label = int(np.argmax(probabilities.max(axis=(1, 2))))
    return locate(level, label)


def cut_out(maps: ScoreMaps, image: "Image") -> "Image":
    """Return the part of a photo in which the main thing is."""
    x, y, width, height = main_thing(maps, image).pixels(*image.size)
    return image.crop((x, y, x + width, y + height))


def locate(level: Level, label: int) -> Region:
    """Return the best box of a class, by its number, in a whole photo."""
    return best_box(level.heat_of(label), level.threshold)


def objects_of(maps: ScoreMaps) -> slice:
    """Return the classes that can have a place in a photo: of several groups the first that has WordNet ids.

    A scene is all of the photo.
    """
    for place in maps.spec.slices.values():
        if all(known.id for known in maps.spec.classes[place]):
            return place
    return next(iter(maps.spec.slices.values()))


def _parts(level: Level, whole: NDArray[np.float32], number: int, least: float) -> Iterator[Part]:
    """Yield the boxes of a class in windows where it is probable; of windows that overlap, in the most probable one.

    The probability is the geometric mean of what the network says of the window and of the largest windows, `whole`
    (classes,): a small part of a photo without the rest often looks like something else.
    """
    windows = np.sqrt(level.windows[number] * whole[number])
    places = np.argwhere(windows >= max(least, AS_PROBABLE * float(windows.max())))
    if not len(places):
        return
    heat = level.heat_of(number)
    taken: list[Region] = []
    for row, column in places[np.argsort(-windows[tuple(places.T)], kind="stable")]:
        frame = level.region(int(row), int(column))
        if any(overlap(frame, other) > APART for other in taken):
            continue
        taken.append(frame)
        within = cut(heat, frame)
        box = best_box(within / max(float(within.max()), 1e-6), level.threshold).within(frame)
        yield Part(float(windows[row, column]), box)


def joined(parts: Sequence[Part], heat: NDArray[np.float32]) -> list[Part]:
    """Return the things that parts of one class are of: the box around the parts of each, and the best probability."""
    plane = resized(heat, PLACES, PLACES)
    things = list[list[Part]]()
    for part in parts:
        same = [thing for thing in things if any(_one_thing(part.box, other.box, plane) for other in thing)]
        things = [thing for thing in things if thing not in same] + [[part, *chain.from_iterable(same)]]
    return [Part(max(part.probability for part in thing), around([part.box for part in thing])) for thing in things]


def _one_thing(one: Region, other: Region, plane: NDArray[np.float32]) -> bool:
    """Tell whether two boxes of one class touch, and its heat has no valley on the way between their middles.

    Two that stand side by side are two where it is cooler between them; a long one, seen in two windows, is one.
    """
    if covered(one, other) > SAME_THING:
        return True
    if shared_area(one, other) <= 0:
        return False
    way = np.linspace(np.array(one.middle), np.array(other.middle), PLACES)
    columns, rows = np.minimum(way * PLACES, PLACES - 1).astype(int).T
    values = plane[rows, columns]
    return bool(values.min() >= VALLEY * min(values[0], values[-1]))


def best_of(candidates: Sequence[Found]) -> list[Found]:
    """Return the most probable of boxes in the same place (non-maximum suppression), best first.

    Labels that say the same at two depths of WordNet count as one: the more probable one stays.
    """
    kept: list[Found] = []
    for one in sorted(candidates, key=lambda found: -found.probability):
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _same(one: Found, other: Found) -> bool:
    if overlap(one.region, other.region) > SAME_PLACE:
        return True
    return say_the_same(one, other) and covered(one.region, other.region) > SAME_THING


def say_the_same(one: Found, other: Found) -> bool:
    """Tell whether two labels are one, or one is a kind of the other by WordNet."""
    if one.label == other.label and one.id == other.id:
        return True
    if one.id is None or other.id is None:
        return False
    return one.id in kinds_of(other.id) or other.id in kinds_of(one.id)


HEAT = 64
"""Places of a heat map for a picture, on its longer side."""


def _heat(level: Level, found: Sequence[Found], labels: Sequence[Label]) -> NDArray[np.float32]:
    """Return one heat map for all that was found: at each place the warmest of the labels, as far as it is probable."""
    by_name = {(name, id): number for number, (name, id, _) in enumerate(labels)}
    planes = [level.heat_of(by_name[one.label, one.id]) * one.probability for one in found]
    plane = np.max(planes, axis=0) if planes else np.zeros(level.heat.shape[1:], np.float32)
    return np.clip(resized(plane, HEAT, HEAT), 0.0, 1.0)
