"""`rwgen layers`: list the layers of a network."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from rwgen.cli import options
from rwgen.network.architecture import DENSE_INPUT_SIZE
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import DEFAULT_NETWORK


def layers(
    network: options.Network = DEFAULT_NETWORK,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of the input image.")
    ] = f"{DENSE_INPUT_SIZE}x{DENSE_INPUT_SIZE}",
    json: options.Json = False,
) -> None:
    """List the layers of a network with output shapes and numbers of parameters.

    Example: rwgen layers --network ranvgg19-half-width --size 512x384
    """
    recipe = load_recipe(network)
    height, width = options.parse_size(size)
    topology = recipe.topology
    rows: list[dict[str, Any]] = []
    for spec in topology.layers():
        if spec.kind == "dense" and (height, width) != (DENSE_INPUT_SIZE, DENSE_INPUT_SIZE):
            continue
        shape = topology.output_shape(spec.name, height, width)
        if 0 in shape:
            break
        rows.append(
            {
                "layer": spec.name,
                "keras_name": spec.keras_name,
                "kind": spec.kind,
                "shape": shape,
                "parameters": topology.num_parameters(spec.name),
            }
        )
    if json:
        print(json_module.dumps({"network": recipe.name, "layers": rows}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # As Text, so that brackets in the name of a recipe are not parsed as markup.
    title = Text(f"{recipe.name}, image {width}x{height}")
    table = Table(title=title, box=None, pad_edge=False)
    for heading in ("layer", "name in Keras", "output"):
        table.add_column(heading)
    table.add_column("parameters", justify="right")
    for row in rows:
        shape_text = "x".join(map(str, row["shape"]))
        table.add_row(row["layer"], row["keras_name"], shape_text, f"{row['parameters']:,}")
    table.add_row("total", "", "", f"{sum(row['parameters'] for row in rows):,}")
    Console().print(table)
