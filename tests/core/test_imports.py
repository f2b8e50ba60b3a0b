import gc

import pytest

from toolkit.core.imports import uncollected


def test_the_collector_rests_while_modules_are_imported_and_goes_on_if_it_did_before() -> None:
    try:
        for before in (True, False):
            (gc.enable if before else gc.disable)()
            with pytest.raises(ImportError), uncollected():
                assert not gc.isenabled()
                raise ImportError
            assert gc.isenabled() == before
    finally:
        gc.enable()
