"""Pictures of networks and of training runs: what they show is right, they are files, and bad input gets one line."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image, ImageColor

from index.errors import OptionError, UserError
from retrieval.figures.activations import layer_maps
from retrieval.figures.architecture import layers_of
from retrieval.figures.charts import draw_confusion, draw_curves
from retrieval.figures.drawing import heat_colours, tiles, warmed
from retrieval.figures.filters import Filters, draw_filters, first_filters
from retrieval.figures.style import DARK, LIGHT, shortened, text_width
from retrieval.models.cost import model_cost
from retrieval.models.graph_file import GraphFile
from retrieval.models.model import Model

METRICS = "epoch,train_loss,train_top1,validation_loss,validation_top1,validation_top5"


def looks_drawn(path: Path) -> bool:
    with Image.open(path) as picture:
        return min(picture.size) > 100 and len(picture.convert("RGB").getcolors(1 << 24) or ()) > 10


def test_the_first_filters_are_those_of_the_file() -> None:
    filters = first_filters(None)
    stored = GraphFile.read(None).constant("conv1.weight")
    assert stored is not None
    assert filters.weights.shape == (48, 3, 7, 7)
    assert filters.halves == 1
    np.testing.assert_array_equal(filters.weights, stored)


def test_96_filters_in_two_halves_on_one_scale() -> None:
    weights = np.zeros((96, 3, 11, 11), np.float32)
    weights[0, 0], weights[1, 0], weights[2, 0] = 1, 0.5, -1
    halved = draw_filters(Filters(weights, "conv1", 2), "alexnet")
    whole = draw_filters(Filters(weights, "conv1", 1), "alexnet")
    assert halved.height > whole.height
    colours = {colour for _, colour in whole.getcolors(1 << 24) or ()}
    assert {(255, 128, 128), (191, 128, 128), (0, 128, 128), (128, 128, 128)} <= colours


def test_a_layer_inside_is_what_the_network_computes() -> None:
    model = Model.load(None, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (2, model.spec.crop, model.spec.crop, 3), np.uint8)
    file = GraphFile.read(None)
    fc7, pool5 = file.values(pixels, ["fc7", "pool5"])
    np.testing.assert_allclose(fc7, model.run(pixels).fc7, atol=1e-4)
    assert pool5.shape == (2, *file.shapes["pool5"])
    with pytest.raises(OptionError, match="no tensor conv9"):
        file.values(pixels, ["conv9"])


def test_a_layer_that_has_no_maps_or_is_not_there() -> None:
    model, photo = Model.load(None, device="cpu"), Image.new("RGB", (100, 80), "red")
    assert layer_maps(model, photo, "conv1").shape == (48, 56, 56)
    with pytest.raises(OptionError, match=r"no layer conv9; it has for example conv\d"):
        layer_maps(model, photo, "conv9")
    with pytest.raises(OptionError, match=r"fc6 of .* has no maps"):
        layer_maps(model, photo, "fc6")


def test_costs_of_the_architecture_are_those_of_the_profiler() -> None:
    drawn = {layer.name: layer for layer in layers_of(None)}
    cost = model_cost(None, runs=1)
    for layer in cost.layers:
        if layer.kind in ("convolution", "dense"):
            assert drawn[layer.name].parameters == layer.parameters
            assert drawn[layer.name].products == layer.forward
    assert sum(layer.parameters for layer in drawn.values()) == cost.total.parameters


def test_texts_are_shortened_in_the_middle() -> None:
    long = "a very long name of a photo.jpeg"
    short = shortened(long, 120)
    assert text_width(short) <= 120
    assert short.startswith("a v")
    assert short.endswith("eg")
    assert shortened("short", 120) == "short"


def test_heat_is_dark_to_bright() -> None:
    colours = heat_colours(np.linspace(0, 1, 9, dtype=np.float32)[None])
    assert (np.diff(colours[0].astype(int).sum(axis=1)) > 0).all()
    cold, hot = np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)
    photo = Image.new("RGB", (40, 20), "green")
    assert warmed(photo, cold).size == photo.size
    assert np.asarray(warmed(photo, hot)).mean() > np.asarray(warmed(photo, cold)).mean()


def test_panoramas_and_portraits_stay_whole() -> None:
    sheet = tiles(
        [Image.new("RGB", (400, 10), "red"), Image.new("RGB", (10, 400), "blue")], ["", ""], columns=2, side=90
    )
    pixels = np.asarray(sheet)
    assert (pixels == (255, 0, 0)).all(axis=2).any(axis=0).sum() == 90
    assert (pixels == (0, 0, 255)).all(axis=2).any(axis=1).sum() == 90


def run_folder(place: Path, rows: list[str]) -> Path:
    place.mkdir()
    (place / "metrics.csv").write_text("\n".join([METRICS, *rows]) + "\n")
    (place / "confusion.csv").write_text("label,cat,dog\ncat,8,2\ndog,1,9\n")
    return place


def test_curves_have_the_values_of_the_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", ["1,3,0.2,2.5,0.25,0.5", "2,2,0.4,2.25,0.3,0.6"])
    loss, accuracy = draw_curves([run]).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in loss.lines] == [[3, 2], [2.5, 2.25]]
    assert [np.asarray(line.get_ydata()).tolist() for line in accuracy.lines] == [[20, 40], [25, 30], [50, 60]]


def test_the_confusion_matrix_is_in_shares(tmp_path: Path) -> None:
    axes = draw_confusion(run_folder(tmp_path / "run", [])).axes[0]
    shares = axes.images[0].get_array()
    assert shares is not None
    np.testing.assert_allclose(shares, [[80, 20], [10, 90]])
    assert "85.0% right" in axes.get_title(loc="left")


def test_a_run_that_has_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no whole epoch"):
        draw_curves([run_folder(tmp_path / "run", [])])
    with pytest.raises(UserError, match="damaged"):
        draw_curves([run_folder(tmp_path / "other", ["1,x,0,0,0,0"])])
    (tmp_path / "other" / "metrics.csv").write_text("epoch,step,train_loss\n1,2,3\n")
    with pytest.raises(UserError, match="or another program's: it has no numbers in the columns epoch"):
        draw_curves([tmp_path / "other"])
    (tmp_path / "run" / "confusion.csv").write_text("label,cat\ncat,1\ndog,2\n")
    with pytest.raises(UserError, match="damaged"):
        draw_confusion(tmp_path / "run")


@pytest.mark.slow
def test_show_draws_files(
    fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path, tiny_model: Path
) -> None:
    photo = make_photo("photos/red.png", "red")
    make_photo("photos/blue.png", "blue")
    fc7("index", tmp_path / "photos")
    run = run_folder(tmp_path / "run", ["1,3,0.2,2.5,0.25,0.5"])
    out = tmp_path / "out.png"
    for arguments in (
        ("filters", "builtin"),
        ("architecture", "builtin"),
        ("activations", "builtin", photo, "--layer", "relu3"),
        ("attention", "builtin", photo, "--label", "dog"),
        ("attention", tiny_model, photo),
        ("nearest", tiny_model, 3),
        ("curves", run),
        ("confusion", run),
    ):
        out.unlink(missing_ok=True)
        result = fc7("show", *arguments, "-o", out)
        assert result.exit_code == 0, result.output
        assert looks_drawn(out), arguments


@pytest.mark.parametrize(
    "kind",
    [
        *("filters", "map", "collage"),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("architecture", "curves", "confusion")),
    ],
)
def test_dark_and_sharp(kind: str, fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path) -> None:
    """The paper is dark, and at a scale of 2 there are twice as many pixels each way."""
    run: list[Path | str] = [run_folder(tmp_path / "run", ["1,3,0.2,2.5,0.25,0.5"])]
    words: dict[str, list[Path | str]] = {
        "curves": run,
        "confusion": run,
        "filters": ["builtin"],
        "architecture": ["builtin"],
    }
    if kind in ("map", "collage"):
        make_photo("photos/red.png", "red")
        fc7("index", tmp_path / "photos")
    sizes = []
    looks: list[list[str]] = [[], ["--dark", "--scale", "2"]]
    for look in looks:
        out = tmp_path / f"{len(look)}.png"
        result = fc7("show", kind, *words.get(kind, []), "-o", out, *look)
        assert result.exit_code == 0, result.output
        with Image.open(out) as picture:
            corner = picture.convert("RGB").getpixel((1, 1))
            sizes.append(picture.size)
        assert corner == ImageColor.getrgb((DARK if look else LIGHT).paper)
    assert np.allclose(np.array(sizes[1]) / 2, sizes[0], atol=2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("filters", "none.onnx"), "there is no model file none.onnx"),
        (("filters", "TINY"), "has no filters over the colours"),
        (("activations", "builtin", "none.jpg"), "cannot read none.jpg: no such file"),
        (("attention", "builtin", "PHOTO", "--label", "goldfsh"), "did you mean goldfish"),
        (("nearest", "TINY", "999"), "units 0 to 47 of fc7"),
        (("nearest", "TINY", "1"), "none-index"),
        (("curves", "none"), "cannot be read"),
        (("confusion", "none"), "cannot be read"),
    ],
)
def test_show_with_what_cannot_be(
    fc7: Callable[..., Result],
    make_photo: Callable[..., Path],
    tmp_path: Path,
    tiny_model: Path,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    names = {"TINY": tiny_model, "PHOTO": make_photo("photos/red.png")}
    fc7("index", tmp_path / "photos")
    index = ["--index", tmp_path / "none-index"] if why == "none-index" else []
    result = fc7("show", *(names.get(word, word) for word in arguments), *index, "-o", tmp_path / "out.png")
    assert result.exit_code
    assert why in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out.png").exists()
    suffix = fc7("show", *(names.get(word, word) for word in arguments), "-o", tmp_path / "out.txt")
    assert suffix.exit_code == 2
    assert "no suffix of a picture" in suffix.stderr


@pytest.mark.slow
def test_the_network_of_2012(tmp_path: Path) -> None:
    """60,965,224 parameters, and two halves of 48 filters (Krizhevsky, Sutskever, Hinton 2012, section 3.5)."""
    from untrained import write_untrained

    from training.networks.architectures import ALEXNET

    path = write_untrained(ALEXNET, tmp_path / "alexnet.onnx")
    assert first_filters(path).halves == 2
    layers = layers_of(path)
    assert sum(layer.parameters for layer in layers) == 60_965_224
    assert [layer.kind for layer in layers].count("local norm") == 2


def test_a_missing_package_is_named_with_its_extra(
    fc7: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "out.png", run_folder(tmp_path / "run", ["1,3,0.2,2.5,0.25,0.5"])
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    Image.new("RGB", (50, 50)).save(tmp_path / "a.png")
    for arguments, extra in (
        (("show", "filters", "builtin", "-o", out), "fc7[onnx]"),
        (("detect", tmp_path / "a.png"), "fc7[onnx]"),
        (("show", "curves", run, "-o", out), "fc7[figures]"),
    ):
        result = fc7(*arguments)
        assert result.exit_code == 1
        assert f"pip install '{extra}'" in result.stderr
        assert len(result.stderr.splitlines()) == 1
