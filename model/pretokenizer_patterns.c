/* pretokenizer_patterns.c - the table of pre-tokenizer names and the patterns of each set.
 * reference/tokenizers.md 6.1 and list A, written for PCRE2 by the rules of 6.3. Groups
 * under a repetition are rewritten as plain classes or made possessive, so that no
 * length of text needs a deep stack; [^\P{L}a-z] reads "a letter, but not a-z". */
#include "model/pretokenizer.h"

#include <string.h>

#include "base/parse.h"

/* White space, for use inside brackets (PCRE2's own \s has U+180E too); W_IN_LINE without \r \n. */
#define W_NOT_ASCII                                                                                \
    "\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define W "\\x{9}-\\x{D}\\x{20}" W_NOT_ASCII
#define W_IN_LINE "\\x{9}\\x{B}\\x{C}\\x{20}" W_NOT_ASCII
#define APOSTROPHE "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
#define GPT2                                                                                       \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" W "\\p{L}\\p{N}]+|[" W "]+(?![^" W "])"
#define BEFORE_WORD "[^\\r\\n\\p{L}\\p{N}]?"
#define SPACES "[" W "]+(?![^" W "])|[" W "]+"
#define PUNCT_LINES " ?[^" W "\\p{L}\\p{N}]+[\\r\\n]*|[" W "]*[\\r\\n]+|" SPACES
#define PUNCT_LINES_SLASH " ?[^" W "\\p{L}\\p{N}]+[\\r\\n/]*|[" W "]*[\\r\\n]+|" SPACES
/* Words that end where case turns from lower to upper (ASCII case only). */
#define CASED_WORD_A BEFORE_WORD "[^\\P{L}a-z]*[^\\P{L}A-Z]+"
#define CASED_WORD_B BEFORE_WORD "[^\\P{L}a-z]+[^\\P{L}A-Z]*"
/* The same with marks: what is neither other, number, punctuation, symbol nor separator. */
#define NO_LM "\\p{C}\\p{N}\\p{P}\\p{S}\\p{Z}"
#define CASED_MARKED_A BEFORE_WORD "[^" NO_LM "a-z]*[^" NO_LM "A-Z]+"
#define CASED_MARKED_B BEFORE_WORD "[^" NO_LM "a-z]+[^" NO_LM "A-Z]*"
/* [\p{P}\p{S}] without ~, and [^\r\n\p{L}\p{P}\p{S}] with it. */
#define PUNCT_SYMBOL "[^\\p{C}\\p{L}\\p{M}\\p{N}\\p{Z}~]"
#define DEEPSEEK3_WORDS                                                                            \
    "[!\"#$%&'()*+,\\-./"                                                                          \
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|(?:[^\\r\\n\\p{L}\\p{P}\\p{S}]|~)?[\\p{L}\\p{M}]+"         \
    "| ?" PUNCT_SYMBOL "+[\\r\\n]*|[" W "]*[\\r\\n]+|" SPACES
#define HAN                                                                                        \
    "\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{20000}-\\x{2A6DF}\\x{2A700}-\\x{2B73F}\\x{2B740}-"  \
    "\\x{2B81F}"                                                                                   \
    "\\x{2B820}-\\x{2CEAF}\\x{2CEB0}-\\x{2EBEF}\\x{F900}-\\x{FAFF}\\x{2F800}-\\x{2FA1F}"
/* 4E00-9FA5, 800-4E00, AC00-D7FF without white space (rule 4). */
#define DEEPSEEK_EAST                                                                              \
    "[\\x{800}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{"   \
    "205E}"                                                                                        \
    "\\x{2060}-\\x{2FFF}\\x{3001}-\\x{9FA5}\\x{AC00}-\\x{D7FF}]+"
#define DEEPSEEK_LETTERS                                                                           \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"                 \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"         \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"                  \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"                       \
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"                 \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"                 \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}"                 \
    "\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}"         \
    "\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}"                           \
    "\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}"                 \
    "\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}"          \
    "\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"                  \
    "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}"         \
    "\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}"                  \
    "\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"                 \
    "\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}"                 \
    "\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}"         \
    "\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
#define NOT_SENTENCE                                                                               \
    " ?[^(" W "|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

/* clang-format off */
static const tamis_pre_set sets[] = {
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {"gpt2", {GPT2}},
    {"llama3", {APOSTROPHE "|" BEFORE_WORD "\\p{L}+|\\p{N}{1,3}|" PUNCT_LINES}},
    {"qwen2", {APOSTROPHE "|" BEFORE_WORD "\\p{L}+|\\p{N}|" PUNCT_LINES}},
    {"qwen35", {APOSTROPHE "|" BEFORE_WORD "[\\p{L}\\p{M}]+|\\p{N}| ?[^" W "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|[" W "]*[\\r\\n]+|" SPACES}},
    {"deepseek_llm", {
        "[\\r\\n]",
        "[" W "]?[" DEEPSEEK_LETTERS "]+",
        "[" W "]?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3001}-\\x{3002}]+",
        /* "\s+$", tried only where a run begins: the leftmost match is the same. */
        "(?<![" W "])[" W "]++\\z",
        DEEPSEEK_EAST, "\\p{N}+"}},
    {"deepseek_coder", {"[\\r\\n]", "[" W "]?\\p{L}+", "[" W "]?\\p{P}+", DEEPSEEK_EAST, "\\p{N}"}},
    {"deepseek3_llm", {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+", DEEPSEEK3_WORDS}},
    {"gpt4o", {CASED_WORD_A "(?:" APOSTROPHE ")?|" CASED_WORD_B "(?:" APOSTROPHE ")?|\\p{N}{1,3}|" PUNCT_LINES_SLASH}},
    {"tekken", {CASED_WORD_A "|" CASED_WORD_B "|\\p{N}|" PUNCT_LINES_SLASH}},
    {"kimi_k2", {"[" HAN "]+|" BEFORE_WORD "[^\\P{L}" HAN "]+(?:" APOSTROPHE ")?|\\p{N}{1,3}|" PUNCT_LINES}},
    {"starcoder", {"\\p{N}", GPT2}},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    /* Behind white space of this line no newline can follow within the run: not looked for again,
     * which would make long runs quadratic. */
    {"jais2", {APOSTROPHE "|" BEFORE_WORD "\\p{L}+|\\p{N}{1,3}| ?[^" W "\\p{L}\\p{N}]+[\\r\\n]*"
        "|(?<![" W_IN_LINE "])[" W "]*[\\r\\n]+"
        "|[" W "]{512}(?![^" W "])|[" W "]{256}(?![^" W "])|[" W "]{128}(?![^" W "])|[" W "]{64}(?![^" W "])"
        "|[" W "]{32}(?![^" W "])|[" W "]{16}(?![^" W "])|[" W "]{8}(?![^" W "])|[" W "]{4}(?![^" W "])"
        "|[" W "]{1,2}(?![^" W "])|[" W "]"}},
    {"viking", {NOT_SENTENCE, "\\p{N}"}},
    {"poro", {NOT_SENTENCE}},
    {"youtu", {
        "[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}"
        "\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+"
        "|[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
        BEFORE_WORD "[\\p{L}\\p{M}]+(?:" APOSTROPHE ")?|\\p{N}|" PUNCT_LINES_SLASH}},
    {"bailingmoe", {APOSTROPHE "|" BEFORE_WORD "\\p{L}+|\\p{N}| ?[^" W "\\p{L}\\p{N}]+[\\r\\n]*|[" W "]*[\\r\\n]|" SPACES}},
    {"seed_coder", {APOSTROPHE "|" BEFORE_WORD "\\p{L}+|\\p{N}| ?[^" W "\\p{L}\\p{N}\\r\\n]+|[" W "]*[\\r\\n]+|" SPACES}},
    {"exaone_moe", {APOSTROPHE "|" BEFORE_WORD "\\p{L}[\\p{L}\\p{M}]*+(?: \\p{L}[\\p{L}\\p{M}]*+)*+|\\p{N}"
        "| ?[^" W "\\p{L}\\p{N}]+[\\r\\n/]?|[" W "]*[\\r\\n]|" SPACES}},
    {"minicpm5", {"\\p{N}{1,3}", APOSTROPHE "|" BEFORE_WORD "\\p{L}+|\\p{N}+|" PUNCT_LINES}},
    {"laguna", {"[^\\n]+|[\\n]+", APOSTROPHE "|" BEFORE_WORD "\\p{L}+|\\p{N}|" PUNCT_LINES}},
    {"granite_emb_multi", {CASED_MARKED_A "(?:" APOSTROPHE ")?|" CASED_MARKED_B "(?:" APOSTROPHE ")?|\\p{N}{1,3}|" PUNCT_LINES_SLASH}},
    {"superbpe", {"\\p{N}+", TAMIS_PRE_DIGIT_GROUPS}},
    {"afmoe", {TAMIS_PRE_NUMBER_GROUPS,
        "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{8C48}-\\x{FAFF}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}\\x{FF65}-\\x{FF9F}"
        "\\x{2F00}-\\x{2FDF}\\x{E40}-\\x{E7F}\\x{E80}-\\x{EFF}\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}"
        "\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+",
        DEEPSEEK3_WORDS}},
    {"chameleon", {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
    {"gemma4", {"[^\\n]+|\\n+"}},
    {"tiny_aya", {TAMIS_PRE_NUMBER_GROUPS, BEFORE_WORD "[\\p{L}\\p{M}]+(?:" APOSTROPHE ")?|\\p{N}{1,3}|" PUNCT_LINES_SLASH}},
};

static const tamis_pre_name names[] = {
    {.name = "default", .set = "default"},
    {.name = "gpt-2", .set = "gpt2"},
    {.name = "phi-2", .set = "gpt2"},
    {.name = "jina-es", .set = "gpt2"},
    {.name = "jina-de", .set = "gpt2"},
    {.name = "jina-v2-es", .set = "gpt2"},
    {.name = "jina-v2-de", .set = "gpt2"},
    {.name = "gigachat", .set = "gpt2"},
    {.name = "a.x-4.0", .set = "gpt2"},
    {.name = "mellum", .set = "gpt2"},
    {.name = "modern-bert", .set = "gpt2"},
    {.name = "exaone4", .set = "gpt2"},
    {.name = "mpt", .set = "gpt2"},
    {.name = "olmo", .set = "gpt2"},
    {.name = "jais", .set = "gpt2"},
    {.name = "trillion", .set = "gpt2", .keeps_spaces = true},
    {.name = "granite-docling", .set = "gpt2", .keeps_spaces = true},
    {.name = "jina-v1-en", .set = "gpt2"},
    {.name = "jina-v2-code", .set = "gpt2"},
    {.name = "roberta-bpe", .set = "gpt2"},
    {.name = "llama-bpe", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "llama3", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "llama-v3", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "falcon3", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "falcon-h1", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "pixtral", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "midm-2.0", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "lfm2", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "jina-v5-nano", .set = "llama3", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true},
    {.name = "dbrx", .set = "llama3"},
    {.name = "smaug-bpe", .set = "llama3"},
    {.name = "glm4", .set = "llama3", .has_no_default_bos = true},
    {.name = "chatglm-bpe", .set = "llama3", .has_no_default_bos = true},
    {.name = "qwen2", .set = "qwen2", .keeps_spaces = true},
    {.name = "deepseek-r1-qwen", .set = "qwen2", .keeps_spaces = true},
    {.name = "kormo", .set = "qwen2", .keeps_spaces = true},
    {.name = "f2llmv2", .set = "qwen2", .keeps_spaces = true},
    {.name = "hunyuan", .set = "qwen2", .keeps_spaces = true},
    {.name = "solar-open", .set = "qwen2", .keeps_spaces = true},
    {.name = "grok-2", .set = "qwen2", .keeps_spaces = true},
    {.name = "megrez", .set = "qwen2"},
    {.name = "stablelm2", .set = "qwen2"},
    {.name = "qwen35", .set = "qwen35", .keeps_spaces = true},
    {.name = "deepseek-llm", .set = "deepseek_llm", .keeps_spaces = true},
    {.name = "deepseek-coder", .set = "deepseek_coder", .keeps_spaces = true},
    {.name = "deepseek-v3", .set = "deepseek3_llm", .keeps_spaces = true},
    {.name = "hunyuan-dense", .set = "deepseek3_llm", .keeps_spaces = true},
    {.name = "joyai-llm", .set = "deepseek3_llm", .keeps_spaces = true},
    {.name = "gpt-4o", .set = "gpt4o", .keeps_spaces = true},
    {.name = "llama4", .set = "gpt4o", .keeps_spaces = true},
    {.name = "kanana2", .set = "gpt4o", .keeps_spaces = true},
    {.name = "talkie", .set = "gpt4o", .keeps_spaces = true},
    {.name = "minimax-m2", .set = "gpt4o", .keeps_spaces = true},
    {.name = "tekken", .set = "tekken", .whole = TAMIS_PRE_WHOLE_ALWAYS, .adds_bos = true, .keeps_spaces = true},
    {.name = "kimi-k2", .set = "kimi_k2", .keeps_spaces = true},
    {.name = "starcoder", .set = "starcoder"},
    {.name = "refact", .set = "starcoder"},
    {.name = "codeshell", .set = "starcoder"},
    {.name = "exaone", .set = "starcoder"},
    {.name = "minerva-7b", .set = "starcoder"},
    {.name = "mellum2", .set = "starcoder"},
    {.name = "command-r", .set = "starcoder", .keeps_spaces = true},
    {.name = "smollm", .set = "starcoder", .keeps_spaces = true},
    {.name = "falcon", .set = "falcon"},
    {.name = "minicpm5", .set = "minicpm5", .whole = TAMIS_PRE_WHOLE_ALWAYS},
    {.name = "youtu", .set = "youtu", .whole = TAMIS_PRE_WHOLE_ALWAYS, .keeps_spaces = true},
    {.name = "granite-embed-multi-97m", .set = "granite_emb_multi", .whole = TAMIS_PRE_WHOLE_ALWAYS, .keeps_spaces = true},
    {.name = "bailingmoe", .set = "bailingmoe", .keeps_spaces = true},
    {.name = "bailingmoe2", .set = "bailingmoe", .keeps_spaces = true},
    {.name = "llada-moe", .set = "bailingmoe", .keeps_spaces = true},
    {.name = "seed-coder", .set = "seed_coder", .keeps_spaces = true},
    {.name = "exaone-moe", .set = "exaone_moe"},
    {.name = "superbpe", .set = "superbpe", .keeps_spaces = true},
    {.name = "laguna", .set = "laguna", .keeps_spaces = true},
    {.name = "afmoe", .set = "afmoe", .keeps_spaces = true},
    {.name = "jais-2", .set = "jais2"},
    {.name = "viking", .set = "viking", .keeps_spaces = true},
    {.name = "tiny_aya", .set = "tiny_aya", .keeps_spaces = true},
    {.name = "cohere2moe", .set = "tiny_aya", .keeps_spaces = true},
    {.name = "poro-chat", .set = "poro", .keeps_spaces = true},
    {.name = "bloom", .set = "poro"},
    {.name = "gpt3-finnish", .set = "poro"},
    {.name = "chameleon", .set = "chameleon", .adds_bos = true, .keeps_spaces = true},
    {.name = "gemma4", .set = "gemma4", .is_plain = true, .whole = TAMIS_PRE_WHOLE_NEWLINES, .always_adds_bos = true},
    {.name = "granite-embed-multi-311m", .set = "gemma4", .is_plain = true, .whole = TAMIS_PRE_WHOLE_NEWLINES, .always_adds_bos = true},
    {.name = "sarvam-moe", .set = "gemma4", .is_plain = true, .keeps_spaces = true},
};
/* clang-format on */

#define N_NAMES (sizeof names / sizeof *names)

static bool is_name(const char *name, const char *text, size_t n_bytes) {
    return strlen(name) == n_bytes && memcmp(name, text, n_bytes) == 0;
}

const tamis_pre_name *tamis_pre_find(const char *name, size_t n_bytes, tamis_error *err) {
    const char *known[N_NAMES];
    for (size_t i = 0; i < N_NAMES; i++) {
        if (is_name(names[i].name, name, n_bytes)) return &names[i];
        known[i] = names[i].name;
    }
    char shown[64];
    tamis_escape(name, n_bytes, shown, sizeof shown);
    const char *nearest = tamis_nearest(shown, known, N_NAMES);
    tamis_fail(err, TAMIS_BAD_INPUT,
               "key 'tokenizer.ggml.pre': unknown pre-tokenizer '%s' (%s%s%s)", shown,
               nearest ? "nearest known: '" : "known are default, gpt-2, llama-bpe, qwen2, qwen35",
               nearest ? nearest : " and others", nearest ? "'" : "");
    return NULL;
}

const tamis_pre_set *tamis_pre_set_find(const char *name) {
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (strcmp(sets[i].name, name) == 0) return &sets[i];
    return NULL;
}
