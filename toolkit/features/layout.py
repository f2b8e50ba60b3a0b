"""Names and shapes inside a feature store; the only place that knows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

FORMAT_VERSION = 1  # 2 where widths differ by layer: then each dataset of STATISTICS is a group, of one a layer
VARIED = 2
CLIPS_PER_SHARD = 256
# Datasets of a shard, each (layer, clip, dim), contiguous; imported ones lack "std", and some have others besides
STATISTICS = ("mean", "std")
STORE_FILE = "store.json"
SIDECARS = "shard-[0-9][0-9][0-9][0-9][0-9].json"  # any other file, a copy for example, is not read

FloatArray = npt.NDArray[np.float32]


def dataset_of(statistic: str, layer: str) -> str:
    """Of one layer, (clip, dim), where widths differ."""
    return f"{statistic}/{layer}"


@dataclass(frozen=True)
class LayerFeatures:
    """One layer of one store.

    layer: "encoder.0" (what enters the first layer), "encoder.1", ... or "decoder.0", ...
    ids: n_clips; mean, std: (n_clips, width) float32, over the clip's own frames. An imported layer is one vector a
    clip: its mean; its std is (n_clips, 0). more: other statistics by name, each (n_clips, width).
    """

    layer: str
    ids: tuple[str, ...]
    mean: FloatArray
    std: FloatArray
    more: Mapping[str, FloatArray] = field(default_factory=dict, kw_only=True)

    def matrix(self, statistics: str) -> FloatArray:
        """(n_clips, width) for "mean", "std" or one of `more`, (n_clips, 2 width) for "both"."""
        if statistics == "both":
            return np.concatenate([self.mean, self.std], axis=1)
        return {"mean": self.mean, "std": self.std, **self.more}[statistics]

    def rows(self, rows: npt.NDArray[np.int64]) -> "LayerFeatures":
        """Some of the clips, in the order of `rows`."""
        ids, more = tuple(self.ids[row] for row in rows), {name: values[rows] for name, values in self.more.items()}
        return replace(self, ids=ids, mean=self.mean[rows], std=self.std[rows], more=more)
