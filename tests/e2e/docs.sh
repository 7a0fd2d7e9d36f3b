#!/usr/bin/env bash
# What the pages promise: links lead somewhere, every command and option that
# docs/coming-from-llama.cpp.md or a block of any page names exists, every page is linked.
. "$(dirname "$0")/lib.sh"
cd "$TAMIS_SOURCE" || exit 1

for page in README.md CONTRIBUTING.md CHANGELOG.md docs/*.md; do
    grep -o '](\([^)#:]*\))' "$page" | sed 's/^](//; s/)$//' | while read -r link; do
        [ -e "$(dirname "$page")/$link" ] || { echo "$page: $link" && exit 1; }
    done || fail "a link that leads nowhere"
done

# help_of COMMAND...: the help of a command, kept.
help_of() {
    local kept="$work/${*// /-}.help"
    [ -e "$kept" ] || "$@" --help >"$kept" 2>/dev/null || fail "no command '$*'"
    cat "$kept"
}

# An option as typed: whole, in the help's first column or a further name of an option.
knows() { # OPTION COMMAND...
    local option=$1 status=0
    shift
    help_of "$@" | grep -Eq -- "^ +(-[a-z], )?$option( |,|$)" && return
    # A further name: known when it is not answered as unknown.
    "$@" "$option" --help >"$work/answer" 2>&1 || status=$?
    "$@" "$option" >"$work/answer" 2>&1 </dev/null || status=$?
    ! grep -q "unknown option" "$work/answer"
}

page=docs/coming-from-llama.cpp.md
# Tables of one section: "### llama-x: `TOOL`"; what stands in the second column is ours.
n=0 default=
while IFS= read -r line; do
    case $line in
    '### '*': `'*) default=$(sed 's/.*: `\([^`]*\)`.*/\1/' <<<"$line") ;;
    '### '*) default=kld ;;
    '| `'* | '| input'*)
        cell=$(awk -F' [|] ' '{print $2}' <<<"$line")
        while IFS= read -r code; do
            [ -n "$code" ] || continue
            case $code in
            gguf\ * | imatrix\ * | quantize\ * | kld\ *)
                read -ra words <<<"$code"
                command=("${words[0]}")
                case ${words[1]} in -* | *.gguf) ;; *) [ "${words[0]}" = kld ] ||
                    [ "${words[0]}" = quantize ] || command+=("${words[1]}") ;; esac
                ;;
            -*)
                read -ra command <<<"$default"
                read -ra words <<<"$code"
                ;;
            *) continue ;;
            esac
            help_of "${command[@]}" >/dev/null
            for word in "${words[@]}"; do
                case $word in
                -*)
                    knows "$word" "${command[@]}" || fail "$page: '${command[*]}' has no $word: $line"
                    n=$((n + 1))
                    ;;
                esac
            done
        done < <(grep -o '`[^`]*`' <<<"$cell" | tr -d '`')
        ;;
    esac
done <"$page"
[ $n -gt 60 ] || fail "$page: only $n options found"

# Commands in the blocks of all pages: their options exist.
n_blocks=0
while IFS= read -r line; do
    read -ra words <<<"$line"
    command=("${words[0]}")
    case "${words[0]} ${words[1]:-}" in gguf\ [a-z]* | imatrix\ [a-z]*) command+=("${words[1]}") ;; esac
    for word in "${words[@]:1}"; do
        case $word in
        '#'* | '|'* | '>'*) break ;;
        -[a-z] | --[a-z]*)
            word=${word%%=*}
            knows "${word%]}" "${command[@]}" || fail "'${command[*]}' has no $word: $line"
            n_blocks=$((n_blocks + 1))
            ;;
        esac
    done
done < <(cat README.md docs/*.md | awk '/^```/ {inside = !inside; next} inside' |
    grep -Ev '^[a-z]+( [a-z]+)?: ' | sed -n 's/^\$ //; /^\(gguf\|imatrix\|quantize\|kld\) /p' | tr -d '[')
[ $n_blocks -gt 20 ] || fail "only $n_blocks options in the blocks of the pages"

for page in docs/*.md; do
    grep -q "($page)\|($(basename "$page"))" README.md docs/*.md || fail "nothing leads to $page"
done
echo "$((n + n_blocks)) options that the pages name exist"
