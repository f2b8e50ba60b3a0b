"""`python -m faults [ROW ...]`: inject every fault, print what came of it, and fail if it is not what must come.

--write puts each row's outcome into the table of docs/reliability.md.
"""

import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from faults.children import preload

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"


def main() -> int:
    preload()
    from faults.rows import Outcome
    from faults.table import ROWS

    words = sys.argv[1:]
    write, names = "--write" in words, [word for word in words if word != "--write"]
    if unknown := set(names) - set(ROWS):
        print(f"unknown rows {sorted(unknown)}; there are {', '.join(ROWS)}")
        return 2
    failed = 0
    for name in names or ROWS:
        row: Callable[[Path], Outcome] = ROWS[name]
        folder = Path(tempfile.mkdtemp(prefix="faults-")).resolve()
        began = time.monotonic()
        try:
            found = row(folder)
        except Exception as error:  # a row that cannot be run has not held; the others are run all the same
            traceback.print_exc()
            found = Outcome(0, f"stopped: {type(error).__name__} {str(error)[-300:]}", False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        seconds = time.monotonic() - began
        failed += not found.passed
        verdict = "held" if found.passed else "FAILED"
        sentence = " ".join(found.sentence.replace("|", "/").split())
        print(f"{verdict:6} {name}: {sentence} ({seconds:.0f} s)", flush=True)
        if write:
            _write(name, f"| `{name}` | {found.faults:,} | {sentence} | {verdict} |")
    return int(bool(failed))


def _write(name: str, line: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    text, count = re.subn(rf"^\| `{re.escape(name)}` \|.*$", lambda _: line, text, flags=re.MULTILINE)
    assert count == 1, f"{PAGE.name} has no row {name}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
