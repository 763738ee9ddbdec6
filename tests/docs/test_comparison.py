"""The comparison with other tools agrees with the command line and with the judge's record."""

import json
import re
from statistics import fmean

from documents import ROOT

from rwgen.cli.main import main

PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")


def test_every_option_in_the_columns_of_rwgen_exists(capsys):
    for command, title in (("style", "Styles"), ("texture", "Textures")):
        rows = PAGE.partition(f"## {title}\n")[2].partition("##")[0].strip().splitlines()
        column = [row.split("|")[2] for row in rows]
        assert column[0].strip() == f"`rwgen {command}`"
        named = set(re.findall(r"--[a-z-]+[a-z]", " ".join(column[2:])))
        assert named
        assert main([command, "--help"]) == 0
        assert named <= set(re.findall(r"--[a-z-]+[a-z]", capsys.readouterr().out))


def test_the_distances_are_those_of_the_record():
    record = ROOT / "benchmarks" / "results" / "judged.json"
    runs = json.loads(record.read_text(encoding="utf-8"))["runs"]

    def ratios(variant, kind):
        """How many times as far as another method's results rwgen's are from their sources."""
        judged = [run for run in runs if kind in run]
        others = [run for run in judged if run["variant"].startswith(variant)]
        means = [
            fmean(one[kind] for one in judged if (one["variant"], one["of"]) == ("now", run["of"]))
            for run in others
        ]
        return [f"{mean / run[kind]:.1f}" for mean, run in zip(means, others, strict=True)]

    text = " ".join(PAGE.split())
    styles = sorted(ratios("neural-style", "style"))
    assert f"{styles[0]} to {styles[-1]} times the distance of neural-style's published" in text
    pebbles, trees = ratios("trained VGG-19", "texture")
    assert f"{pebbles} and {trees} times as far as those of a trained VGG-19" in text
    (others,) = {*ratios("Ustyuzhaninov", "texture")}
    assert f"{others} of those of other random filters" in text
