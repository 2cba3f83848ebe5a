"""What has been seen of a stage that runs elsewhere, for the sentence that says where it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.chunked.events import RoundBegan, TaskBegan, TaskEnded, WorkerEvent


@dataclass
class Seen:
    """The present round, as events tell it.

    Attributes
    ----------
    round : str
    done, tasks : int
        Tasks of it done, and in all.
    running : list of str
        Tasks begun and not ended.
    projected, measured : int
        Bytes.
    """

    round: str = "start"
    done: int = 0
    tasks: int = 0
    running: list[str] = field(default_factory=list)
    projected: int = 0
    measured: int = 0

    def take(self, event: WorkerEvent) -> None:
        """Take one event in."""
        self.measured = event.measured
        if isinstance(event, RoundBegan):
            self.round, self.done, self.tasks, self.projected = event.round, event.done, event.tasks, event.projected
            self.running.clear()
        elif isinstance(event, TaskBegan):
            self.running.append(event.task)
        elif isinstance(event, TaskEnded):
            if event.task in self.running:
                self.running.remove(event.task)
            self.done += 1

    def where(self, stage: str) -> str:
        """How far the stage is, in words."""
        return f"stage {stage}, round {self.round}, {self.done} of {self.tasks} tasks done"
