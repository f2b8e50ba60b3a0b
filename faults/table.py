"""Every row by its name, in the order of the table."""

from faults import audio, containers, damage, full_disk, kills, models, numbers, power, runs, spellings, texts

ROWS = {
    "kill-extract": kills.extraction,
    "kill-probe": kills.search,
    "kill-finetune": kills.training,
    "full-store": full_disk.store,
    "full-study": full_disk.search,
    "full-checkpoint": full_disk.checkpoint,
    "full-report": full_disk.report,
    "full-tmpfs": full_disk.tmpfs,
    "power": power.cuts,
    "damage": damage.damage,
    "two-runs": runs.two,
    "audio": audio.hostile,
    "containers": containers.every,
    "texts": texts.wrong,
    "spellings": spellings.pairs,
    "numbers": numbers.not_finite,
    "memory": numbers.memory,
    "signals": runs.stopped,
    "models": models.damaged,
    "fuzz": texts.fuzz,
}
