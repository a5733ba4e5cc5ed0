"""docs/models.md: its example in plain ONNX Runtime gives what fc7 gives, its figures are those of the catalogue."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from training.pretrained.catalogue import NAMES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"


@pytest.mark.parametrize(
    ("size", "mode"), [((640, 480), "crop"), ((300, 400), "crop"), ((640, 300), "trim"), ((640, 300), "squash")]
)
def test_the_example_gives_the_name_and_the_embedding_of_fc7(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    size: tuple[int, int],
    mode: str,
) -> None:
    blocks = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    blocks[:, :, 1:] //= 2
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    path = tmp_path / "model.onnx"
    file = onnx.load(tiny_model)
    facts = {entry.key: entry.value for entry in file.metadata_props}
    if mode != "crop":
        facts |= {"fc7.resize_mode": json.dumps(mode), "fc7.resize": facts["fc7.crop"]}
    onnx.helper.set_model_props(file, facts)
    onnx.save(file, path)
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    model = Model.load(path)
    image = open_photo(tmp_path / "photo.jpg")
    [[best]] = model.classify([image], k=1)
    assert capsys.readouterr().out.split()[0] == best.label
    embedding = names["embedding"]
    assert isinstance(embedding, np.ndarray)
    assert embedding[0] @ model.embed([image])[0] > 0.999


def test_what_import_lists_is_what_the_pages_tell() -> None:
    """The catalogue has the figures of the table that benchmarks/models.py prints."""
    rows = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")[1:-1]]
        if cells and cells[0] in NAMES and len(cells) == 11:
            rows[cells[0]] = cells[1:]
    assert list(rows) == [name for name, known in NAMES.items() if known.in_package]
    for name, (classes, side, size, rate, top1, _, _, _, p10, mean) in rows.items():
        known = NAMES[name]
        told = f"{known.classes:,}", str(known.side), f"{known.size:.1f}", f"{known.rate:.0f}", f"{known.top1:.1%}"
        assert (classes, side, size, rate.split()[0], top1) == told
        assert (p10, mean) == (f"{known.precision_at_10:.3f}", f"{known.mean_average_precision:.3f}")
