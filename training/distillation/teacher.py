"""The answers of the teacher, a better network, about pictures: computed once for each, and kept."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.errors import OutOfMemoryError, PhotoError, UserError
from retrieval.models.model import Model
from retrieval.photos.decode import Photo
from retrieval.pipeline.machine import usable_cores
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress
from training.data.row_store import RowStore, split_key
from training.loop.interrupt import deferred_interrupts

BATCH = 32
"""Pictures that the teacher is asked about together."""


@dataclass(frozen=True, eq=False)
class Answers:
    """A teacher's probabilities (n, classes) and embeddings (n, dim) of n pictures; zeros for unreadable ones."""

    probabilities: NDArray[np.float16]
    embeddings: NDArray[np.float16]
    problems: Mapping[int, str] = field(default_factory=dict)
    """Why pictures could not be read, by their number."""

    def __len__(self) -> int:
        return len(self.embeddings)


def kept_answers(
    teacher: Model,
    paths: Sequence[Path],
    root: Path,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> Answers:
    """Return what the teacher says of the pictures; what `folder` has of it is not asked for again.

    It sees the same part of a picture that it sees in use, once. The student learns on crops of the middle square, of
    which a teacher may see only the middle 7/8. (Beyer et al. 2021 ask again for each crop, which here would take
    longer than learning.) Of a teacher with several groups of classes, the probabilities are those of the first. Raises
    RunError, and KeyboardInterrupt after a signal that asked to stop; the answers so far are kept.
    """
    classes, dim = len(teacher.spec.classes), teacher.spec.dim
    key = split_key(paths, root, teacher.spec.fingerprint)
    store = RowStore(folder, "answers", key, len(paths), (classes + dim,), np.float16)

    def prepare(photo: Photo) -> NDArray[np.uint8]:
        return teacher.prepare(photo.image)

    def ask(numbers: range) -> tuple[NDArray[np.float16], dict[int, str]]:
        answers, problems = np.zeros((len(numbers), classes + dim), np.float16), {}
        pixels, rows = [], []
        for row, number in enumerate(numbers):
            try:
                pixels.append(decode_within_budget(paths[number], prepare, shorter_side=teacher.resize))
            except OutOfMemoryError as error:  # not kept: it is no fault of the picture
                raise UserError(f"{paths[number]}: {error}") from error
            except PhotoError as error:
                problems[number] = str(error)  # told by whoever decodes it to learn from
                continue
            rows.append(row)
        if rows:
            outputs = teacher.run_uncalibrated(pixels)
            answers[rows] = np.concatenate([outputs.probabilities, outputs.embedding], axis=1)
        return answers, problems

    with (
        deferred_interrupts() as interrupted,
        ThreadPoolExecutor(1 if teacher.on_gpu else usable_cores()) as threads,
    ):

        def compute(block: range) -> tuple[NDArray[np.float16], dict[int, str]]:
            parts = [block[start : start + BATCH] for start in range(0, len(block), BATCH)]
            answers, problems = zip(*threads.map(ask, parts), strict=True)
            return np.concatenate(answers), {number: why for part in problems for number, why in part.items()}

        try:
            store.fill(compute, progress=progress, stop=interrupted)
        except BaseException:
            # Python cannot end well while ONNX Runtime computes in its threads.
            threads.shutdown(cancel_futures=True)
            raise
        if interrupted():
            raise KeyboardInterrupt
    first = next(iter(teacher.spec.slices.values()))
    return Answers(store.rows[:, first], store.rows[:, classes:], store.problems)
