"""The random-weights control: a backbone's own architecture with the weights it had before it was trained."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.utils import logging

from toolkit.core import seeds
from toolkit.core.artifacts import commit_json, committed_folder
from toolkit.core.registry import resolve
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.files import CONFIG, PREPROCESSOR, WEIGHTS, read_json, read_preprocessor
from toolkit.models.load import config_of


def randomise(checkpoint: Checkpoint, models: Path, seed: int = 0) -> Checkpoint:
    """Make models/NAME-random: NAME's config.json and preprocessor, weights drawn by transformers' initialisation.

    Norms, biases and fixed positions start as they start there (ones, zeros, sines). The same seed gives the same
    weights with the same versions of torch and transformers. Raises CheckpointError, InputError when the folder is
    there already, DiskFullError.
    """
    name = checkpoint.name + seeds.RANDOM
    config = config_of(checkpoint)
    with committed_folder(models / name) as folder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.integer(seed, "models", "random", checkpoint.name))
            model = resolve(checkpoint.family.model)(config)
        logging.disable_progress_bar()  # it is one file, written at once
        if checkpoint.family.section:  # a part of a larger model, whose config.json stays whole
            weights = {checkpoint.family.prefix + name: weight for name, weight in model.state_dict().items()}
            save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
            commit_json(folder / CONFIG, read_json(checkpoint.folder, CONFIG))
        else:
            model.save_pretrained(str(folder))
        commit_json(folder / PREPROCESSOR, read_preprocessor(checkpoint.folder))
    return inspect(models / name, name)
