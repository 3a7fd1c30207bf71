# pinroutectl.bash -- completion of pinroutectl for bash: commands, options, and the names that the running daemon has.
# Says nothing where there is no daemon.  tests/scenario/test_completion.py compares it with the tool's own table.

# The words of $1 that begin with what stands there.
_pinroutectl_offer()
{
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_pinroutectl()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='status show why watch top pin release drain maint ready metrics reload'
    local shows='nodes pins clients config stats news'
    local options='-d --dir --json -h --help -V --version'
    local command='' given=0 i
    local -a tool=("${COMP_WORDS[0]}")

    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -d | --dir) tool+=(-d "${COMP_WORDS[++i]}") ;;
        -i | --interval | -n | --count) ((i++)) ;;
        -*) ;;
        *) [[ -n $command ]] && ((given++)) || command=${COMP_WORDS[i]} ;;
        esac
    done
    case $previous in
    -d | --dir) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
    -i | --interval | -n | --count) return ;;
    esac
    case $command in
    watch) options+=' -c --changes' ;;
    top) options+=' -i --interval -n --count' ;;
    esac
    if [[ $current == -* ]]; then
        _pinroutectl_offer "$options" "$current"
    elif [[ -z $command ]]; then
        _pinroutectl_offer "$commands" "$current"
    elif ((given == 0)); then
        case $command in
        show) _pinroutectl_offer "$shows" "$current" ;;
        why | watch | pin | release) _pinroutectl_offer "$("${tool[@]}" _names clusters 2>/dev/null)" "$current" ;;
        drain | maint | ready) _pinroutectl_offer "$("${tool[@]}" _names nodes 2>/dev/null)" "$current" ;;
        esac
    fi
}

complete -F _pinroutectl pinroutectl
