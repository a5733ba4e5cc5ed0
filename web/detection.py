"""What is where in photos of the index: one photo at a time is looked at, and the last answers are kept."""

import asyncio
from collections import OrderedDict
from typing import Any

from retrieval.answers import detected_photo
from retrieval.detection.convolutional import ScoreMaps
from retrieval.detection.photos import detect_in, side_looked_at
from retrieval.models.model import Model
from web.collection import Collection

KEPT = 500
"""Answers."""


class Detector:
    """Looks at photos with the model of the index, made into one for pictures of any size."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._maps: tuple[str, ScoreMaps] | None = None
        self._answers: OrderedDict[object, dict[str, Any]] = OrderedDict()
        self._looking = asyncio.Lock()

    async def look(self, id: int) -> dict[str, Any]:
        """Tell what is where in a photo: see `detected_photo`.

        Raises PhotoUnknownError, PhotoError, NoMapError for a model whose scores have no places, NoClassesError for one
        without classes, and MissingPackageError (onnx).
        """
        collection, model = self._collection, self._collection.model
        photo = await collection.located(id)
        key = (model.spec.fingerprint, id, photo.state)
        async with self._looking:
            if key not in self._answers:
                maps = await asyncio.to_thread(self._maps_of, model)
                pixels, width, height = await collection.decoder.picture(photo.place, side_looked_at(maps))
                found = await asyncio.to_thread(detect_in, maps, photo.file.path, pixels, width=width, height=height)
                self._answers[key] = dict(detected_photo(found))
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
        return self._answers[key]

    def _maps_of(self, model: Model) -> ScoreMaps:
        if self._maps is None or self._maps[0] != model.spec.fingerprint:
            self._maps = model.spec.fingerprint, ScoreMaps.of(model.path, model.spec)
        return self._maps[1]
