"""User vectors -> what neighbours are searched with."""

from engine.stages.index.stage import IndexStage

__all__ = ["IndexStage"]
