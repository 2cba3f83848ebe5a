"""The command line: parses and prints, decides nothing. Each module has a command, or a few that belong together."""

from engine.cli.main import main, parser

__all__ = ["main", "parser"]
