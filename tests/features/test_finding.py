"""Which store a name means, and taking one away."""

from pathlib import Path

import pytest

from tests.features.conftest import LAYERS, STORE_WIDTH, content, new_store
from toolkit.core.errors import StoreError
from toolkit.features.finding import find, remove, stores
from toolkit.features.store import Store, create
from toolkit.probe.controls import random_store


def test_find_names_what_there_is(store: Store) -> None:
    features = store.folder.parent
    assert find(features, "tiny").folder == store.folder
    assert find(features, store.folder.name).folder == store.folder
    with pytest.raises(StoreError, match=r"No features of 'other'.*there: tiny.*toolkit extract --model other"):
        find(features, "other")
    other = new_store(features, context="clip")
    assert find(features, "tiny").folder == store.folder  # the other one holds nothing
    with other.writing() as writer:
        writer.commit(content(0, 3))
    with pytest.raises(
        StoreError, match=r"Several stores of .tiny. .*context clip.*; name the one .* --store, such as tiny-"
    ):
        find(features, "tiny")
    for picked in (store, other):
        assert find(features, "tiny", ("another", picked.folder.name[:-4])).folder == picked.folder


def test_a_store_is_removed_whole_but_not_while_it_is_written(store: Store, tmp_path: Path) -> None:
    assert find(tmp_path, str(store.folder)).folder == store.folder  # by its path, too
    with store.writing(), pytest.raises(StoreError):
        remove(Store(store.folder))
    assert len(stores(tmp_path)) == 1
    remove(store)
    assert not stores(tmp_path) and not list(tmp_path.iterdir())


def test_random_weights_are_of_the_same_options(store: Store) -> None:
    ids = store.ids
    for context in (None, "clip"):
        settings = {} if context is None else {"context": context}
        other = create(store.folder.parent, "tiny-random", LAYERS, STORE_WIDTH, {"dtype": "float32", **settings})
        with other.writing() as writer:
            writer.commit(content(0, 7))
    assert "context" not in random_store(store, store.folder.parent, ids).settings
    with pytest.raises(StoreError, match="Several stores of 'tiny-random'"):
        random_store(new_store(store.folder.parent, context="full"), store.folder.parent, ids)
