"""The rows of families agree with transformers, and cost nothing to read."""

import subprocess
import sys

import pytest

from toolkit.core.registry import resolve
from toolkit.models.families import FAMILIES, ready
from toolkit.models.registry import BACKBONES


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_row_names_what_transformers_has(name: str) -> None:
    family = FAMILIES[name]
    model = resolve(family.model)
    assert model.config_class.model_type == name
    assert model.base_model_prefix + "." == family.prefix
    config = model.config_class()
    for key in filter(None, (family.layers, family.width, family.decoder_layers)):
        assert isinstance(getattr(config, key), int)
    assert family.config_defect(config) == ""
    resolve(family.feature_extractor)
    if family.ready:
        assert resolve(family.encoder).states and resolve(family.trainable).states


def test_every_known_backbone_is_of_a_known_family_and_one_is_not_run_yet() -> None:
    assert {row.family for row in BACKBONES.values()} == set(FAMILIES)
    assert set(FAMILIES) - set(ready()) == {"wav2vec2-bert"}


def test_reading_families_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, toolkit.models.families as f; list(f.FAMILIES.items());"
        "sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
