"""Starting fc7 is quick: what `import cli` and `fc7 --help` load is listed here, and nothing heavy is on the list."""

import subprocess
import sys

import pytest

OURS = {
    *("cli", "commands", "commands.options", "commands.pictures", "commands.model_options", "commands.streams"),
    "commands.parameter_types",
    *("commands.photos", "commands.collection", "commands.duplicates", "commands.training", "commands.models"),
    *("commands.importing", "commands.search", "commands.interrupt"),
    *("index", "index.errors", "training", "training.errors", "training.networks", "training.networks.architectures"),
    *("training.loop", "training.loop.options", "training.loop.recipe"),
}
HEAVY = {"numpy", "PIL", "faiss", "onnxruntime", "onnx", "torch", "rich", "sqlite3", "platformdirs", "asyncio", "ssl"}
REPORT = "import sys; print(*sorted(sys.modules), file=sys.__stderr__)"


def loaded_modules(program: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after `program`."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def allowed(module: str) -> bool:
    package = module.split(".")[0]
    if package in {"commands", "index", "retrieval", "training"}:
        return module in OURS
    standard = package in sys.stdlib_module_names or package.startswith("_")
    return module in OURS or package == "click" or standard


@pytest.mark.parametrize(
    "program",
    [
        f"import cli; {REPORT}",
        *(
            f"import sys; sys.argv = {['fc7', *arguments]!r}\nimport cli\ntry: cli.main()\nexcept SystemExit: {REPORT}"
            for arguments in (["--help"], ["--version"], ["search", "--help"], ["train", "--help"])
        ),
    ],
)
def test_start_loads_only_what_is_on_the_list(program: str) -> None:
    # What the interpreter loads by itself, .pth files of the environment included, is not ours to judge.
    ours = loaded_modules(program) - loaded_modules(REPORT)
    assert {module for module in ours if not allowed(module)} == set()
    assert ours & HEAVY == set()


def test_no_garbage_is_looked_for_at_the_end() -> None:
    told = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 1000, file=sys.stderr))"
    assert loaded_modules(f"{told}; import cli") == {"True"}


def test_the_list_of_commands_imports_none_of_them() -> None:
    program = f"import sys; sys.argv = ['fc7', '--help']\nimport cli\ntry: cli.main()\nexcept SystemExit: {REPORT}"
    loaded = loaded_modules(program)
    assert {module for module in loaded if module.startswith("commands.")} == {"commands.interrupt", "commands.streams"}
    assert not {module for module in loaded if module.startswith("training")}


def test_a_search_in_a_folder_loads_nothing_of_milvus() -> None:
    program = f"import index.open_index, retrieval.searching.search, commands.push; {REPORT}"
    loaded = {module.split(".")[0] for module in loaded_modules(program)}
    assert not loaded & {"pymilvus", "milvus_lite", "grpc", "pandas"}
