"""A tiny CLIP and a tiny SigLIP with random weights: their ONNX exports, imported, say what transformers says."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from foreign_networks import (
    SIDE,
    Both,
    ImageHalf,
    TextOfHalf,
    network_code,
    normalised,
    onnx_export,
    write_preprocessor,
    write_tokenizer,
)
from numpy.typing import NDArray
from PIL import Image
from test_cli_packages import fc7_without
from told import told

import fc7 as fc7_module
from cli import main
from index.errors import UserError
from retrieval.models.model import Model
from retrieval.models.text import text_file
from retrieval.models.zero_shot import ZeroShot
from training.errors import ExportError
from training.onnx_import import published
from training.onnx_import.import_folder import import_folder
from training.onnx_import.preparation import Wishes
from training.onnx_import.published import PublishedFile
from training.pretrained.download import file_digest

pytestmark = pytest.mark.slow
pytest.importorskip("tokenizers", reason="tokenizers is not installed; it comes with the extra text")

CONTEXT = 16
TEXTS = ["a photo of a dog", "two boats at sunset", "red", "the old tree on the beach in a city street"]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLOSE = 1e-4


@dataclass(frozen=True)
class Export:
    """The folder of an export, and what it was exported from."""

    folder: Path
    network: Any
    tokenizer: Any
    siglip: bool = False

    def texts(self, texts: list[str]) -> NDArray[np.float32]:
        """What transformers says of texts, at unit length."""
        fast = network_code("transformers").PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer, pad_token="<|endoftext|>"
        )
        settings = {"padding": "max_length" if self.siglip else True, "max_length": CONTEXT, "truncation": True}
        found = fast(texts, return_tensors="pt", **settings)
        mask = None if self.siglip else found["attention_mask"]
        with torch.inference_mode():
            return unit(TextOfHalf(self.network, mask=True)(found["input_ids"], mask).numpy())

    def images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What transformers says of prepared pictures, at unit length."""
        mean, std = ([0.5] * 3, [0.5] * 3) if self.siglip else (MEAN, STD)
        with torch.inference_mode():
            return unit(ImageHalf(self.network)(torch.from_numpy(normalised(pixels, mean, std))).numpy())


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def half(hidden: int, **more: int) -> dict[str, int]:
    sizes = {"hidden_size": hidden, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return sizes | more


def write_halves(folder: Path, network: Any, *, mask: bool) -> None:
    (folder / "onnx").mkdir(exist_ok=True)
    picture = torch.rand(2, 3, SIDE, SIDE)
    onnx_export(
        ImageHalf(network),
        (picture,),
        folder / "onnx" / "vision_model.onnx",
        input_names=["pixel_values"],
        output_names=["image_embeds"],
        dynamic_axes={"pixel_values": {0: "batch"}},
    )
    tokens = torch.randint(1, 20, (2, CONTEXT))
    axes = {0: "batch"} if not mask else {0: "batch", 1: "length"}
    names = ["input_ids", *(["attention_mask"] if mask else [])]
    onnx_export(
        TextOfHalf(network, mask=mask),
        (tokens, *([torch.ones_like(tokens)] if mask else [])),
        folder / "onnx" / "text_model.onnx",
        input_names=names,
        output_names=["text_embeds"],
        dynamic_axes=dict.fromkeys(names, axes),
    )


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Export:
    transformers = network_code("transformers")
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = write_tokenizer(folder, context=CONTEXT)
    write_preprocessor(folder)
    torch.manual_seed(0)
    end = tokenizer.token_to_id("<|endoftext|>")
    words = half(32, vocab_size=end + 1, max_position_embeddings=CONTEXT, eos_token_id=end, bos_token_id=end - 1)
    config = transformers.CLIPConfig(
        text_config=words | {"pad_token_id": end},
        vision_config=half(40, image_size=SIDE, patch_size=8),
        projection_dim=24,
    )
    network = transformers.CLIPModel(config).eval()
    for parameter in network.parameters():  # at its random start, CLIP says nearly the same of everything
        parameter.data += 0.15 * torch.randn(parameter.shape) if parameter.ndim > 1 else 0
    write_halves(folder, network, mask=True)
    return Export(folder, network, tokenizer)


@pytest.fixture(scope="session")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Export:
    transformers = network_code("transformers")
    folder = tmp_path_factory.mktemp("siglip")
    tokenizer = write_tokenizer(folder, context=CONTEXT, siglip=True)
    write_preprocessor(folder, siglip=True)
    torch.manual_seed(0)
    words = half(40, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=CONTEXT)
    config = transformers.SiglipConfig(text_config=words, vision_config=half(40, image_size=SIDE, patch_size=8))
    network = transformers.SiglipModel(config).eval()
    for parameter in network.parameters():
        parameter.data += 0.15 * torch.randn(parameter.shape) if parameter.ndim > 1 else 0
    write_halves(folder, network, mask=False)
    return Export(folder, network, tokenizer, siglip=True)


@pytest.fixture(scope="session")
def imported(clip: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny.onnx"
    import_folder(clip.folder, out, wishes=Wishes())
    return out


@pytest.fixture
def fc7(imported: Path, tmp_path: Path) -> Callable[..., Result]:
    settings = {"FC7_INDEX": str(tmp_path / "index"), "XDG_DATA_HOME": str(tmp_path / "data")}
    return lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), env=settings)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        coarse = random.integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(coarse).resize((50, 40), Image.Resampling.NEAREST).save(folder / f"{number}.png")
    return folder


def prepared(model: Model, photos: Path) -> NDArray[np.uint8]:
    return np.stack([model.prepare(Image.open(path)) for path in sorted(photos.iterdir())])


@pytest.mark.parametrize("which", ["clip", "siglip"])
def test_both_halves_say_what_transformers_says(
    which: str, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    export: Export = request.getfixturevalue(which)
    out = tmp_path / "model.onnx"
    spec = import_folder(export.folder, out, wishes=Wishes()).spec
    assert (spec.classes, spec.text, spec.crop) == ((), True, SIDE)
    assert spec.resize_mode == ("squash" if export.siglip else "crop")
    model = Model.load(out, device="cpu")
    assert model.text is not None
    pixels = prepared(model, photos)
    images, texts = model.run(pixels).embedding, model.text.embed(TEXTS)
    assert np.linalg.norm(texts[0] - texts[1]) > 0.1  # not all alike, which anything would pass
    np.testing.assert_allclose(images, export.images(pixels), atol=CLOSE)
    np.testing.assert_allclose(texts, export.texts(TEXTS), atol=CLOSE)
    np.testing.assert_allclose(np.concatenate([model.text.embed([text]) for text in TEXTS]), texts, atol=CLOSE)
    ranking = np.argsort(-(texts @ images.T), axis=1)
    assert ranking.tolist() == np.argsort(-(export.texts(TEXTS) @ export.images(pixels).T), axis=1).tolist()


def test_a_text_longer_than_it_reads_is_cut_off_as_transformers_does(clip: Export, imported: Path) -> None:
    model = Model.load(imported, device="cpu")
    assert model.text is not None
    long = " ".join(["old tree"] * 30)
    np.testing.assert_allclose(model.text.embed([long]), clip.texts([long]), atol=CLOSE)


def test_a_joint_export_has_both_halves_and_tells_its_scale(clip: Export, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "joint"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(clip.folder / name, folder)
    tokens = torch.randint(1, 20, (2, CONTEXT))
    names = ["input_ids", "pixel_values", "attention_mask"]
    onnx_export(
        Both(clip.network),
        (tokens, torch.rand(2, 3, SIDE, SIDE), torch.ones_like(tokens)),
        folder / "model.onnx",
        input_names=names,
        output_names=["logits_per_image", "text_embeds", "image_embeds"],
        dynamic_axes={
            "input_ids": {0: "texts", 1: "length"},
            "attention_mask": {0: "texts", 1: "length"},
            "pixel_values": {0: "n"},
        },
    )
    out = tmp_path / "joint.onnx"
    import_folder(folder, out, wishes=Wishes())
    model = Model.load(out, device="cpu")
    assert model.text is not None
    pixels = prepared(model, photos)
    np.testing.assert_allclose(model.run(pixels).embedding, clip.images(pixels), atol=CLOSE)
    np.testing.assert_allclose(model.text.embed(TEXTS), clip.texts(TEXTS), atol=CLOSE)
    assert model.text.spec.scale == pytest.approx(float(clip.network.logit_scale.exp().detach()), rel=1e-5)


def test_halves_in_8_bits_are_told_as_they_answer(clip: Export, photos: Path, tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    folder = tmp_path / "int8"
    shutil.copytree(clip.folder, folder)
    for name in ("vision_model", "text_model"):
        quantize_dynamic(folder / "onnx" / f"{name}.onnx", folder / "onnx" / f"{name}_quantized.onnx")
        (folder / "onnx" / f"{name}.onnx").unlink()
    out = tmp_path / "int8.onnx"
    import_folder(folder, out, wishes=Wishes())
    model = Model.load(out, device="cpu")
    assert model.text is not None
    # Its steps are those of a whole batch: a text beside others would be embedded otherwise than alone.
    assert not model.text.spec.batches
    session = onnxruntime.InferenceSession(folder / "onnx" / "vision_model_quantized.onnx")
    pixels = prepared(model, photos)
    expected = [session.run(None, {"pixel_values": normalised(row[None], MEAN, STD)})[0][0] for row in pixels]
    np.testing.assert_allclose(model.run(pixels).embedding, unit(np.stack(expected)), atol=0.05)
    texts, exact = model.text.embed(TEXTS), clip.texts(TEXTS)
    assert (texts * exact).sum(axis=1).min() > 0.9


def test_labels_get_the_probabilities_that_transformers_gives_them(clip: Export, imported: Path, photos: Path) -> None:
    model = Model.load(imported, device="cpu")
    labels = ["dog", "boat", "sunset"]
    pixels = prepared(model, photos)
    found = ZeroShot(model, labels, prompt="a photo of a {}").run(pixels)
    logits = 100 * clip.images(pixels) @ clip.texts([f"a photo of a {label}" for label in labels]).T
    expected = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=20 * CLOSE)  # the error of a cosine, times 100


def test_words_find_photos_alone_and_mixed(
    clip: Export, imported: Path, fc7: Callable[..., Result], photos: Path
) -> None:
    indexed = fc7("index", photos, "-m", imported)
    assert indexed.exit_code == 0, indexed.output
    model = Model.load(imported, device="cpu")
    images, texts = model.run(prepared(model, photos)).embedding, clip.texts(TEXTS)

    def searched(*arguments: object) -> list[dict[str, Any]]:
        said = fc7("search", *arguments, "--format", "jsonl", "-k", 6)
        assert said.exit_code == 0, said.output
        return [json.loads(line) for line in said.stdout.splitlines()]

    def names(answer: dict[str, Any]) -> list[str]:
        return [Path(found["path"]).name for found in answer["results"]]

    [answer] = searched(TEXTS[1])
    assert answer["query"] == TEXTS[1]
    assert names(answer) == [f"{number}.png" for number in np.argsort(-(images @ texts[1]))]
    scores = [found["score"] for found in answer["results"]]
    np.testing.assert_allclose(scores, np.sort(images @ texts[1])[::-1], atol=2e-3)  # stored as float16

    first, second = searched(TEXTS[0], photos / "3.png")
    assert (first["query"], second["query"]) == (str(photos / "3.png"), TEXTS[0])  # photos before words
    assert names(first)[0] == "3.png"
    [together] = searched(photos / "3.png", TEXTS[0], "--average")
    mean = unit((images[3] + texts[0])[None])[0]
    assert names(together) == [f"{number}.png" for number in np.argsort(-(images @ mean))]
    [away] = searched(photos / "3.png", "--not", TEXTS[0])
    assert names(away) == [
        f"{number}.png" for number in np.argsort(-(images @ unit((images[3] - texts[0] / 2)[None])[0]))
    ]
    [within] = searched(TEXTS[0], "--within", photos)
    assert len(within["results"]) == 6
    assert len(searched(photos, "red")) == 7  # a folder is its photos

    table = fc7("search", "a photo of a dog", "-k", 1)
    assert table.stdout.startswith("a photo of a dog\n")
    labelled = fc7("search", "--label", "dog")
    assert labelled.exit_code == 1
    assert "tiny has no classes" in labelled.stderr
    empty = fc7("search", "   ")
    assert "no words" in empty.stderr


def test_what_exists_or_is_indexed_is_a_photo_and_all_else_is_words(
    imported: Path, fc7: Callable[..., Result], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fc7("index", photos, "-m", imported).exit_code == 0
    monkeypatch.chdir(photos)
    shutil.copy("0.png", "red")
    as_photo = json.loads(fc7("search", "red", "--format", "jsonl").stdout)
    assert as_photo["results"][0]["score"] > 0.99
    Path("red").unlink()
    as_words = json.loads(fc7("search", "red", "--format", "jsonl").stdout)
    assert as_words["results"][0]["score"] < 0.99
    Path("1.png").unlink()
    gone = json.loads(fc7("search", "1.png", "--format", "jsonl").stdout)
    # What is not there any more comes last, but it was searched for as a photo.
    assert gone["results"][-1]["path"] == str(photos / "1.png")
    assert gone["results"][-1]["score"] == pytest.approx(1, abs=1e-3)
    mistyped = fc7("search", "7.png")
    assert mistyped.exit_code == 0
    assert "there is no photo 7.png: it is looked for as words" in mistyped.stderr
    boxed = fc7("search", "red", "--box", "0,0,5,5")
    assert "a box is a region of one photo" in boxed.stderr


def test_without_a_text_half_words_are_a_photo_that_is_missing(
    tiny_model: Path, fc7: Callable[..., Result], photos: Path
) -> None:
    assert fc7("index", photos, "-m", tiny_model).exit_code == 0
    said = fc7("search", "a dog on a beach")
    assert said.exit_code == 1
    assert "cannot read a dog on a beach: no such file" in said.stderr
    assert "a dog on a beach is taken for a photo, because the model tiny has no text half" in said.stderr


def test_classify_by_labels(imported: Path, fc7: Callable[..., Result], photos: Path) -> None:
    said = fc7("classify", photos / "0.png", "-m", imported, "--labels", "dog, boat,old tree", "--format", "jsonl")
    assert said.exit_code == 0, said.output
    predictions = json.loads(said.stdout)["predictions"]
    assert {found["label"] for found in predictions} == {"dog", "boat", "old tree"}
    assert sum(found["probability"] for found in predictions) == pytest.approx(1, abs=1e-4)
    for arguments, expected in (
        ((), "tiny has no classes"),
        (("--labels", "dog,,cat"), "a label is empty"),
        (("--labels", "dog,cat, dog"), "the label 'dog' is there twice"),
        (("--labels", "dog", "--prompt", "a dog"), "has no {} where the label goes"),
        (("--prompt", "a {}"), "a prompt is for labels"),
        (("--labels", "dog", "--crops", "10"), "labels are compared by one model"),
    ):
        said = fc7("classify", photos / "0.png", "-m", imported, *arguments)
        assert said.exit_code in (1, 2)
        assert expected in said.stderr
        assert said.stderr.count("\n") == 1 or said.exit_code == 2


def test_classes_given_at_import_are_words_and_label_photos(
    clip: Export, fc7: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("dog\nboat\nsunset, evening\n")
    said = fc7("import", clip.folder, "--name", "named", "--classes", names)
    assert said.exit_code == 0, said.output
    model = tmp_path / "data" / "fc7" / "models" / "named.onnx"
    assert text_file(model).is_file()
    indexed = fc7("index", photos, "-m", "named")
    assert indexed.exit_code == 0, indexed.output
    by_label = json.loads(fc7("search", "--label", "evening", "--format", "jsonl").stdout)
    loaded = Model.load(model, device="cpu")
    probabilities = loaded.run(prepared(loaded, photos)).probabilities
    expected = ZeroShot(loaded, ["dog", "boat", "sunset"]).run(prepared(loaded, photos)).probabilities
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    order = np.argsort(-probabilities[:, 2], kind="stable")
    assert Path(by_label["results"][0]["path"]).name == f"{order[0]}.png"
    mixed = fc7("search", "red", "--label", "evening", "--format", "jsonl")
    assert mixed.exit_code == 0
    expected_names = {f"{number}.png" for number in np.flatnonzero(probabilities[:, 2] >= 0.2)}
    assert {Path(found["path"]).name for found in json.loads(mixed.stdout)["results"]} == expected_names
    info = fc7("info", "named")
    assert "named.text.onnx" in info.stdout


def test_a_lost_or_foreign_text_half_is_named(clip: Export, imported: Path, photos: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    shutil.copy(imported, alone)
    model = Model.load(alone, device="cpu")
    with pytest.raises(UserError, match=r"alone.text.onnx is not there"):
        model.text  # noqa: B018
    import_folder(clip.folder, tmp_path / "other.onnx", wishes=Wishes(bgr=True))
    shutil.copy(text_file(tmp_path / "other.onnx"), text_file(alone))
    half = Model.load(alone, device="cpu").text
    assert half is not None
    with told(UserError, "is the text half of another model"):
        half.embed(["red"])


@pytest.fixture
def folder(clip: Export, tmp_path: Path) -> Path:
    """A copy of the export, to be spoiled."""
    return Path(shutil.copytree(clip.folder, tmp_path / "spoiled"))


def swap_half(folder: Path, other: Export) -> None:
    shutil.copy(other.folder / "onnx" / "text_model.onnx", folder / "onnx")


def too_many_words(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["vocab"]["elephant"] = 400
    path.write_text(json.dumps(values))


def other_ends(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<|endoftext|>", "</s>"))
    values = json.loads(path.read_text())
    values["model"]["vocab"] |= {"</s>": 2, "street": values["model"]["vocab"]["</s>"]}
    values["added_tokens"][1]["id"] = 2
    values["post_processor"]["special_tokens"]["</s>"]["ids"] = [2]
    path.write_text(json.dumps(values))


def twice(folder: Path) -> None:
    image = folder / "onnx" / "vision_model.onnx"
    shutil.copy(image, folder / "onnx" / "vision_model_int8.onnx")
    image.rename(folder / "onnx" / "vision_model_fp16.onnx")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            lambda folder: (folder / "tokenizer.json").unlink(),
            "there is no .*tokenizer.json, which the text half needs",
        ),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "is no tokenizer as transformers writes it"),
        (too_many_words, "does not fit .*text_model.onnx, which fails on the last of its 401 tokens"),
        (other_ends, "embeds all texts alike: tokenizer.json does not fit it"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "which tells how pictures are prepared"),
        (lambda folder: (folder / "preprocessor_config.json").write_text("[1]"), "is not as transformers writes it"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "how many tokens .* is stated nowhere"),
        (lambda folder: (folder / "onnx" / "vision_model.onnx").unlink(), "is no export of an image network"),
        (twice, "has 2 files of one half, vision_model_fp16.onnx, vision_model_int8.onnx"),
        (
            lambda folder: shutil.copy(folder / "onnx" / "vision_model.onnx", folder / "onnx" / "text_model.onnx"),
            "is no text half",
        ),
    ],
)
def test_a_folder_that_is_not_whole(
    spoil: Callable[[Path], object], expected: str, folder: Path, tmp_path: Path
) -> None:
    spoil(folder)
    before = set(tmp_path.iterdir())
    with told(ExportError, expected) as caught:
        import_folder(folder, tmp_path / "model.onnx", wishes=Wishes())
    assert "\n" not in caught.value.with_hint
    assert set(tmp_path.iterdir()) == before


def test_halves_of_two_networks_do_not_fit(siglip: Export, folder: Path, tmp_path: Path) -> None:
    swap_half(folder, siglip)
    with pytest.raises(ExportError, match="embeds a text as 40 values, the image half a photo as 24"):
        import_folder(folder, tmp_path / "model.onnx", wishes=Wishes())


@contextmanager
def serving_folder(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server on loopback with the files of a folder, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *message: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_clip_is_fetched_by_its_name_and_each_file_checked(
    clip: Export, photos: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: PublishedFile(file_digest(clip.folder / name), 1) for name in published.CLIP_VIT_B32.files}
    monkeypatch.setattr(published, "CLIP_VIT_B32", replace(published.CLIP_VIT_B32, files=known))
    places = {name: str(tmp_path / name) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "FC7_INDEX")}

    def fc7(*arguments: object) -> Result:
        return CliRunner().invoke(main, list(map(str, arguments)), env=places)

    photo = next(iter(sorted(photos.iterdir())))
    asked_too_soon = fc7("classify", photo, "-m", "clip-vit-b32", "--labels", "dog")
    assert asked_too_soon.stderr == "Error: clip-vit-b32 is not imported yet; run `fc7 import clip-vit-b32`\n"
    with serving_folder(folder) as (url, asked):
        image = folder / "onnx" / "vision_model.onnx"
        whole = image.read_bytes()
        image.write_bytes(whole[:-1] + b"!")
        said = fc7("import", "clip-vit-b32", "--url", url)
        assert said.exit_code == 1
        assert "vision_model.onnx is not the file expected: its SHA-256 begins with" in said.stderr
        assert not list(tmp_path.rglob("clip-vit-b32.onnx"))
        image.write_bytes(whole)
        asked.clear()
        said = fc7("import", "clip-vit-b32", "--url", url)
        assert said.exit_code == 0, said.output
        assert asked == ["/onnx/vision_model.onnx"]  # what came whole is not fetched again
    model = Path(places["XDG_DATA_HOME"]) / "fc7" / "models" / "clip-vit-b32.onnx"
    assert said.stdout == f"{model}: ONNX, opset 17, no classes, a text half, embedding of 24 values\n"
    assert Model.load(model, device="cpu").spec.licence == "MIT (OpenAI CLIP)"
    assert "imported" in fc7("import", "--list").stdout
    assert fc7("index", photos, "-m", "clip-vit-b32").exit_code == 0
    assert fc7("search", "a dog on the beach").exit_code == 0
    gone = fc7("import", "clip-vit-b32", "--url", url)  # all is in the cache, and no network is needed
    assert gone.exit_code == 0


def test_the_published_files_are_told_whole() -> None:
    files = published.CLIP_VIT_B32.files
    assert set(files) >= {"onnx/vision_model.onnx", "onnx/text_model.onnx", "tokenizer.json"}
    assert all(len(file.sha256) == 64 and int(file.sha256, 16) for file in files.values())
    assert sum(file.size for file in files.values()) == pytest.approx(608e6, rel=0.01)  # as the help says


def test_from_python(clip: Export, imported: Path, photos: Path, tmp_path: Path) -> None:
    model = fc7_module.load_model(imported)
    np.testing.assert_allclose(model.embed_text(TEXTS), clip.texts(TEXTS), atol=CLOSE)
    assert model.embed_text([]).shape == (0, 24)
    paths = sorted(photos.iterdir())
    named = model.classify(paths, labels=["dog", "boat"], k=1)
    assert {found.predictions[0].label for found in named} <= {"dog", "boat"}
    with pytest.raises(fc7_module.Error, match="tiny has no classes"):
        model.classify(paths)
    with fc7_module.open_index(tmp_path / "index", model=model) as index:
        index.add(photos)
        by_text = [found.path.name for found in index.search(text="a photo of a dog", k=3)]
        scores = model.embed(photos).vectors @ clip.texts(["a photo of a dog"])[0]
        assert by_text == [f"{number}.png" for number in np.argsort(-scores)[:3]]
        assert index.search(paths[3], text="red", k=1)[0].score < 0.999
        with pytest.raises(fc7_module.Error):
            index.search("no such photo.jpg")  # a path is never words in Python


def test_without_tokenizers_the_extra_is_named(imported: Path, photos: Path, tmp_path: Path) -> None:
    photo = next(iter(photos.iterdir()))
    options = ("-m", imported, "--index", tmp_path / "index")
    indexed, searched, done = fc7_without(
        ("tokenizers",), ("index", photos, *options), ("search", photo, *options), ("search", "red", *options)
    )
    assert indexed.returncode == searched.returncode == 0
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "pip install 'fc7[text]'" in done.stderr
