"""`toolkit run` as a user meets it: a whole study, resumed, its steps listed; and wrong recipes, refused in time."""

import json
import re
from pathlib import Path

import pytest

import toolkit
from tests.cli.conftest import SMALL, recipe
from tests.conftest import Run
from toolkit.core.errors import RecipeError
from toolkit.study.shapes import LEFT_OUT, options, shapes


def test_a_study_from_recipe_to_comparison_then_it_stands(run: Run, study: Path) -> None:
    name = recipe(study, SMALL.replace("# more of study", "seed = 3"))
    code, printed, _ = run("run", name, "--dry-run")
    assert code == 0 and not (study / "features").exists() and not (study / "result").exists()
    lines = printed.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["to", "do", "toolkit", step] for step in ("extract", "probe", "finetune", "compare")
    ]
    assert "toolkit finetune --from high-tiny-whisper-linear --train head" in lines[2] and "--seed 3" in lines[2]

    code, out, err = run("run", name)
    assert code == 0, err
    assert "step 4 of 4 is done" in err and "Made, or finished already:\n  high, linear probe of tiny-whisper:" in out
    told = out[out.index("Made, or") :]
    pages = [study / line.rsplit(": ", 1)[1] for line in told.splitlines()[1:]]
    assert len(pages) == 3 and all(path.is_file() for path in pages)
    tuned = json.loads((pages[1].parent / "run.json").read_text())["provenance"]
    assert tuned["from"] == pages[0].parent.name
    assert tuned["command"].startswith(f"toolkit finetune --from {tuned['from']} --train head")

    code, again, err = run("run", name)
    assert (code, again[again.index("Made, or") :]) == (0, told)
    assert [f"step {number} of 4 is finished already" in err for number in (1, 2, 3, 4)] == [True, True, True, False]
    code, printed, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in printed.splitlines()] == ["done", "done", "done", "to"]
    # each line is the very command: typed by hand, it finds the same run
    code, _, err = run(*printed.splitlines()[2].split()[2:])
    assert code == 0 and "is finished already" in err

    (study / "manifest.csv").write_text((study / "manifest.csv").read_text().replace(",s5,", ",s4,"))
    code, printed, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in printed.splitlines()] == ["done", "to", "to", "to"]


@pytest.mark.parametrize("own_split", [None, "speakers", "clips"])
def test_the_papers_split_is_run_beside_the_honest_one(run: Run, study: Path, own_split: str | None) -> None:
    if own_split:  # a column of the manifest's own is left unused in all four runs
        head, *lines = (study / "manifest.csv").read_text().splitlines()
        unit = 4 if own_split == "speakers" else 1
        rows = [f"{line},{number // unit % 3}" for number, line in enumerate(lines)]
        (study / "manifest.csv").write_text("\n".join([f"{head},split", *rows, ""]))
    name = recipe(study, SMALL.replace("# more of study", 'split-by = "clip"'))
    code, out, err = run("run", name)
    assert code == 0, err
    assert "step 6 of 6" in err and err.count("# speakers kept apart") == 1
    flattered = re.findall(r"(\S+): UAR .* with clips split one by one.*with speakers kept apart; optimistic by", out)
    assert flattered == ["linear", "finetune-head"]
    (leaking,) = (path for path in (study / "result").glob("high-*finetune*") if (path / "beside.json").exists())
    html = (leaking / "report.html").read_text(encoding="utf-8")
    assert "speakers kept apart" in html and ("split column is not used" in html) == bool(own_split)
    assert out.count("all side by side") == 2
    code, printed, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in printed.splitlines()] == ["done"] * 4 + ["to"] * 2


def test_clips_that_fail_make_the_exit_code_3_and_the_study_goes_on(run: Run, study: Path) -> None:
    (study / "7.wav").write_bytes((study / "7.wav").read_bytes()[:-200])
    contrast = '[[contrast]]\nby = "suicidal"\ngroups = "1,0"\nleast-clips = 1\n'
    code, out, err = run("run", recipe(study, SMALL.split("[[finetune]]")[0] + contrast))
    assert code == 3 and "failed: clip 'c7'" in err
    assert "high, linear probe of tiny-whisper: result/" in out and "compare" not in err
    page = re.search(r"high, callers by suicidal, linear probe of tiny-whisper: (\S+)", out)
    assert page and "suicidal" in (study / page[1]).read_text(encoding="utf-8")


def test_a_failure_stops_with_its_step_named(run: Run, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = recipe(study, SMALL)
    monkeypatch.setattr("toolkit.probe.round.headline_score", lambda *_: 1 / 0)
    code, _, err = run("run", name)
    assert code == 1
    assert "\nstopped in step 2 of 4: toolkit probe --model tiny-whisper-" in err and "a fault of ours" in err
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("run", name)
    assert code == 2 and "one process" in err


def test_the_random_control_is_made_on_the_way(run: Run, study: Path) -> None:
    text = SMALL.replace("# more of probe", 'control = ["random"]').split("[[finetune]]")[0]
    code, printed, _ = run("run", recipe(study, text), "--dry-run")
    assert code == 0
    assert [line.split()[3] for line in printed.splitlines()] == ["models", "extract", "probe"]
    code, out, err = run("run", study / "study.toml")
    assert code == 0 and (study / "models" / "tiny-whisper-random").is_dir() and "random weights" in out, err
    code, printed, _ = run("run", study / "study.toml", "--dry-run")
    assert [line.split()[0] for line in printed.splitlines()] == ["done", "done"]


def test_seeds_of_probes_and_tunings_are_runs_of_one_study(run: Run, study: Path) -> None:
    text = SMALL.replace("# more of probe", "seeds = 2\nrepeats = 2").replace("# more of finetune", "seeds = 2")
    name = recipe(study, text)
    code, _, err = run("run", name)
    assert code == 0, err
    told = {}
    for path in (study / "result").glob("high-*/run.json"):
        content = json.loads(path.read_text())
        if content.get("probe"):
            stated = content["provenance"]
            told.setdefault(content["probe"], []).append((stated["deal"], stated["seed"], stated.get("from", "")))
    assert sorted(one[:2] for one in told["linear"]) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert sorted(one[:2] for one in told["finetune-head"]) == [(0, 0), (0, 1)]
    (origin,) = {one[2] for one in told["finetune-head"]}
    first = json.loads((study / "result" / origin / "run.json").read_text())["provenance"]
    assert (first["deal"], first["seed"]) == (0, 0)  # of the first deal, which the tunings share
    code, printed, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in printed.splitlines()] == ["done", "done", "done", "to"]


def test_a_probe_stands_once_its_shuffles_and_its_learning_curve_are_there(run: Run, study: Path) -> None:
    text = SMALL.split("[[finetune]]")[0]

    def stands(more: str) -> bool:
        code, printed, err = run("run", recipe(study, text.replace("# more of probe", more)), "--dry-run")
        assert code == 0, err
        return printed.splitlines()[-1].startswith("done")

    assert run("run", recipe(study, text.replace("# more of probe", 'control = "shuffled"\nshuffles = 2')))[0] == 0
    assert stands("") and stands('control = "shuffled"\nshuffles = 2')
    assert not stands('control = "shuffled"\nshuffles = 3') and not stands('control = "shuffled"')
    assert not stands("online = true")
    assert run("run", recipe(study, text.replace("# more of probe", "online = true")))[0] == 0
    assert stands('online = true\ncontrol = "shuffled"\nshuffles = 2')


def test_every_table_takes_every_option_of_its_command_but_those_that_the_recipe_gives() -> None:
    for stage, left_out in LEFT_OUT.items():
        own = {option.parameter for option in options(stage).values()}
        assert set(left_out) <= own, "an option of the stage was renamed"
    assert shapes()["finetune"].options["learning-rate"].parameter == "learning_rate"
    assert shapes()["probe"].options["trials"].low == 1


def test_a_recipe_is_followed_from_python_to_the_same_files(run: Run, study: Path) -> None:
    name, messages = recipe(study, SMALL), list[str]()
    space = toolkit.open(study, say=messages.append)
    planned = space.run(name, dry_run=True)
    assert (
        [made for _, made in planned.steps] == [False] * 4 and not planned.pages and not (study / "features").exists()
    )
    made = space.run(name)
    assert [title for title, _ in made.pages] == [
        "high, linear probe of tiny-whisper", "high, tiny-whisper fine-tuned (head)", "high: all side by side",
    ]  # fmt: skip
    assert all(page.is_file() for _, page in made.pages) and "toolkit compare" in messages[-1] + messages[-2]
    assert list(made.table()["command"]) == [command for command, _ in made.steps]
    code, printed, err = run("run", name, "--dry-run")
    assert code == 0 and [line.split()[0] for line in printed.splitlines()] == ["done", "done", "done", "to"], err
    with pytest.raises(RecipeError, match="line 3, column 9: folds 2: at least 3"):
        space.run(recipe(study, SMALL.replace("folds = 3", "folds = 2")))


def test_a_checkpoint_by_its_path_is_one_name_for_every_command(run: Run, study: Path) -> None:
    (study / "elsewhere").mkdir()
    (study / "models" / "tiny-hubert").rename(study / "elsewhere" / "my-hubert")
    text = SMALL.replace('"tiny-whisper"\ncontext = "clip"', '"elsewhere/my-hubert"').replace(
        "epochs = 1", "epochs = 1\nsave-weights = true", 1
    )
    code, _, err = run("run", recipe(study, text))
    assert code == 0 and (study / "models" / "my-hubert").is_symlink(), err
    tuned = next((study / "result").glob("*-finetune-*")).name
    assert run("predict", "--from", tuned, study / "1.wav")[0] == 0
    for named in ("my-hubert", "elsewhere/my-hubert", "models/my-hubert"):
        code, _, err = run("probe", "--model", named, "--target", "high", "--folds", 3, "--trials", 1)
        assert code == 0 and "is finished already" in err, (named, err)
