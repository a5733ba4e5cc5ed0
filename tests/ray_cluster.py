"""A cluster of Ray, of which a node is lost while photos are indexed: `ray_cluster.py SHARDS WORD...`.

A head without cores and two nodes of one core, on this machine, in a network namespace of its own. WORDs are those of
`fc7` and its folder of SHARDS among them. When that has two shards, a node is killed. Prints how many shards there were
by then, and on how many nodes there were workers.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from loopback import switch_loopback_on

SHARDS = 2
OBJECTS = 80 << 20


def main() -> None:
    switch_loopback_on()
    os.environ.update(RAY_raylet_start_wait_time_s="150")  # on a busy machine
    shards, words = Path(sys.argv[1]), sys.argv[2:]
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": OBJECTS, "include_dashboard": False},
    )
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=OBJECTS) for _ in range(2)]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    run = subprocess.Popen([sys.executable, "-P", "-m", "cli", *words, "--address", "auto"], env=environment)
    while len(list(shards.glob("*.parquet"))) < SHARDS:
        if run.poll() is not None:
            sys.exit(f"the run has ended before it was disturbed: {run.returncode}")
        time.sleep(0.02)
    there = parents_of_workers()
    cluster.remove_node(nodes[0], allow_graceful=False)
    print(len(list(shards.glob("*.parquet"))), len(there), flush=True)
    sys.exit(run.wait())


def parents_of_workers() -> set[int]:
    """Return the processes that started workers: one a node."""
    parents = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                parents.add(int((place / "stat").read_text().rpartition(")")[2].split()[1]))
        except OSError:
            continue
    return parents


if __name__ == "__main__":
    main()
