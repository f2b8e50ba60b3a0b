"""Which clips carried each unit's prediction: a table of the heaviest, by id."""

from collections.abc import Sequence

from toolkit.core.i18n import Language
from toolkit.result.predictions import value_cells
from toolkit.result.report.page import Cell, Row, Table, count_cell, number_cell, table
from toolkit.result.run import Run
from toolkit.result.units import Member

MOST_UNITS = 200  # on the page; units.csv has all
HEAVIEST = 3  # clips of a unit


def carried(run: Run, members: Sequence[Member], say: Language) -> Table:
    """A row a unit: truth, prediction, clips, and those of most weight; no row of a probe that weighs no clips."""
    of_unit: dict[str, list[Member]] = {}
    for one in members:
        if one.weight is not None:
            of_unit.setdefault(one.unit, []).append(one)
    tested, rows = run.predictions, list[Row]()
    for number, unit in enumerate(tested.ids):
        if unit not in of_unit or len(rows) == MOST_UNITS:
            continue
        heaviest = sorted(of_unit[unit], key=lambda one: -(one.weight or 0.0))[:HEAVIEST]
        truth, predicted = (
            ", ".join(value_cells(run.task, values[number].tolist())) for values in (tested.truth, tested.prediction)
        )
        rows.append(
            Row(
                [
                    Cell(unit),
                    Cell(truth),
                    Cell(predicted),
                    count_cell(len(of_unit[unit])),
                    number_cell(f"{100 * (heaviest[0].weight or 0.0):.0f}", heaviest[0].weight or 0.0),
                    Cell(", ".join(f"{one.clip} ({100 * (one.weight or 0.0):.0f} %)" for one in heaviest)),
                ]
            )
        )
    return table(
        [say(f"column.{key}") for key in ("unit", "true", "predicted_label", "clips", "share", "heaviest")], rows
    )
