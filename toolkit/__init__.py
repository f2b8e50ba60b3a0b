"""Which layer of which pretrained speech model carries the emotion, and is fine-tuning worth its price?

    workspace = toolkit.open("study")
    workspace.extract("whisper-medium")
    workspace.probe("whisper-medium", target="negative").table()
    toolkit.probe_arrays({"layer 7": X}, y, groups=speakers).table()    # no workspace needed

Nothing heavy is loaded before it is used.
"""

from typing import TYPE_CHECKING, Any

from toolkit.core.version import __version__

__all__ = ["Workspace", "__version__", "open", "probe_arrays"]

if TYPE_CHECKING:
    from toolkit.probe.arrays import probe_arrays
    from toolkit.workspace import Workspace


def open(folder: Any = ".", **places: Any) -> "Workspace":
    """Open the folder of a study.

    Args:
        folder: The study's folder, which must exist.
        **places: The other arguments of `toolkit.workspace.Workspace`: manifest, audio_root, say.

    Returns:
        The workspace, whose methods are the commands.
    """
    from toolkit.workspace import Workspace

    return Workspace(folder, **places)


def __getattr__(name: str) -> Any:
    if name == "Workspace":
        from toolkit.workspace import Workspace

        return Workspace
    if name == "probe_arrays":
        from toolkit.probe.arrays import probe_arrays

        return probe_arrays
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
