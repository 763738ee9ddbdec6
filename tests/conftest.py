"""Small networks and images that several test modules work on."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from tiny_scale import TINY

# The program decides by its task's memory: here for all tests, whichever runs first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# Continuous integration draws the same examples in every run.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session")
def small_network():
    """Builds a network of two blocks in float64, for which differences are exact enough."""
    from rwgen import Recipe, build_network
    from rwgen.network.architecture import Architecture

    def build(**recipe):
        values = {"name": "small", "kernel_stddev": 0.4, "bias_stddev": 0.2, **recipe}
        topology = Architecture("small", ((4, 1), (6, 2)))
        return build_network(Recipe(**values), architecture=topology, dtype="float64")

    return build


@pytest.fixture(scope="session")
def smooth_image():
    """Draws a network input [1, height, width, 3]: colors that change slowly, in -0.5..0.5."""

    def draw(height, width, seed=0):
        generator = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:height, 0:width, 0:1][:2] / 8
        speeds, phases = generator.uniform(0.3, 2, (2, 3)), generator.uniform(0, 6, (2, 3))
        waves = np.sin(rows * speeds[0] + phases[0]) * np.cos(columns * speeds[1] + phases[1])
        return (waves / 2)[np.newaxis]

    return draw


@pytest.fixture(scope="session")
def fresh_process():
    """Runs code in a new interpreter and returns the last line that it prints."""

    def run(code, **environment):
        result = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=600,
        )
        return result.stdout.strip().splitlines()[-1]

    return run


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """An empty folder with the sample images, which is the current one."""
    (tmp_path / "examples").symlink_to(Path(__file__).parent.parent / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run_functions(eagerly):
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(eagerly)
    yield
    tf.config.run_functions_eagerly(before)


@pytest.fixture
def eager():
    """Run TensorFlow functions op by op; tracing and compilation take most of a short search."""
    yield from _run_functions(eagerly=True)


@pytest.fixture(scope="module")
def eager_module():
    """The same as `eager` for a whole module, its fixtures included."""
    yield from _run_functions(eagerly=True)


@pytest.fixture
def jobs_here(monkeypatch):
    """Run the jobs of `rwgen batch` in this process."""
    from rwgen.cli import batch
    from rwgen.workers import Attempt

    def attempts(num_workers):
        return lambda function, values: (
            Attempt(index, function(value)) for index, value in enumerate(values)
        )

    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):  # a job would set them
        monkeypatch.setenv(name, os.environ.get(name, "0"))
    monkeypatch.setattr(batch, "process_attempts", attempts)


@pytest.fixture
def cheap_commands(monkeypatch, eager, jobs_here):
    """Run `rwgen` eagerly, without worker processes, and with a tiny scale as the quick one."""
    import rwgen.cli.build
    import rwgen.cli.reproduce
    from rwgen.reproduction.scale import SCALES

    in_process = contextlib.nullcontext(map)
    for command in (rwgen.cli.build, rwgen.cli.reproduce):
        monkeypatch.setattr(command, "process_runner", lambda num_workers: in_process)
    monkeypatch.setitem(SCALES, "quick", dataclasses.replace(TINY, name="quick"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium without a window, to click on pages; downloads are in its `downloads`."""
    programs = (
        shutil.which("chromium") or shutil.which("google-chrome"),
        shutil.which("chromedriver"),
    )
    if None in programs:
        pytest.skip("needs the programs chromium and chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs Selenium")
    options = webdriver.ChromeOptions()
    options.binary_location, driver_path = programs
    downloads = tmp_path_factory.mktemp("downloads")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    driver.downloads = downloads
    yield driver
    driver.quit()
