"""The rows of families agree with transformers, and cost nothing to read."""

import ast
import inspect
import re
import subprocess
import sys
from types import ModuleType

import pytest
import transformers

from tests.models import tiny, zoo
from toolkit.core.registry import resolve
from toolkit.models.families import FAMILIES, elsewhere, samples, spectrograms, whisper_like, wideband
from toolkit.models.registry import BACKBONES

KINS = [elsewhere, samples, spectrograms, whisper_like, wideband]


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_row_names_what_transformers_has(name: str) -> None:
    family = FAMILIES[name]
    model = resolve(family.model)
    ours = name in elsewhere.ROWS
    config = model.config_class() if ours else transformers.AutoConfig.for_model(name)
    for part in filter(None, family.section.split(".")):
        config = getattr(config, part) or model.config_class()
    assert isinstance(config, model.config_class) or issubclass(model.config_class, type(config))
    if not family.feed:
        assert model.config_class.model_type == name
        assert model.base_model_prefix + "." == family.prefix
    for key in filter(None, (family.layers, family.width, family.decoder_layers)):
        assert isinstance(key(config.to_dict()) if callable(key) else getattr(config, key), int)
    assert family.config_defect(config) == ""
    resolve(family.feature_extractor)
    assert resolve(family.encoder).states and resolve(family.trainable).states


def test_every_known_backbone_is_of_a_known_family_and_every_family_has_a_tiny_checkpoint() -> None:
    assert {row.family for row in BACKBONES.values()} <= set(FAMILIES)
    shown = {re.sub("-(80|group|relative|stable)$", "", name) for name in (*tiny.FAMILIES, *zoo.ZOO)}
    assert set(FAMILIES) <= shown


@pytest.mark.parametrize("kin", KINS, ids=[kin.__name__.rpartition(".")[2] for kin in KINS])
def test_a_row_has_at_most_ten_lines(kin: ModuleType) -> None:
    (table,) = (
        node.value
        for node in ast.parse(inspect.getsource(kin)).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROWS"
    )
    assert isinstance(table, ast.Dict) and len(table.values) == len(kin.ROWS)
    lengths = {name: row.end_lineno - row.lineno + 1 for name, row in zip(kin.ROWS, table.values)}
    assert {name: lines for name, lines in lengths.items() if lines > 10} == {}


def test_reading_families_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, toolkit.models.families as f; list(f.FAMILIES.items());"
        "sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
