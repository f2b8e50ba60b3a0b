"""What a workspace's result/ holds: finished runs by their headline, and what was stopped."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import STUDY_FILE
from toolkit.result.jackknife import Score
from toolkit.result.metrics import title
from toolkit.result.run import METRICS, RUN

BEGUN = (STUDY_FILE, "winners", "weights", "rounds", ".training")  # what a run that is not finished may hold


@dataclass(frozen=True)
class Listing:
    """rows: of each run its name, task, backbone, probe, score, clips and state, "finished", "stopped" or "damaged"."""

    rows: tuple[dict[str, Any], ...]

    def to_json(self) -> list[dict[str, Any]]:
        return list(self.rows)


def begun(folder: Path) -> bool:
    """Whether a folder without a finished run holds one that was stopped."""
    return any((folder / name).exists() for name in BEGUN)


def listing(result: Path) -> Listing:
    """By name. Reads two small files a run, and verifies none."""
    rows = []
    for folder in sorted(path for path in result.glob("*/") if not path.name.startswith(".")):
        row = {"run": folder.name, "task": "", "backbone": "", "probe": "", "score": "", "clips": ""}
        if (folder / RUN).is_file():
            rows.append({**row, **_finished(folder)})
        elif begun(folder):
            rows.append({**row, "state": "stopped"})
    return Listing(tuple(rows))


def _finished(folder: Path) -> dict[str, Any]:
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
        found = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        score = found["metrics"][run["metric"]]
        shown = str(Score(score["estimate"], score["lower"], score["upper"]))
        return {
            "task": run["task"]["name"],
            "backbone": run["backbone"],
            "probe": run["probe"],
            "score": f"{title(run['metric'])} {shown}",
            "clips": found["clips"],
            "state": "finished",
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {"state": "damaged"}
