"""Ask pip-audit for known vulnerabilities of the versions in constraints.txt; part of `make check`.

It needs the vulnerability service of PyPI. Where that cannot be reached, or answers for no package (a mirror has the
packages alone), one line says so and the check goes on: nothing was audited, and nothing is claimed.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = "pip-audit: the vulnerability service cannot be reached from here; the dependencies were not audited"


def audit(requirements: str, seconds: float) -> list[dict[str, object]]:
    """Each package with "vulns", or with the "skip_reason"; none where there was no answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        words = ["--requirement", file.name, "--no-deps", "--disable-pip", "--format", "json", "--timeout", "10"]
        command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)  # noqa: S603 - our words
            return list(json.loads(done.stdout)["dependencies"])
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return []


def main() -> int:
    pinned = Path("constraints.txt").read_text("utf-8")
    first = next(line for line in pinned.splitlines() if "==" in line)
    if not any("vulns" in package for package in audit(first + "\n", 30)):  # a second, where all of them take many
        print(SKIPPED)
        return 0
    packages = audit(pinned, 180)
    asked = [package for package in packages if "vulns" in package]
    if not asked:
        print(SKIPPED)
        return 0
    bad = [package for package in asked if package["vulns"]]
    for package in bad:
        names = ", ".join(str(vulnerability["id"]) for vulnerability in package["vulns"])  # type: ignore[attr-defined]
        print(f"pip-audit: {package['name']} {package['version']}: {names}")
    print(f"pip-audit: {len(asked)} of {len(packages)} packages audited, {len(bad)} with known vulnerabilities")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
