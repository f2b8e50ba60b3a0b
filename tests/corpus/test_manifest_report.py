import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from toolkit.corpus import manifest_report

WriteSound = Callable[..., Path]


def shown(figures: manifest_report.Summary) -> str:
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(manifest_report.render(figures))
        return console.export_text()


@pytest.fixture
def corpus(tmp_path: Path, write_sound: WriteSound) -> Path:
    write_sound("a.wav", seconds=1)
    write_sound("b.flac", seconds=2, rate=8_000)
    write_sound("c.wav", seconds=4, channels=2)
    (tmp_path / "manifest.csv").write_text(
        "id,path,start,end,speaker,emotion,fear\n"
        "1,a.wav,,,s1,[red]joy[/red],0\n2,b.flac,,,s2,sad,1\n3,c.wav,1,1.5,s1,sad,0\n4,c.wav,1.5,4,s3,sad,0\n"
    )
    return tmp_path / "manifest.csv"


def test_a_corpus_is_counted_by_label_speaker_duration_and_rate(corpus: Path) -> None:
    figures = manifest_report.summarise(corpus)
    assert (figures.name, figures.clips, figures.defects) == ("manifest.csv", 4, ())
    assert figures.columns["emotion"] == {
        "[red]joy[/red]": manifest_report.Value(1, 1),
        "sad": manifest_report.Value(3, 3),
    }
    assert figures.columns["fear"] == {"0": manifest_report.Value(3, 2), "1": manifest_report.Value(1, 1)}
    assert figures.speakers == {"s1": 2, "s2": 1, "s3": 1}
    assert figures.seconds == (1, 2, 0.5, 2.5)
    assert (figures.rates, figures.channels) == ({8_000: 1, 16_000: 3}, {1: 2, 2: 2})
    assert figures.averaged == 2
    assert "2 of 4 clips are the average of several channels: in a call, two voices in one." in shown(figures)


def test_the_terminal_shows_every_figure_and_markup_stays_text(corpus: Path) -> None:
    lines = shown(manifest_report.summarise(corpus)).splitlines()
    text = "\n".join(lines)
    assert lines[0] == "manifest.csv: 4 clips, 3 speakers of 1 to 2 clips each (median 1), no defects"
    alike = replace(manifest_report.summarise(corpus), speakers={"s1": 2, "s2": 2})
    assert shown(alike).startswith("manifest.csv: 4 clips, 2 speakers of 2 clips each, no defects")
    assert "0.00 hours in 4 clips: median 1.50 s, 0.50 to 2.50 s" in text
    assert "8,000 Hz (1), 16,000 Hz (3)" in text
    assert "[red]joy[/red]" in text
    (fear,) = [line for line in lines if "fear" in line]
    assert [cell.strip() for cell in fear.split("│")[1:-1]] == ["fear", "1", "1", "25.0%", "1", "2"]


def test_defects_of_rows_and_of_audio_are_listed_by_line(corpus: Path) -> None:
    whole = (corpus.parent / "a.wav").read_bytes()
    (corpus.parent / "cut.wav").write_bytes(whole[:-1000])
    with corpus.open("a") as file:
        file.write("5,cut.wav,,,s1,sad,0\n6,absent.wav,,,s1,sad,0\n7,a.wav,0.5,3,s1,sad,0\n7,c.wav,0,1,s1,sad,1\n")
    figures = manifest_report.summarise(corpus)
    assert [defect[:50] for defect in figures.defects] == [
        "line 6: 'cut.wav' ends early: its header promises ",
        "line 7, column 'path': no such file 'absent.wav' u",
        "line 8: 'a.wav' the segment 0.5 to 3 s is beyond t",
        "line 9, column 'id': duplicate id '7', first used ",
    ]
    text = shown(figures)
    assert "8 clips" in text
    assert "4 defects" in text
    assert all(defect in text for defect in figures.defects)
    assert len(figures.seconds) == 4
    corpus.write_text(corpus.read_text().replace(",s1,", ",1.38E+11,"))
    assert sum("looks cut by a spreadsheet" in defect for defect in manifest_report.summarise(corpus).defects) == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"id\n", b"id,path\n"])
def test_a_manifest_that_cannot_be_read_is_one_defect(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    figures = manifest_report.summarise(tmp_path / "manifest.csv")
    assert (figures.clips, len(figures.defects)) == (0, 1)
    assert "manifest.csv: 0 clips, no speaker column, 1 defect" in shown(figures)
    assert len(manifest_report.summarise(tmp_path / "absent.csv").defects) == 1


def test_many_speakers_and_free_text_are_told_in_short(tmp_path: Path, write_sound: WriteSound) -> None:
    write_sound("a.wav")
    rows = "".join(f"{n},a.wav,{n / 120:g},{(n + 1) / 120:g},s{n:03},text {n}\n" for n in range(60))
    (tmp_path / "manifest.csv").write_text(f"id,path,start,end,speaker,remark\n{rows}")
    text = shown(manifest_report.summarise(tmp_path / "manifest.csv"))
    assert "remark: 60 different values" in text
    assert "The 30 of 60 speakers with most clips" in text
    assert "s029" in text
    assert "s030" not in text


def test_labels_that_a_files_header_tells_are_named(tmp_path: Path, write_sound: WriteSound) -> None:
    write_sound("slow.wav", seconds=6, rate=8_000)
    write_sound("fast.wav", seconds=6)
    rows = "".join(
        f"{n},{('slow', 'fast')[n % 2]}.wav,{n // 2},{n // 2 + 1},{n % 2},{n // 2 % 2},{n % 2 or n == 2:d}\n"
        for n in range(12)
    )
    (tmp_path / "manifest.csv").write_text(f"id,path,start,end,ill,sad,nearly\n{rows}")
    figures = manifest_report.summarise(tmp_path / "manifest.csv")
    assert figures.confounds == (
        "ill: the file's samples per second predicts the label of 12 of 12 clips; what a model recognises may be the "
        "recording",
    )
    assert figures.confounds[0] in shown(figures) and figures.defects == ()
