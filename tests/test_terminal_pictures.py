"""Pictures in a terminal: what each protocol draws is decoded again, and no terminal makes the program hang."""

import base64
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from commands import terminal_graphics as graphics
from commands.terminal_graphics import protocol_of
from retrieval.figures.rows import Bar, SheetRow, Tile
from retrieval.figures.terminal import RESET, Protocol, Screen, _fitted, cells, preview_rows, shown_in
from retrieval.photos.previews import Previews

pty = pytest.importorskip("pty", reason="terminals of this kind are there on Unix only")

ESCAPES = re.compile(r"\x1b\[[\d;]*m")
ANSWERS = {
    "kitty": b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?62;c",
    "sixel": b"\x1b[6;12;6t\x1b[?62;4;22c",
    "blocks": b"\x1b[?1;2c",
    "silent": b"",
}
MakePhoto = Callable[..., Path]


def picture(width: int, height: int) -> Image.Image:
    """Return four colours in quarters, with a transparent stripe at the left."""
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[: height // 2, :, 0] = pixels[height // 2 :, :, 1] = 255
    pixels[:, width // 2 :, 2] = 255
    pixels[:, 2:, 3] = 255
    return Image.fromarray(pixels)


def sixel_pixels(text: str) -> NDArray[np.uint8]:
    """Draw a sixel picture as a terminal does (DEC, VT330/VT340 Programmer Reference Manual, chapter 14)."""
    found = re.fullmatch(r'\x1bP0;1q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.S)
    assert found
    drawn = np.zeros((int(found[2]), int(found[1]), 4), np.uint8)
    palette: dict[int, tuple[int, ...]] = {}
    colour = x = y = 0
    for part in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)", found[3]):
        number, red, green, blue, chosen, times, repeated, single, back, down = part.groups()
        if number:
            palette[int(number)] = (*(int(share) * 255 // 100 for share in (red, green, blue)), 255)
        elif chosen:
            colour = int(chosen)
        elif back or down:
            x, y = 0, y + 6 * bool(down)
        else:
            end = x + int(times or 1)
            for bit in range(6):
                if (ord(repeated or single) - 63) >> bit & 1:
                    drawn[y + bit, x:end] = palette[colour]
            x = end
    return drawn


def test_sixel_draws_the_picture() -> None:
    drawn = sixel_pixels(shown_in(picture(40, 24), Screen("sixel", 80, (10, 12))))
    np.testing.assert_array_equal(drawn[..., 3], np.asarray(picture(40, 24))[..., 3])
    np.testing.assert_allclose(drawn[:, 2:, :3], np.asarray(picture(40, 24))[:, 2:, :3], atol=6)


@pytest.mark.parametrize("protocol", ["kitty", "iterm2"])
def test_a_png_is_sent_whole_with_its_size_in_characters(protocol: Protocol) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 120, 4), np.uint8))
    text = shown_in(noise, Screen(protocol, 80, (10, 20)))
    if protocol == "kitty":
        parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
        assert parts[0][0].startswith("a=T,f=100,q=2,c=12,r=3,")
        assert [keys[-1] for keys, _ in parts] == ["1"] * (len(parts) - 1) + ["0"]
        assert len(parts) > 1
        assert all(len(data) <= 4096 for _, data in parts)
        data = "".join(data for _, data in parts)
    else:
        found = re.fullmatch(r"\x1b\]1337;File=inline=1;width=12;height=3;preserveAspectRatio=0:(.*)\x07", text)
        assert found
        data = found[1]
    with Image.open(BytesIO(base64.b64decode(data))) as sent:
        np.testing.assert_array_equal(np.asarray(sent), np.asarray(noise))


def test_half_blocks_have_two_pixels_in_a_character() -> None:
    lines = shown_in(picture(4, 4), Screen("blocks", 80, (10, 20))).split("\n")
    assert [ESCAPES.sub("", line) for line in lines] == ["  ▀▀", "  ▀▀"]
    assert lines[0].endswith(f"\x1b[38;2;255;0;255;48;2;255;0;255m▀▀{RESET}")
    assert "38;5;201;48;5;201m" in shown_in(picture(4, 4), Screen("blocks", 80, (10, 20), true_colour=False))


@given(st.text(max_size=40), st.integers(1, 30))
def test_a_text_takes_just_the_columns_that_it_is_given(text: str, width: int) -> None:
    assert cells(_fitted(text, width)) == width


def test_names_from_right_to_left_stay_below_their_photos() -> None:
    assert _fitted("שלום.jpg", 10) == "\u200eשלום.jpg\u200e  "
    assert _fitted("مرحبا بالعالم.png", 8).count("\u200e") == 2
    assert "\u200e" not in _fitted("Käse.jpg", 10)


def test_a_very_long_name_is_shortened_at_once() -> None:
    start = time.process_time()
    assert _fitted("x" * 100_000, 20) == "xxxxxxxxxx…xxxxxxxxx"
    assert time.process_time() - start < 20


def test_wide_letters_and_accents_are_counted() -> None:
    assert (cells("日本.jpg"), cells("Ka\u0308tzchen"), cells("😀")) == (8, 8, 2)


@pytest.mark.parametrize("columns", [12, 40, 80, 200])
@pytest.mark.parametrize("protocol", ["blocks", "kitty", "sixel"])
def test_nothing_is_wider_than_the_screen(
    protocol: Protocol, columns: int, make_photo: MakePhoto, tmp_path: Path
) -> None:
    wide = tmp_path / "wide.png"
    Image.new("RGB", (900, 90), "red").save(wide)
    high = tmp_path / "high.png"
    Image.new("RGB", (90, 900), "blue").save(high)
    (tmp_path / "no.png").write_text("text")
    paths = [wide, high, tmp_path / "no.png", make_photo("日本 שלום a long name of a photo.png")]
    tiles = tuple(
        Tile((path,), (path.name,), frozenset({0}), "a title", (Bar("a long name of a class 日本", 0.7, True),))
        for path in paths
    )
    rows = [SheetRow(tiles, Tile((wide, high), ("together",)))]
    screen = Screen(protocol, columns, (6, 12))
    text = "".join(preview_rows(rows, Previews(None), screen))
    assert "(not a photo)" in text or columns < 14
    sent = re.findall(r"\x1b_G.*?\x1b\\|\x1bP.*?\x1b\\", text, re.S)
    for size in re.findall(r"c=(\d+),", "".join(sent)):
        assert int(size) < columns
    for size in re.findall(r'"1;1;(\d+);', "".join(sent)):
        assert int(size) < columns * 6
    for line in ESCAPES.sub("", re.sub(r"\x1b_G.*?\x1b\\|\x1bP.*?\x1b\\", "", text, flags=re.S)).split("\n"):
        assert cells(line) < columns


@pytest.mark.parametrize(
    ("told", "environment", "best"),
    [
        (ANSWERS["kitty"], {}, "kitty"),
        (ANSWERS["sixel"], {}, "sixel"),
        (b"\x1b[?64;1;42c", {}, "blocks"),
        (b"", {"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        (b"", {"LC_TERMINAL": "iTerm2"}, "iterm2"),
        (b"", {"TERM_PROGRAM": "iTerm.app", "TMUX": "/tmp/tmux"}, "blocks"),
        (b"\x1b[?1;2;4c", {"LC_TERMINAL": "iTerm2", "TERM": "tmux-256color"}, "sixel"),
        (b"", {}, "blocks"),
    ],
)
def test_the_best_protocol_is_chosen(told: bytes, environment: Mapping[str, str], best: str) -> None:
    assert protocol_of(told, environment) == best


def in_a_terminal(
    *arguments: object,
    kind: str,
    environment: Mapping[str, str] | None = None,
    columns: int = 40,
    background: bool = False,
) -> tuple[int, str, bool]:
    """Run the command in a terminal that answers as a kind does; return status, what is shown, and if it was asked."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    before = termios.tcgetattr(theirs)
    start = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        + ("os.fork() and (os.wait(), os._exit(0)); os.setpgid(0, 0);" if background else "")
        + "from cli import main; main(prog_name='fc7')"
    )
    settings = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TMUX")}
    settings |= {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parent.parent), **(environment or {})}
    process = subprocess.Popen(
        [sys.executable, "-c", start, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=settings
    )
    shown, asked, end = b"", False, time.monotonic() + 120
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        if time.monotonic() > end:
            os.kill(process.pid, signal.SIGKILL)
            pytest.fail(f"it hangs after {shown!r}")
        if select.select([ours], [], [], 0.1)[0]:
            part = os.read(ours, 65536)
            shown += part
            if b"\x1b[c" in part:
                asked = True
                os.write(ours, ANSWERS[kind])
    assert termios.tcgetattr(theirs) == before, "the terminal is left as it was"
    os.close(ours)
    os.close(theirs)
    return process.returncode, shown.decode(), asked


@pytest.mark.parametrize("kind", ["kitty", "sixel", "blocks", "silent"])
def test_a_photo_is_shown_in_any_terminal(kind: str, tiny_model: Path, make_photo: MakePhoto) -> None:
    photo = make_photo("red/a.png")
    status, shown, asked = in_a_terminal("classify", "-m", tiny_model, photo, "--preview", kind=kind)
    assert (status, asked) == (0, True), shown
    marks = {"kitty": "\x1b_Ga=T", "sixel": "\x1bP0;1q"}
    assert marks.get(kind, "▀") in shown
    assert all(mark not in shown for name, mark in marks.items() if name != kind)


def test_without_colours_a_picture_has_its_own_and_text_has_none(tiny_model: Path, make_photo: MakePhoto) -> None:
    photo = make_photo("red/a.png")
    status, shown, _ = in_a_terminal(
        "classify", "-m", tiny_model, photo, "--preview", kind="sixel", environment={"NO_COLOR": "1"}
    )
    assert (status, "\x1bP0;1q" in shown) == (0, True), shown
    assert not re.search(r"\x1b\[[\d;]*m", shown)
    assert "green" in shown.partition("\x1bP0;1q")[2]


def test_in_the_background_nothing_is_asked(tiny_model: Path, make_photo: MakePhoto) -> None:
    """The system stops a program in the background that changes how its terminal works."""
    status, shown, asked = in_a_terminal(
        "classify", "-m", tiny_model, make_photo("a.png"), "--preview", kind="kitty", background=True
    )
    assert (status, asked) == (0, False)
    assert "▀" in shown


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TERM": "dumb"}, "No preview: this terminal shows text alone."),
        ({"NO_COLOR": "1"}, "No preview: NO_COLOR is set"),
        ({"FC7_PREVIEW": "gif"}, "FC7_PREVIEW is gif; it can be kitty, iterm2, sixel, blocks"),
    ],
)
def test_what_cannot_be_shown_is_told(
    environment: dict[str, str], told: str, tiny_model: Path, make_photo: MakePhoto
) -> None:
    photo = make_photo("a.png")
    _, shown, _ = in_a_terminal(
        "classify", "-m", tiny_model, photo, "--preview", kind="blocks", environment=environment, columns=200
    )
    assert told in shown
    assert "▀" not in shown


def test_a_pipe_has_the_text_and_one_line_says_why_there_is_no_picture(
    fc7: Callable[..., Result], make_photo: MakePhoto
) -> None:
    photo = make_photo("a.png")
    plain, piped = fc7("classify", photo), fc7("classify", photo, "--preview")
    assert piped.exit_code == 0
    assert piped.stdout == plain.stdout
    assert piped.stderr == "No preview: standard output is no terminal.\n"


def test_a_terminal_whose_output_is_stopped_does_not_stop_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setattr(graphics, "PATIENCE", 0.1)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    termios.tcflow(theirs, termios.TCOOFF)  # as Ctrl-S does
    try:
        assert graphics.answers(theirs, {"TERM": "xterm"}) == b""
    finally:
        os.close(ours)
        os.close(theirs)
