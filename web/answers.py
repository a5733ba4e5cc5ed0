"""The shapes of the API's answers, for its OpenAPI description: those of `retrieval/answers.py`, and what the web adds.

No answer is made from them; tests compare the two.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Label(_Answer):
    """A class of the model."""

    label: str
    id: str | None


class Named(Label):
    """What is in a photo; `group` is there where the model has several groups of classes, and for one's own labels."""

    probability: float
    group: str = ""


class Classified(_Answer):
    """The names of a photo, most probable first, and the terms that are likely enough."""

    path: str
    predictions: list[Named]
    terms: list[Named]


class Photo(_Answer):
    """A photo as it was indexed, and where its pictures are."""

    id: int
    path: str
    width: int
    height: int
    bytes: int
    modified: str
    taken: str | None
    thumbnail: str
    preview: str


class Found(Photo):
    """A result: its score, or the probability where only labels were asked for."""

    score: float = 0
    probability: float = 0
    copy_of: str | None
    is_query: bool
    missing: bool = False


class Search(_Answer):
    """Results, the best first."""

    query: str
    results: list[Found]


class Page(_Answer):
    """Photos by id, and what to give as `after` for the next page, null at the end."""

    photos: list[Photo]
    next: int | None


class Photos(_Answer):
    """Photos by id."""

    photos: list[Photo]


class PhotoFacts(Photo):
    """A photo with its names and what the camera wrote; `missing` where its file is not there now."""

    predictions: list[Named]
    terms: list[Named] = []
    facts: dict[str, str]
    missing: bool


class Detection(Label):
    """What is at a place: x, y, width and height in pixels."""

    probability: float
    box: Annotated[list[int], Field(min_length=4, max_length=4)]


class Detections(_Answer):
    """What is where in a photo."""

    id: int
    path: str
    detections: list[Detection]


class Group(_Answer):
    """Copies of each other, the best first."""

    likeness: Literal["exact", "altered", "alike"]
    kept_because: list[str]
    photos: list[Photo]


class Groups(_Answer):
    """Groups of copies, of `total`; photos were left out where their files have changed."""

    total: int
    left_out: int
    groups: list[Group]


class Comparing(_Answer):
    """How many photos were compared, of how many."""

    running: Literal[True]
    done: int
    total: int


class Different(_Answer):
    """Photos that are no copies of each other, or may be again."""

    ids: list[int]
    different: bool


class OwnLabel(_Answer):
    """A label that the user has taught."""

    label: str
    photos: int
    examples: int
    counterexamples: int
    created: str


class Labels(_Answer):
    """What photos can be searched for by; `text` where that may be any words."""

    own: list[OwnLabel]
    labels: list[Label]
    text: bool


class Folders(_Answer):
    """The indexed folders."""

    folders: list[str]
    photos: int


class Health(_Answer):
    """The index can be read."""

    status: Literal["ok"]


class Map(_Answer):
    """The ids of all photos, and the place of each, from 0 to 1."""

    ids: list[int]
    places: list[Annotated[list[float], Field(min_length=2, max_length=2)]]


class Skipped(_Answer):
    """A photo that cannot be read, and why."""

    path: str
    reason: str


class Incomplete(_Answer):
    """A photo of which a part is missing."""

    path: str
    missing: str


class Changes(_Answer):
    """What was done in a folder; all counts are 0 where it could not be `seen`."""

    folder: str
    new: int
    changed: int
    moved: int
    copied: int
    removed: int
    unchanged: int
    skipped: list[Skipped]
    incomplete: list[Incomplete]
    unread: dict[str, int]
    skipped_count: int
    still_skipped: int
    seen: bool


class IndexingRun(_Answer):
    """How far a run over folders is, or how it ended."""

    number: int
    state: Literal["running", "done", "failed", "stopped"]
    folders: list[str]
    after: int
    done: int
    total: int
    doing: str
    warnings: list[str]
    changes: list[Changes]
    error: str
    hint: str


class Stopped(_Answer):
    """The run that was ended, null where there was none."""

    run: IndexingRun | None


class Folder(_Answer):
    """An indexed folder."""

    id: int
    folder: str
    photos: int


class IndexingState(_Answer):
    """The folders, what cannot be read in them, and the last run, null before the first."""

    folders: list[Folder]
    skipped: list[Skipped]
    skipped_count: int
    undated: int
    run: IndexingRun | None
