"""A unit goes with any of its clips, and what is kept of its clips goes with it."""

from pathlib import Path

from toolkit import probe_arrays
from toolkit.privacy import purge_results
from toolkit.result import run_files, units


def test_a_purged_clip_takes_its_unit_along(tmp_path: Path) -> None:
    rows = range(96)
    result = probe_arrays(
        {"layer": [[float(row % 7), float(row // 4 % 2) + row / 1000] for row in rows]},
        [row // 4 % 2 for row in rows], [f"s{row // 8}" for row in rows], units=[f"call{row // 4}" for row in rows],
        probe="mil", trials=1, folds=3, folder=tmp_path,
    )  # fmt: skip
    assert len(units.read(result.folder) or ()) == 96

    def goes(clip: str) -> bool:
        return clip == "clip5"

    purge_results.purge(tmp_path / "result", purge_results.touched(tmp_path / "result", goes), goes, models=False)
    left = units.read(result.folder) or []
    assert {one.unit for one in left} == {f"call{unit}" for unit in range(24)} - {"call1"}
    assert "call1" not in run_files.read(result.folder).predictions.ids
    for path in (*tmp_path.glob("result/folds/*.json"), result.folder / units.TABLE):
        assert '"call1"' not in path.read_text() and ",call1," not in path.read_text()
