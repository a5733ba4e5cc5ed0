"""What `fc7 info` shows: the facts of a model file, of an index, or of this installation."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.errors import UserError
from index.milvus.place import IndexLocation, MilvusPlace
from index.open_index import open_index
from index.photo_index import PhotoIndex
from index.records import IndexSummary, SkippedPhoto
from index.vectors.faiss_library import faiss_gpus
from index.vectors.kinds import AUTO
from retrieval.answers import evaluated_model
from retrieval.evaluation.evaluate import Evaluation, Neighbours
from retrieval.models.model import BUILTIN, IMPORTABLE, Model, model_file
from retrieval.models.spec import ModelSpec
from retrieval.models.text import text_file
from retrieval.photos.scan import can_be_seen
from retrieval.text import file_size, printable

if TYPE_CHECKING:
    from retrieval.detection.localisation import Localisation

PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "faiss-cpu", "faiss-gpu", "numpy", "pillow"),
    *("pillow-heif", "pillow-jxl-plugin", "rawpy", "tifffile", "imagecodecs", "pyarrow", "pymilvus", "torch", "onnx"),
)


FEW_CLASSES = 10
"""Of so few classes, five names say next to nothing."""


@dataclass(frozen=True)
class Facts:
    """Facts as plain values by name, for programs, and as rows of a table, for people."""

    values: Mapping[str, object]
    rows: Mapping[str, object]


def facts_of(path: IndexLocation) -> Facts:
    """Return the facts of an index, where `path` is a folder or a URL, or of a model file. Raises UserError."""
    if isinstance(path, MilvusPlace):
        return milvus_facts(path)
    if os.path.isdir(path):
        return index_facts(path)
    word, path = path, model_file(path)
    if not os.path.isfile(path):
        if str(word) in IMPORTABLE:
            raise UserError(f"{word} is not imported yet", hint=f"run `fc7 import {word}`")
        raise UserError(
            f"there is no {path}", hint="name a model file or the folder of an index, or run `fc7 info` alone"
        )
    return model_facts(path)


def model_facts(path: Path) -> Facts:
    """Return a model's card. Raises ModelError."""
    spec, size = Model.load(path, device="cpu").spec, path.stat().st_size
    classes = [known.name for known in spec.classes]
    values = {
        "model": spec.name,
        "architecture": spec.arch,
        "classes": classes,
        "groups": {group.name: group.size for group in spec.groups},
        "resize": spec.resize,
        "crop": spec.crop,
        "fc7_dim": spec.fc7_dim,
        "dim": spec.dim,
        "resize_mode": spec.resize_mode,
        "text": spec.text,
        "embedding": spec.embedding,
        "training": spec.training,
        "accuracy": spec.accuracy,
        "temperatures": list(spec.temperatures),
        "licence": spec.licence,
        "date": spec.date,
        "fingerprint": spec.fingerprint,
        "file": str(path),
        "bytes": size,
    }
    rows = {
        "model": spec.name,
        "architecture": spec.arch,
        "classes": classes,
        **({"groups": [f"{group.size} {group.name}" for group in spec.groups]} if len(spec.groups) > 1 else {}),
        "input": f"{spec.crop}×{spec.crop} pixels"
        + {
            "crop": f" from the middle, the shorter side first brought to {spec.resize}",
            "trim": ", the middle of a picture, at most 5:4, squashed",
            "squash": ", the whole picture squashed",
        }[spec.resize_mode],
        **({"text half": _size_of(text_file(path))} if spec.text else {}),
        "fc7": f"{spec.fc7_dim} values",
        "embedding": f"{spec.dim} values",
        **_card("embedding", spec.embedding),
        **_card("training", spec.training),
        **_card("accuracy", spec.accuracy),
        **({"temperatures": ", ".join(map(str, spec.temperatures))} if spec.temperatures else {}),
        "licence": spec.licence,
        "date": spec.date,
        "fingerprint": spec.fingerprint,
        "file": f"{path}, {file_size(size)}",
    }
    return Facts(values, {name: value for name, value in rows.items() if value != ""})


def _size_of(path: Path) -> str:
    return f"{path}, {file_size(path.stat().st_size)}" if os.path.isfile(path) else f"{path}, which is not there"


def summary_line(path: Path, spec: ModelSpec) -> str:
    """Return one line about a model file that was just written, safe to show on a terminal."""
    named = [f"{group.size} {group.name}" for group in spec.groups] if len(spec.groups) > 1 else []
    facts = [spec.arch, " and ".join(named) or (f"{len(spec.classes)} classes" if spec.classes else "no classes")]
    if spec.text:
        facts.append("a text half")
    if spec.accuracy:
        source = f" ({spec.accuracy['source']})" if "source" in spec.accuracy else ""
        top5 = "" if 0 < len(spec.classes) <= FEW_CLASSES else f", top-5 {spec.accuracy['top5']:.1%}"
        facts.append(f"top-1 {spec.accuracy['top1']:.1%}{_spread(spec.accuracy)}{top5}{source}")
    return printable(f"{path}: {', '.join(facts)}, embedding of {spec.dim} values")


def _spread(accuracy: Mapping[str, Any]) -> str:
    """Return what is known of how far a figure can be trusted."""
    if "top1_interval" not in accuracy:
        return ""
    low, high = accuracy["top1_interval"]
    return f" ({low:.1%} to {high:.1%} with 95 % confidence)"


def index_facts(folder: Path) -> Facts:
    """Return the state of an index. Raises PhotoIndexError."""
    with PhotoIndex.open(folder) as photo_index:
        summary, model_path = photo_index.summary(), photo_index.model_path
    unseen = [str(root) for root in summary.roots if not can_be_seen(root)]
    nprobe, recall = summary.quality.usual() if summary.quality else (0, 1.0)
    knob = _knob(summary.kind) if nprobe else None
    values = {
        "index": str(folder),
        "photos": summary.photos,
        "skipped": summary.skipped,
        "folders": [str(root) for root in summary.roots],
        "unseen_folders": unseen,
        "exclude": list(summary.exclude),
        "model": summary.model_name,
        "model_file": None if model_path is None else str(model_path),
        "fingerprint": summary.fingerprint,
        "dim": summary.dim,
        "kind": summary.kind,
        "chosen_kind": summary.chosen_kind,
        "recall_at_10": recall,
        "nprobe": nprobe if knob == "nprobe" else None,
        "ef_search": nprobe if knob == "efSearch" else None,
        "built_on": summary.built_on,
        "bytes": summary.bytes_on_disk,
        "created": summary.created.isoformat(timespec="seconds"),
    }
    rows = {
        "index": str(folder),
        "photos": summary.photos,
        "skipped": summary.skipped,
        "folders": values["folders"],
        **({"cannot be seen now": unseen} if unseen else {}),
        **({"left out": values["exclude"]} if summary.exclude else {}),
        "model": summary.model_name,
        "model file": "the built-in one" if model_path is None else str(model_path),
        "fingerprint": summary.fingerprint,
        "vectors": f"{summary.kind}, {summary.dim} values each",
        **_search_rows(summary),
        "size": file_size(summary.bytes_on_disk),
        "created": summary.created.isoformat(sep=" ", timespec="seconds"),
    }
    return Facts(values, rows)


def milvus_facts(place: MilvusPlace) -> Facts:
    """Return the state of an index in Milvus. Raises PhotoIndexError."""
    from index.milvus.milvus_index import MilvusIndex  # most have none

    with MilvusIndex.open(place, consistency="strong") as index:
        summary, model_path, complete = index.summary(), index.model_path, index.complete
        own_labels, filled_by = index.own_labels.names(), index.filled_by
    values = {
        "index": str(place),
        "photos": summary.photos,
        "skipped": summary.skipped,
        "complete": complete,
        "filled_by": filled_by,
        "folders": [str(root) for root in summary.roots],
        "exclude": list(summary.exclude),
        "own_labels": own_labels,
        "model": summary.model_name,
        "model_file": None if model_path is None else str(model_path),
        "fingerprint": summary.fingerprint,
        "dim": summary.dim,
        "kind": summary.kind,
        "created": summary.created.isoformat(timespec="seconds"),
    }
    rows = {
        "index": str(place),
        "photos": summary.photos
        if complete
        else f"{summary.photos:,}; filling it is not finished: if {filled_by} does not run now, run it again",
        **({"skipped": summary.skipped} if filled_by == "fc7 index" else {}),
        "filled by": filled_by,
        "folders": values["folders"],
        **({"left out": list(summary.exclude)} if summary.exclude else {}),
        **({"labels of your own": own_labels} if own_labels else {}),
        "model": summary.model_name,
        "model file": "the built-in one" if model_path is None else f"{model_path}, where the photos were indexed",
        "fingerprint": summary.fingerprint,
        "vectors": f"{summary.kind} in Milvus, {summary.dim} values each",
        "created": summary.created.isoformat(sep=" ", timespec="seconds"),
    }
    return Facts(values, rows)


def _search_rows(summary: IndexSummary) -> dict[str, str]:
    kind = "chosen by the number of photos" if summary.chosen_kind == AUTO else "chosen with --kind"
    if summary.chosen_kind not in (AUTO, summary.kind):
        kind = f"{summary.chosen_kind} was chosen; the next fc7 index makes it, if there are enough photos"
    if summary.quality is None:
        return {"kind": kind, "recall@10": "1, all photos are compared"}
    nprobe, recall = summary.quality.usual()
    most, best = summary.quality.best
    at = f" at {_knob(summary.kind)} {{:,}}" if nprobe else ""
    measured = f"{recall:.3f}{at.format(nprobe)}, {best:.3f} at most{at.format(most)}"
    return {
        "kind": kind,
        "recall@10": f"{measured}; measured on {summary.quality.sampled} photos",
        "built on": summary.built_on,
    }


def _knob(kind: str) -> str:
    """Return FAISS's name of the parameter that trades time for recall: of lists, or else of a graph."""
    return "nprobe" if kind.startswith("IVF") else "efSearch"


def skipped_in_index(place: IndexLocation) -> list[SkippedPhoto]:
    """List the photos that an index has no embedding of. Raises PhotoIndexError."""
    with open_index(place) as photo_index:
        return photo_index.photos.skipped()


def evaluation_facts(evaluation: Evaluation | Neighbours) -> Facts:
    """Return the measures of an evaluation, as `evaluated_model` does."""
    measures = evaluated_model(evaluation)
    return Facts(measures, {name: "too few pictures" if value is None else value for name, value in measures.items()})


def localisation_facts(found: "Localisation") -> Facts:
    """Return the measures of localisation by name, rounded to four digits; "skipped" counts pictures."""
    values = {name: round(value, 4) for name, value in vars(found).items() if name != "skipped"}
    return Facts(values | {"skipped": len(found.skipped)}, values | {"skipped": len(found.skipped)})


def installation_facts(default_index: Path, *, cache: Path) -> Facts:
    """Return versions, and the devices that the built-in model would really run on."""
    fc7, python = _version("fc7"), platform.python_version()
    packages = {name: found for name in PACKAGES if (found := _version(name))}
    problems: dict[str, str] = {}
    model: Model | None = None
    gpus: int | None = None
    try:
        model = Model.load()
    except UserError as error:
        problems["built-in model"] = f"cannot be used: {error.with_hint}"
    try:
        gpus = faiss_gpus()
    except UserError as error:
        problems["FAISS runs on"] = f"nothing: {error.with_hint}"
    values = {
        "fc7": fc7,
        "python": python,
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": packages,
        "builtin_model": model and model.spec.name,
        "builtin_file": str(BUILTIN),
        "runs_on": model.providers if model else [],
        "faiss_gpus": gpus,
        "problems": [f"{name} {problem}" for name, problem in problems.items()],
        "default_index": str(default_index),
        "cache": str(cache),
    }
    rows = {
        "fc7": fc7 or "not installed",
        "python": f"{python} on {platform.system()} {platform.machine()}",
        **packages,
        **({"built-in model": f"{model.spec.name} ({BUILTIN})", "runs on": model.providers} if model else {}),
        **({} if gpus is None else {"FAISS runs on": _faiss_devices(gpus)}),
        **problems,
        "default index": f"{default_index}{'' if os.path.exists(default_index) else ' (none yet)'}",
        "cache": f"{cache}{'' if os.path.exists(cache) else ' (none yet)'}",
    }
    return Facts(values, rows)


def _faiss_devices(gpus: int) -> str:
    return f"the CPU, or one of {gpus} GPUs with --device cuda" if gpus else "the CPU; it finds no GPU"


def _card(heading: str, values: Mapping[str, object]) -> dict[str, object]:
    """Return rows of a table; what is empty is left out, at the top of `values` and one below."""
    rows = {}
    for name, value in values.items():
        shown = {key: part for key, part in value.items() if part != ""} if isinstance(value, Mapping) else value
        rows[f"{heading}: {name.replace('_', ' ')}"] = shown
    return rows


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
