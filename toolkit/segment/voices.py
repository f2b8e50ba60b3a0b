"""Two voices in one channel: windows of a feature store, clustered."""

import numpy as np
import numpy.typing as npt

from toolkit.segment.detector import FRAME_SECONDS, Floats
from toolkit.segment.turns import Mask

SPOKEN_SHARE = 0.5  # of a window, from which it says whose voice it is


def two_voices(states: Floats, spans: npt.NDArray[np.float64], mask: Mask) -> npt.NDArray[np.intp]:
    """The voice, 0 or 1, of each frame, 0 being the one that is heard first.

    Windows that are speech for the most part are clustered by their states (columns standardised over the call's
    windows, rows to length 1); a frame goes to the centre that is nearer, in the mean, to the windows around it.

    Args:
        states: (n_windows, width).
        spans: (n_windows, 2), seconds at which they begin and end.
        mask: (n_frames,) where there is speech.
    """
    from sklearn.cluster import KMeans

    frames = np.clip(np.round(spans / FRAME_SECONDS).astype(int), 0, len(mask))
    spoken = np.concatenate([[0], np.cumsum(mask)])
    share = (spoken[frames[:, 1]] - spoken[frames[:, 0]]) / np.maximum(frames[:, 1] - frames[:, 0], 1)
    kept = np.flatnonzero(share >= SPOKEN_SHARE)
    voices = np.zeros(len(mask), np.intp)
    if len(kept) < 2:
        return voices
    scaled = states[kept].astype(np.float64)
    scaled = (scaled - scaled.mean(axis=0)) / np.maximum(scaled.std(axis=0), 1e-8)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-8)
    centres = KMeans(2, n_init=10, random_state=0).fit(scaled).cluster_centers_
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-8)
    nearer = scaled @ (centres[1] - centres[0])
    votes = np.zeros(len(mask) + 1)
    count = np.zeros(len(mask) + 1)
    for (first, last), vote in zip(frames[kept], nearer):
        votes[[first, last]] += (vote, -vote)
        count[[first, last]] += (1, -1)
    votes, count = np.cumsum(votes)[:-1], np.round(np.cumsum(count)[:-1])
    covered = np.flatnonzero(count)
    nearest = covered[np.abs(np.searchsorted(covered, np.arange(len(mask))).clip(0, len(covered) - 1))]
    votes = np.where(count > 0, votes, votes[nearest])
    voices = (votes > 0).astype(np.intp)
    speaking = np.flatnonzero(mask)
    return 1 - voices if len(speaking) and voices[speaking[0]] else voices
