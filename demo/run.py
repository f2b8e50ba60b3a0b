"""Run the toolkit's public commands on the demo's workspace, and end with the best layer and the report's path.

Run by `make demo` as `python -m demo.run`, after `demo.prepare`.
"""

import csv
import json
import sys
from pathlib import Path

from demo.prepare import CHECKOUT, MODEL, WORKSPACE, marked_corpus, run_toolkit
from toolkit.result.metrics import title

PROBE = ("--probe", "all", "--target", "tone", "--group-by", "syllable", "--folds", "5", "--trials", "10")
CONTEXT = ("--context", "clip")  # clips last half a second: in 30 s extraction takes minutes, fine-tuning hours
FINETUNE = ("--train", "full", "--epochs", "2")
LAYERWISE = "linear"  # the probe whose layer curve the last lines are about


def newest(workspace: Path, pattern: str) -> Path:
    """The folder in result/ whose file of this pattern was written last; a run writes run.json last."""
    return max(workspace.glob(f"result/{pattern}"), key=lambda file: file.stat().st_mtime_ns).parent


def best_layer(folder: Path) -> dict[str, str]:
    """The row of layers.csv with the highest development score; its cells by column name."""
    with (folder / "layers.csv").open(encoding="utf-8", newline="") as file:
        return max(csv.DictReader(file), key=lambda row: float(row["development"]))


def main() -> int:
    """The whole study, and what came out. Exits with the code of the command that failed, if one did."""
    corpus = marked_corpus(WORKSPACE)
    if corpus is None:
        print("The demo's workspace is not complete; `make demo` prepares it.", file=sys.stderr)
        return 2
    run_toolkit(["extract", "--model", MODEL, *CONTEXT], WORKSPACE)
    run_toolkit(["probe", "--model", MODEL, *PROBE, "--note", corpus.note], WORKSPACE)
    folder = newest(WORKSPACE, f"*-{LAYERWISE}-*/run.json")
    overview = newest(WORKSPACE, "*-compare-*/compare.csv") / "report.html"
    run_toolkit(["finetune", "--from", folder.name, *CONTEXT, *FINETUNE, "--note", corpus.note], WORKSPACE)
    run_toolkit(["compare"], WORKSPACE)
    comparison = newest(WORKSPACE, "*-compare-*/compare.csv") / "report.html"
    layer = best_layer(folder)
    metric = title(json.loads((folder / "run.json").read_text(encoding="utf-8"))["metric"])
    print()
    print(
        f"Best layer of the {LAYERWISE} probe on the development folds: {layer['layer']}, "
        f"{metric} {float(layer['test']):.3f} on the test folds "
        f"(95 % interval {float(layer['lower']):.3f} to {float(layer['upper']):.3f}; chance 0.250)"
    )
    if corpus.name == "synthetic":
        print("The corpus is synthetic: spoken by espeak-ng, not by people.")
    print(f"All four probes: {overview.relative_to(CHECKOUT)}")
    print(f"Frozen against fine-tuned: {comparison.relative_to(CHECKOUT)}")
    print(f"Report: {(folder / 'report.html').relative_to(CHECKOUT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
