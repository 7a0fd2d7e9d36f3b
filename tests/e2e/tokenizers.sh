#!/usr/bin/env bash
# Texts through models of other tokenizer kinds than byte-level BPE: perplexities as llama.cpp
# computes them, flags of the vocabulary obeyed, kinds that do not run refused by name.
. "$(dirname "$0")/lib.sh"
fixtures=$TAMIS_SHARED/fixtures
[ -d "$fixtures/imatrix" ] || skip "no reference fixtures at $TAMIS_SHARED"
im=$fixtures/imatrix

# ppl_of FILE.ppl: the last "PPL = X" the peer printed. near A B: equal to 1e-4.
ppl_of() { sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p' "$1" | tail -1; }
near() { python3 -c 'import sys; a, b = map(float, sys.argv[1:]); sys.exit(abs(a - b) > 1e-4 * b)' "$@"; }
field() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: d = d[k]
print(d)' "$@"; }

# SentencePiece with BOS and a space before the text.
kld --quiet --json "$work/k.json" -m "$im/odd.gguf" -q "$im/odd.Q8_0.gguf" -f "$im/eval.txt" \
    -c 96 --chunks 30 >/dev/null || fail "kld on a SentencePiece model"
near "$(field "$work/k.json" parent ppl value)" "$(ppl_of "$im/odd.base.ppl")" ||
    fail "kld: $(field "$work/k.json" parent ppl value), expected $(ppl_of "$im/odd.base.ppl")"
llama=$fixtures/arch/llama.gguf
imatrix -q --json "$work/i.json" -m "$llama" -f "$im/calib-a.txt" -c 128 --chunks 5 \
    -o "$work/i.gguf" >/dev/null || fail "imatrix on a SentencePiece model"
near "$(field "$work/i.json" ppl)" "$(ppl_of "$im/llama.c128-chunks5.ppl")" ||
    fail "imatrix: $(field "$work/i.json" ppl), expected $(ppl_of "$im/llama.c128-chunks5.ppl")"

# The flags of the file decide: other tokens, another vocabulary.
n_tokens() {
    kld --quiet --json "$work/n.json" -m "$1" -q "$1" -f "$im/eval.txt" -c 96 --chunks 2 >/dev/null ||
        fail "kld on $1"
    field "$work/n.json" text n_tokens
}
# copy OUT KEY=VALUE: the model with a key of its vocabulary changed.
copy() { gguf set -q --force -o "$1" "$llama" "$2" >/dev/null || fail "gguf set $2"; }
whole=$(n_tokens "$llama")
hash=$(field "$work/n.json" parent vocabulary_hash)
copy "$work/nospace.gguf" tokenizer.ggml.add_space_prefix=false
[ "$(n_tokens "$work/nospace.gguf")" -le "$whole" ] || fail "more tokens without the space"
[ "$(field "$work/n.json" parent vocabulary_hash)" != "$hash" ] || fail "the space is not in the hash"
copy "$work/nobos.gguf" tokenizer.ggml.add_bos_token=false
[ "$(n_tokens "$work/nobos.gguf")" = $((whole - 1)) ] || fail "BOS was added against the file's word"
copy "$work/eos.gguf" tokenizer.ggml.add_eos_token=true
[ "$(n_tokens "$work/eos.gguf")" = $((whole + 1)) ] || fail "EOS was not added"

# What does not run is named.
for kind in t5 bert rwkv plamo2; do
    copy "$work/$kind.gguf" "tokenizer.ggml.model=$kind"
    expect 3 "$kind.gguf: tokenizer kind '$kind' \(.*\) is not supported \(supported: gpt2, llama, gemma4\)" \
        imatrix -q -m "$work/$kind.gguf" -f "$im/calib-a.txt" -c 128 -o "$work/x"
done
copy "$work/lama.gguf" tokenizer.ggml.model=lama
expect 3 "unknown tokenizer kind 'lama'" \
    kld -m "$work/lama.gguf" -q "$llama" -f "$im/eval.txt" -c 96
[ ! -e "$work/x" ] || fail "a refused run wrote its output"
echo ok
