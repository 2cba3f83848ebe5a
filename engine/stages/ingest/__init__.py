"""The ratings file -> partitions of whole users."""

from engine.stages.ingest.stage import IngestStage

__all__ = ["IngestStage"]
