"""The random-weights control: a backbone's own architecture with the weights it had before it was trained."""

from pathlib import Path

import torch
from transformers.utils import logging

from toolkit.core import seeds
from toolkit.core.artifacts import commit_json, committed_folder
from toolkit.core.errors import CheckpointError, one_of
from toolkit.core.registry import resolve
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.families import ready
from toolkit.models.files import PREPROCESSOR, read_preprocessor
from toolkit.models.load import config_of


def randomise(checkpoint: Checkpoint, models: Path, seed: int = 0) -> Checkpoint:
    """Make models/NAME-random: NAME's config.json and preprocessor, weights drawn by transformers' initialisation.

    Norms, biases and fixed positions start as they start there (ones, zeros, sines). The same seed gives the same
    weights with the same versions of torch and transformers. Raises CheckpointError for a family that is not loaded
    here, InputError when the folder is there already, DiskFullError.
    """
    name = checkpoint.name + seeds.RANDOM
    if not checkpoint.family.ready:
        raise CheckpointError(f"{checkpoint.name}: {one_of('family', checkpoint.backbone.family, ready())}")
    config = config_of(checkpoint)
    with committed_folder(models / name) as folder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.integer(seed, "models", "random", checkpoint.name))
            model = resolve(checkpoint.family.model)(config)
        logging.disable_progress_bar()  # it is one file, written at once
        model.save_pretrained(str(folder))
        commit_json(folder / PREPROCESSOR, read_preprocessor(checkpoint.folder))
    return inspect(models / name, name)
