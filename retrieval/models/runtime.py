"""ONNX Runtime: the one place where it is imported, model files opened in it, and what its profiler sees of them."""

import importlib.util
import json
import os
import re
import shlex
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from index.errors import MissingPackageError, ModelError, UserError
from retrieval.models.graph_cache import WEIGHTS, CachedGraph
from retrieval.pipeline.machine import usable_cores

Device = Literal["auto", "cpu", "cuda"]


def require_onnxruntime() -> None:
    """Raise MissingPackageError where ONNX Runtime is not installed, without loading it."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingPackageError(
            "ONNX Runtime is not installed; `pip install 'fc7[cpu]'` brings it, "
            "or `pip install 'fc7[gpu]'` for an NVIDIA GPU"
        )


def load_onnxruntime() -> Any:
    """Return the module, imported so that it reports nothing to anyone.

    From 1.29 on it sends telemetry about the models that it runs, unless this is set before it is imported.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def load_quantisation() -> Any:
    """Return ONNX Runtime's module that makes 8-bit networks; it needs `onnx`."""
    load_onnxruntime()
    import onnxruntime.quantization

    return onnxruntime.quantization


def write_simplified(path: Path, out: Path) -> None:
    """Write a model file's graph with its constants folded, as plain ONNX that runs anywhere. Raises ModelError."""
    ort = load_onnxruntime()

    options = _options(1, fast_start=True)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    try:
        ort.InferenceSession(_source(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this one
        raise _unreadable(path, error) from error


def open_session(
    path: Path,
    *,
    device: Device = "auto",
    threads: int | None = None,
    fast_start: bool = False,
    shares_cores: bool = False,
    cache: Path | None = None,
) -> Any:
    """Open a model file, as `Model.load` says. Raises ModelError (unreadable) and UserError (no CUDA)."""
    ort = load_onnxruntime()

    ort.set_default_logger_severity(3)
    available = ort.get_available_providers()
    wanted = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in available:
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        wanted.insert(0, "CUDAExecutionProvider")
    options = partial(_options, threads, fast_start=fast_start, shares_cores=shares_cores)
    session = None
    if cache is not None and device != "cuda" and len(wanted) == 1:
        session = _open_cached(path, cache, options())
    try:
        session = session or ort.InferenceSession(_source(path), options(), providers=wanted)
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this one
        raise _unreadable(path, error) from error
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise UserError("ONNX Runtime finds no CUDA device here", hint="leave out --device, or give --device cpu")
    return session


def open_graph(graph: bytes | Path, *, name: Path) -> Any:
    """Open an ONNX graph that is no model file yet, on the CPU; nothing is logged. Raises ModelError."""
    ort = load_onnxruntime()

    options = _options(None, fast_start=True)
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(
            f"ONNX Runtime cannot run {name} ({reason_of(error)})",
            hint="export it again, as float32 and with opset 17, or with the newest ONNX Runtime",
        ) from error


def reason_of(error: Exception) -> str:
    """Return what ONNX Runtime says in an exception, in one line and without its codes."""
    # "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from PATH failed:", which says nothing more.
    first = next(iter(str(error).splitlines()), type(error).__name__)
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?", "", first)
    return said.rstrip(".")


def _source(path: Path) -> Path | bytes:
    """Return what ONNX Runtime opens: a model file, or what is in it where the path is not UTF-8, as it demands."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.read_bytes()
    return path


def _unreadable(path: Path, error: Exception) -> ModelError:
    """Return the error for a file that ONNX Runtime cannot open, with a recovery hint."""
    if path.suffix == ".pt":
        name = shlex.quote(str(path))
        return ModelError(
            f"{path} is a checkpoint, not a model file", hint=f"make one of it with `fc7 export {name} -o MODEL.onnx`"
        )
    return ModelError(
        f"{path} is not a readable ONNX model ({reason_of(error)})",
        hint="copy it again, or make it again with `fc7 export` or `fc7 import`",
    )


def _open_cached(path: Path, cache: Path, options: Any) -> Any:
    """Open a model file's optimised graph, which is put into the cache where it is not; None where it cannot be."""
    ort = load_onnxruntime()

    place = CachedGraph.of(path, cache=cache, runtime=f"onnxruntime {ort.__version__}, {ort.get_build_info()}")
    graph = place and (place.find() or place.make(partial(_write_optimised, path)))
    if place is None or graph is None:
        return None
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception:  # as above; it was just removed, or the disk cannot read it
        place.remove()
        return None


def _write_optimised(path: Path, graph: Path) -> bool:
    """Write a model file's graph as this processor is to run it, and WEIGHTS beside it; return whether it could."""
    ort = load_onnxruntime()

    options = _options(1, fast_start=True)
    try:
        options.optimized_model_filepath = str(graph)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
        ort.InferenceSession(_source(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # as above; a full disk, or no model at all, which opening it will report
        return False
    return True


def _options(threads: int | None, *, fast_start: bool = False, shares_cores: bool = False) -> Any:
    """Return the settings of a session in which a run uses `threads`, by default one a core."""
    ort = load_onnxruntime()

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    # Rearranging the weights, and threads that wait awake for the next piece of work, pay over many pictures.
    if fast_start:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if fast_start or shares_cores:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@dataclass(frozen=True)
class NodeRun:
    """One run of a node of a model's graph: the shapes that went in, weights among them, the shape that came out."""

    name: str
    operator: str
    place: int
    """Its number in the graph, in which a node follows those that it needs."""
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    seconds: float


def profile(path: Path, *, runs: int, optimised: bool, threads: int | None = None) -> list[NodeRun]:
    """Run a model file on one black picture, on the CPU, and return what ONNX Runtime's profiler saw, in its order.

    Without `optimised` the nodes are those of the file; with it they are what production runs: some merged, which then
    have the name of one of them, and some added.
    """
    ort = load_onnxruntime()

    options = _options(threads)
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        # A weight that was rearranged beforehand is not among what goes into its node.
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="fc7-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(_source(path), options, providers=["CPUExecutionProvider"])
        [pixels] = session.get_inputs()
        for _ in range(runs):
            session.run(None, {pixels.name: np.zeros((1, *pixels.shape[1:]), np.uint8)})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return [_node_run(event) for event in events if event.get("name", "").endswith(NODE_SUFFIX)]


NODE_SUFFIX = "_kernel_time"
"""What the profiler puts behind the name of a node."""


def _node_run(event: dict[str, Any]) -> NodeRun:
    values = event["args"]
    inputs, outputs = (
        [tuple(shape) for tensor in values[key] for shape in tensor.values()]
        for key in ("input_type_shape", "output_type_shape")
    )
    return NodeRun(
        name=event["name"].removesuffix(NODE_SUFFIX),
        operator=values["op_name"],
        place=int(values["node_index"]),
        inputs=tuple(inputs),
        output=outputs[0],
        seconds=event["dur"] / 1e6,
    )
