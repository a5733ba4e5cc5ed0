"""Real indexing processes, begun without delay: `python indexing_process.py` forks one for each line it reads.

A line is JSON: the list of a command's arguments, and after how many seconds its process is killed, or null. Importing
all that is needed takes far longer than indexing some photos, and is done once here. Prints the wait status of each
process when it has ended.
"""

import importlib
import json
import os
import signal
import sys
import time

import cli

MODULES = (
    "PIL.PngImagePlugin",
    "faiss",
    "onnxruntime",
    "retrieval.indexing.model_of_index",
    "retrieval.indexing.index_folders",
)


def run_command(arguments: list[str]) -> int:
    """Run a command, and return its exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        cli.main(arguments, prog_name="fc7")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def main() -> None:
    """Fork a process for each line."""
    for module in MODULES:
        importlib.import_module(module)
    print("ready", flush=True)
    for line in sys.stdin:
        arguments, kill_after = json.loads(line)
        process = os.fork()
        if process == 0:
            # Without the end of the interpreter, which would wait for a thread of ONNX Runtime that was not forked.
            os._exit(run_command(arguments))
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        print(os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    main()
