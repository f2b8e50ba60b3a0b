"""`toolkit score`: every metric of any predictions file."""

from toolkit.cli.common import Json, show, show_json
from toolkit.cli.options import command
from toolkit.result.options import ScoreOptions


@command(ScoreOptions, places=())
def score(options: ScoreOptions, as_json: Json = False) -> None:
    """Every metric of a predictions file, with 95 % intervals over speakers.

    Example: toolkit score result/negative-whisper-medium-linear-0123456789ab/predictions.csv
    """
    from toolkit.result.report.score import score_file

    scored = score_file(options.file, rules=options.rules)
    show_json(as_json, scored)
    if not as_json:
        show(scored.renderable())
