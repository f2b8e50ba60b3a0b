"""`toolkit predict`: what a finished run's models say of other audio."""

from pathlib import Path

from toolkit.cli.common import CommandResult, Json, place_of, remark, show_json
from toolkit.cli.options import command
from toolkit.core.errors import DONE, SOME_CLIPS_FAILED
from toolkit.core.imports import uncollected
from toolkit.predict.options import PredictOptions


@command(PredictOptions, places=("workspace",))
def predict(options: PredictOptions, workspace: Path, as_json: Json = False) -> CommandResult:
    """What a saved probe, or a fine-tuned model that was kept (--save-weights), says of audio: a CSV with every label's
    probability and the decision; with windows a timeline, figures, Audacity label tracks and a summary per recording.

    A clip that the run itself tested, recognised by its audio, gets the model of its own round, which never saw it, and
    so the run's own prediction. Any other clip gets the mean of all rounds' models. Windows that are near silent are
    "no speech" in a timeline: no label holds there, and shares are of the speech. Started again after an interruption,
    it resumes. Files that cannot be decoded are named and make the exit code 3.

    A run on units (calls, speakers) predicts units: a column of the manifest names each clip's, or the folder it is in.

    Example: toolkit predict --from negative-whisper-medium-linear-0123456789ab calls/ --window 10 --hop 5
    """
    with uncollected():
        from toolkit.predict import stage

    place = place_of(workspace)
    done = stage.plan(place, options).run()
    if done.cached:
        remark("this prediction is finished already")
    for clip, reason in done.failed.items():
        remark(f"failed: clip {clip!r} {reason}")
    show_json(as_json, done)
    if not as_json:
        if done.answer:
            print(done.answer)
        name = place.shown(done.file)
        print(f"predictions in {name}")
        if done.units:
            print(f"each unit's clips, and what they weighed, in {place.shown(done.units)}")
        if done.report:
            print(f"timeline, tracks, figures and a summary next to the page {place.shown(done.report)}")
        if done.truth_known:
            print(f"the truth is known: `toolkit score {name}` gives every metric")
    return CommandResult((done.folder,), done.cached, SOME_CLIPS_FAILED if done.failed else DONE)
