"""Where the work runs: in this process, or on Ray. What runs is the same pure function either way."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

PACKAGES = ("shards", "converters", "templates", "pipelines")


class NoCluster(ConnectionError):
    """The Ray cluster that was named cannot be reached."""


class Executor(Protocol):
    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """The results, in any order; ``tasks`` is drawn from as room becomes free."""
        ...

    def close(self) -> None: ...


class InProcess:
    """One task after the other, in this process: for debugging, and for machines without Ray."""

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        return (function(task) for task in tasks)

    def close(self) -> None:
        pass


class OnRay:
    """Ray tasks, a bounded number in flight: two per CPU, so that none waits and the object store stays small.

    Lost workers are retried by Ray; our own errors are not. ``workers`` is the number of CPUs of a local cluster
    (None: all of this machine); with ``address`` the tasks go to a running one.
    """

    def __init__(self, workers: int | None, address: str | None) -> None:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # Ray's 20 wait ten minutes for a cluster that is gone
        import ray

        self.ray: Any = ray
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            here = Path(__file__).parent.parent
            modules = [str(here / package) for package in PACKAGES]
            try:
                ray.init(address=address, runtime_env={"py_modules": modules}, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise NoCluster(
                    f"no Ray cluster answers at --address {address} ({str(error).splitlines()[0]}): "
                    "start one with `ray start --head`, or leave --address out to use this machine"
                ) from None
        self.in_flight = 2 * (workers or max(1, int(ray.cluster_resources().get("CPU", 1))))

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        remote = self.ray.remote(num_cpus=1, max_retries=3)(_call)
        waiting: list[Any] = []
        for task in tasks:
            if len(waiting) >= self.in_flight:
                yield self._first(waiting)
            waiting.append(remote.remote(function, task))
        while waiting:
            yield self._first(waiting)

    def _first(self, waiting: list[Any]) -> Any:
        done, rest = self.ray.wait(waiting, num_returns=1)
        waiting[:] = rest
        try:
            return self.ray.get(done[0])
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None

    def close(self) -> None:
        self.ray.shutdown()


def _call(function: Callable[[T], R], task: T) -> R:
    return function(task)


def in_process(workers: int | None, address: str | None) -> bool:
    """0 workers: this process; otherwise Ray, local by default."""
    return workers == 0 and address is None


def make_executor(workers: int | None, address: str | None) -> Executor:
    return InProcess() if in_process(workers, address) else OnRay(workers, address)
