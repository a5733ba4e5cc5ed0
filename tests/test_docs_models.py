"""The example of docs/models.md in plain ONNX Runtime gives what fc7 gives."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from retrieval.models.model import Model
from retrieval.photos.decode import open_photo

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
