"""An encoder of text by transformers' own forward: every layer's states, exact in batches by proof."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoTokenizer

from toolkit.core import seeds
from toolkit.core.errors import CheckpointError
from toolkit.core.matmul import allow_tensor_float_32
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import LayerStates, on_device, own_frames
from toolkit.models.generic import BOUND, PROOF_CLIPS, failing
from toolkit.models.load import config_of, model_of
from toolkit.models.pooling import mean_and_std
from toolkit.models.proof import TOGETHER, own_states, worst_error

Tokens = npt.NDArray[np.int64]
MOST_TOKENS = 64  # of a random text of the proof
TOKENS_OF_A_BATCH = 4_096  # padding counted


class TextEncoder:
    """A loaded encoder; a text's tokens take the place of a clip's samples. In float32.

    longest: tokens that it has positions for. mode: "masked", in padded batches by its own mask; or "alone", where that
    was not exact: the largest relative error of any layer of PROOF_CLIPS random texts, `worst`, was above BOUND.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        """Raises CheckpointError for weights or a tokenizer that cannot be had."""
        self.device, self.width = device, checkpoint.backbone.width
        self.layer_names = layer_names(checkpoint)
        self._tokenizer = tokenizer_of(checkpoint)
        allow_tensor_float_32(False)
        config = config_of(checkpoint)
        config.use_cache = False
        self._model = model_of(checkpoint, config, decoder=False, last_layer=checkpoint.backbone.layers).to(device)
        # RoBERTa counts positions from after its padding's
        first = getattr(getattr(self._model, "embeddings", None), "padding_idx", None)
        self.longest = int(config.max_position_embeddings) - (0 if first is None else first + 1)
        self._padding = int(config.pad_token_id or 0)
        self._vocabulary = int(config.vocab_size)
        try:
            with failing():
                self.worst = self._prove()
        except CheckpointError as error:
            raise CheckpointError(f"{checkpoint.name}: {error}") from error
        self.mode = "masked" if self.worst <= BOUND else "alone"

    def tokens(self, text: str) -> Tokens:
        """What the tokenizer makes of a text, special tokens included, nothing cut.

        Raises CheckpointError for one that the model has no embedding for.
        """
        ids = np.array(self._tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"], np.int64)
        if (ids >= self._vocabulary).any():
            raise CheckpointError(
                f"its tokenizer gives token {ids.max()}, config.json has {self._vocabulary:,}: not of one model"
            )
        return ids

    def cut(self, ids: Tokens) -> Tokens:
        """The first tokens that there are positions for, the last of them the special one that ends a text."""
        if len(ids) <= self.longest:
            return ids
        ends = [ids[-1]] if int(ids[-1]) in self._tokenizer.all_special_ids else []
        return np.array([*ids[: self.longest - len(ends)], *ends], np.int64)

    def states(self, clips: Sequence[Tokens]) -> Iterator[LayerStates]:
        """Every layer of these texts together: (texts, tokens, width), the texts' own tokens first."""
        lengths = on_device([len(one) for one in clips], self.device)
        most = max(map(len, clips))
        rows = np.full((len(clips), most), self._padding, np.int64)
        for row, ids in zip(rows, clips):
            row[: len(ids)] = ids
        with torch.inference_mode():
            mask = own_frames(lengths, most).long()
            given = self._model(input_ids=on_device(rows, self.device), attention_mask=mask, output_hidden_states=True)
        yield from (LayerStates(name, values, lengths) for name, values in zip(self.layer_names, given.hidden_states))

    def pooled(self, texts: Sequence[Tokens]) -> dict[str, npt.NDArray[np.float32]]:
        """Mean and population deviation over each text's own tokens: (layers, texts, width)."""
        found = {
            name: np.empty((len(self.layer_names), len(texts), self.width), np.float32) for name in ("mean", "std")
        }
        for places in self._batches(texts):
            for layer, states in enumerate(self.states([texts[place] for place in places])):
                for statistic, values in zip(("mean", "std"), mean_and_std(states.values, states.lengths)):
                    found[statistic][layer, places] = values.cpu().numpy()
        return found

    def _batches(self, texts: Sequence[Tokens]) -> Iterator[list[int]]:
        batch: list[int] = []
        for place in sorted(range(len(texts)), key=lambda place: (len(texts[place]), place)):
            if batch and (self.mode == "alone" or len(texts[place]) * (len(batch) + 1) > TOKENS_OF_A_BATCH):
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def _prove(self) -> float:
        """The largest relative error of a batch. Raises CheckpointError for states that cannot be stored."""
        generator = seeds.generator(0, "proof of texts")
        special = {*self._tokenizer.all_special_ids, self._padding}
        plain = np.array([one for one in range(self._vocabulary) if one not in special], np.int64)
        counts = generator.integers(1, min(self.longest, MOST_TOKENS) + 1, PROOF_CLIPS)
        texts: list[Any] = [generator.choice(plain, count) for count in sorted(counts.tolist())]
        alone: list[list[Tensor]] = own_states(self, texts, 1)
        shapes = {(len(one), states.shape[-1]) for one in alone for states in one}
        if shapes != {(len(self.layer_names), self.width)}:
            raise CheckpointError(f"it gives {sorted(shapes)} layers and values, expected those of config.json")
        if not all(bool(states.isfinite().all()) for one in alone for states in one):
            raise CheckpointError("its states of a text alone are not finite numbers")
        return worst_error(own_states(self, texts, TOGETHER), alone)


def layer_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """ "encoder.0", what enters the first layer, to the last."""
    return tuple(f"encoder.{layer}" for layer in range(checkpoint.backbone.layers + 1))


def tokenizer_of(checkpoint: Checkpoint) -> Any:
    """The checkpoint's own, from its files alone, no code of theirs run. Raises CheckpointError."""
    try:
        return AutoTokenizer.from_pretrained(
            str(checkpoint.folder), local_files_only=True, trust_remote_code=False, clean_up_tokenization_spaces=False
        )
    except Exception as error:
        reason = str(error).replace(str(checkpoint.folder), "the folder").split("\n")[0]
        raise CheckpointError(
            f"{checkpoint.name}: its tokenizer cannot be read: {type(error).__name__} {reason}"
        ) from error
