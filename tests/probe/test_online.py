"""Online code length and the learning curve: by hand, and where a layer is planted."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import StoreError
from toolkit.core.i18n import of
from toolkit.corpus.labels import Task
from toolkit.probe.data import matched
from toolkit.probe.online import code, even, online
from toolkit.result import online as kept
from toolkit.result.online import Online

SEVEN = Task("t", "multiclass", tuple("abcdefg"), ("t",))
BINARY = Task("t", "binary", ("not t", "t"), ("t",))
TWO = Task("t", "multilabel", ("a", "b"), ("a", "b"))


def test_bits_by_hand() -> None:
    assert even(SEVEN) == pytest.approx(2.80735, abs=1e-5) and even(TWO) == 2.0 == 2 * even(BINARY)
    found = code(BINARY, np.array([0, 1]), np.array([[0.75, 0.25], [1.0, 0.0]]))
    assert found == pytest.approx([-np.log2(0.999 * 0.75 + 0.0005), -np.log2(0.0005)])
    found = code(TWO, np.array([[1, 0]]), np.array([[0.5, 0.25]]))
    assert found == pytest.approx([-np.log2(0.999 * 0.5 + 0.0005) - np.log2(0.999 * 0.75 + 0.0005)])


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_the_layer_that_knows_has_the_shortest_code_and_gains_from_callers(make_corpus, kind: str) -> None:
    corpus = make_corpus(kind, clips_a_speaker=12)
    data = matched(corpus, corpus.task, corpus.truth, corpus.folds, corpus.speakers)
    seen: list[str] = []
    found = online(corpus, data, 0, lambda layer, done, total: seen.append(layer))
    assert seen == list(corpus.layers) and found.best == "encoder.1" and found.callers == (1, 2, 3, 5)
    assert found == online(corpus, data, 0) != online(corpus, data, 1)
    assert {len(bits) for bits in found.bits.values()} == {5} and len(found.scores["encoder.1"]) == 5
    mean = {layer: np.mean(bits) for layer, bits in found.bits.items()}
    assert mean["encoder.1"] < min(mean["encoder.0"], mean["encoder.2"]) - 0.05
    steps = found.curve("encoder.1")
    assert [count for count, *_ in steps] == [1, 2, 3, 5] and steps[-1][1] > steps[0][1]
    assert all(low <= middle <= high for _, middle, low, high in steps)


def test_a_code_is_that_of_fits_on_all_callers_before(make_corpus) -> None:
    """One order by scikit-learn: the first caller evenly, then each block by a fit on those before."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from toolkit.core import seeds

    corpus = make_corpus("binary")
    data = matched(corpus, corpus.task, corpus.truth, corpus.folds, corpus.speakers)
    found = online(corpus, data, 3)
    names, member = np.unique(np.array(corpus.speakers), return_inverse=True)
    place = seeds.generator(3, "online", 0).permutation(len(names))[member]
    features, bits = corpus.layer("encoder.1").mean.astype(np.float64), float((place < 1).sum())
    for begin, end in ((1, 2), (2, 3), (3, 5), (5, 6)):
        train, block = place < begin, (place >= begin) & (place < end)
        scaler = StandardScaler().fit(features[train])
        model = LogisticRegression(C=1e-2, tol=1e-10, max_iter=10_000).fit(
            scaler.transform(features[train]), data.truth[train]
        )
        true = model.predict_proba(scaler.transform(features[block]))[np.arange(block.sum()), data.truth[block]]
        bits -= np.log2(0.999 * true + 0.0005).sum()
    assert found.bits["encoder.1"][0] == pytest.approx(bits / len(place), abs=1e-4)


def test_what_is_kept_is_read_back_and_damage_is_named(tmp_path: Path) -> None:
    scores = {"encoder.0": ((0.5, None), (0.7, None))}
    made = Online("f1_macro", (1, 2), 1.0, {"encoder.0": (0.9, 0.8)}, scores)
    assert kept.read(tmp_path) is None
    kept.write(tmp_path, made)
    assert kept.read(tmp_path) == made and made.curve("encoder.0") == [(1, pytest.approx(0.6), 0.5, 0.7)]
    lines = (tmp_path / kept.TABLE).read_text(encoding="utf-8").splitlines()
    assert lines == ["layer,bits_a_clip,f1_macro_1_callers,f1_macro_2_callers", "encoder.0,0.850000,0.600000,"]
    text = (tmp_path / kept.FILE).read_text(encoding="utf-8")
    (tmp_path / kept.FILE).write_text(text.replace("0.9", "0.1"), encoding="utf-8")
    with pytest.raises(StoreError, match=r"online\.json is damaged"):
        kept.read(tmp_path)
    assert of("zh")("online.bits") == "每个片段的比特数"
