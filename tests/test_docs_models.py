"""The example of docs/models.md in plain ONNX Runtime gives what fc7 gives."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.models.model import Model
from retrieval.photos.decode import open_photo

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"


@pytest.mark.parametrize("size", [(640, 480), (300, 400)])
def test_the_example_gives_the_name_and_the_embedding_of_fc7(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    size: tuple[int, int],
) -> None:
    blocks = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    blocks[:, :, 1:] //= 2
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    shutil.copy(tiny_model, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    model = Model.load(tiny_model)
    image = open_photo(tmp_path / "photo.jpg")
    [[best]] = model.classify([image], k=1)
    assert capsys.readouterr().out.split()[0] == best.label
    embedding = names["embedding"]
    assert isinstance(embedding, np.ndarray)
    assert embedding[0] @ model.embed([image])[0] > 0.999
