"""How well a network finds where the labelled thing in a picture is: localisation as ILSVRC measures it."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from index.errors import PhotoError, UserError
from index.records import SkippedPhoto
from retrieval.detection.boxes import WHOLE, Region, overlap
from retrieval.detection.convolutional import ScoreMaps
from retrieval.detection.detect import locate
from retrieval.detection.pyramid import levels
from retrieval.photos.decode import Photo
from retrieval.pipeline.executor import LOOK_AHEAD, photo_threads, run_ahead
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress

COLUMNS = ("file", "x_min", "y_min", "x_max", "y_max")
RIGHT = 0.5
"""From this overlap on a box counts as right."""
GUESSES = 5
CENTRES = np.arange(0.5, 1.0, 0.02)
"""Sides of the centre boxes that are tried as a baseline, as shares of the picture's."""

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Localisation:
    """Shares from 0 to 1 over `pictures` pictures of which the box is known; a box is right from an overlap of 0.5 on.

    `localised` have their label among five and the box of that label right, as ILSVRC counts (Russakovsky et al. 2015,
    section 4.2); `located` are right with the label given. Baselines with the label given: `whole`, the box is the
    picture; `centre`, the best fixed box in the middle, whose side is `centre_side` of the picture's.
    """

    pictures: int
    localised: float
    located: float
    mean_overlap: float
    whole: float
    centre: float
    centre_side: float
    skipped: tuple[SkippedPhoto, ...] = ()


def read_boxes(path: Path) -> dict[str, Corners]:
    """Read the boxes of pictures by file name, (x_min, y_min, x_max, y_max) in pixels, the last ones inside.

    The file is CSV with these columns and `file`; others are left alone. Raises UserError, with the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
                raise UserError(f"{path} has no column {missing[0]}; it needs {', '.join(COLUMNS)}")
            boxes: dict[str, Corners] = {}
            for row in table:
                try:
                    x0, y0, x1, y1 = (int(row[name]) for name in COLUMNS[1:])
                    if not (0 <= x0 <= x1 and 0 <= y0 <= y1):
                        raise ValueError
                except (TypeError, ValueError):
                    raise UserError(
                        f"line {table.line_num} of {path} has no box: four pixels, from least to most"
                    ) from None
                boxes[row["file"]] = (x0, y0, x1, y1)
            return boxes
    except OSError as error:
        raise UserError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no table of boxes ({error})") from error


@dataclass(frozen=True)
class _Answer:
    given: float
    """Overlap of the box of the given label."""
    named: bool
    whole: float
    centres: tuple[float, ...]


def localise(
    maps: ScoreMaps,
    paths: Sequence[Path],
    labels: Sequence[int],
    boxes: Mapping[str, Corners],
    *,
    progress: Progress | None = None,
) -> Localisation:
    """Measure localisation on the pictures that have a box, by their file names; `labels` number the model's classes.

    Pictures that cannot be read are left out and listed. Raises UserError if none has a box.
    """
    known = [(path, label) for path, label in zip(paths, labels, strict=True) if path.name in boxes]
    if not known:
        raise UserError("none of the pictures has a box: the file names them otherwise")
    jobs = ((path, partial(_answer, maps, path, label, boxes[path.name])) for path, label in known)
    answers, skipped = list[_Answer](), list[SkippedPhoto]()
    with photo_threads() as threads:
        for done, (path, answer) in enumerate(run_ahead(jobs, threads, look_ahead=LOOK_AHEAD), 1):
            if isinstance(answer, PhotoError):
                skipped.append(SkippedPhoto(path, str(answer)))
            else:
                answers.append(answer)
            if progress is not None:
                progress(done, len(known))
    if not answers:
        raise UserError("none of the pictures that have a box can be read")
    return _summary(answers, tuple(skipped))


def _summary(answers: Sequence[_Answer], skipped: tuple[SkippedPhoto, ...]) -> Localisation:
    def share(of: Callable[[_Answer], bool]) -> float:
        return sum(map(of, answers)) / len(answers)

    centres = (np.array([answer.centres for answer in answers]) >= RIGHT).mean(axis=0)
    best = int(np.argmax(centres))
    return Localisation(
        pictures=len(answers),
        localised=share(lambda answer: answer.named and answer.given >= RIGHT),
        located=share(lambda answer: answer.given >= RIGHT),
        mean_overlap=float(np.mean([answer.given for answer in answers])),
        whole=share(lambda answer: answer.whole >= RIGHT),
        centre=float(centres[best]),
        centre_side=round(float(CENTRES[best]), 2),
        skipped=skipped,
    )


def _answer(maps: ScoreMaps, path: Path, label: int, corners: Corners) -> _Answer:
    def measured(photo: Photo) -> _Answer:
        level = next(levels(maps, photo.image))
        windows = level.windows.mean(axis=(1, 2))
        group = next(place for place in maps.spec.slices.values() if place.start <= label < place.stop)
        rank = int((windows[group] > windows[label]).sum())
        right = _region(corners, photo.width, photo.height)
        margins = (1 - CENTRES) / 2
        return _Answer(
            given=overlap(locate(level, label), right),
            named=rank < GUESSES,
            whole=overlap(WHOLE, right),
            centres=tuple(overlap(Region(m, m, 1 - m, 1 - m), right) for m in margins.tolist()),
        )

    return decode_within_budget(path, measured, shorter_side=round(maps.spec.crop * 1.5))


def _region(corners: Corners, width: int, height: int) -> Region:
    """Return corners, which are pixels that the box has, as shares: the first pixel is 0, the last one 1."""
    x0, y0, x1, y1 = corners
    across, down = max(width - 1, 1), max(height - 1, 1)
    return Region(x0 / across, y0 / down, x1 / across, y1 / down)
