"""What Trainer reports to TensorBoard, Weights & Biases or MLflow where the user wants it: losses, on this disk.

Nothing is sent: Weights & Biases is kept offline and MLflow writes files, unless their own variables say otherwise.
"""

import importlib.util
import os
from pathlib import Path

from toolkit.core.errors import InputError, MachineError, one_of

PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}
FOLDER = "logs"  # in the workspace


def check(report_to: tuple[str, ...]) -> None:
    """Raises InputError for another name, MachineError for a package that is not installed."""
    for name in report_to:
        if name not in PACKAGES:
            raise InputError(one_of("--report-to", name, list(PACKAGES)))
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise MachineError(f"--report-to {name}: it is not installed; pip install {PACKAGES[name][-1]}")


def into(folder: Path) -> None:
    """Have the callbacks that are made next write below this folder."""
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder)
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_DIR", str(folder))
    os.environ.setdefault("MLFLOW_TRACKING_URI", (folder.parent / "mlruns").resolve().as_uri())
    folder.mkdir(parents=True, exist_ok=True)
