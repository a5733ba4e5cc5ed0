"""The processes that read training pictures: how they are started, and how they end with the run."""

import multiprocessing
import os
import signal
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from threading import Thread

LEFT_TO_THE_RUN = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask a run to stop, and which reach its workers too: of Ctrl-C, `timeout` and `systemctl stop`. Those
that died of it would take the run with them before it has saved."""

try:
    from multiprocessing import forkserver, popen_forkserver, resource_tracker
    from multiprocessing.context import ForkServerContext, ForkServerProcess
except ImportError:  # Windows, where each worker is a new Python

    def worker_context() -> BaseContext:
        """Return how workers are started."""
        return multiprocessing.get_context("spawn")

else:

    def worker_context() -> BaseContext:
        """Return how workers are started: forked from a server that has imported torch and runs one thread.

        A fork of this process, which has threads, may stand still for ever; Python 3.12 and later warn of it.
        """
        context = _WorkerContext()
        context.set_forkserver_preload(["training.data.pictures"])
        resource_tracker.ensure_running()  # which the server would start, and with it let signals through again
        # Workers inherit from the server that they are not reached. Here the signals only wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_RUN)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return context

    class _WorkerPopen(popen_forkserver.Popen):
        def terminate(self) -> None:
            """End a worker by SIGKILL.

            torch, for one that hangs, and Python at its end would wait for SIGTERM in vain.
            """
            self.kill()

    class _WorkerProcess(ForkServerProcess):
        @staticmethod
        def _Popen(process_obj: BaseProcess) -> _WorkerPopen:
            return _WorkerPopen(process_obj)

    class _WorkerContext(ForkServerContext):
        Process = _WorkerProcess


def prepare_worker(_: int) -> None:
    """Leave signals to the run, also where the server was started by others, and end with the run, however it ends."""
    for number in LEFT_TO_THE_RUN:
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    # torch looks whether a worker's parent lives, which is the server, and that lives as long as its workers.
    run = multiprocessing.parent_process()
    assert run is not None
    run.join()
    os._exit(1)
