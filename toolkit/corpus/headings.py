"""Which column of someone's table is what: as it is named, else by its heading, in Chinese or English."""

import difflib
import re
from collections.abc import Sequence

from toolkit.core.errors import InputError
from toolkit.core.options import names as listed
from toolkit.corpus import manifest
from toolkit.corpus.labels import PRESETS
from toolkit.corpus.options import TableOptions
from toolkit.corpus.sheet import Sheet
from toolkit.corpus.spellings import key

# Headings by which a column is taken for one of ours where none is named: as `spellings.key` gives them, without units
HEADINGS = {
    "path": "path file filename file_name filepath file_path audio audiofile audio_file wav recording 音频 音频文件 "
    "音频路径 音频文件名 文件 文件名 文件路径 路径 录音 录音文件 录音文件名 语音 语音文件",
    "speaker": "speaker speaker_id spk speakerid caller caller_id subject subject_id participant actor sprecher "
    "说话人 说话者 说话人编号 说话人id 发言人 讲话人 来电者 来电人 来访者 求助者 受试者 被试 被试编号 演员",
    "label": "label labels emotion emotions category class 情绪 情感 情绪类别 情感类别 情绪标签 情感标签 "
    "标签 类别 标注",
    "start": "start start_time starttime begin onset from 开始 开始时间 起始 起始时间 起点 开始时刻",
    "end": "end end_time endtime stop offset to ende 结束 结束时间 终止 终止时间 终点 结束时刻",
    "duration": "duration dur length len 时长 持续时间 持续时长 长度 dauer",
    "channel": "channel channel_id ch chan kanal 声道 通道 声道号 音轨",
    "id": "id clip clip_id clipid segment_id utterance_id 编号 片段编号 片段id 片段 语句编号 样本编号",
}
UNIT = re.compile(r"[ _]*[\[(（](.*?)[\])）]$|[ _](ms|s|secs?|seconds?)$")


def columns(table: Sheet, options: TableOptions, notes: list[str]) -> dict[str, str]:
    """The table's column for each of ours that it has, as named or, where none is, by its heading.

    One of durations is taken where there are starts and no ends.
    """
    roles = [role for role in HEADINGS if role not in ("label", "duration")]
    given = {role: getattr(options, "identity" if role == "id" else role) for role in roles}
    found = {role: _named(table, role, name) for role, name in given.items() if name is not None}
    taken = labels(table, options)
    for role, how in {role: "as named" for role in found}.items():
        notes.append(f"  {role}: {found[role]!r}, {how}")
    for role in [role for role in given if role not in found]:
        free = [name for name in table.columns if name not in {*found.values(), *taken}]
        proposed = _proposed(role, free)
        unique = role != "id" or len({*(cells := table.cells(proposed[0]))}) == len(cells) if proposed else False
        if len(proposed) > 1:
            raise InputError(
                f"{table.name}: {' or '.join(map(repr, proposed))} may be the {role}; name one with --{role}"
            )
        if proposed and unique:
            found[role] = proposed[0]
            notes.append(f"  {role}: {proposed[0]!r}, by its heading")
    if "start" in found and "end" not in found:
        lengths = _proposed("duration", [name for name in table.columns if name not in {*found.values(), *taken}])
        if len(lengths) == 1:
            found["duration"] = lengths[0]
            notes.append(f"  duration: {lengths[0]!r}, by its heading; a clip ends so long after its start")
    if "path" not in found:
        raise InputError(
            f"{table.name}: which column names the audio file? Say --path with one of {_shown(table.columns)}"
        )
    return found


def labels(table: Sheet, options: TableOptions) -> tuple[str, ...]:
    given = options.label
    if isinstance(given, str) and given not in table.columns:
        given = PRESETS.get(given, given)
    names = (given,) if isinstance(given, str) and given in table.columns else listed(given)
    names = names or tuple(_proposed("label", table.columns))
    if not names:
        raise InputError(f"{table.name}: which columns are labels? Say --label with some of {_shown(table.columns)}")
    taken = tuple(_named(table, "label", name) for name in names)
    for name in taken:
        if name.lower() in manifest.RESERVED or "," in name:
            raise InputError(f"{table.name}: a label cannot be called {name!r}; give that column another heading")
    return taken


def _named(table: Sheet, role: str, name: str) -> str:
    """The column of this name, whatever its case and width. Raises InputError."""
    alike = [one for one in table.columns if key(one) == key(name)]
    column = name if name in table.columns else alike[0] if len(alike) == 1 else None
    if column is None or table.columns.count(column) > 1:
        close = difflib.get_close_matches(name, table.columns, 1)
        hint = f"; did you mean {close[0]!r}?" if close and column is None else f", it has {_shown(table.columns)}"
        several = "several columns" if column is not None else "no column"
        raise InputError(f"--{role} {name}: {table.name} has {several} of that name{hint}")
    return column


def _proposed(role: str, columns: Sequence[str]) -> list[str]:
    known = {name.replace("_", " ") for name in HEADINGS[role].split()}
    return [name for name in columns if re.sub("[ _]+", " ", UNIT.sub("", key(name))) in known]


def _shown(columns: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in columns if name)
