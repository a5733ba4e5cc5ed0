"""Published networks with a text half: where their files are, what they must be, and fetching them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.pipeline.progress import Progress
from training.pretrained.download import download


@dataclass(frozen=True)
class PublishedFile:
    """One file: its SHA-256 and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class PublishedFolder:
    """An ONNX export in a repository, at one commit."""

    url: str
    files: Mapping[str, PublishedFile]
    licence: str


CLIP_VIT_B32 = PublishedFolder(
    url="https://huggingface.co/Xenova/clip-vit-base-patch32/resolve/d15189d7028b43f1d3e65039190477f6af591c2a",
    files={
        "preprocessor_config.json": PublishedFile(
            "6f638fb9401a6d6296feff533ee7efe657b787c49f954f82f5906b36ef2a1b1f", 520
        ),
        "tokenizer_config.json": PublishedFile("60ba2912bc6344c94bc16bbdec27fa1209409167b6f2fdf3cfe9e65462ea3967", 775),
        "tokenizer.json": PublishedFile("f7f3b7af117d467b58374797691a6438d3e6b9e9cef800dfd5dced7f697a90cd", 2_224_119),
        "onnx/text_model.onnx": PublishedFile(
            "3f6571f5bad13a97c469c1622e1cfc4d9aef78b79fdbfcff804ca357bfada8cc", 254_058_553
        ),
        "onnx/vision_model.onnx": PublishedFile(
            "fd6e1402a588279d1723c7534d4bcba5bc0b14b47dfab0e46f8c47b8270d7d40", 351_685_709
        ),
    },
    licence="MIT (OpenAI CLIP)",
)
"""OpenAI's CLIP ViT-B/32 (Radford et al. 2021), exported for ONNX Runtime by Xenova, with float32 weights."""


def fetch_folder(published: PublishedFolder, folder: Path, *, url: str | None, progress: Progress) -> Path:
    """Return `folder` with all files of a network, fetched from its address or from `url` unless they are there.

    Raises DownloadError.
    """
    base, total = (url or published.url).rstrip("/"), sum(file.size for file in published.files.values())
    before = 0
    for name, file in published.files.items():

        def told(done: int, _: int, before: int = before) -> None:
            progress(before + done, total)

        download(
            f"{base}/{name}",
            folder,
            sha256=file.sha256,
            otherwise=f"Without a network here, fetch the files of {published.url} on another machine, bring their "
            "folder, and run `fc7 import FOLDER --name NAME`",
            progress=told,
        )
        before += file.size
    return folder
