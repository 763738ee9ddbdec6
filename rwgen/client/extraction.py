"""Features of image files: where they come from, and which images have none."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rwgen.client.config import ClientConfig
from rwgen.errors import ImageError, InvalidInputError, RwgenError, ServerError
from rwgen.export.config import JPEG_START, PNG_START, ExportConfig
from rwgen.export.manifest import MANIFEST_FILE, latest_version
from rwgen.images import read_image, resize_image
from rwgen.network.lookup import load_recipe

if TYPE_CHECKING:
    from rwgen.client.local import FeatureSource


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where features come from: one of `server`, `model` and `network` is given.

    Attributes:
        server: URL of a served model.
        model: folder of an exported model.
        network: name or file of a network.
        export: layers and image size of `network`.
        client: settings for `server`.
    """

    server: str | None = None
    model: str | None = None
    network: str | None = None
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
    client: ClientConfig = dataclasses.field(default_factory=ClientConfig)

    def for_any_folder(self) -> SourceConfig:
        """Return the same source with absolute paths and the version of the model.

        Raises:
            InvalidInputError: there is no such model.
        """
        model, network = self.model, self.network
        if model is not None:
            model = str(latest_version(Path(model)).absolute())
        if network is not None and Path(network).is_file():
            network = str(Path(network).absolute())
        names = ("root_certificates", "client_key", "client_certificate")
        files = {name: getattr(self.client, name) for name in names}
        absolute: dict[str, Any] = {
            name: file and str(Path(file).absolute()) for name, file in files.items()
        }
        client = dataclasses.replace(self.client, **absolute)
        return dataclasses.replace(self, model=model, network=network, client=client)

    def identity(self) -> dict[str, Any]:
        """Return what decides the features: URL, or SHA-256 of the manifest or the recipe.

        Raises:
            InvalidInputError: there is no such model or network.
        """
        if self.server is not None:
            return {"server": self.server}
        if self.model is not None:
            version = latest_version(Path(self.model))
            file = version / MANIFEST_FILE
            if not file.is_file():  # a model of another program
                file = version / "saved_model.pb"
            return {"model": hashlib.sha256(file.read_bytes()).hexdigest()}
        recipe = load_recipe(str(self.network))
        digest = hashlib.sha256(recipe.to_json().encode()).hexdigest()
        return {"network": recipe.name, "recipe": digest, "layers": list(self.export.layers)}


@contextlib.contextmanager
def open_source(config: SourceConfig) -> Iterator[FeatureSource]:
    """Connect to a server, load a model, or build a network. Imports TensorFlow when it must.

    Raises:
        InvalidInputError: the source does not exist or is damaged.
    """
    if config.server is not None:
        from rwgen.client.client import FeaturesClient

        with FeaturesClient(config.server, config.client) as client:
            yield client
        return
    from rwgen.client.local import NetworkSource, SavedModelSource

    if config.model is not None:
        yield SavedModelSource(config.model)
    else:
        yield NetworkSource(str(config.network), config.export)


class Extraction:
    """Features of the images that have some; the others are left out.

    Attributes:
        files: images whose features are computed.
        left_out: images that have none, and why.
        failure: why no more features can be computed, or None.
        failed_at: the first image that none can be computed for then.
        altered: images that a change was made to which a user may not expect, by what it was.
        too_large: number of images in the first request that was too large for a server and was
            sent in parts, or 0.
    """

    def __init__(
        self,
        source: FeatureSource,
        signature: str,
        dtype: np.dtype[Any],
        size: tuple[int, int] | None,
    ) -> None:
        """Compute nothing yet.

        Args:
            source: where features come from.
            signature: what it runs.
            dtype: of the signature's input, object for encoded images.
            size: (height, width) that images are resized to; None sends them encoded.
        """
        self._source, self._signature = source, signature
        self._dtype, self._size = dtype, size
        self._parts: list[dict[str, NDArray[Any]]] = []
        self.files: list[Path] = []
        self.left_out: list[tuple[Path, RwgenError]] = []
        self.failure: RwgenError | None = None
        self.failed_at = Path()
        self.altered: dict[str, list[Path]] = {}
        self.too_large = 0

    def add(self, files: Sequence[Path]) -> None:
        """Compute the features of one batch, or note why there are none."""
        loaded = []
        for file in files:
            try:
                loaded.append((file, self._load(file)))
            except ImageError as error:
                self.left_out.append((file, error))
        if loaded:
            self._predict(loaded)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Features of `files` by layer, [images, ...]."""
        return {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }

    def _load(self, file: Path) -> NDArray[Any]:
        """The encoded image [], or its pixels [height, width, 3]."""
        if self._size is None:
            return np.array(_read_bytes(file), self._dtype)
        height, width = self._size
        phrases: list[str] = []
        pixels = read_image(file, report=phrases.append)
        if height > pixels.shape[0] or width > pixels.shape[1]:
            phrases.append(f"enlarged to {width}x{height} pixels, which adds no detail")
        for phrase in phrases:
            self.altered.setdefault(phrase, []).append(file)
        pixels = resize_image(pixels, height, width)
        return (np.rint(pixels) if self._dtype == np.uint8 else pixels).astype(self._dtype)

    def _predict(self, loaded: Sequence[tuple[Path, NDArray[Any]]]) -> None:
        batch = np.stack([image for _, image in loaded])
        try:
            part = self._source.predict(self._signature, batch)
        except (InvalidInputError, ServerError) as error:
            if not self._is_about_images(error):
                self.failure, self.failed_at = error, loaded[0][0]
            elif len(loaded) == 1:
                self.left_out.append((loaded[0][0], error))
            else:
                if getattr(error, "code", "") == "RESOURCE_EXHAUSTED" and not self.too_large:
                    self.too_large = len(loaded)
                for item in loaded:  # only one of them may be at fault
                    if self.failure is None:
                        self._predict([item])
        else:
            self._parts.append(part)
            self.files += [file for file, _ in loaded]

    def _is_about_images(self, error: RwgenError) -> bool:
        """Whether another image may do; arrays of equal size do or fail together."""
        code = getattr(error, "code", "INVALID_ARGUMENT")
        too_large = code == "RESOURCE_EXHAUSTED"
        return too_large or (self._size is None and code == "INVALID_ARGUMENT")


def _read_bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"expected a readable image. Received: {str(file)!r} ({reason})") from None
    if not data.startswith((JPEG_START, PNG_START)):
        raise ImageError(
            "--signature features_from_bytes: expected JPEG and PNG files. "
            f"Received: {str(file)!r}; other signatures take every format"
        )
    return data
