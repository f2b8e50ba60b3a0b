"""What a researcher would write instead of `toolkit extract`, for bench/extract.py."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from toolkit.audio.decode import SAMPLE_RATE, Samples, decode
from toolkit.corpus.manifest import Manifest

PADDED_BATCH = 8
DTYPES = {"loop": "float32", "padded": "float32", "half": "bfloat16", "sorted": "bfloat16", "compiled": "float16"}


class PlainLoops:
    """transformers over a corpus, from the files on disk and a loaded model; each way gives the seconds it took.

    means: by way, (clips, layers, width), but of `padded`, whose means count the padding.
    """

    def __init__(
        self, checkpoint: Path, corpus: Manifest, whisper: bool, device: torch.device, now: Callable[[], float]
    ) -> None:
        self.corpus, self.whisper, self.device, self.now = corpus, whisper, device, now
        whole = transformers.AutoModel.from_pretrained(str(checkpoint), dtype=torch.float32)
        self.model = (whole.get_encoder() if whisper else whole).eval().to(device)
        self.extractor = transformers.AutoFeatureExtractor.from_pretrained(str(checkpoint))
        self.models = {"float32": self.model}
        self.means: dict[str, npt.NDArray[np.float32]] = {}

    def loop(self) -> float:
        return self._in_batches("loop", "float32", 1)

    def half(self) -> float:
        return self._in_batches("half", "bfloat16", 1)

    def sorted(self) -> float:
        return self._in_batches("sorted", "bfloat16", PADDED_BATCH)

    def compiled(self) -> float:
        return self._in_batches("compiled", "compiled", PADDED_BATCH)

    def _in_batches(self, method: str, which: str, size: int) -> float:
        """What a researcher writes: clips sorted by length where a batch has several, each layer's mean over a clip's
        own frames.
        """
        model = self._model(which)
        began = self.now()
        samples = [decode(self.corpus.audio_path(clip)).samples for clip in self.corpus.clips]
        order = range(len(samples)) if size == 1 else np.argsort([len(clip) for clip in samples])
        means: dict[int, npt.NDArray[np.float32]] = {}
        for first in range(0, len(samples), size):
            batch = [int(place) for place in order[first : first + size]]
            states = self._states(self._inputs([samples[place] for place in batch]), model)
            for row, place in enumerate(batch):
                frames = self._frames_of(len(samples[place]))
                means[place] = torch.stack([layer[row, :frames].float().mean(dim=0) for layer in states]).cpu().numpy()
        took = self.now() - began
        self.means[method] = np.stack([means[place] for place in range(len(samples))])
        return took

    def padded(self) -> float:
        began = self.now()
        paths = [self.corpus.audio_path(clip) for clip in self.corpus.clips]
        for first in range(0, len(paths), PADDED_BATCH):
            inputs = self._inputs([decode(path).samples for path in paths[first : first + PADDED_BATCH]])
            torch.stack([layer.mean(dim=1) for layer in self._states(inputs, self.model)]).cpu()
        return self.now() - began

    def _model(self, which: str) -> Any:
        """A copy in the dtype, made once; "compiled" is in float16, compiled by a first pass over the clips."""
        if which not in self.models:
            compiled = which == "compiled"
            model = copy.deepcopy(self.model).to(torch.float16 if compiled else getattr(torch, which))
            self.models[which] = torch.compile(model, dynamic=True) if compiled else model
            if compiled:
                self.compiled()
        return self.models[which]

    def _inputs(self, clips: Sequence[Samples]) -> Any:
        padding: dict[str, Any] = {} if self.whisper else {"padding": True}
        return self.extractor(clips, sampling_rate=SAMPLE_RATE, return_tensors="pt", **padding)

    def _frames_of(self, samples: int) -> int:
        """Frames of a clip."""
        if self.whisper:
            return -(-samples // 320)
        return int(self.model._get_feat_extract_output_lengths(torch.tensor(samples)))

    @torch.inference_mode()
    def _states(self, inputs: Any, model: Any) -> Sequence[torch.Tensor]:
        dtype = next(model.parameters()).dtype
        given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        given = {name: value.to(self.device) for name, value in given.items()}
        hidden: Sequence[torch.Tensor] = model(**given, output_hidden_states=True).hidden_states
        return hidden
