"""What Windows lacks is not needed. fc7 was never run there; here Linux does without what it has more than Windows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent

# Only modules of fc7 go without: the standard library and others know where they run.
WINDOWS = '''
import builtins, importlib, os, signal, sys, types
from pathlib import Path

PACKAGES = ("cli", "commands", "fc7", "index", "retrieval", "training", "web")
ABSENT = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty", "multiprocessing.popen_forkserver"}
load = builtins.__import__


def load_as_on_windows(name, globals=None, locals=None, fromlist=(), level=0):
    if (globals or {}).get("__name__", "").partition(".")[0] in PACKAGES:
        wanted = {name} | {f"{name}.{part}" for part in fromlist or ()}
        if wanted & ABSENT or any("ForkServer" in part for part in wanted):
            raise ImportError(f"{name} is not on Windows")
        if name == "msvcrt":
            return MSVCRT
    return load(name, globals, locals, fromlist, level)


def locking(descriptor, mode, size):
    """Lock bytes from the position of the file on, as msvcrt does."""
    import errno, fcntl
    assert size == 1 and os.lseek(descriptor, 0, os.SEEK_CUR) > 1 << 20, "a locked byte can be read by no one else"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN if mode == MSVCRT.LK_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


MSVCRT = types.SimpleNamespace(LK_UNLCK=0, LK_NBLCK=2, locking=locking)
builtins.__import__ = load_as_on_windows
'''

IMPORT_ALL = """
for file in sys.argv[1:]:
    importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
"""

# What a command needs is imported by then, and the rest of Python has decided what it does without.
COMMANDS = """
import json, multiprocessing.shared_memory, shutil, subprocess, tempfile
import faiss, onnxruntime, PIL.Image, platformdirs.unix
from click.testing import CliRunner
import cli

for name in ("O_NONBLOCK", "O_DIRECTORY", "O_NOFOLLOW", "O_NOCTTY", "fork", "getpgrp", "getuid", "geteuid", "killpg",
             "sched_getaffinity", "sysconf", "tcgetpgrp", "ttyname", "uname"):
    delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGWINCH", "pthread_sigmask", "setitimer"):
    delattr(signal, name)

photos, index = sys.argv[1:]
for arguments in (["classify", photos], ["index", photos, "--index", index], ["index", photos, "--index", index],
                  ["search", f"{photos}/red.png", "--index", index], ["duplicates", "--index", index],
                  ["embed", photos, "-o", f"{index}/vectors.npz"], ["check", "--index", index], ["info", index]):
    answer = CliRunner().invoke(cli.main, arguments)
    assert answer.exit_code == 0, (arguments, answer.output, answer.exception)
    print(answer.output)

from index.catalog.lock import WriterLock
from index.errors import IndexLockedError
with WriterLock(Path(index)):
    try:
        WriterLock(Path(index))
    except IndexLockedError as error:
        print(error)
with WriterLock(Path(index)):
    print("free again")
"""


def run_without(program: str, *arguments: Path | str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS + program, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_without_what_windows_lacks() -> None:
    packages = ("commands", "fc7", "index", "retrieval", "training", "web")
    files = [path for package in packages for path in sorted((REPOSITORY / package).rglob("*.py"))]
    names = [path.relative_to(REPOSITORY).as_posix() for path in files]
    run_without(IMPORT_ALL, "cli.py", *names)


def test_commands_run_without_what_windows_lacks(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, colour in {"red": (200, 30, 30), "blue": (30, 30, 200)}.items():
        Image.new("RGB", (64, 64), colour).save(tmp_path / "photos" / f"{name}.png")
    said = run_without(COMMANDS, tmp_path / "photos", tmp_path / "index")
    assert "2  new" in said
    assert "is being written by another fc7 (process " in said
    assert said.endswith("free again\n")


def test_the_programs_above_take_away_what_they_say() -> None:
    with pytest.raises(AssertionError, match="termios is not on Windows"):
        run_without("exec(compile('import termios', 'x', 'exec'), {'__name__': 'index.example'})")
