"""A Dask cluster: a task a stack, in the workers that its scheduler knows.

A task whose worker is lost is given to another by Dask, a few times; what it gives up is submitted
again here. Either goes on from the saved state. All workers must see the pool under its path, and
import the same mugrow; they are best started with one thread each (``dask worker --nthreads 1``).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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

REACHED_WITHIN_S = 10
OPTIONS = {
    "address": "of the scheduler, tcp://HOST:PORT; by default $DASK_SCHEDULER_ADDRESS",
    "gpus": "of the resource GPU that a task takes; none by default",
    "tasks": f"the most tasks at once, {AT_ONCE} by default",
}


class DaskEngine:
    """Tasks by their keys."""

    def __init__(self, client: Any, asked: Asked) -> None:
        self.client = client
        self.slots = max(1, whole_number("dask", asked.options, "tasks", AT_ONCE))
        gpus = whole_number("dask", asked.options, "gpus", 0)
        self.resources = {"GPU": gpus} if gpus else None
        self.futures: dict[str, Any] = {}

    def submit(self, orders: Sequence[Order]) -> Sequence[str]:
        futures = [
            self.client.submit(obey, order.path, pure=False, retries=0, resources=self.resources)
            for order in orders
        ]
        self.futures |= {future.key: future for future in futures}
        return [future.key for future in futures]

    def done(self, process: str) -> bool:
        return bool(self.futures[process].done())

    def result(self, process: str) -> str:
        try:
            return str(self.futures.pop(process).result())
        except Exception as error:  # of Dask, for what is called raises nothing
            raise WorkerLost(f"Dask: {type(error).__name__}: {first_line(error, '')}") from None

    def cancel(self, process: str) -> None:
        self.futures[process].cancel()


@contextmanager
def start(asked: Asked) -> Iterator[Engine]:
    for name in ("gpus", "tasks"):
        whole_number("dask", asked.options, name, 0)
    from distributed import Client

    address = asked.options.get("address") or os.environ.get("DASK_SCHEDULER_ADDRESS")
    if address is None:
        raise UserError(
            "engine 'dask' needs the address of a scheduler: dask:address=tcp://HOST:PORT"
        )
    try:
        client = Client(address, timeout=REACHED_WITHIN_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"engine 'dask' cannot be reached at {address}: {first_line(error)}"
        ) from None
    with client:
        yield DaskEngine(client, asked)


ENGINE = EngineKind(
    "dask", start, OPTIONS, summary="tasks of a Dask cluster", package="distributed"
)
