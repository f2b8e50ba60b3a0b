"""Encoders of neural codecs alone, which transformers has as plain modules inside of the codec."""

from typing import Any

from torch import Tensor
from transformers.models.dac import modeling_dac as dac
from transformers.models.encodec import modeling_encodec as encodec


class EncodecEncoderModel(encodec.EncodecPreTrainedModel):  # type: ignore[misc]
    """input_values: (batch, 1, samples) at 24 kHz."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.encoder = encodec.EncodecEncoder(config)
        self.post_init()

    def forward(self, input_values: Tensor) -> Any:
        return self.encoder(input_values)


class DacEncoderModel(dac.DacPreTrainedModel):  # type: ignore[misc]
    """input_values: (batch, 1, samples)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.encoder = dac.DacEncoder(config)
        self.post_init()

    def forward(self, input_values: Tensor) -> Any:
        return self.encoder(input_values)
