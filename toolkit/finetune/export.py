"""A fine-tuned model as a Hugging Face folder: the backbone for plain transformers, the head next to it as a file.

transformers' classes for classification have another head (no hidden layer, raw features); this one is ten lines, which
the folder's README.md has.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils import parametrize
from transformers.utils import logging

from toolkit.core.artifacts import commit_json, commit_text, committed_folder
from toolkit.core.errors import InputError, one_of
from toolkit.core.registry import resolve
from toolkit.corpus.labels import Task
from toolkit.corpus.place import Place
from toolkit.finetune.apply import Kept, filled, of_run
from toolkit.finetune.classifier import Classifier
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.files import PREPROCESSOR, read_preprocessor
from toolkit.models.load import NEVER_USED, config_of, feature_extractor_of, model_of
from toolkit.models.load_trainable import trainable_of
from toolkit.models.trainable import parsed
from toolkit.result.kinds import Link
from toolkit.result.run_files import find_run, read

HEAD_WEIGHTS, HEAD, README, ADAPTER = "head.safetensors", "head.json", "README.md", "adapter"

STATES = {
    False: """\
    values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
    values = torch.nn.functional.pad(values, (0, max(0, 400 - len(samples))))  # one frame at least
    return model(values, output_hidden_states=True).hidden_states[head["layer"]][0]
""",
    True: """\
    found = []
    for start in range(0, len(samples), 480_000):  # 30 s each
        piece = samples[start : start + 480_000]
        values = extractor(piece, sampling_rate=16_000, return_tensors="pt").input_features
        states = model.encoder(values, output_hidden_states=True).hidden_states[head["layer"]][0]
        found.append(states[: -(-len(piece) // 320)])
    return torch.cat(found)
""",
}
TEXT = """\
# {name}, fine-tuned

Layer {layer} of the {family} backbone {name}, its {statistics} over the frames, and a head for: {labels}.

```python
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel

FOLDER = Path(".")  # of this file
model = AutoModel.from_pretrained(FOLDER).eval()
extractor = AutoFeatureExtractor.from_pretrained(FOLDER)
head, weights = json.loads((FOLDER / "head.json").read_text()), load_file(FOLDER / "head.safetensors")


def states(samples):
{states}

@torch.no_grad()
def logits(samples):
    \"\"\"One clip, (n_samples,) float32, mono at 16 kHz -> {logits}.\"\"\"
    frames = states(samples)
    mean, std = frames.mean(dim=0), frames.std(dim=0, unbiased=False)
    pooled = {{"mean": mean, "std": std, "both": torch.cat([mean, std])}}[head["statistics"]]
    scaled = (pooled - weights["centre"]) / weights["scale"]
    inner = torch.tanh(weights["dense.weight"] @ scaled + weights["dense.bias"])
    out = weights["out.weight"]
    return (inner.view(-1, out.shape[1]) * out).sum(dim=1) + weights["out.bias"]
```

{decision}
"""
# What the logits are, and how to decide by them, by `Classifier.link`.
ENDS: dict[Link, tuple[str, str]] = {
    "softmax": (
        "(labels,); softmax of them is the probability",
        "The label with the highest probability is the decision.",
    ),
    "sigmoid": (
        "(labels,); sigmoid of them is the probability",
        "A label is given where its probability reaches its number in `thresholds` of head.json.",
    ),
    "cumulative": (
        "(levels - 1,); sigmoid of them is the probability of more than each level but the last",
        "The decision is the level nearest to the mean of the distribution, counted from 0: "
        "`logits(samples).sigmoid().cummin(dim=0).values.sum().round()`.",
    ),
    "identity": ("(targets,) the numbers, each in its own unit", "These are predicted as they are."),
}


def export_run(place: Place, name: str, out: Path, test_fold: int | None = None) -> int:
    """`export` of a finished run of a workspace; returns the test fold of the round whose model it is.

    name: of the run, or its folder. test_fold: of the round, which has not learnt from it; None where there is one.
    Raises InputError, StoreError, and what `export` and `models.checkpoint.locate` raise.
    """
    folder = find_run(name, place.result)
    run = read(folder)
    checkpoint = locate(run.backbone, place.models)
    kept = {int(model.described["fold"]): model for model in of_run(folder, run, checkpoint)}
    fold = next(iter(kept)) if test_fold is None and len(kept) == 1 else test_fold
    if fold not in kept:
        raise InputError(one_of("--round", fold, list(kept), f"; {folder.name} kept a model for each"))
    export(run.task, kept[fold], checkpoint, out)
    return fold


def export(task: Task, kept: Kept, checkpoint: Checkpoint, out: Path) -> None:
    """Make the folder `out` with one round's model, LoRA merged into the weights, all in float32; next to them, in
    adapter/, what LoRA learnt alone, as peft's `PeftModel.from_pretrained` puts it on the original checkpoint.

    Its logits are the run's less the class weights that the loss had, so that softmax (of several labels at once, the
    sigmoid) gives the probabilities of `toolkit predict`.

    Raises InputError where `out` is there already, and for a model that plain transformers cannot run: one that ends in
    the decoder, or takes the clip alone where transformers' Whisper takes 30 s.
    """
    layer, context, family = kept.described["layer"], kept.described["context"], checkpoint.family
    if family.feed:
        raise InputError(
            f"Models of the family {checkpoint.backbone.family} cannot be exported; `toolkit predict` uses them"
        )
    stack, number = parsed(layer)
    if stack == "decoder":
        raise InputError(f"The model ends at {layer}; models that end in the encoder can be exported")
    if family.fixed_context and context != "full":
        raise InputError(
            "The model hears the clip alone, transformers' Whisper 30 s; those of --context full are exported"
        )
    config = config_of(checkpoint)
    # One layer more than is used: after the last one, some families and versions of transformers have a norm.
    depth = min(number + 1, checkpoint.backbone.layers)
    model = model_of(checkpoint, config, decoder=family.fixed_context, last_layer=depth)
    classifier, adapter = _trained(model, task, kept, checkpoint, config)
    assert isinstance(family.layers, str)  # a key, in the families that can be exported
    setattr(config, family.layers, depth)
    config.id2label = dict(enumerate(task.labels))
    config.label2id = {label: place for place, label in enumerate(task.labels)}
    if task.regression:
        config.problem_type = "regression"
    statistics = classifier.statistics
    head = {
        "layer": number,
        "statistics": statistics,
        "kind": task.kind,
        "labels": list(task.labels),
        "thresholds": kept.bars.tolist() if task.multilabel else None,
    }
    text = TEXT.format(
        name=checkpoint.name,
        layer=number,
        family=checkpoint.backbone.family,
        statistics={"mean": "mean", "std": "standard deviation", "both": "mean and standard deviation"}[statistics],
        labels=", ".join(task.labels),
        states=STATES[family.fixed_context],
        logits=ENDS[classifier.link][0],
        decision=ENDS[classifier.link][1],
    )
    with committed_folder(out) as folder:
        logging.disable_progress_bar()
        _plain(model, family.model, config).save_pretrained(str(folder))
        commit_json(folder / PREPROCESSOR, read_preprocessor(checkpoint.folder))
        save_file(_head(classifier), folder / HEAD_WEIGHTS)
        commit_json(folder / HEAD, head)
        commit_text(folder / README, text)
        if adapter:
            _write_adapter(folder / ADAPTER, adapter, kept, checkpoint)


def _write_adapter(folder: Path, adapter: dict[str, Tensor], kept: Kept, checkpoint: Checkpoint) -> None:
    import peft

    rank = kept.recipe.lora_rank
    names = sorted({name.rsplit(".lora_", 1)[0] for name in adapter})
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, inference_mode=True,
                             base_model_name_or_path=checkpoint.name)  # fmt: skip
    config.save_pretrained(str(folder))
    save_file({f"base_model.model.{name}": weight for name, weight in adapter.items()},
              folder / "adapter_model.safetensors")  # fmt: skip


def _trained(
    model: Any, task: Task, kept: Kept, checkpoint: Checkpoint, config: Any
) -> tuple[Classifier, dict[str, Tensor]]:
    """The classifier whose backbone's modules are those of `model`, which then has what was learnt; and the factors of
    LoRA by their module's name in the model, none without LoRA."""
    layers = model.encoder.layers
    model.encoder.layers = layers[: parsed(kept.described["layer"])[1]]
    extractor = feature_extractor_of(checkpoint, config)
    backbone = trainable_of(checkpoint, model, extractor, kept.described["layer"], kept.described["context"])
    classifier = filled(backbone, task, kept)
    adapter = {
        f"{name}.lora_{factor}.weight": getattr(module, f"lora_{factor}")["default"].weight.detach().float().clone()
        for name, module in model.named_modules()
        if hasattr(module, "lora_A")
        for factor in "AB"
    }
    for parent in list(classifier.backbone.layers.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "get_base_layer"):  # peft's
                child.merge()
                setattr(parent, name, child.get_base_layer())
    model.encoder.layers = layers
    return classifier.eval(), adapter


def _plain(model: Any, kind: str, config: Any) -> Any:
    """transformers' own model with the weights of `model`, whose parametrisations were taken off."""
    plain = resolve(kind)(config)
    weights = {name: weight for name, weight in model.state_dict().items() if not weight.is_meta}
    missing, left = plain.load_state_dict(weights, strict=False)
    for name, module in plain.named_modules():
        if parametrize.is_parametrized(module):
            module.weight = weights[f"{name}.weight"]
            left.remove(f"{name}.weight")
            missing = [weight for weight in missing if not weight.startswith(f"{name}.parametrizations.")]
    for name in missing:
        assert name.startswith(NEVER_USED), name
        torch.nn.init.zeros_(plain.get_parameter(name))
    assert not left, left
    return plain


def _head(classifier: Classifier) -> dict[str, Tensor]:
    """What comes after pooling; what the class weights did to the logits is taken off the last bias, and numbers are
    in their own unit. More than a level that did not occur is as likely as more than the one below it.
    """
    values = {
        "centre": classifier.centre,
        "scale": classifier.scale,
        "dense.weight": classifier.dense.weight,
        "dense.bias": classifier.dense.bias,
        "out.weight": classifier.out.weight,
    }
    bias, constant = classifier.out.bias.double(), classifier.constant
    if classifier.link == "identity":
        values["out.weight"] = classifier.out.weight * classifier.spread[:, None]
        values["out.bias"] = classifier.prevalence + classifier.spread * bias
    elif classifier.link == "cumulative":
        ends = torch.tensor([torch.inf, -torch.inf], dtype=torch.float64, device=bias.device)
        values["out.bias"] = torch.cat([ends[:1], bias, ends[1:]])[(~constant).cumsum(0)[:-1]]
    else:
        sure = torch.where(classifier.prevalence > 0, torch.inf, -torch.inf) if classifier.multilabel else -torch.inf
        values["out.bias"] = torch.where(constant, sure, bias - classifier.weights.double().log())
    return {name: value.detach().float().contiguous().cpu() for name, value in values.items()}
