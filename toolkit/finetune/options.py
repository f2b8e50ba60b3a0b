"""What the user may choose of a fine-tuning, and the recipe that comes of it."""

import math
import re
from dataclasses import KW_ONLY, dataclass, fields
from typing import Annotated, ClassVar

from toolkit.core.errors import InputError, one_of
from toolkit.core.options import Names, Offered, Rule
from toolkit.corpus.options import KIND, LABELS, LEVELS, LOSSES, Labelled

WAYS = ("full", "encoder-frozen", "top-K", "lora", "head")
TOP = re.compile(r"top-([1-9][0-9]*)")
# Of the backbone's weights. Low-rank factors start at zero and take more.
LEARNING_RATES = {"full": 1e-5, "encoder-frozen": 5e-5, "top": 1e-5, "lora": 5e-4, "head": 0.0}
CLASS_WEIGHTS = ("balanced", "none")
STATISTICS = ("mean", "std", "both")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained, the same in every round."""

    learning_rate: Annotated[float | None, Offered(least=0.0, shown="by --train")] = None
    """Of the backbone."""
    head_lr: Annotated[float, Offered(least=0.0)] = 1e-3
    """Learning rate of the head."""
    head_epochs: Annotated[int, Offered(least=0)] = 30
    """Of the head alone, on the frozen layer, before the backbone learns too; what that gives competes with it."""
    refit_on_development: bool = True
    """Once development has chosen the epoch, train anew on training and development clips together."""
    layer_decay: Annotated[float, Offered(least=0.0, most=1.0)] = 1.0
    """Each layer learns at this part of the rate of the one above."""
    weight_decay: Annotated[float, Offered(least=0.0)] = 0.01
    """Of AdamW; not on norms and biases."""
    warmup: float = 0.3
    """Share of the steps in which the rates rise."""
    epochs: Annotated[int, Offered(least=1)] = 10
    """At most."""
    patience: Annotated[int, Offered(least=1)] = 5
    """Epochs without a lower loss on development."""
    batch_size: Annotated[int, Offered(least=1)] = 8
    """Clips a step."""
    grad_accum_steps: Annotated[int, Offered(least=1)] = 1
    """Parts of a batch, one after the other."""
    max_grad_norm: Annotated[float, Offered(least=0.0)] = 1.0
    """Longer gradients are scaled down to it."""
    gradient_checkpointing: Annotated[bool, Offered(switch=True)] = False
    """Less memory, more time."""
    lora_rank: Annotated[int, Offered(least=1)] = 8
    """Of LoRA's factors."""
    spec_augment: float = 0.0
    """Share of frames and channels to blank, 0 for none."""
    layer_drop: float = 0.0
    """Probability that a layer is skipped, 0 for none."""
    train_convolutions: Annotated[bool, Offered(switch=True)] = False
    """With full: those of wav2vec 2.0 and its kin too, which their authors keep frozen."""


@dataclass(frozen=True)
class Recipe(Training):
    """Everything that changes what is learnt."""

    train: str = "full"
    """One of WAYS, K a number."""
    _: KW_ONLY
    dtype: str = "float32"
    """Of the products."""
    class_weights: str = "balanced"
    """balanced: in the loss every class counts the same; none: every clip."""
    statistics: str = "mean"
    """Of a clip's own frames, that enter the head: one of STATISTICS."""
    loss: str = ""
    """Of numbers: one of LOSSES, the first where nothing is said; of labels and levels there is one each."""

    def __post_init__(self) -> None:
        if self.train not in WAYS and not TOP.fullmatch(self.train):
            raise InputError(one_of("--train", self.train, WAYS))
        if self.train == "top-K":
            raise InputError("--train top-K: give the number of layers, such as top-4")
        if self.grad_accum_steps < 1 or self.batch_size % self.grad_accum_steps:
            raise InputError(
                f"--grad-accum-steps {self.grad_accum_steps}: a batch of {self.batch_size} has no so many equal parts"
            )
        if self.class_weights not in CLASS_WEIGHTS:
            raise InputError(one_of("--class-weights", self.class_weights, CLASS_WEIGHTS))
        if self.statistics not in STATISTICS:
            raise InputError(one_of("--statistics", self.statistics, STATISTICS))
        if self.loss and self.loss not in LOSSES:
            raise InputError(one_of("--loss", self.loss, LOSSES))
        if self.loss == "ccc" and self.grad_accum_steps > 1:
            raise InputError(
                "--loss ccc is of a whole batch, and --grad-accum-steps makes parts of it; leave one of them out"
            )
        for name in ("warmup", "spec_augment", "layer_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"Bad --{name.replace('_', '-')} {getattr(self, name)}, expected 0 to below 1")
        for name in ("rate", "head_lr", "layer_decay", "weight_decay", "max_grad_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                option = "learning-rate" if name == "rate" else name.replace("_", "-")
                raise InputError(f"Bad --{option} {getattr(self, name)}, expected a number from 0")

    @property
    def rate(self) -> float:
        """The learning rate of the backbone's weights."""
        if self.learning_rate is not None:
            return self.learning_rate
        return LEARNING_RATES["top" if self.top else self.train]

    @property
    def top(self) -> int | None:
        match = TOP.fullmatch(self.train)
        return int(match.group(1)) if match else None


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(Training, Labelled):
    """Of `finetune`: from a probe run, or by hand."""

    origin: Annotated[str | None, Offered(name="from")] = None
    """A probe run: its folder, or its name in result/. Gives all that follows."""
    model: Annotated[str | None, Offered(short="-m")] = None
    """By hand: a checkpoint."""
    target: Annotated[str | None, Offered(short="-t")] = None
    """By hand: as `toolkit probe` takes it."""
    layer: Annotated[int | None, Offered(least=0)] = None
    """By hand: the encoder's last layer to use."""
    folds: Annotated[str | None, Offered(shown="5")] = None
    """By hand: how many, or all for one per group."""
    group_by: str = "speaker"
    """By hand: the column that is kept apart."""
    split_by: str = "group"
    """By hand: group, or clip, which accepts leaks."""
    window: float | None = None
    """By hand: cut longer recordings into windows of so many seconds."""
    hop: Annotated[float | None, Offered(shown="window")] = None
    """By hand: seconds from one window's start to the next."""
    context: Annotated[str | None, Offered(shown="as it was probed; by hand full")] = None
    """What Whisper hears, full (30 s) or clip."""
    depth: Annotated[str | None, Offered(shown="best")] = None
    """best: up to the layer each round chose; full: the whole backbone."""
    top: Annotated[int, Offered(least=1)] = 1
    """With --from: train so many of its layers, the best on development first."""
    train: str = "full"
    """full, encoder-frozen, top-K (such as top-4), lora or head; with --search several, commas."""
    search: Annotated[int | None, Offered(least=2)] = None
    """Trials per round for learning rate, depth and --train, pruned, on development."""
    class_weights: Annotated[str | None, Offered(shown="as each round's probe; by hand balanced")] = None
    """balanced: in the loss every class counts the same; none: every clip, as in a scale's loss."""
    statistics: Annotated[str | None, Offered(shown="as each round's probe; by hand mean")] = None
    """What of a clip's frames enters the head: mean, std or both."""
    loss: Annotated[str | None, Offered(shown="mse")] = None
    """Of a regression: what teaches, mse or ccc (1 - CCC of a batch)."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16 (CUDA)."""
    device: str = "auto"
    """auto, cpu, cuda, or mps, which is untested."""
    workers: Annotated[int | None, Offered(least=1, shown="cores")] = None
    """Threads that decode audio."""
    save_weights: Annotated[bool, Offered(switch=True)] = False
    """Leave each round's weights in the run's folder, for predict."""
    report_to: Annotated[Names, Offered(shown="none")] = None
    """With commas: tensorboard, wandb, mlflow. Each round's losses, below logs/; wandb stays offline."""
    seed: Annotated[int | None, Offered(shown="0")] = None
    """Of the training; by hand also of the folds."""
    seeds: Annotated[int, Offered(least=1)] = 1
    """Train so often, from --seed on: a run each, and their mean and spread."""
    repeats: Annotated[int, Offered(least=1)] = 1
    """By hand: deal the folds out so often, from --seed on, each for all --seeds."""
    name: Annotated[str | None, Offered(shown="none")] = None
    """What the folders of new runs begin with; --from and compare find a run by it."""
    note: Annotated[Names, Offered(repeated=True)] = None
    """A sentence that the report shows. May be repeated."""
    language: str = "en"
    """Of the page and its figures: en; or zh, next to the English ones."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        KIND,
        LEVELS,
        LABELS,
        *(
            Rule(option, lambda opts: opts.origin is not None,
                 "has no effect with --from, which takes it from the probe run")
            for option in ("model", "target", "layer", "folds", "group_by", "split_by", "window", "hop", "repeats",
                           "spellings", "unknown", "unlabelled", "labels", "levels", "kind", "threshold")
        ),
        Rule("loss", lambda opts: opts.origin is None and opts.kind != "regression",
             "has no effect without --kind regression"),
        Rule("top", lambda opts: opts.origin is None, "takes the best layers of a probe run; name it with --from"),
        Rule("top", lambda opts: opts.depth == "full",
             "takes the best layers of a probe run, and --depth full the whole backbone; give one"),
        Rule("top", lambda opts: _only(opts, "encoder-frozen"),
             "takes the best layers of a probe run, and --train encoder-frozen the whole backbone; give one"),
        Rule("depth", lambda opts: opts.depth == "best" and _only(opts, "encoder-frozen"),
             "best ends a model at the layer its round chose, and --train encoder-frozen trains what lies behind the "
             "encoder; leave it out"),
        Rule("top", lambda opts: opts.search is not None,
             "gives each model its layer, and --search looks for another one; give one"),
        Rule("depth", lambda opts: opts.layer is not None,
             "has no effect with --layer, which says where the model ends"),
        Rule("learning_rate", lambda opts: _only(opts, "head"),
             "has no effect with --train head; the head's own is --head-lr"),
        Rule("layer_decay", lambda opts: _only(opts, "head", "top-1"),
             "has no effect with --train head or top-1: it lowers the rate from one layer to the one below"),
        Rule("gradient_checkpointing", lambda opts: _only(opts, "head"),
             "has no effect with --train head: nothing is kept of the backbone for the backward pass"),
        Rule("lora_rank", lambda opts: "lora" not in opts.train_modes,
             "is LoRA's; it has no effect without --train lora"),
        Rule("train_convolutions", lambda opts: "full" not in opts.train_modes, "has no effect without --train full"),
    )  # fmt: skip

    @property
    def train_modes(self) -> tuple[str, ...]:
        """To train; several where a search may choose."""
        return tuple(self.train.split(",")) if self.search else (self.train,)

    @property
    def recipe(self) -> Recipe:
        """Of the first way. Raises InputError for numbers that no recipe has."""
        shared = {field.name: getattr(self, field.name) for field in fields(Training)}
        return Recipe(
            **shared, train=self.train_modes[0], dtype=self.dtype, class_weights=self.class_weights or "balanced",
            statistics=self.statistics or "mean", loss=self.loss or "",
        )  # fmt: skip


def _only(opts: FinetuneOptions, *train_modes: str) -> bool:
    return all(mode in train_modes for mode in opts.train_modes)
