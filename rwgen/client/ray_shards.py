"""Features of many images on a Ray cluster, in shards. Ray Data assigns shards to workers.

A worker writes a shard itself, as a whole, and reports only which images it left out. So features
do not travel through the cluster, a shard that Ray repeats after a worker was lost replaces the
same file, and the folder alone tells what is computed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rwgen.client.extraction import Extraction, SourceConfig, open_source
from rwgen.client.shards import Shards
from rwgen.errors import InvalidInputError, RwgenError, WorkerError
from rwgen.workers import ray_cluster

if TYPE_CHECKING:
    from rwgen.client.local import FeatureSource

RETRIES = 3
"""How often a shard is begun again after its worker was lost. An image may be what ends workers."""


@dataclass(frozen=True)
class ShardJob:
    """What a worker does with the images of a shard.

    Attributes:
        shards: where features are written.
        open_source: where they come from; called once in each worker, so it can be pickled.
        signature: what the source runs.
        size: (height, width) that images are resized to; None sends them encoded.
        batch_size: number of images computed together.
        shard_size: number of images in a shard.
    """

    shards: Shards
    open_source: Callable[[], AbstractContextManager[FeatureSource]]
    signature: str
    size: tuple[int, int] | None
    batch_size: int
    shard_size: int


@dataclass(frozen=True)
class ShardReport:
    """What became of the images of a shard.

    Attributes:
        images: number of images.
        left_out: images without features, and why.
        failure: why no more features can be computed, or None.
    """

    images: int
    left_out: tuple[tuple[str, str], ...]
    failure: str | None = None


def check_ray_data() -> None:
    """Check that Ray Data is installed, without importing it.

    Raises:
        InvalidInputError: it is not.
    """
    for package in ("ray", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise InvalidInputError(
                f"--ray: expected Ray Data to be installed. Received: no package {package}; "
                'pip install "rwgen[ray]"'
            )


def extract_on_ray(files: Sequence[str], job: ShardJob, address: str) -> Generator[ShardReport]:
    """Compute features in processes of a Ray cluster, one core each.

    Shards whose worker is lost are begun again, `RETRIES` times, and have no report after that.

    Args:
        files: absolute names of the images, which every machine can read. None is twice.
        job: what to do with them.
        address: address of the cluster, see `rwgen.workers.ray_cluster`.

    Yields:
        A report for each shard, in the order in which they are finished.

    Raises:
        InvalidInputError: Ray is not installed, or the cluster cannot be reached.
        WorkerError: the cluster failed.
    """
    if not files:
        return
    chunks = [files[i : i + job.shard_size] for i in range(0, len(files), job.shard_size)]
    with ray_cluster(address):
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # the other shards are computed all the same
        rows = ray.data.from_items(
            [{"files": list(chunk)} for chunk in chunks], override_num_blocks=len(chunks)
        )
        cores = int(ray.cluster_resources().get("CPU", 1))
        rows = rows.map(
            _Worker,
            fn_constructor_args=(job,),
            num_cpus=1,
            concurrency=max(1, min(cores, len(chunks))),
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
        try:
            for row in rows.iter_rows():
                report = json.loads(row["report"])
                left_out = tuple((file, reason) for file, reason in report["left_out"])
                yield ShardReport(report["images"], left_out, report["failure"])
        except ray.exceptions.RayError as error:
            raise WorkerError(
                f"expected a working cluster. Received: {' '.join(str(error).split())}"
            ) from None


@contextlib.contextmanager
def open_on_one_core(config: SourceConfig) -> Iterator[FeatureSource]:
    """Open a source that uses one core, as a cluster runs a worker on each.

    Raises:
        InvalidInputError: the source does not exist or is damaged.
    """
    if config.server is None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    with open_source(config) as source:
        yield source


class _Worker:
    """Computes and writes shards, in a process of the cluster."""

    def __init__(self, job: ShardJob) -> None:
        self._job = job
        self._sources = contextlib.ExitStack()
        self._source: FeatureSource | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, str]:
        names = [str(name) for name in row["files"]]
        try:
            left_out, failure = self._compute(names)
        except RwgenError as error:
            left_out, failure = [], error
        report = {
            "images": len(names),
            "left_out": [(str(file), str(error)) for file, error in left_out],
            "failure": None if failure is None else str(failure),
        }
        return {"report": json.dumps(report)}

    def _compute(
        self, names: Sequence[str]
    ) -> tuple[list[tuple[Path, RwgenError]], RwgenError | None]:
        job = self._job
        if self._source is None:
            self._source = self._sources.enter_context(job.open_source())
        _, dtype, _ = self._source.input_of(job.signature)
        found = Extraction(self._source, job.signature, dtype, job.size)
        for start in range(0, len(names), job.batch_size):
            found.add([Path(name) for name in names[start : start + job.batch_size]])
            if found.failure is not None:
                break
        if found.files:
            job.shards.write([str(file) for file in found.files], found.outputs())
        return found.left_out, found.failure
