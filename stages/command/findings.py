"""What the checks of `people doctor` find."""

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """The result of a check: ok; a warning, with which a run goes on; or a problem, with which it does not.

    `remedy`: a command, where there is one.
    """

    status: str
    subject: str
    detail: str
    remedy: str = ""

    def lines(self) -> list[str]:
        """The finding as text, its remedy below it."""
        text = [f"{self.status:<8} {self.subject:<13} {self.detail}"]
        return text + ([f"{'':<22} to mend it: {self.remedy}"] if self.remedy else [])


def ok(subject: str, detail: str) -> Finding:
    return Finding(OK, subject, detail)


def warning(subject: str, detail: str, remedy: str = "") -> Finding:
    return Finding(WARNING, subject, detail, remedy)


def problem(subject: str, detail: str, remedy: str = "") -> Finding:
    return Finding(PROBLEM, subject, detail, remedy)
