"""`qalint generate-shell-completion SHELL`: completion for bash, zsh, fish, elvish and PowerShell.

Every script is made from the argument parsers of the commands, so that it offers exactly the flags
that there are. Rule codes are offered where a rule is expected; they are those installed when the
script was generated.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import NamedTuple

from .parser import Parser

SHELLS = ("bash", "elvish", "fish", "powershell", "zsh")
RULE_FLAGS = frozenset(
    ["--select", "--ignore", "--extend-select", "--fixable", "--unfixable", "--extend-fixable"]
)


class Flag(NamedTuple):
    """One option: its spellings, its help, whether it takes a value and which values it offers."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    values: tuple[str, ...]


class Command(NamedTuple):
    """A command: its flags, and the words that may follow it (empty where files may)."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(
        prog="qalint generate-shell-completion",
        description="Print a completion script for a shell.",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    shell = build_parser().parse_args(argv).shell
    from ..report.terminal import deliver

    writer = {"bash": bash, "elvish": elvish, "fish": fish, "powershell": powershell, "zsh": zsh}[shell]
    return deliver("generate-shell-completion", writer(commands()), None)


def commands() -> list[Command]:
    """All commands with what they take, by name."""
    from . import COMMANDS

    rules = _rules()
    return [_command(name, module, rules) for name, module in sorted(COMMANDS.items())]


def _rules() -> tuple[str, ...]:
    from ..registry import catalog

    found = catalog()
    return (*found.rules, *sorted(found.names))


def _command(name: str, module: str, rules: tuple[str, ...]) -> Command:
    parser: argparse.ArgumentParser = import_module(f"qalint.cli.{module}").build_parser()
    flags: list[Flag] = []
    words: tuple[str, ...] = ()
    for action in parser._actions:
        choices = tuple(str(choice) for choice in action.choices or ())
        if not action.option_strings:
            words = choices or words
            continue
        if action.help == argparse.SUPPRESS:
            continue
        if RULE_FLAGS.intersection(action.option_strings):
            choices = ("ALL", *rules)
        help = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
        flags.append(Flag(tuple(action.option_strings), help, action.nargs != 0, choices))
    if name == "rule":
        words = rules
    return Command(name, (parser.description or "").partition("\n")[0], tuple(flags), words)


def _names(command: Command) -> str:
    return " ".join(name for flag in command.flags for name in flag.names)


def bash(commands: list[Command]) -> str:
    """A completion function and its registration."""
    cases = []
    for command in commands:
        values = [
            f"                {'|'.join(flag.names)}) COMPREPLY=($(compgen -W '{' '.join(flag.values)}' "
            '-- "$current")); return ;;\n'
            for flag in command.flags
            if flag.values
        ]
        files = [
            f'                {"|".join(flag.names)}) COMPREPLY=($(compgen -f -- "$current")); return ;;\n'
            for flag in command.flags
            if flag.takes_value and not flag.values
        ]
        choose = f'            case "$previous" in\n{"".join(values + files)}            esac\n'
        cases.append(
            f"        {command.name})\n"
            + (choose if values or files else "")
            + f"            flags='{_names(command)}'\n"
            + f"            words='{' '.join(command.words)}' ;;\n"
        )
    names = " ".join(command.name for command in commands)
    return (
        "# qalint: completion for bash. Use: source <(qalint generate-shell-completion bash)\n"
        "_qalint() {\n"
        '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"\n'
        "    local flags='' words=''\n"
        "    COMPREPLY=()\n"
        '    if [ "$COMP_CWORD" -eq 1 ]; then\n'
        f"        COMPREPLY=($(compgen -W '{names}' -- \"$current\"))\n"
        "        return\n"
        "    fi\n"
        '    case "${COMP_WORDS[1]}" in\n' + "".join(cases) + "    esac\n"
        '    case "$current" in\n'
        '        -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;\n'
        '        *) if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$current"));\n'
        '           else COMPREPLY=($(compgen -f -- "$current")); fi ;;\n'
        "    esac\n"
        "}\n"
        "complete -o filenames -F _qalint qalint\n"
    )


def _quoted(text: str) -> str:
    """`text` inside single quotes of bash, zsh or fish."""
    return text.replace("'", "’").replace("\n", " ")


def zsh(commands: list[Command]) -> str:
    """A `#compdef` function; `_arguments` needs brackets and colons escaped."""

    def plain(text: str) -> str:
        for char in "\\[]:":
            text = text.replace(char, "\\" + char)
        return _quoted(text)

    cases = []
    for command in commands:
        lines = []
        for flag in command.flags:
            value = ""
            if flag.takes_value:
                value = f":value:({' '.join(flag.values)})" if flag.values else ":value:_files"
            lines += [f"                '*{name}[{plain(flag.help)}]{value}'" for name in flag.names]
        rest = f"({' '.join(command.words)})" if command.words else "_files"
        lines.append(f"                '*:argument:{rest}'")
        joined = " \\\n".join(lines)
        cases.append(f"        {command.name})\n            _arguments -s \\\n{joined} ;;\n")
    described = "\n".join(f"        '{command.name}:{plain(command.help)}'" for command in commands)
    return (
        "#compdef qalint\n"
        "# qalint: completion for zsh.\n"
        "# Use: qalint generate-shell-completion zsh > FOLDER/_qalint, with a FOLDER of $fpath\n"
        "_qalint() {\n"
        "    local -a commands=(\n" + described + "\n    )\n"
        "    if (( CURRENT == 2 )); then\n"
        "        _describe command commands\n"
        "        return\n"
        "    fi\n"
        "    local name=${words[2]}\n"
        "    shift words; (( CURRENT-- ))\n"
        '    case "$name" in\n' + "".join(cases) + "    esac\n"
        "}\n"
        'if [ "$funcstack[1]" = "_qalint" ]; then _qalint "$@"; else compdef _qalint qalint; fi\n'
    )


def fish(commands: list[Command]) -> str:
    """One `complete` line a command and a flag."""
    names = " ".join(command.name for command in commands)
    out = ["# qalint: completion for fish. Use: qalint generate-shell-completion fish | source\n"]
    for command in commands:
        out.append(
            f"complete -c qalint -n 'not __fish_seen_subcommand_from {names}' -f "
            f"-a {command.name} -d '{_quoted(command.help)}'\n"
        )
        when = f"-n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            out.append(f"complete -c qalint {when} -f -a '{' '.join(command.words)}'\n")
        for flag in command.flags:
            spelled = "".join(
                f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in flag.names
            )
            value = f" -x -a '{' '.join(flag.values)}'" if flag.values else " -r" if flag.takes_value else ""
            out.append(f"complete -c qalint {when}{spelled}{value} -d '{_quoted(flag.help)}'\n")
    return "".join(out)


def powershell(commands: list[Command]) -> str:
    """A native argument completer."""
    table = "".join(
        f"        '{command.name}' = @({_powershell_list((*_names(command).split(), *command.words))})\n"
        for command in commands
    )
    return (
        "# qalint: completion for PowerShell.\n"
        "# Use: qalint generate-shell-completion powershell | Out-String | Invoke-Expression\n"
        "Register-ArgumentCompleter -Native -CommandName 'qalint' -ScriptBlock {\n"
        "    param($wordToComplete, $commandAst, $cursorPosition)\n"
        "    $commands = @{\n" + table + "    }\n"
        "    $elements = @($commandAst.CommandElements | ForEach-Object { $_.ToString() })\n"
        "    $typed = $elements.Count -gt 2 -or ($elements.Count -eq 2 -and $wordToComplete -eq '')\n"
        "    $words = if ($typed) { $commands[$elements[1]] } else { $commands.Keys | Sort-Object }\n"
        '    $words | Where-Object { $_ -like "$wordToComplete*" } | ForEach-Object {\n'
        "        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)\n"
        "    }\n"
        "}\n"
    )


def _powershell_list(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def elvish(commands: list[Command]) -> str:
    """An argument completer."""
    cases = "".join(
        f"        &{command.name}= [{' '.join((*_names(command).split(), *command.words))}]\n"
        for command in commands
    )
    names = " ".join(command.name for command in commands)
    return (
        "# qalint: completion for elvish. Use: eval (qalint generate-shell-completion elvish | slurp)\n"
        "set edit:completion:arg-completer[qalint] = {|@words|\n"
        "    var commands = [\n" + cases + "    ]\n"
        "    if (== (count $words) 2) {\n"
        f"        all [{names}]\n"
        "    } elif (has-key $commands $words[1]) {\n"
        "        all $commands[$words[1]]\n"
        "        edit:complete-filename $words[-1]\n"
        "    }\n"
        "}\n"
    )
