"""The layout of `--help`: whole words at 80 columns, options in sections."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

from rwgen.seeds import MAX_SEED

OLD_ALIAS = "--layers"
"""Accepted, as earlier versions spelled `--layer` so in some commands, but not shown."""


class Command(TyperCommand):
    """A command whose help lists its options under the names of their panels."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name required arguments plainly. Typer's braces look like a choice."""
        pieces = super().collect_usage_pieces(ctx)
        return [re.sub(r"^\{(.*)\}", r"\1", piece) for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options. Typer's own tables cut names that are too long for them."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                section = getattr(parameter, "rich_help_panel", None) or usual
                sections.setdefault(section, []).append(_in_words(*record))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


def _in_words(name: str, text: str) -> tuple[str, str]:
    """Write Typer's types, defaults and ranges as people do."""
    name = name.replace(f", {OLD_ALIAS}", "")
    name = re.sub(r" <(str|int|float|list\[\w+\])>", "", name)
    text = re.sub(rf"(; )?0<=x<={MAX_SEED}", "", text)
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)", r"\1 to \2", text)
    text = re.sub(r"x>=([\d.]+)", r"at least \1", text)
    return name, re.sub(r"default: \((.*)\)", r"default: \1", text)
