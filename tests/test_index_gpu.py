"""FAISS on a GPU: what is asked of it, with a fake of the few calls that need one; tests/gpu has the real thing."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from photo_samples import DIM, SampleFile, bring_up_to_date, embed

from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from retrieval.info import index_facts, installation_facts

ROOT = Path("/photos")
FILES = {b"%03d.jpg" % number: SampleFile(b"content %d" % number) for number in range(300)}
QUERIES = np.stack([embed(b"query %d" % number) for number in range(20)])


class FakeGpu:
    """What FAISS has for a GPU, done by the CPU; `calls` has what was asked, in order."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self.calls: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "FakeGpu":
        monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "resources", raising=False)
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: self.gpus)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", self.to_gpu, raising=False)
        monkeypatch.setattr(faiss, "index_gpu_to_cpu", self.to_cpu, raising=False)
        return self

    def to_gpu(self, resources: object, device: int, index: Any) -> "FakeGpuIndex":
        assert (resources, device) == ("resources", 0)
        if isinstance(index, faiss.IndexHNSW):
            raise RuntimeError("Error in index_cpu_to_gpu:\nThis index type is not implemented on GPU.")
        self.calls.append("to gpu")
        return FakeGpuIndex(faiss.clone_index(index), self.calls)

    def to_cpu(self, index: "FakeGpuIndex") -> Any:
        self.calls.append("to cpu")
        return faiss.clone_index(index.index)


class FakeGpuIndex:
    def __init__(self, index: Any, calls: list[str]) -> None:
        self.index, self.calls = index, calls

    def train(self, vectors: Any) -> None:
        self.calls.append("train")
        self.index.train(vectors)

    def add(self, vectors: Any) -> None:
        self.calls.append("add")
        self.index.add(vectors)

    def search(self, queries: Any, k: int, params: Any = None) -> Any:
        self.calls.append("search")
        return self.index.search(queries, k, params=params)


def filled(folder: Path, kind: str, *, device: str, warnings: list[str]) -> None:
    with IndexWriter.open_for_writing(
        folder, fingerprint="abc", model_name="sample", dim=DIM, device=device, warn=warnings.append
    ) as index:
        index.set_kind(kind)
        bring_up_to_date(index, ROOT, FILES, batch_size=100)


def answers(folder: Path, *, device: str, warnings: list[str]) -> list[list[str]]:
    with PhotoIndex.open(folder, device=device, warn=warnings.append) as index:
        return [[result.path.stem for result in results] for results in index.search(QUERIES, 10)]


@pytest.mark.parametrize("kind", ["Flat", "IVF8,SQ8"])
def test_vectors_are_built_and_searched_on_the_gpu(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(1).install(monkeypatch)
    warnings: list[str] = []
    filled(tmp_path, kind, device="cuda", warnings=warnings)
    if kind != "Flat":
        assert [call for call in gpu.calls if call != "search"] == ["to gpu", "train", "add", "to cpu"]
        assert index_facts(tmp_path).rows["built on"] == "GPU"
    gpu.calls.clear()
    on_gpu = answers(tmp_path, device="cuda", warnings=warnings)
    assert gpu.calls[:2] == ["to gpu", "search"]
    assert gpu.calls.count("to gpu") == 1
    gpu.calls.clear()
    # The file is that of any index: a machine without a GPU searches it too.
    assert answers(tmp_path, device="cpu", warnings=warnings) == on_gpu
    assert (gpu.calls, warnings) == ([], [])


def test_without_a_gpu_it_is_the_cpu_and_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(0).install(monkeypatch)
    warnings: list[str] = []
    filled(tmp_path, "IVF8,SQ8", device="cuda", warnings=warnings)
    assert warnings == ["FAISS finds no GPU here: the vectors are searched on the CPU."]
    assert index_facts(tmp_path).rows["built on"] == "CPU"
    warnings.clear()
    assert answers(tmp_path, device="cuda", warnings=warnings) == answers(tmp_path, device="cpu", warnings=[])
    assert len(warnings) == 1


def test_what_a_gpu_cannot_do_is_done_by_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(1).install(monkeypatch)
    warnings: list[str] = []
    filled(tmp_path, "HNSW8", device="cuda", warnings=warnings)
    assert gpu.calls == []
    [warning] = warnings
    assert warning.startswith("FAISS cannot have this index on the GPU (This index type is not implemented on GPU.)")
    assert index_facts(tmp_path).rows["built on"] == "CPU"


def test_info_says_what_faiss_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(0).install(monkeypatch)
    found = installation_facts(tmp_path, cache=tmp_path)
    assert (found.values["faiss_gpus"], found.rows["FAISS runs on"]) == (0, "the CPU; it finds no GPU")
    FakeGpu(2).install(monkeypatch)
    found = installation_facts(tmp_path, cache=tmp_path)
    said = "the CPU, or one of 2 GPUs with --device cuda"
    assert (found.values["faiss_gpus"], found.rows["FAISS runs on"]) == (2, said)
