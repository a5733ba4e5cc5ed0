"""The installed command between other programs and on a terminal: pipes, Ctrl-C, narrow windows."""

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.interrupt import starting

pty = pytest.importorskip("pty", reason="terminals of this kind are there on Unix only")

FC7 = Path(sys.executable).with_name("fc7")
MakePhoto = Callable[..., Path]


def on_a_terminal(*arguments: object, columns: int, output: int | None = None) -> str:
    """Run the command with a terminal for all its streams, or all but stdout, and return what that shows."""

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [FC7, *map(str, arguments)], stdin=theirs, stdout=output or theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode()


def test_a_path_can_be_copied_from_a_narrow_terminal(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_photo("a-folder-with-a-long-name/and-another-one/holiday.png")
    monkeypatch.setenv("NO_COLOR", "1")
    assert on_a_terminal("classify", "-m", tiny_model, photo, columns=40).splitlines()[0] == str(photo)
    monkeypatch.chdir(tmp_path)
    assert on_a_terminal("classify", "-m", tiny_model, photo, columns=40).splitlines()[0] == (
        "a-folder-with-a-long-name/and-another-one/holiday.png"
    )


@pytest.mark.slow
def test_colours_and_links_are_there_where_the_terminal_has_them(
    tiny_model: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_photo("50% räd.png")
    for name in ("NO_COLOR", "VTE_VERSION", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = on_a_terminal("classify", "-m", tiny_model, photo, columns=80)
    assert shown.startswith(f"\x1b[1m{photo}\x1b[0m\r\n")
    monkeypatch.setenv("VTE_VERSION", "7600")
    linked = on_a_terminal("classify", "-m", tiny_model, photo, columns=80)
    address = f"file://{socket.gethostname()}{photo.parent}/50%25%20r%C3%A4d.png"
    assert linked.startswith(f"\x1b[1m\x1b]8;;{address}\x1b\\{photo}\x1b]8;;\x1b\\\x1b[0m\r\n")
    monkeypatch.setenv("TERM", "dumb")
    assert on_a_terminal("classify", "-m", tiny_model, photo, columns=80).startswith(f"{photo}\r\n")
    monkeypatch.setenv("TERM", "xterm-256color")
    piped = subprocess.run([FC7, "classify", "-m", tiny_model, photo], capture_output=True, check=True)
    assert b"\x1b" not in piped.stdout


@pytest.mark.slow
def test_info_fits_forty_columns(tiny_model: Path) -> None:
    for arguments in ((), (tiny_model,)):
        lines = on_a_terminal("info", *arguments, columns=40).replace("\r\n", "\n").splitlines()
        # A path or a fingerprint that is longer than the room beside the names stays whole.
        assert all(len(line) <= 40 or len(line.split()[-1]) > 24 for line in lines), lines


@pytest.mark.slow
def test_machine_formats_are_whole_on_a_terminal_too(tiny_model: Path, make_photo: MakePhoto) -> None:
    photo = make_photo("a-folder-with-a-long-name/and-another-one/holiday.png")
    shown = on_a_terminal("classify", "-m", tiny_model, photo, "--format", "jsonl", columns=40)
    assert str(photo) in shown


def test_a_reader_that_goes_away_is_no_error(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    for number in range(100):
        make_photo(f"{number}.png", seed=number)
    with subprocess.Popen(
        [FC7, "classify", "-m", tiny_model, tmp_path, "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "path,rank,label,id,probability,group\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141  # what a shell makes of SIGPIPE, by which `ls | head` ends


@pytest.mark.slow
def test_a_reader_of_warnings_that_goes_away_is_no_error_either(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    """Both streams go to one pipe, as in `fc7 index … 2>&1 | head -0`; the warning is the first that is written."""
    make_photo("old/a.png")
    index = ["--index", str(tmp_path / "index"), "-m", str(tiny_model)]
    subprocess.run([FC7, "index", tmp_path / "old", *index], check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        for command in (["index", str(tmp_path / "photos")], ["check"]):
            done = subprocess.run([FC7, *command, *index], stdout=theirs, stderr=theirs, check=False)
            assert done.returncode == 141
    finally:
        os.close(theirs)
    with open("/dev/null", "wb") as nowhere, open("/dev/full", "wb") as full:
        done = subprocess.run([FC7, "index", "--retry-skipped", *index], stdout=nowhere, stderr=full, check=False)
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.slow
def test_results_that_cannot_be_written_are_an_error(tiny_model: Path, make_photo: MakePhoto) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [FC7, "classify", "-m", tiny_model, make_photo("a.png")], stdout=full, stderr=subprocess.PIPE, check=False
        )
    message = b"Error: standard output cannot be written (No space left on device); choose another place\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize(("closed", "shown"), [("<&-", True), (">&-", False), ("2>&-", True)])
@pytest.mark.slow
def test_a_stream_that_is_closed_is_no_error(tiny_model: Path, make_photo: MakePhoto, closed: str, shown: bool) -> None:
    command = map(str, (FC7, "classify", "-m", tiny_model, make_photo("a.png")))
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command], capture_output=True, check=False)
    assert (done.returncode, bool(done.stdout), done.stderr) == (0, shown, b"")


def wait_until_it_reads(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has read all that its standard input holds, and sleeps in wait of more."""
    assert process.stdin is not None
    process.stdin.flush()
    status = Path(f"/proc/{process.pid}/stat")
    if not status.exists():  # not Linux
        time.sleep(1)
        return
    while True:
        unread = struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)))[0]
        if unread == 0 and status.read_text().rpartition(")")[2].split()[0] == "S":
            return
        time.sleep(0.01)


def test_ctrl_c_ends_with_a_plain_line(tiny_model: Path) -> None:
    with subprocess.Popen(
        [FC7, "classify", "-m", tiny_model, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(bytes(1 << 20))  # more than a pipe holds, so that it has begun to read
        wait_until_it_reads(process)  # a signal between two reads is noticed only after the second
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr.read() == b"\nInterrupted.\n"
        process.stdin.close()


@pytest.mark.parametrize("rebuild", [[], ["--rebuild"]])
@pytest.mark.slow
def test_it_says_so_while_photos_are_sorted(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path, rebuild: list[str]
) -> None:
    for number in range(40):
        photo = make_photo(f"photos/{number}.png", seed=number)
    settings = ("-m", tiny_model, "--index", tmp_path / "index", "--kind", "IVF2,SQ8", *rebuild)
    shown = on_a_terminal("index", photo.parent, *settings, columns=80)
    assert "Indexing: sorting 40 photos into IVF2,SQ8 …" in shown


@pytest.mark.slow
def test_progress_fits_a_narrow_terminal_while_results_go_elsewhere(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    for number in range(40):
        photo = make_photo(f"photos/{number}.png", seed=number)
    with (tmp_path / "out").open("wb") as file:
        settings = ("-m", tiny_model, "--index", tmp_path / "index")
        shown = on_a_terminal("index", photo.parent, *settings, columns=40, output=file.fileno())
    drawn = shown.split("\r\x1b[K")[1:]
    assert any(line.startswith("Indexing [") for line in drawn)
    assert max(map(len, drawn)) < 40


def test_ctrl_c_while_a_command_starts_ends_it_at_once() -> None:
    program = """
import os, signal, time
from commands.interrupt import starting
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with starting():
        import numpy
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
finally:
    print("went on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"\nInterrupted.\n")


def test_ctrl_c_is_an_exception_again_once_a_model_is_loaded() -> None:
    before = signal.getsignal(signal.SIGINT)
    with starting():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_model_that_is_not_there_is_all_that_is_told(make_photo: MakePhoto, tmp_path: Path) -> None:
    command = (FC7, "classify", "-m", tmp_path / "none.onnx", make_photo("a.png"))
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1), done.stderr
