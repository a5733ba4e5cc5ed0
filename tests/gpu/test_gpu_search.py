"""FAISS on a real GPU finds what it finds on the CPU. Skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest

from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import FileStamp, NewPhoto
from index.vectors.faiss_library import FaissDevice, faiss_gpus
from retrieval.info import index_facts

pytestmark = pytest.mark.skipif(faiss_gpus() == 0, reason="FAISS finds no GPU")

DIM, COUNT = 64, 20_000
VECTORS = np.random.default_rng(0).standard_normal((COUNT, DIM)).astype(np.float32)
QUERIES = VECTORS[:100] / np.linalg.norm(VECTORS[:100], axis=1, keepdims=True)


def filled(folder: Path, kind: str, *, device: str, warnings: list[str]) -> None:
    with IndexWriter.open_for_writing(
        folder, fingerprint="abc", model_name="sample", dim=DIM, device=device, warn=warnings.append
    ) as index:
        index.set_kind(kind)
        sync = index.begin_sync(Path("/photos"), {})
        for start in range(0, COUNT, 5000):
            rows = range(start, start + 5000)
            sync.add([NewPhoto(b"%05d.jpg" % row, FileStamp(1, 1), None, embedding=VECTORS[row]) for row in rows])
        sync.finish()


@pytest.mark.parametrize("kind", ["Flat", "IVF128,Flat", "IVF128,SQ8"])
def test_the_gpu_finds_what_the_cpu_finds(tmp_path: Path, kind: str) -> None:
    warnings: list[str] = []
    filled(tmp_path, kind, device="cuda", warnings=warnings)
    found = []
    for device in ("cuda", "cpu"):
        with PhotoIndex.open(tmp_path, device=device, warn=warnings.append) as index:
            found.append([{result.path for result in row} for row in index.search(QUERIES, 10, recall=0.95)])
    assert warnings == []
    assert np.mean([len(one & other) / 10 for one, other in zip(*found, strict=True)]) > 0.97
    if kind != "Flat":
        assert index_facts(tmp_path).rows["built on"] == "GPU"


def test_the_device_says_that_it_was_used() -> None:
    import faiss

    device = FaissDevice("cuda")
    assert device.to_gpu(faiss.IndexFlatIP(4)) is not None
    assert device.used == "GPU"
