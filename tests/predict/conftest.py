from tests.finetune.conftest import corpus, one_thread

__all__ = ["corpus", "one_thread"]
