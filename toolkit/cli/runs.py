"""`toolkit runs`: what is in result/, finished and not."""

from toolkit.cli.common import HERE, Json, Workspace, place_of, remark, show, show_json


def runs(workspace: Workspace = HERE, as_json: Json = False) -> None:
    """Finished runs with their headline score, and those that were stopped; the same command resumes them.

    Example: toolkit runs
    """
    from rich.table import Column, Table
    from rich.text import Text

    from toolkit.result.listing import listing

    found = listing(place_of(workspace).result)
    show_json(as_json, found)
    if as_json:
        return
    if not found.rows:
        remark("No runs yet; `toolkit probe` makes them")
        return
    table = Table(Column("run", overflow="fold"), "score, 95 %", "clips", "", box=None)  # the name says task and model
    for row in found.rows:
        table.add_row(*(Text(str(row[name])) for name in ("run", "score", "clips", "state")))
    show(table)
