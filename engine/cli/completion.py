"""``engine completion``: what a shell needs to complete commands and options, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from engine.cli.parsing import add_command

_EXAMPLES = """examples:
  engine completion bash > ~/.local/share/bash-completion/completions/engine
  engine completion zsh >> ~/.zshrc
  engine completion fish > ~/.config/fish/completions/engine.fish"""
_BASH = """_engine() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words="" word at=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$at $word" in
{below}
        esac
    done
    case "$at" in
{options}
    esac
    case "$at $previous" in
{choices}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [[ $current != -* ]]; then
        COMPREPLY+=($(compgen -f -- "$current"))
    fi
}}
complete -o filenames -F _engine engine
"""


def add(commands: Any) -> None:
    """Declare it."""
    parser = add_command(commands, "completion", "print what a shell completes commands and options with", _EXAMPLES)
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], metavar="{bash,zsh,fish}", help="which shell")
    parser.set_defaults(command=_completion)


def _completion(options: argparse.Namespace) -> int:
    from engine.cli.main import parser  # which knows all commands, this one included

    print({"bash": bash, "zsh": zsh, "fish": fish}[options.shell](parser()), end="")
    return 0


def commands_of(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and those below it, as they are typed, with its parser; the program itself is the first."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands_of(below, f"{path} {name}".strip())


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """What may come next: options, and fixed words of arguments."""
    words = []
    for action in parser._actions:
        words += [option for option in action.option_strings if option.startswith("--")]
        if not action.option_strings and action.choices:
            words += map(str, action.choices)
    return words


def _fixed(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[str]]]:
    """Options that take one of a few words."""
    for action in parser._actions:
        for option in action.option_strings:
            if action.choices:
                yield option, list(action.choices)


def bash(parser: argparse.ArgumentParser) -> str:
    """The script for bash."""
    found = list(commands_of(parser))
    below = [
        f'            "{path.rpartition(" ")[0]} {path.rpartition(" ")[2]}") at="{path}" ;;' for path, _ in found[1:]
    ]
    options = [f'        "{path}") words="{" ".join(_words(each))}" ;;' for path, each in found]
    choices = [
        f'        "{path} {option}") words="{" ".join(map(str, words))}" ;;'
        for path, each in found
        for option, words in _fixed(each)
    ]
    return _BASH.format(below="\n".join(below), options="\n".join(options), choices="\n".join(choices))


def zsh(parser: argparse.ArgumentParser) -> str:
    """The script for zsh, which takes bash's."""
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash(parser)


def fish(parser: argparse.ArgumentParser) -> str:
    """The script for fish."""
    lines = []
    for path, each in commands_of(parser):
        names = path.split()
        condition = " && ".join(f"__fish_seen_subcommand_from {name}" for name in names) or "__fish_use_subcommand"
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                lines += [
                    f"complete -c engine -n '{condition}' -a {shown.dest} -d '{_quoted(shown.help or '')}'"
                    for shown in action._choices_actions
                ]
                continue
            long = [option[2:] for option in action.option_strings if option.startswith("--")]
            words = f" -x -a '{' '.join(map(str, action.choices))}'" if action.choices else ""
            if long:
                lines.append(
                    f"complete -c engine -n '{condition}' -l {long[0]}{words} -d '{_quoted(action.help or '')}'"
                )
            elif words:
                lines.append(f"complete -c engine -n '{condition}'{words}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
