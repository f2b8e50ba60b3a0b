"""`toolkit doctor`: what this machine can do and what of the workspace is whole."""

from toolkit.cli.common import HERE, Json, Workspace, place_of, show, show_json


def doctor(workspace: Workspace = HERE, as_json: Json = False) -> None:
    """What this machine can do, and what of the workspace is whole: for a report of a fault, without private names.

    Example: toolkit doctor
    """
    from rich.table import Table

    from toolkit.study.doctor import examine

    found = examine(place_of(workspace))
    show_json(as_json, found)
    if as_json:
        return
    table = Table("", "", "", box=None, show_header=False)
    for line in found.lines:
        table.add_row("" if line.well else "!", line.about, line.found)
    show(table)
