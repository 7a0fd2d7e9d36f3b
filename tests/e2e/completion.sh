#!/usr/bin/env bash
# Shell completion. The bash script runs in this bash: what does COMPREPLY hold for a given line?
# That of zsh and fish is read by zsh and fish where they are installed, else looked at.
. "$(dirname "$0")/lib.sh"
tools="gguf imatrix quantize kld"
cd "$work" || exit 1
for tool in $tools; do
    "$tool" --completion bash >"$tool.bash" || fail "$tool --completion bash"
    "$tool" --completion zsh >"_$tool" || fail "$tool --completion zsh"
    "$tool" --completion fish >"$tool.fish" || fail "$tool --completion fish"
    # shellcheck disable=SC1090
    . "./$tool.bash" || fail "bash does not read the script of $tool"
    complete -p "$tool" >/dev/null || fail "$tool: not registered"
    bash -n "./$tool.bash" 2>errors && [ ! -s errors ] || fail "$tool.bash: $(head -1 errors)"
done

# offered WORD...: the words that bash offers for the last of WORD..., sorted, on one line. As bash
# does, a '=' is given as a word of its own.
offered() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "_$1" 2>complaints
    [ ! -s complaints ] || fail "completing '$*': $(head -1 complaints)"
    printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | tr '\n' ' '
}
# offers "EXPECTED WORDS" WORD...; offers_among: they are at least among them.
offers() {
    local want=$1 got
    shift
    got=$(offered "$@")
    [ "$got" = "${want:+$want }" ] || [ "$got" = "$want " ] || fail "'$*' offers '$got', not '$want'"
}
offers_among() {
    local want=$1 got word
    shift
    got=" $(offered "$@")"
    for word in $want; do
        case $got in *" $word "*) ;; *) fail "'$*' offers '$got', without '$word'" ;; esac
    done
}

offers_among "show check" gguf ""
offers show gguf sho
offers "--no-tensors" gguf show --no-t
offers "" gguf show --threads ""
offers "bash fish zsh" gguf --completion ""
offers_among "--json --threads --version" gguf --
offers_among "--dry-run --imatrix --tensor-type --quiet" quantize --
offers "Q4_K Q4_K_M Q4_K_S" quantize in.gguf out.gguf Q4_K
touch Q8-notes.gguf
offers "Q8-notes.gguf Q8_0" quantize Q8
offers "q4_0 q4_1 q4_K" quantize --output-tensor-type q4
offers "q4_0 q4_1 q4_K" quantize --tensor-type ffn_down = q4
offers "q4_0 q4_1 q4_K" quantize --tensor-type = ffn_down = q4
offers "ffn_down=q4_0 ffn_down=q4_1 ffn_down=q4_K" quantize --tensor-type "'ffn_down=q4"
offers "" quantize --tensor-type q4
offers "all llama" kld --score ""
offers "all llama" kld --score =
offers "all" kld --score = a
offers "" kld -m ""
offers_among "--model --file --ctx" imatrix --

# Every long option that --help names is offered, by every tool and every sub-command.
all_offered() { # words of a command
    local option
    for option in $("$@" --help | sed -n 's/^  \(-., \|    \)\(--[a-z0-9-]*\).*/\2/p'); do
        offers_among "$option" "$@" "$option"
    done
}
n_parts=0
for tool in $tools; do
    all_offered "$tool"
    for part in $(sed -n "s/^    \([a-z-]*\)) __${tool}_.*/\1/p" "$tool.bash"); do
        all_offered "$tool" "$part"
        n_parts=$((n_parts + 1))
        grep -q "^__${tool}_${part//-/_}() {" "_$tool" || fail "_$tool lacks '$part'"
        grep -q "'__${tool}_is $part' -l help\|'__${tool}_is $part' -s h -l help" "$tool.fish" ||
            fail "$tool.fish lacks '$part'"
    done
done
[ $n_parts -ge 2 ] || fail "$n_parts sub-commands"

for tool in $tools; do
    head -1 "_$tool" | grep -qx "#compdef $tool" || fail "_$tool: first line"
    ! command -v zsh >/dev/null || zsh -n "_$tool" || fail "zsh does not read _$tool"
    ! command -v fish >/dev/null || fish -n "$tool.fish" || fail "fish does not read $tool.fish"
done
if command -v fish >/dev/null; then
    got=$(HOME=$work fish -c "source gguf.fish; complete -C 'gguf show --no-t'") || fail "fish"
    [ "${got%%	*}" = --no-tensors ] || fail "fish offers '$got'"
fi
echo "4 tools and $n_parts sub-commands complete"
