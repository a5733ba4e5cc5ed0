"""The layers hold: imports point down only, and each heavyweight is imported in the one place it belongs to."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("index", "retrieval", "fc7", "training", "web", "commands")
LAYERS = ("index", "retrieval", "fc7", "training", "web", "commands", "cli")
"""From the lowest to the highest."""
HOMES: dict[str, str | tuple[str, ...]] = {
    "torch": "training/",
    "onnx": ("training/", "retrieval/models/graph_file.py", "retrieval/detection/convolutional.py"),
    "matplotlib": "retrieval/figures/",
    "umap": "retrieval/overview/layout.py",
    "faiss": "index/vectors/faiss_library.py",
    "pymilvus": "index/milvus/",
    "milvus_lite": "index/milvus/",
    "grpc": "index/milvus/",
    "sqlite3": "index/",
    "onnxruntime": "retrieval/models/runtime.py",
    "PIL": ("retrieval/", "fc7/"),
    "threadpoolctl": "retrieval/pipeline/blas.py",
    "tifffile": "retrieval/photos/tiff.py",
    "watchfiles": "retrieval/indexing/watch.py",
    "ray": "retrieval/shards/ray_workers.py",
    "fastapi": "web/",
    "uvicorn": "commands/serve.py",
    "click": ("commands/", "cli.py"),
}
OPTIONAL = {
    *("torch", "onnx", "matplotlib", "umap", "faiss", "pymilvus", "milvus_lite", "grpc", "onnxruntime", "pillow_heif"),
    *("pillow_jxl", "rawpy", "threadpoolctl", "tifffile", "pyarrow", "watchfiles", "ray"),
}
"""Imported inside the functions that need them."""


def source_files() -> list[str]:
    packages = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
    return [path.relative_to(REPOSITORY).as_posix() for path in [*packages, *sorted(REPOSITORY.glob("*.py"))]]


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((REPOSITORY / file).read_text("utf-8"))


def imported_modules(source: ast.Module, *, top_level: bool = False) -> Iterator[str]:
    """Full names of the modules that `source` imports, anywhere or only when it is itself imported."""
    pending: list[ast.AST] = [source]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif top_level and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        pending.extend(ast.iter_child_nodes(node))


def test_imports_point_down() -> None:
    wrong = {}
    for file in source_files():
        above = LAYERS[LAYERS.index(file.split("/")[0].removesuffix(".py")) + 1 :]
        imported = set(imported_modules(tree(file)))
        wrong[file] = {name for name in imported if name.split(".")[0] in above}
        wrong[file] |= {name for name in imported if name.startswith(".")}  # imports are absolute
        wrong[file] |= imported & set(PACKAGES)  # `from index.records import Prediction`, never `import index`
    assert {file: names for file, names in wrong.items() if names} == {}


def test_each_heavyweight_stays_at_home() -> None:
    wrong = {}
    for file in source_files():
        names = {name.split(".")[0] for name in imported_modules(tree(file))}
        wrong[file] = {name for name in names if name in HOMES and not file.startswith(HOMES[name])}
    assert {file: names for file, names in wrong.items() if names} == {}


def test_optional_packages_are_imported_late() -> None:
    wrong = {}
    for file in source_files():
        if not file.startswith("training/"):
            names = {name.split(".")[0] for name in imported_modules(tree(file), top_level=True)}
            wrong[file] = names & OPTIONAL
    assert {file: names for file, names in wrong.items() if names} == {}


def test_photos_are_decoded_within_the_budget_of_memory() -> None:
    without = set()
    for file in source_files():
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ImportFrom) and node.module == "retrieval.photos.decode":
                without |= {file for alias in node.names if alias.name in ("load_photo", "open_photo")}
    # The web's processes have limits of their own.
    assert without == {"retrieval/pipeline/memory.py", "web/decoding.py"}


def test_packages_hold_a_docstring_only() -> None:
    for file in source_files():
        if file.endswith("__init__.py") and file != "fc7/__init__.py":
            body = tree(file).body
            assert len(body) == 1, file
            assert isinstance(body[0], ast.Expr), file
            assert isinstance(body[0].value, ast.Constant), file


def test_the_walk_sees_what_it_should() -> None:
    source = ast.parse("import index.vectors as v\nfrom torch import nn\ndef f():\n    import faiss\n")
    assert set(imported_modules(source)) == {"index.vectors", "torch", "faiss"}
    assert set(imported_modules(source, top_level=True)) == {"index.vectors", "torch"}
