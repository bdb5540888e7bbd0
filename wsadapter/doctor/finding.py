"""What an examination has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    FINE = "fine"
    #: It works, and should be looked at.
    WARNING = "warning"
    #: It does not work, or loses what it should keep.
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what, in a word or two.
        found: how it is; never a password.
        advice: what to do about it; empty where all is well.
    """

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""

    @property
    def is_error(self) -> bool:
        return self.verdict is Verdict.ERROR


def fine(subject: str, found: str) -> Finding:
    return Finding(subject, Verdict.FINE, found)


def warning(subject: str, found: str, advice: str) -> Finding:
    return Finding(subject, Verdict.WARNING, found, advice)


def error(subject: str, found: str, advice: str) -> Finding:
    return Finding(subject, Verdict.ERROR, found, advice)
