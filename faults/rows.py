"""The rows of the table: what is injected, what came of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """faults: how many were injected. sentence: what came of them. passed: it is what must come of them."""

    faults: int
    sentence: str
    passed: bool
