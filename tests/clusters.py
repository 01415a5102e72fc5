"""Clusters of dask.distributed on this machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def local_cluster(*, threads: int = 1, set_as_default: bool = True, **options: Any) -> Iterator[Any]:
    """Yield a client of two processes; skip the test if dask.distributed is not installed."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=threads, host="127.0.0.1", dashboard_address=":0", **options
        ) as cluster,
        distributed.Client(cluster, set_as_default=set_as_default) as client,
    ):
        yield client
