"""Which labels of a task are negative, by their names; the user may name others."""

from toolkit.corpus.labels import HOTLINE, Task
from toolkit.corpus.spellings import key

# The label that says just that. All names are in the form of `spellings.key`.
JUST_THAT = frozenset(
    ("negative", "negativ", "négatif", "négative", "negativo", "negativa", "负面", "消极", "负性", "負面")
)
EMOTIONS = {
    "English": """anger angry ang disgust disgusted dis sad sadness fear fearful fea anxious frustration frustrated fru
        contempt hopelessness hopeless loneliness lonely shame ashamed worry worried distress distressed grief panic
        hate hatred""",
    "Chinese": """愤怒 生气 怒 厌恶 恶心 悲伤 伤心 难过 悲 恐惧 害怕 惧 焦虑 担心 绝望 痛苦 内疚 自责 困惑 无助
        怨恨 麻木 委屈 沮丧 失望 羞愧 孤独 恨 蔑视 烦躁 憤怒 生氣 厭惡 悲傷 傷心 難過 恐懼 焦慮""",
    "German": """wut wütend ärger ärgerlich zorn trauer traurig traurigkeit angst ängstlich ekel verzweiflung verachtung
        scham schuld hilflosigkeit einsamkeit hass frustriert""",
    "French": "colère tristesse triste peur dégoût mépris honte désespoir anxiété",
    "Spanish": "ira enojo enfado tristeza miedo asco ansiedad desprecio",
    "Italian": "rabbia tristezza paura disgusto ansia disprezzo",
}
NEGATIVE = JUST_THAT.union(HOTLINE, *(names.split() for names in EMOTIONS.values()))


def negative_labels(task: Task) -> tuple[str, ...]:
    """The labels of a task that are negative by their names; the one that says just that alone, where there is one.

    The hotline's eleven, and the usual emotions of acted corpora in six languages. None where no name is known: then
    nothing is guessed.
    """
    found = tuple(label for label in task.labels if key(label) in NEGATIVE)
    return next(((label,) for label in found if key(label) in JUST_THAT), found)
