"""`rwgen evaluate`: the table, the JSON, and what is refused."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rwgen.evaluation.config import EvaluationConfig
from rwgen.evaluation.table import evaluate_style, evaluate_texture
from rwgen.images import read_image, resize_image

Call = Callable[..., Any]
RWGEN = [sys.executable, "-m", "rwgen.cli.main"]
TEXTURE_BASELINES = ["white noise", "shuffled pixels", "shuffled patches", "crop of the source"]


FAST = EvaluationConfig(
    held_out_seeds=(5,),
    style_layers=("conv1_1", "conv2_1"),
    content_layers=("conv1_2",),
)


@pytest.fixture(scope="module")
def two(pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two results, one of them the source itself: a process, and the file that it wrote."""
    path = tmp_path_factory.mktemp("evaluate") / "numbers.json"
    arguments = (pictures.second, pictures.style, "--source", pictures.style, "--size", 44,
                 "--held-out", pictures.content, "--seed", 3, "-o", path)  # fmt: skip
    run = subprocess.run(
        [*RWGEN, "evaluate", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return run, path


@pytest.fixture
def fast_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """One shallow network in place of three deep ones."""
    config = functools.partial(dataclasses.replace, FAST)
    monkeypatch.setattr("rwgen.cli.evaluate.EvaluationConfig", config)


def test_a_table_has_results_before_baselines_and_stars_for_the_best(
    two: Any, pictures: Any
) -> None:
    run, _ = two
    lines = [line.rstrip() for line in run.stdout.splitlines() if line.strip()]
    assert lines[0].split() == ["image", "gram", "variances", "patches", "spectrum", "copies"]
    assert lines[1].split() == ["(lower)"] * 5
    below = lines.index("baselines")
    assert [line.split("  ")[1] for line in lines[below + 1 :]] == [
        *TEXTURE_BASELINES,
        "another crop",
    ]
    results = "".join(lines[2:below])  # long paths may be folded
    # One has no distance from the source and copies everything, the other one copies nothing.
    assert results.count("*") == results.count("0.00*") == 5
    assert "1.00*" not in results
    assert not any("*" in line for line in lines[below:])
    *judged, wrote = run.stderr.splitlines()
    assert wrote.startswith("rwgen: wrote ")
    assert judged == [
        f"judged {name}"
        for name in (pictures.second, pictures.style, *TEXTURE_BASELINES, "another crop")
    ]


def test_the_file_holds_what_the_library_gives(two: Any, pictures: Any) -> None:
    """In this process, although the file was written by another one."""
    _, path = two
    values = json.loads(path.read_text())
    assert list(values) == ["task", "versions", "config", "images", "rows"]
    assert values["task"] == "texture"
    assert {"rwgen", "tensorflow", "keras", "numpy"} <= set(values["versions"])
    assert values["config"]["seed"] == 3
    assert values["config"]["held_out_seeds"] == list(EvaluationConfig().held_out_seeds)
    roles = [(image["role"], image["path"]) for image in values["images"]]
    assert roles == [
        ("result", str(pictures.second)),
        ("result", str(pictures.style)),
        ("source", str(pictures.style)),
        ("held_out", str(pictures.content)),
    ]
    assert [image["judged_size"] for image in values["images"]] == [
        [36, 48], [40, 44], [40, 44], [48, 36],
    ]  # fmt: skip
    expected = evaluate_texture(
        {str(path): read_image(path) for path in (pictures.second, pictures.style)},
        read_image(pictures.style),
        held_out=read_image(pictures.content),
        config=EvaluationConfig(seed=3),
    )
    for found, row in zip(values["rows"], expected, strict=True):
        assert (found["name"], found["is_baseline"]) == (row.name, row.is_baseline)
        assert list(found["scores"]) == ["gram", "variances", "patches", "spectrum", "copies"]
        assert len(found["scores"]["patches"]) == 3
        for metric, value in vars(row.scores).items():
            assert found["scores"][metric] == pytest.approx(value, rel=1e-4)


@pytest.mark.usefixtures("fast_judges")
def test_styles_are_judged_at_the_contents_size(call: Call, pictures: Any, tmp_path: Path) -> None:
    large = tmp_path / "[large].png"  # by another program, cropped to even sides
    with Image.open(pictures.content) as image:
        image.resize((96, 70)).save(large)
    run = call("evaluate", large, "--content", pictures.content, "--style", pictures.style,
               "--style", pictures.second, "--size", 48, "--json")  # fmt: skip
    assert run.code == 0
    assert run.err.splitlines()[0] == f"rwgen: {large} of 96x70 is judged at 48x36"
    values = run.json
    assert [image["size"] for image in values["images"][:2]] == [[96, 70], [48, 36]]
    styles = [
        resize_image(read_image(pictures.style), 48, 44),
        resize_image(read_image(pictures.second), 48, 36),
    ]
    result = resize_image(read_image(large), 36, 48)
    rows = evaluate_style({str(large): result}, read_image(pictures.content), styles, config=FAST)
    expected = next(rows).scores
    found = values["rows"][0]["scores"]
    assert found["ssim"] == pytest.approx(expected.ssim, rel=1e-5)
    assert found["style"] == pytest.approx(expected.style, rel=1e-5)
    np.testing.assert_allclose(found["patches"], expected.patches, rtol=1e-5)
    np.testing.assert_allclose(found["variances"], expected.variances, rtol=1e-5)
    assert values["task"] == "style"


@pytest.mark.usefixtures("fast_judges")
def test_a_table_of_styles_has_a_column_for_each(call: Call, pictures: Any) -> None:
    arguments = ("--content", pictures.content, "--style", pictures.second, "--size", 48)
    run = call("evaluate", "-", *arguments, "-q", stdin=pictures.start.read_bytes())
    assert (run.code, run.err) == (0, "")
    lines = run.out.decode().splitlines()
    assert lines[0].split() == ["image", "style", "variances", "content", "patches", "ssim"]
    assert lines[1].split() == [*["(lower)"] * 4, "(higher)"]
    assert lines[2].split()[0] == "-"
    assert lines[2].split()[-1] == "1.00"  # one result is no contest: no star


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("A",), "expected --source TEXTURE for textures, or"),
        (("A", "--content", "A"), "expected --source TEXTURE for textures, or"),
        (("A", "--style", "A"), "expected --source TEXTURE for textures, or"),
        (("A", "--source", "A", "--content", "A", "--style", "A"), "another combination"),
        (("A", "--source", "A", "--style", "A"), "another combination"),
        (
            ("A", "--content", "A", "--style", "A", "--held-out", "A"),
            "--held-out: expected only with --source",
        ),
        (("-", "--source", "-"), "standard input (-) once"),
        (("none.png", "--source", "A"), "'none.png' (No such file"),
        (("A", "--source", "A", "-o", "out.txt"), "expected a file ending in .json"),
        (("A", "--source", "A", "-o", "none/out.json"), "Expected a writable place"),
        (("A", "--source", "A", "-o", "link.json"), "Expected a writable place"),
        (("loop", "--source", "A", "-o", "out.json"), "'loop' (Too many levels"),
        (("A.json", "--source", "A", "-o", "A.json"), "expected a file other than the inputs"),
        (
            ("A", "--source", "A", "-o", "A.json"),
            "expected a new file, or --force. Received: A.json",
        ),
        (
            ("A", "--source", "A", "-o", "A.json", "--force", "--size", "31"),
            "at least 32 pixels a side",
        ),
        (("A", "--source", "A", "--size", "31"), "at least 32 pixels a side"),
        (("small.png", "--source", "A"), "small.png: expected an image [height, width, 3]"),
        (("B", "--content", "A", "--style", "B"), "aspect ratio. Received: '36x48'"),
        (("A", "--source", "A", "--seed", "-1"), "--seed"),
        ((), "RESULT"),
    ],
)
def test_what_cannot_be_judged_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    refused: Call,
    pictures: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "A").write_bytes(pictures.content.read_bytes())
    (tmp_path / "B").write_bytes(pictures.second.read_bytes())
    (tmp_path / "A.json").write_bytes(pictures.content.read_bytes())
    Image.new("RGB", (31, 40)).save(tmp_path / "small.png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "link.json").symlink_to(tmp_path / "none" / "out.json")
    (tmp_path / "loop").symlink_to("loop")
    assert message in refused("evaluate", *arguments)
    for link in ("link.json", "loop"):
        (tmp_path / link).unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_refusals_need_no_tensorflow(pictures: Any) -> None:
    program = """
import sys
from rwgen.cli.main import main
picture = sys.argv[1]
codes = [main(["evaluate", picture, "--source", picture, "--size", "20"]), main(["evaluate", "-x"])]
codes.append(main(["evaluate", "--help"]))
print(codes, "tensorflow" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(pictures.content)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[2, 2, 0] False"
