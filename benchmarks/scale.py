"""What a collection that outgrows one machine takes: measured rates, a plan on paper, and Ray against one process.

    python benchmarks/scale.py plan [--milliseconds READ DECODE NETWORK] [--megabytes MB] [-m MODEL]
    python benchmarks/scale.py ray [--photos N] [--rounds N] [-m MODEL]

`plan` measures what a shard and a row of the catalogue cost, in seconds of a core and in bytes, on this machine, and
what photos of 500×400 cost to read, to decode and to embed, as `fc7 bench` does. --milliseconds names other values for
these three, and --megabytes the size of a photo, such as those of `python benchmarks/indexing.py` for photos of 12
megapixels. From these follow hours, network, disk and memory of 100 million photos on 50 machines and of a billion on
500, of 16 cores each. Nothing is faster in the plan than what was measured, and nothing waits.

`ray` compares whole commands, in turn in each round: `fc7 index` in one process, with one worker and with two, and Ray
with one and with two. With so few photos the start counts most, so a run of 16 photos is taken off each. It takes about
3 minutes on two cores that do nothing else.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from report import table
from sample_photos import SMALL, write_photos

from index.milvus.rows import EMBEDDING, RemotePhoto
from index.milvus.state import HNSW, KINDS
from index.records import FileStamp, NewPhoto, Prediction
from index.vectors.approximate import TRAINING_PER_LIST
from index.vectors.kinds import kind_for
from retrieval.evaluation.speed import measure
from retrieval.indexing.update import open_for_model
from retrieval.models.model import Model
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.stages import EmbeddedBatch
from retrieval.shards.place import ShardPlace
from retrieval.shards.shard import ShardHeader, read_shard, write_shard

ROWS = 4_096
SHARD = 512
THUMBNAIL = 5_000
"""Bytes of one, on average (docs/internals.md)."""
PLANS = ((100_000_000, 50), (1_000_000_000, 500))
CORES = 16
FEW = 16


@dataclass(frozen=True)
class Rates:
    """Seconds of a core for each photo, and bytes for each."""

    reading: float
    decoding: float
    network: float
    shard: float
    commit: float
    photo_bytes: float
    shard_bytes: float
    row_bytes: float
    listed_bytes: float
    milvus_bytes: float
    dim: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plan", "ray"])
    parser.add_argument("--milliseconds", type=float, nargs=3, metavar=("READ", "DECODE", "NETWORK"))
    parser.add_argument("--megabytes", type=float, help="of a photo")
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-m", "--model", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="fc7-") as temporary:
        if given.what == "ray":
            print(compare(Path(temporary), given.photos, given.rounds, given.model))
            return
        model = Model.load(given.model, device="cpu", threads=1)
        rates = measured(Path(temporary), model, given.milliseconds, given.megabytes)
    print(rates_table(rates), "\n")
    print(table(("", *(f"{photos / 1e6:,.0f} million" for photos, _ in PLANS)), plan_rows(rates)))


def measured(work: Path, model: Model, milliseconds: Sequence[float] | None, megabytes: float | None) -> Rates:
    """Measure what is not given. Processor time is counted, so that other programs do not matter much."""
    photos = write_photos(work / "photos", 200, SMALL)
    if milliseconds is None:
        costs = measure(model, photos, concurrencies=[Concurrency.chosen(model)], rounds=3, work=work).usual_costs
        milliseconds = [1e3 * costs.reading, 1e3 * costs.decoding, 1e3 * costs.network]
    size = float(np.mean([os.path.getsize(photo) for photo in photos])) if megabytes is None else 1e6 * megabytes
    spec, chance = model.spec, np.random.default_rng(0)
    labels = tuple(Prediction("goldfish, Carassius auratus", "n01443537", 0.2) for _ in range(5))
    batch = [
        NewPhoto(
            b"some folder/some other folder/photo %09d.jpg" % number,
            FileStamp(200_000, 1_700_000_000_000_000_000 + number),
            chance.bytes(16),
            500,
            400,
            chance.standard_normal(spec.dim).astype(np.float32),
            labels,
            thumbnail=chance.bytes(THUMBNAIL),
        )
        for number in range(ROWS)
    ]
    place, root = ShardPlace(str(work / "shards")), work / "folder"
    place.prepare()
    header = ShardHeader(spec.name, spec.fingerprint, spec.dim, os.fsencode(root))
    parts = [EmbeddedBatch(tuple(batch[start : start + SHARD])) for start in range(0, ROWS, SHARD)]
    begin = time.process_time()
    for number, part in enumerate(parts):
        write_shard(place, f"{number}.parquet", header, part)
    shard = (time.process_time() - begin) / ROWS
    with open_for_model(work / "index", model) as index:
        sync = index.begin_sync(root, {photo.path: photo.stamp for photo in batch})
        begin = time.process_time()
        for name in place.names():
            sync.add(read_shard(place, name, header).photos)
        commit = (time.process_time() - begin) / ROWS
        sync.finish()
    folder = Path(place.named)
    tracemalloc.start()
    listed = {
        b"some folder/some other folder/photo %09d.jpg" % number: FileStamp(1 << 20, number << 40)
        for number in range(ROWS)
    }
    listed_bytes = tracemalloc.get_traced_memory()[0] / len(listed)
    tracemalloc.stop()
    photo = batch[0]
    assert photo.embedding is not None
    classes = {label.id or label.label: label.probability for label in labels}
    row = RemotePhoto(1, photo.path, photo.stamp, photo.content_hash, 500, 400, classes, photo.embedding).values()
    columns = json.dumps({name: value for name, value in row.items() if name != EMBEDDING})
    links = 2 * 4 * KINDS[HNSW][1]["M"]  # of the lowest layer, four bytes each
    reading, decoding, network = (value / 1e3 for value in milliseconds)
    return Rates(
        reading=reading,
        decoding=decoding,
        network=network,
        shard=shard,
        commit=commit,
        photo_bytes=size,
        shard_bytes=sum(path.stat().st_size for path in folder.iterdir()) / ROWS,
        row_bytes=(work / "index/catalog.db").stat().st_size / ROWS,
        listed_bytes=listed_bytes,
        milvus_bytes=len(columns) + links + 4 * spec.dim,
        dim=spec.dim,
    )


def rates_table(rates: Rates) -> str:
    """Show what was measured, or given."""
    costs = ("reading", "decoding", "network", "shard", "commit")
    sizes = ("photo_bytes", "shard_bytes", "row_bytes", "listed_bytes", "milvus_bytes")
    rows = [(f"{name}, ms of a core", f"{1e3 * getattr(rates, name):.2f}") for name in costs]
    rows += [(name.replace("_", ", "), f"{getattr(rates, name):,.0f}") for name in sizes]
    return table(("for each photo", ""), rows)


def plan_rows(rates: Rates) -> list[tuple[str, ...]]:
    """Return a row for each quantity, with its value in each plan."""
    columns = [plan(rates, photos, machines) for photos, machines in PLANS]
    return [(name, *(column[name] for column in columns)) for name in columns[0]]


def plan(rates: Rates, photos: int, machines: int, cores: int = CORES) -> dict[str, str]:
    """Return what follows from the rates."""
    busy = rates.reading + rates.decoding + rates.network + rates.shard
    embedding = photos * busy / (machines * cores)  # seconds
    writing = photos * rates.commit
    kind = kind_for(photos, rates.dim)
    lists = int(kind.removeprefix("IVF").split(",")[0])
    vectors = photos * (rates.dim + 8)  # a byte for each number, and the position
    training = TRAINING_PER_LIST * lists * rates.dim * 4
    demands = {
        "the one writer": writing / embedding,
        "the list of files in memory, of 64 GB": photos * rates.listed_bytes / 64e9,
        "the catalogue, of 1 TB of disk": photos * rates.row_bytes / 1e12,
        "the FAISS file in the memory of one machine, of 64 GB": vectors / 64e9,
    }
    most = max(demands, key=lambda name: demands[name])
    return {
        "machines of 16 cores": f"{machines:,}",
        "embedding, hours": f"{embedding / 3600:,.1f}",
        "machine-hours": f"{machines * embedding / 3600:,.0f}",
        "photos, TB": f"{photos * rates.photo_bytes / 1e12:,.1f}",
        "network of a machine, Gbit/s": f"{8e-9 * photos * rates.photo_bytes / embedding / machines:,.2f}",
        "network of the storage, Gbit/s": f"{8e-9 * photos * rates.photo_bytes / embedding:,.0f}",
        "shards, TB": f"{photos * rates.shard_bytes / 1e12:,.2f}",
        "shards to the writer, Gbit/s": f"{8e-9 * photos * rates.shard_bytes / max(embedding, writing):,.2f}",
        "one writer, hours": f"{writing / 3600:,.1f}",
        "catalogue, GB": f"{photos * rates.row_bytes / 1e9:,.0f}",
        "list of files in memory, GB": f"{photos * rates.listed_bytes / 1e9:,.0f}",
        "kind of index": kind,
        "FAISS file, GB": f"{vectors / 1e9:,.0f}",
        "memory for training it, GB": f"{training / 1e9:,.1f}",
        "in Milvus, in memory at least, GB": f"{photos * rates.milvus_bytes / 1e9:,.0f}",
        "breaks first": f"{most} ({demands[most]:.1f} times what there is)",
    }


def compare(work: Path, photos: int, rounds: int, model: Path | None) -> str:
    """Time whole commands, in turn in each round."""
    many, few = work / "many", work / "few"
    write_photos(many, photos, SMALL)
    write_photos(few, FEW, SMALL)
    ways: dict[str, list[str]] = {
        "one process, one worker": ["--workers", "1"],
        "one process, two workers": ["--workers", "2"],
        "Ray, one worker": ["--engine", "ray", "--workers", "1"],
        "Ray, two workers": ["--engine", "ray", "--workers", "2"],
    }
    whole: dict[str, list[float]] = {way: [] for way in ways}
    start: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, options in ways.items():
            for folder, seconds in ((few, start[way]), (many, whole[way])):
                index = work / f"{way}-{number}-{folder.name}"
                words = ["index", str(folder), "--index", str(index), *options, *(["-m", str(model)] if model else [])]
                begin = time.monotonic()
                ran = subprocess.run([sys.executable, "-P", "-m", "cli", *words], capture_output=True, text=True)
                if ran.returncode:
                    sys.exit(ran.stderr)
                seconds.append(time.monotonic() - begin)
    rates = {
        way: median((photos - FEW) / (all_ - few_) for all_, few_ in zip(whole[way], start[way], strict=True))
        for way in ways
    }
    rows = [
        (
            way,
            f"{median(start[way]):.1f}",
            f"{median(whole[way]):.1f}",
            f"{rates[way]:,.0f}",
            f"{rates[way] / rates[next(iter(ways))]:.2f}",
        )
        for way in ways
    ]
    return table(("way", f"{FEW} photos, s", f"{photos:,} photos, s", "photos/s beyond the start", "÷ the first"), rows)


if __name__ == "__main__":
    main()
