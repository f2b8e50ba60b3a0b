"""`toolkit models`: which backbones exist, and how a checkpoint gets into models/."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.common import HERE, Workspace, place_of, remark, show
from toolkit.core.errors import FAULT

app = typer.Typer(no_args_is_help=True, help="Backbones: list, show, fetch, convert, randomise, check, accept.")

Name = Annotated[str, typer.Argument(help="A name of `toolkit models list`, or a checkpoint folder.")]


@app.command("list")
def list_models(workspace: Workspace = HERE) -> None:
    """One line per backbone: encoder layers, width of a hidden state, parameters in millions, licence, and whether it
    is in models/.

    Example: toolkit models list
    """
    from rich.table import Table

    from toolkit.models.checkpoint import installed
    from toolkit.models.registry import BACKBONES, FACTORIES

    here = installed(workspace / "models")
    table = Table("name", "family", "layers", "width", "parameters (M)", "licence", "in models/", box=None)
    for backbone in BACKBONES.values():
        table.add_row(
            backbone.name,
            backbone.family,
            f"{backbone.layers}+{backbone.decoder_layers}" if backbone.decoder_layers else str(backbone.layers),
            str(backbone.width),
            f"{backbone.parameters / 1e6:,.0f}",
            backbone.licence,
            "yes" if backbone.name in here else "",
        )
    for name in sorted(set(here) - set(BACKBONES)):
        table.add_row(name, "a folder of your own: `toolkit models show` reads it", "", "", "", "", "yes")
    for name in sorted(set(FACTORIES) - set(BACKBONES)):
        table.add_row(name, "code of an installed package", "", "", "", "", "")
    show(table)


@app.command("show")
def show_model(name: Name, workspace: Workspace = HERE) -> None:
    """Everything known of one backbone, and the SHA-256 of its weights if it is in models/.

    Example: toolkit models show whisper-medium
    """
    from dataclasses import asdict

    from toolkit.models.checkpoint import installed, locate
    from toolkit.models.files import heads_in, weights_of
    from toolkit.models.registry import BACKBONES

    if name in BACKBONES and name not in installed(workspace / "models"):
        backbone, weights = BACKBONES[name], f"not in models/; `toolkit models fetch {name}` gets it"
        heads = []
    else:
        checkpoint = locate(name, workspace / "models", text=True)
        backbone, weights = checkpoint.backbone, checkpoint.weights_sha256
        heads = heads_in(checkpoint.family.prefix, weights_of(checkpoint.folder)[1])
    for field, value in {**asdict(backbone), "weights": weights}.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        text = f"{value:,}" if isinstance(value, int) else value
        print(f"{field.replace('_', ' '):<18} {text}")
    if heads:
        print(f"{'not used':<18} {', '.join(heads)}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of `toolkit models list`, or an id of the hub: owner/name.")],
    workspace: Workspace = HERE,
) -> None:
    """Download a checkpoint from the Hugging Face hub into models/. The only command that opens a socket.

    Interrupted, it resumes from where it was. The variable HF_ENDPOINT names a mirror.

    Example: toolkit models fetch hubert-base-ls960

    Example: toolkit models fetch facebook/wav2vec2-large-robust
    """
    from toolkit.models.fetch import fetch as run
    from toolkit.models.fetch import source_of

    place, source = place_of(workspace), source_of(name)
    checkpoint = run(source, place.models, remark)
    print(
        f"{source.hub_id} is in {place.shown(checkpoint.folder)}; `toolkit extract --model {checkpoint.name}` uses it"
    )


@app.command()
def convert(
    source: Annotated[
        list[Path],
        typer.Argument(
            help="A transformers folder with pytorch_model.bin; FunASR's folder of emotion2vec or SenseVoice; "
            "fairseq's or torchaudio's .pt file of wav2vec 2.0, HuBERT or WavLM; or a CTranslate2 (faster-whisper) "
            "folder, its model.bin, or model.bin's parts in order."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to make, e.g. models/whisper-tiny.en.")],
) -> None:
    """Turn pickled weights, or a CTranslate2 Whisper, into a checkpoint folder with safetensors.

    A pickle is read for its tensors alone: one that would run code is refused.

    Example: toolkit models convert faster-whisper-small models/whisper-small

    Example: toolkit models convert ../my-hubert models/my-hubert

    Example: toolkit models convert ../emotion2vec_plus_base models/emotion2vec-plus-base

    Example: toolkit models convert hubert_base_ls960.pt models/hubert-base-ls960
    """
    from toolkit.models.checkpoint import snapshot
    from toolkit.models.convert import checkpoint, fairseq, funasr, pickled
    from toolkit.models.files import is_pickled

    first = source[0]
    if len(source) > 1:
        checkpoint.convert(source, out)
    elif first.suffix in fairseq.SUFFIXES:
        fairseq.convert(first, out)
    elif funasr.is_funasr(first):
        funasr.convert(first, out)
    elif is_pickled(snapshot(first)):
        pickled.convert(first, out)
    else:
        checkpoint.convert(first, out)
    print(f"{out.name} has weights and preprocessor; `toolkit extract --model {out.name}` uses it")


@app.command()
def export(
    run: Annotated[
        str, typer.Argument(help="A fine-tuned run that kept its weights: its folder, or its name in result/.")
    ],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    test_fold: Annotated[
        int | None, typer.Option("--round", help="Which round's model, by its test fold.", show_default="the only one")
    ] = None,
    workspace: Workspace = HERE,
) -> None:
    """Make a Hugging Face folder of a fine-tuned model, which plain transformers loads; its README.md shows how.

    A round's model has not learnt from its test fold. LoRA is merged into the weights, and
    is in adapter/ as a peft adapter too.

    Example: toolkit models export negative-whisper-small-finetune-lora-1a2b3c4d5e6f my-model --round 0
    """
    from toolkit.finetune.export import export_run

    test_fold = export_run(place_of(workspace), run, out, test_fold)
    print(f"{out.name} has the model of round {test_fold}; its README.md shows how plain transformers takes it")


@app.command()
def randomise(
    name: Name,
    workspace: Workspace = HERE,
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 0,
) -> None:
    """Make models/NAME-random, the same backbone with the random weights it had before training, for --control random.

    Example: toolkit models randomise hubert-base-ls960
    """
    from toolkit.models.checkpoint import locate
    from toolkit.models.randomise import randomise as run

    place = place_of(workspace)
    made = run(locate(name, place.models), place.models, seed)
    print(f"{place.shown(made.folder)} is made; `toolkit extract --model {made.name}` computes its features")


@app.command()
def check(
    name: Name,
    workspace: Workspace = HERE,
    dtype: Annotated[str, typer.Option(help="As of `extract`.")] = "auto",
    bound: Annotated[float, typer.Option(min=0, max=1, help="Of the error, but of float32's.")] = 1e-2,
    context: Annotated[str, typer.Option(help="full or clip.")] = "full",
    decoder: Annotated[bool, typer.Option("--decoder", help="Whisper's decoder too.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps (untested) ...")] = "auto",
) -> None:
    """Self-test on this checkpoint and device: is a clip's every layer, among others, what it is alone in float32?

    Relative error below 1e-5 in float32 (`--bound` in what is faster) passes; all frames of all layers count, where
    `toolkit extract --dtype auto` measures what it keeps of them. The result is written into the store that
    `toolkit extract` with the same options fills. A failure exits with 1.

    Example: toolkit models check hubert-base-ls960
    """
    from toolkit.extract.check import check_checkpoint
    from toolkit.extract.options import Options
    from toolkit.models.own_code import locate_or_run

    place = place_of(workspace)
    checkpoint = locate_or_run(name, place.models, remark)
    options = Options(dtype=dtype, bound=bound, context=context, decoder=decoder, device=device)
    result = check_checkpoint(checkpoint, place.features, options, remark)
    verdict = "passed" if result.passed else "FAILED"
    advice = "" if result.passed or result.dtype == "float32" else "; --dtype float32 is exact"
    print(
        f"{verdict}: {checkpoint.name} on {result.device} in {result.dtype}{result.mode and ', ' + result.mode}, "
        f"{result.clips} clips of mixed lengths: "
        f"largest relative error {result.worst:.1e} (layer {result.layer}), bound {result.bound:g}{advice}"
    )
    if not result.passed:
        raise typer.Exit(FAULT)


@app.command()
def accept(name: Name, workspace: Workspace = HERE) -> None:
    """Use a checkpoint whose files have changed since its first use here; its features get a store of their own.

    Every other command refuses it, with both hashes, until then.

    Example: toolkit models accept my-hubert
    """
    from toolkit.models.checkpoint import locate

    accepted = locate(name, place_of(workspace).models, accept=True, text=True)
    print(f"{accepted.name} is pinned at SHA-256 {accepted.weights_sha256}")
