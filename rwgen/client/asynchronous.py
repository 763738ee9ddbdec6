"""The client of `rwgen.client.client` for programs with an event loop.

It runs the same client in threads. With `grpc.aio` and an asynchronous HTTP library, both
transports and the retries would exist twice, and the loop would stand still while a batch is
encoded, unless that moved to a thread as well. What an event loop is better at, thousands of open
requests, is no use to a server that computes only as many images at a time as it has cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from numpy.typing import NDArray

from rwgen.client.client import FeaturesClient, closed_client
from rwgen.client.config import MAX_CONNECTIONS, ClientConfig, Outputs, SignatureInput

_Result = TypeVar("_Result")


class AsyncFeaturesClient:
    """Gets features from a server, without blocking the event loop.

    Up to 32 requests are in progress at a time; others wait. A call that is cancelled returns at
    once, and a request that is already in progress ends by itself, within its timeout. Prefer gRPC:
    converting a large batch to JSON holds Python's global lock. Close the client, or use it in an
    `async with` statement.
    """

    def __init__(self, url: str, config: ClientConfig | None = None) -> None:
        """Create a client, without sending anything yet. For gRPC, this imports TensorFlow.

        Args:
            url: URL of a served model, see `FeaturesClient`.
            config: timeout, retries and certificates; None means the defaults.

        Raises:
            InvalidInputError: the URL has another form.
        """
        self._client = FeaturesClient(url, config)
        self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="rwgen-client")

    async def predict(self, signature: str, images: NDArray[Any] | Sequence[Any]) -> Outputs:
        """Run a signature on a batch, see `FeaturesClient.predict`."""
        return await self._run(self._client.predict, signature, images)

    async def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype and shape of an input, see `FeaturesClient.input_of`."""
        return await self._run(self._client.input_of, signature)

    async def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs, see `FeaturesClient.outputs_of`."""
        return await self._run(self._client.outputs_of, signature)

    async def close(self) -> None:
        """Close all connections. Requests in progress may fail; those that wait are cancelled."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the client."""
        await self.close()

    async def _run(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        if self._client.closed:
            raise closed_client()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)
