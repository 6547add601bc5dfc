"""A Ray cluster: a task a stack, in the processes that Ray keeps on its nodes.

A task is not tried again by Ray: what is lost is submitted again here, and goes on from its saved
state. When this program ends, its tasks do too. All nodes must see the pool under its path, and
import the same mugrow.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mugrow
from mugrow.bench.spec import UserError
from mugrow.sweeps.engines import (
    AT_ONCE,
    Asked,
    Engine,
    EngineKind,
    Order,
    WorkerLost,
    first_line,
    whole_number,
)
from mugrow.sweeps.worker import obey

REACHED_WITHIN_S = 5.0
OPTIONS = {
    "address": "of the cluster, HOST:PORT; by default that of $RAY_ADDRESS or of this machine",
    "gpus": "GPUs of a task; by default 1 where --device is a GPU",
    "cpus": "CPU cores of a task; by default --threads",
    "tasks": f"the most tasks at once, {AT_ONCE} by default",
}


class RayEngine:
    """Tasks by the id of what they return."""

    def __init__(self, ray: Any, asked: Asked) -> None:
        self.ray, self.options = ray, asked.options
        self.slots = max(1, whole_number("ray", asked.options, "tasks", AT_ONCE))
        self.task = ray.remote(max_retries=0, max_calls=0)(obey)
        self.references: dict[str, Any] = {}

    def submit(self, orders: Sequence[Order]) -> Sequence[str]:
        ids = []
        for order in orders:
            task = self.task.options(
                name=order.title,
                num_cpus=whole_number("ray", self.options, "cpus", order.needs.cpus),
                num_gpus=whole_number("ray", self.options, "gpus", order.needs.gpus),
            )
            reference = task.remote(order.path)
            ids.append(reference.hex())
            self.references[ids[-1]] = reference
        return ids

    def done(self, process: str) -> bool:
        ready, _ = self.ray.wait([self.references[process]], timeout=0)
        return bool(ready)

    def result(self, process: str) -> str:
        try:
            return str(self.ray.get(self.references.pop(process)))
        except self.ray.exceptions.RayError as error:
            raise WorkerLost(f"Ray: {first_line(error)}") from None

    def cancel(self, process: str) -> None:
        self.ray.cancel(self.references[process], force=True)


@contextmanager
def start(asked: Asked) -> Iterator[Engine]:
    address = asked.options.get("address") or os.environ.get("RAY_ADDRESS") or "auto"
    for name in ("gpus", "cpus", "tasks"):
        whole_number("ray", asked.options, name, 0)
    import ray

    _check_reachable(address)
    here = os.pathsep.join(
        [str(Path(mugrow.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
            runtime_env={"env_vars": {"PYTHONPATH": here}},
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"engine 'ray' cannot be reached at {address}: {first_line(error)}; "
            "`ray start --head` starts one"
        ) from None
    try:
        yield RayEngine(ray, asked)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would wait for a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), REACHED_WITHIN_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"engine 'ray' cannot be reached at {address}: {error}") from None


ENGINE = EngineKind("ray", start, OPTIONS, summary="tasks of a Ray cluster", package="ray")
