"""`python -m honesty [--part 0.1] [--write]`: draw the studies, print what came of them, fail where a claim fails.

--part takes so much of the full number of studies. --write puts the table into docs/honesty.md.
"""

import argparse
import platform
import time
from pathlib import Path

from honesty import contrasts, hotline, intervals, methods, p_values, planted
from honesty.rows import Row

PAGE = Path(__file__).parent.parent / "docs" / "honesty.md"
BEGIN, END = "<!-- rows -->\n", "<!-- end of rows -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m honesty", description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="of the full number of studies")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    began, found = time.monotonic(), list[Row]()
    for room in (intervals, p_values, methods, contrasts, hotline, planted):
        for row in room.rows(options.part):
            found.append(row)
            print(
                f"{'held' if row.held else 'FAILED':6} {row.claim}; {row.study}: {row.found} ({row.studies:,} studies)"
            )
    minutes = (time.monotonic() - began) / 60
    failed = sum(not row.held for row in found)
    print(f"{len(found)} rows in {minutes:.0f} minutes, {failed} failed")
    if options.write:
        _write(found, f"{options.part:g} of the full number of studies, {minutes:.0f} minutes, {platform.machine()}")
    return int(failed > 0)


def _write(found: list[Row], how: str) -> None:
    lines = ["| claim | study | studies | found | |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.claim} | {row.study} | {row.studies:,} | {row.found} | {'held' if row.held else 'FAILED'} |"
        for row in found
    ]
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + "\n".join([*lines, "", f"Made by {how}.", ""]) + END + after, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
