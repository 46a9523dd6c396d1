"""Completion for bash, zsh and fish: which word may come next, known from the parsers alone. Nothing is run for it."""

from kit.words import Command, Option, Program

_HEAD = "# Completion of {name}, made from its own command line.\n"


def bash(program: Program) -> str:
    """A file for /usr/share/bash-completion/completions; works without the bash-completion package too."""
    function = "_" + program.name.replace("-", "_")
    cases = "\n".join(
        f"    '{' '.join(path)}') words={_quoted(_next(command))} ;;" for path, command in program.every()
    )
    return f"""{_HEAD.format(name=program.name)}
{function}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} path= words= word at skip=
    if [[ $current == = ]]; then current=; elif [[ $before == = ]]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    COMPREPLY=()
    case $before in
{_bash_values(program)}    esac
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${{COMP_WORDS[at]}}
        if [[ -n $skip ]]; then skip=; continue; fi
        case $word in
            {"|".join(_with_value(program))}) skip=1 ;;
            -*|=) ;;
            *) path="${{path:+$path }}$word" ;;
        esac
    done
    case $path in
    '') words={_quoted((*(command.name for command in program.commands), *_names(program.own)))} ;;
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [[ -z $words || -z ${{COMPREPLY[*]-}} && $current != -* ]]; then
        COMPREPLY=($(compgen -f -- "$current"))
    fi
    return 0
}}
complete -o filenames -F {function} {program.name} {program.name}.pyz
"""


def _bash_values(program: Program) -> str:
    """What follows options whose value is a file, a directory, a host or one of few words."""
    lines = []
    for names, option in sorted(_values(program).items()):
        if option.choices:
            does = f'COMPREPLY=($(compgen -W {_quoted(option.choices)} -- "$current"))'
        elif option.kind == "dir":
            does = 'COMPREPLY=($(compgen -d -- "$current"))'
        elif option.kind == "host":
            does = 'if declare -F _known_hosts_real >/dev/null; then _known_hosts_real -- "$current"; fi'
        elif option.kind == "file":
            does = 'COMPREPLY=($(compgen -f -- "$current"))'
        else:
            does = ":"
        lines.append(f"    {names}) {does}; return 0 ;;\n")
    return "".join(lines)


def zsh(program: Program) -> str:
    """A file for /usr/share/zsh/vendor-completions."""
    function = "_" + program.name
    shown = "\n".join(f"    {_quoted((f'{c.name}:{_short(c)}',))}" for c in program.commands)
    cases = [f"    ({command.name}) {_zsh_command(command)} ;;\n" for command in program.commands]
    own = " ".join(_zsh_option(option) for option in program.own.options)
    return f"""#compdef {program.name} {program.name}.pyz
{_HEAD.format(name=program.name)}
{function}() {{
  local curcontext=$curcontext state line
  local -a commands
  commands=(
{shown}
  )
  _arguments -C -s {own} '1: :->command' '*:: :->rest'
  case $state in
  (command) _describe -t commands command commands ;;
  (rest)
    curcontext=${{curcontext%:*:*}}:{program.name}-$line[1]:
    case $line[1] in
{"".join(cases)}    esac ;;
  esac
}}
{function} "$@"
"""


def _zsh_command(command: Command) -> str:
    """What may follow a command, its parts included."""
    if not command.parts:
        specs = [*map(_zsh_option, command.options), *map(_zsh_argument, command.arguments)]
        return f"_arguments -s {' '.join(specs)}"
    parts = " ".join(f"({part.name}) {_zsh_command(part)} ;;" for part in command.parts)
    words = " ".join(part.name for part in command.parts)
    return f"""state=; _arguments -C -s '1:part:({words})' '*:: :->part'
      [[ $state == part ]] && case $line[1] in {parts} esac"""


def _zsh_option(option: Option) -> str:
    says = _zsh_text(option.says)
    action = ""
    if option.value:
        colon = "::" if option.optional else ":"
        action = f"{colon}{_zsh_text(option.value)}:{_zsh_action(option)}"
    return " ".join(f"'*{name}[{says}]{action}'" for name in option.names)


def _zsh_argument(option: Option) -> str:
    colon = "::" if option.optional else ":"
    return f"'{colon}{_zsh_text(option.value)}:{_zsh_action(option)}'"


def _zsh_action(option: Option) -> str:
    if option.choices:
        return f"({' '.join(option.choices)})"
    return {"file": "_files", "dir": "_files -/", "host": "_hosts"}.get(option.kind, " ")


def _zsh_text(text: str) -> str:
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("'", "'\\''")


def fish(program: Program) -> str:
    """A file for /usr/share/fish/vendor_completions.d."""
    names = " ".join(command.name for command in program.commands)
    lines = [_HEAD.format(name=program.name)]
    for called in (program.name, f"{program.name}.pyz"):
        start = f"complete -c {called}"
        none = f"-n {_quoted((f'not __fish_seen_subcommand_from {names}',))}"
        lines.append(f"{start} -f\n")
        lines += [f"{start} {none} -a {c.name} -d {_fish_text(_short(c))}\n" for c in program.commands]
        lines += [f"{start} {none} {_fish_option(option)}\n" for option in program.own.options]
        for command in program.commands:
            seen = f"__fish_seen_subcommand_from {command.name}"
            lines += _fish_command(f"{start} -n '{seen}'", command)
            for part in command.parts:
                lines.append(f"{start} -n '{seen}' -a {part.name} -d {_fish_text(_short(part))}\n")
                lines += _fish_command(f"{start} -n '{seen}; and __fish_seen_subcommand_from {part.name}'", part)
    return "".join(lines)


def _fish_command(start: str, command: Command) -> list[str]:
    """What may follow a command; `start` says where."""
    files = [f"{start} -F\n"] if any(argument.kind for argument in command.arguments) else []
    return [*(f"{start} {_fish_option(option)}\n" for option in command.options), *files]


def _fish_option(option: Option) -> str:
    words = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.takes_value:
        words.append("-r")
    if option.choices:
        words.append(f"-a {_quoted((' '.join(option.choices),))}")
    elif option.kind in ("file", "dir"):
        words.append("-F")
    elif option.kind == "host":
        words.append("-a '(__fish_print_hostnames)'")
    return f"{' '.join(words)} -d {_fish_text(option.says)}"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _next(command: Command) -> tuple[str, ...]:
    """Words that may follow a command."""
    choices = tuple(word for argument in command.arguments for word in argument.choices)
    return (*(part.name for part in command.parts), *choices, *_names(command))


def _names(command: Command) -> tuple[str, ...]:
    return tuple(name for option in command.options for name in option.names)


def _values(program: Program) -> dict[str, Option]:
    """Every option that a value must follow, by its names as a pattern of bash."""
    found = {}
    for command in (program.own, *(command for _, command in program.every())):
        found.update({"|".join(option.names): option for option in command.options if option.takes_value})
    return found


def _with_value(program: Program) -> list[str]:
    return sorted({name for option in _values(program).values() for name in option.names})


def _short(command: Command) -> str:
    return command.says.rstrip(".")


def _quoted(words: tuple[str, ...]) -> str:
    return "'" + " ".join(words).replace("'", "'\\''") + "'"
