"""Draw the plan of the package from its imports: rooms, floors, and what runs back.

A room is a folder or a module directly inside `rwgen`. Its floor is one above the highest floor
that it imports from, with circles taken as one room. Needs import-linter, whose library `grimp`
reads the imports without running them; run it in the root of a checkout.
"""

from __future__ import annotations

import argparse
import collections
import configparser
import subprocess
from pathlib import Path

import grimp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", action="store_true", help="print the lines of each room too")
    options = parser.parse_args()
    imports = room_imports()
    rooms = {*imports, *(room for others in imports.values() for room in others)}
    order = contract_order()
    back = sum(
        order[other] >= order[room]
        for room, others in imports.items()
        for other in others
        if room in order and other in order
    )
    circles = [circle for circle in strong_components(rooms, imports) if len(circle) > 1]
    floor_of = floors(rooms, imports)
    for floor in range(max(floor_of.values()), 0, -1):
        print(f"{floor}  {'  '.join(sorted(r for r in rooms if floor_of[r] == floor))}")
    count = sum(map(len, imports.values()))
    print(f"{len(rooms)} rooms, {max(floor_of.values())} floors, {count} imports between rooms")
    print(f"imports that run back: {back if order else 'no contract'}; circles: {len(circles)}")
    for circle in circles:
        print(f"  circle: {', '.join(sorted(circle))}")
    if options.lines:
        for room, lines in sorted(lines_of_rooms().items()):
            print(f"{lines:6d}  {room}")


def room_imports() -> dict[str, set[str]]:
    """For each room, the other rooms that it imports."""
    graph = grimp.build_graph("rwgen")
    found: dict[str, set[str]] = collections.defaultdict(set)
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            if room_of(module) != room_of(other):
                found[room_of(module)].add(room_of(other))
    return dict(found)


def room_of(module: str) -> str:
    """The folder or module directly inside the package; `rwgen` itself is its face."""
    names = module.split(".")
    return names[1] if len(names) > 1 else names[0]


def contract_order() -> dict[str, int]:
    """Place of each room in the import-linter contract of setup.cfg, from the ground floor."""
    config = configparser.ConfigParser()
    config.read("setup.cfg")
    layers = config.get("importlinter:contract:floors", "layers", fallback="").split("\n")
    places: dict[str, int] = {}
    for place, line in enumerate(reversed([line for line in layers if line.strip()]), start=1):
        places |= {room.strip(): place for room in line.replace(":", "|").split("|")}
    return places


def floors(rooms: set[str], imports: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room; rooms in a circle share one."""
    component = {
        room: number
        for number, circle in enumerate(strong_components(rooms, imports))
        for room in circle
    }
    below: dict[int, set[int]] = collections.defaultdict(set)
    for room, others in imports.items():
        below[component[room]] |= {component[other] for other in others} - {component[room]}
    height: dict[int, int] = {}

    def floor(number: int) -> int:
        if number not in height:
            height[number] = 1 + max(map(floor, below[number]), default=0)
        return height[number]

    return {room: floor(component[room]) for room in rooms}


def strong_components(rooms: set[str], imports: dict[str, set[str]]) -> list[set[str]]:
    """Groups of rooms that reach each other; a room in no circle is a group by itself."""

    def reached(start: str) -> set[str]:
        seen, pending = set[str](), [start]
        while pending:
            for other in imports.get(pending.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    pending.append(other)
        return seen

    reach = {room: reached(room) for room in rooms}
    groups: list[set[str]] = []
    for room in sorted(rooms):
        if not any(room in group for group in groups):
            groups.append({room} | {x for x in reach[room] if room in reach[x]})
    return groups


def lines_of_rooms() -> dict[str, int]:
    """Lines of Python of each room, of the files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "rwgen/*.py", "cli/*.py", "savedmodels/*.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines: dict[str, int] = collections.Counter()
    for name in listed.stdout.split():
        path = Path(name)
        parts = path.parts[1:] if path.parts[0] == "rwgen" else path.parts
        lines[Path(parts[0]).stem] += len(path.read_text(encoding="utf-8").splitlines())
    return lines


if __name__ == "__main__":
    main()
