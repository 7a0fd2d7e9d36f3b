#!/usr/bin/env bash
# Vision and audio: projector files, and models that hold towers of their own. Shown, checked,
# quantized by the stated rules, carried through, refused where text is needed.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

same() { # FILE FILE NAME: the bytes of a tensor are equal
    [ "$(gguf hash "$1" | grep ":$3\$" | cut -d' ' -f3)" = "$(gguf hash "$2" | grep ":$3\$" | cut -d' ' -f3)" ] ||
        fail "$3 differs in $2"
}

python3 - "$TAMIS_SOURCE/tests" "$model" <<'P'
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
from make_gguf import array, bf16, boolean, extend, f32, text_key, u32, write
keys = [text_key("general.type", "mmproj"), text_key("general.name", "eyes and ears"),
        boolean("clip.has_vision_encoder", True), boolean("clip.has_audio_encoder", True),
        text_key("clip.vision.projector_type", "gemma4v"), text_key("clip.audio.projector_type", "gemma4a"),
        u32("clip.vision.block_count", 2), u32("clip.vision.embedding_length", 256),
        u32("clip.audio.block_count", 1), u32("clip.audio.embedding_length", 256),
        array("clip.vision.image_mean", "f", 6, [0.5] * 3), array("clip.vision.image_std", "f", 6, [0.5] * 3)]
def block(start):
    return [bf16(start + "attn_q.weight", 256, 64), bf16(start + "attn_v.weight", 256, 64), f32(start + "ln1.weight", 256),
            f32(start + "attn_q.bias", 64), bf16(start + "ffn_down.weight", 72, 8)]
vision = [bf16("v.patch_embd.weight", 4, 4, 3, 256), f32("v.position_embd.weight", 256, 16),
          *block("v.blk.0."), *block("v.blk.1."), bf16("v.blk.1.ffn_up.weight", 96, 8)]
audio = [f32("a.conv1d.0.weight", 3, 3, 1, 8), *block("a.blk.0."), bf16("a.blk.0.conv_dw.weight", 32, 256),
         bf16("a.pre_encode.out.weight", 256, 64)]
projector = [bf16("mm.input_projection.weight", 256, 64), bf16("mm.a.input_projection.weight", 256, 64)]
whole = vision + audio + projector
write("mm.gguf", "clip", whole, keys)
def without(*names):
    return [k for k in keys if not any(n.encode() in k for n in names)]
write("announced.gguf", "clip", vision + projector, keys)
write("blocks.gguf", "clip", whole, [*without("vision.block_count"), u32("clip.vision.block_count", 4)])
write("width.gguf", "clip", whole, [*without("vision.embedding_length"), u32("clip.vision.embedding_length", 64)])
write("unknown.gguf", "clip", whole, without("projector_type"))
write("ints.gguf", "clip", whole, [*without("image_mean"), array("clip.vision.image_mean", "i", 5, [0, 0, 0])])
write("silent.gguf", "clip", whole, without("has_audio_encoder"))
write("mixed.gguf", "clip", [*whole, bf16("blk.0.attn_q.weight", 256, 8)], keys)
write("kind.gguf", "clip", whole, [*without("vision.block_count"), text_key("clip.vision.block_count", "2")])
extend(sys.argv[2], "omni.gguf", vision + projector)
P

# what it holds, in text and in JSON
gguf show mm.gguf >show.txt || fail show
grep -qx 'contains       vision tower (2 blocks), audio tower (1 block), projector' show.txt || fail "$(grep contains show.txt)"
gguf show omni.gguf | grep -qx 'contains       text model (6 layers), vision tower (2 blocks), projector' || fail "omni"
python3 - <<'P' || fail "parts in the JSON"
import json, subprocess
parts = json.loads(subprocess.run(["gguf", "show", "--json", "-", "mm.gguf"], capture_output=True).stdout)["sums"]["parts"]
assert [(p["name"], p["tensors"]) for p in parts] == [("vision tower", 13), ("audio tower", 8), ("projector", 2)], parts
assert parts[2]["size"] == 2 * 2 * 256 * 64 and parts[2]["weights"] == 2 * 256 * 64
P
[ "$(sed -n '/^part /,/^$/p' show.txt | grep -c '^vision tower\|^audio tower\|^projector')" = 3 ] || fail "$(cat show.txt)"
grep -q '^audio  *8 ' show.txt || fail "kinds: $(cat show.txt)"

# check: a sound one, and what each of the others has
gguf check --strict mm.gguf >check.txt || fail "check: $(cat check.txt)"
[ "$(wc -l <check.txt)" = 1 ] || fail "remarks on a sound file: $(cat check.txt)"
finds() { # STATUS FILE PATTERN
    local got=0
    gguf check "$2" >check.txt 2>&1 || got=$?
    [ "$got" = "$1" ] || fail "check $2: exit $got: $(cat check.txt)"
    grep -Eq "$3" check.txt || fail "check $2: $(cat check.txt)"
}
finds 1 announced.gguf "error: clip.has_audio_encoder is true, and no tensor begins with 'a.'"
finds 1 blocks.gguf "error: 2 of the 4 blocks of clip.vision.block_count have no tensor, the first is 'v.blk.2'"
finds 1 width.gguf "error: tensor 'v.blk.0.ln1.weight' has 256 values, clip.vision.embedding_length is 64"
finds 1 unknown.gguf "error: there is neither 'clip.projector_type' nor 'clip.audio.projector_type'"
finds 1 ints.gguf "error: key 'clip.vision.image_mean' must be an array of 3 f32"
finds 0 silent.gguf "warning: 8 tensors of audio, and clip.has_audio_encoder is not true"
finds 0 mixed.gguf "warning: 1 tensors are of no tower"
finds 3 kind.gguf "clip.vision.block_count' must be an integer"

# a projector file: the matrices in the blocks of its towers, and nothing else
for type in Q8_0:q8_0 Q4_K_M:q4_K Q5_K_S:q5_K F16:f16; do
    make mm.gguf o.gguf "${type%:*}"
    for name in v.blk.0.attn_q v.blk.1.attn_v a.blk.0.attn_v; do
        has o.gguf $name.weight "${type#*:}"
    done
    for name in v.patch_embd v.position_embd a.conv1d.0 a.blk.0.conv_dw a.pre_encode.out mm.input_projection v.blk.0.ln1; do
        same mm.gguf o.gguf $name.weight
    done
    same mm.gguf o.gguf v.blk.0.attn_q.bias
    [ "$(types o.gguf | wc -l)" = 23 ] || fail "${type%:*} drops tensors"
    gguf check --strict o.gguf >/dev/null || fail "check of ${type%:*}"
    [ "$(gguf show --key clip.audio.projector_type o.gguf)" = gemma4a ] || fail "keys of ${type%:*}"
done
# rows that do not divide: another block size where there is one, else as they are
make mm.gguf o.gguf Q4_K_M
has o.gguf v.blk.1.ffn_up.weight q5_0
has o.gguf v.blk.0.ffn_down.weight bf16
make mm.gguf o.gguf Q8_0
has o.gguf v.blk.0.ffn_down.weight bf16
quantize --dry-run mm.gguf Q8_0 >plan.txt 2>&1 || fail "dry run"
grep -q 'mm.input_projection.weight .*kept: no matrix in a block of a tower$' plan.txt || fail "$(cat plan.txt)"
grep -q 'v.blk.0.ffn_down.weight .*kept: rows do not divide into blocks$' plan.txt || fail "$(cat plan.txt)"
grep -q '^6 weights of vision, audio or a projector keep their type' plan.txt || fail "$(cat plan.txt)"
# rules go first; convolutions never
make --tensor-type 'mm\..*=q8_0' --tensor-type 'v.blk.0.attn_q=q6_K' mm.gguf o.gguf F16
has o.gguf mm.input_projection.weight q8_0
has o.gguf v.blk.0.attn_q.weight q6_K
has o.gguf v.blk.1.attn_q.weight f16
expect 2 "'a.blk.0.conv_dw.weight' is never quantized" quantize -q --tensor-type conv_dw=q8_0 mm.gguf o.gguf Q8_0
make mm.gguf o.gguf COPY
cmp <(types mm.gguf | sort) <(types o.gguf | sort) || fail COPY
gguf split -q --max-tensors 10 mm.gguf parts && gguf merge -q parts-00001-of-00003.gguf whole.gguf || fail "split, merge"
gguf diff -q mm.gguf whole.gguf >/dev/null || fail "split and merge change something"
expect 2 "there is no layer in mm.gguf" quantize -q --prune-layers 0 mm.gguf o.gguf Q8_0

# towers inside a model: carried through, counted by no rule of the mix
make omni.gguf o.gguf Q4_K_M
make "$model" text.gguf Q4_K_M
types o.gguf | grep '^blk\|^token\|^output' | cmp - <(types text.gguf) || fail "the text model is quantized otherwise"
for name in v.blk.0.attn_v v.blk.1.attn_q mm.input_projection v.patch_embd; do
    same omni.gguf o.gguf $name.weight
done
make --tensor-type 'v.blk.0.attn_v=q8_0' omni.gguf o.gguf Q4_K_M
has o.gguf v.blk.0.attn_v.weight q8_0
make --prune-layers 1 omni.gguf o.gguf Q4_K_M
gguf show o.gguf | grep -qx 'contains       text model (5 layers), vision tower (2 blocks), projector' || fail "--prune-layers"
head -c 3000 "$evaluation" >text.txt
imatrix -q -m omni.gguf -f text.txt -c 64 --chunks 2 -o omni.im >/dev/null || fail "imatrix of a model with towers"
imatrix show omni.im | grep -q 'v\.blk' && fail "importance for a tower that did not run"
make --imatrix omni.im omni.gguf o.gguf IQ2_XS
same omni.gguf o.gguf v.blk.0.attn_v.weight
kld --quiet --summary -m "$model" -q omni.gguf -f text.txt -c 64 --chunks 2 >kld.txt || fail "kld"
grep -q 'omni.gguf .* 0.000000 ±' kld.txt || fail "towers change the text: $(cat kld.txt)"

# as a model to run it is refused, with what to give instead
for tool in "imatrix -o x.gguf -m mm.gguf" "kld -m mm.gguf -q text.gguf" "kld -m text.gguf -q mm.gguf"; do
    # shellcheck disable=SC2086
    expect 3 "mm.gguf: this is a projector file \(mmproj: vision tower .*give the GGUF file of the model" $tool -f text.txt
done
echo "projector files ok"
