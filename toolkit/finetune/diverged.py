"""Numbers that are not finite: which part gave them, at which clip, and what to type."""

from collections.abc import Sequence

import torch
from torch import Tensor

from toolkit.core.errors import MachineError
from toolkit.corpus.labels import IntArray
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.options import Recipe
from toolkit.finetune.round_context import Job

ASTRAY = 1e3  # standard deviations of the untrained layer: no speech is so far out


def check_loss(job: Job, clips: IntArray, pooled: Tensor) -> None:
    """Raises MachineError where the untrained backbone gives a clip no finite numbers. pooled: of each clip."""
    broken = clips[~torch.isfinite(pooled).all(dim=1).cpu().numpy()]
    if len(broken):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise MachineError(
            f"The untrained backbone gives no finite numbers for clip {job.ids[broken[0]]!r}{more} in "
            f"{job.recipe.dtype}; {_or_left_out(job.recipe, 'the clip')}"
        )


def error(job: Job, fold: int, epoch: int, model: Classifier, clips: Sequence[int], pooled: Tensor) -> MachineError:
    """About a model that gives no finite numbers in an epoch of the round that tests `fold`.

    clips, pooled: those that it gives none for among, and what enters the head of each. The backbone is to blame where
    that is not finite either, or far from where it began; single clips, where it is finite for others.
    """
    recipe, where = job.recipe, f"Epoch {epoch} of the round that tests fold {fold}"
    finite = torch.isfinite(pooled).all(dim=1).tolist()
    broken = sorted({int(clip) for clip, whole in zip(clips, finite) if not whole})
    if broken and any(finite):
        which = f"clip{'s' if len(broken) > 1 else ''} {', '.join(repr(job.ids[clip]) for clip in broken)}"
        advice = _or_left_out(recipe, "them" if len(broken) > 1 else "it")
        return MachineError(f"{where}: the backbone gives no finite numbers for {which} in {recipe.dtype}; {advice}")
    far = bool((((pooled - model.centre) / model.scale).abs() > ASTRAY).any())
    part, option, rate = "head", "--head-lr", recipe.head_lr
    if recipe.train != "head" and (broken or far):
        part, option, rate = "backbone", "--learning-rate", recipe.rate
    advice = _or_float32(recipe, f"take a smaller {option} than {rate:g}")
    return MachineError(f"{where}: the {part} diverged and gives no finite numbers in {recipe.dtype}; {advice}")


def _or_float32(recipe: Recipe, advice: str) -> str:
    """What to do, and float32 where that is not what was computed in."""
    return advice if recipe.dtype == "float32" else f"{advice}, or take --dtype float32"


def _or_left_out(recipe: Recipe, what: str) -> str:
    return f"leave {what} out" if recipe.dtype == "float32" else f"take --dtype float32, or leave {what} out"
