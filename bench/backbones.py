"""The table of docs/backbones.md: what each family is, and that its batches are exact.

    python -m bench.backbones --write      # measures every family on a tiny random checkpoint, two minutes

How exact a batch is: 24 short clips of random lengths run together, against each alone, the largest relative error of
any layer (6 clips where the model hears one length). It is what `toolkit extract` proves of a checkpoint that it loads.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.models import tiny, zoo
from toolkit.models.checkpoint import inspect
from toolkit.models.families import FAMILIES
from toolkit.models.generic import BOUND, PROOF_CLIPS, GenericEncoder
from toolkit.models.load import load
from toolkit.models.proof import error_of_a_batch
from toolkit.models.registry import BACKBONES

PAGE = Path(__file__).parents[1] / "docs" / "backbones.md"
HEAD = (
    "| family (`model_type`) | variant | reads | frames/s | shortest | hears at most | batches | worst error "
    "| fine-tuning | listed, with licence |"
)
OWN = "own loop"


def variants() -> dict[str, str]:
    """Family by the name of its tiny checkpoint."""
    known = sorted(FAMILIES, key=len, reverse=True)
    return {name: next(one for one in known if name.startswith(one)) for name in (*tiny.FAMILIES, *zoo.ZOO)}


def facts(name: str) -> list[str]:
    """The cells of a row that no model is needed for, the worst error left out."""
    kind = variants()[name]
    family, variant = FAMILIES[kind], name.removeprefix(kind).lstrip("-")
    feed = family.feed
    listed = [f"{row.name} ({row.licence})" for row in BACKBONES.values() if row.family == kind]
    if name != next(one for one, each in variants().items() if each == kind):
        listed = []  # once a family
    mode = zoo.ZOO[name].mode if feed else OWN
    reads = "samples" if (feed.features == "input_values" if feed else not family.mel_bins) else "spectrogram"
    rate = feed.rate if feed else 16_000
    tuned = not feed or (mode == "masked" and not feed.packed and not feed.varies and feed.rates == (16_000,))
    shortest = feed.shortest if feed else 1 if family.fixed_context else 400
    longest = (feed.fixed or feed.longest) if feed else 0.0
    return [
        f"`{kind}`",
        variant or "-",
        "spectrogram" if feed and feed.special else reads,
        f"{family.frame_rate:g}",
        f"{1000 * shortest / rate:.0f} ms" if shortest > 1 else "-",
        f"{longest:g} s" if longest else "-",
        mode,
        "",
        "yes" if tuned else "no",
        ", ".join(listed) or "-",
    ]


def measured(name: str, folder: Path) -> float:
    """The worst error of a batch of the tiny checkpoint."""
    made = zoo.save(name, folder / name) if name in zoo.ZOO else tiny.FAMILIES[name](folder / name)
    encoder = load(inspect(made, name), torch.device("cpu"), torch.float32)
    if isinstance(encoder, GenericEncoder):
        found = encoder.proof.errors[zoo.ZOO[name].mode]
        assert isinstance(found, float), found
        return found
    return error_of_a_batch(encoder, PROOF_CLIPS)


def table() -> list[str]:
    lines = [HEAD, "|" + "---|" * HEAD.count(" | ") + "---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name in variants():
            error, cells = measured(name, Path(folder)), facts(name)
            assert error <= BOUND, (name, error)
            cells[7] = f"{error:.0e}"
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/backbones.md")
    write = parser.parse_args().write
    transformers.utils.logging.set_verbosity_error()
    lines = table()
    if write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(HEAD)
        after = rest.partition("\n\n")[2]
        PAGE.write_text(before + "\n".join(lines) + "\n\n" + after, encoding="utf-8")


if __name__ == "__main__":
    main()
