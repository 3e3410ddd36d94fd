#include "text/split_patterns.h"

// The pattern of each name is the one that the model's own tokenizer.json carries, where known;
// llama.cpp rewrites some of them (tekken, gpt-4o, bailingmoe) because its regular expressions have
// no \p{Lu} or possessive quantifiers, and its list (llama_vocab::load) is where the names come
// from. <contraction>, <tail>, <upper>, <lower> and <punctuated> are defined at the end.

namespace edgewise::text {
namespace {

constexpr SplitStage kGpt2{
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    WordScanner::kGpt2};
constexpr SplitStage kLlama3{
    R"(<contraction>|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|<tail>)",
    WordScanner::kLlama3};
constexpr SplitStage kQwen2{
    R"(<contraction>|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|<tail>)",
    WordScanner::kQwen2};
constexpr SplitStage kDigits{R"(\p{N})"};
constexpr SplitStage kDigitTriples{"", WordScanner::kDigitTriples};
constexpr SplitStage kNewlines{R"([^\n]+|\n+)", WordScanner::kNewlines};
constexpr SplitStage kThreeDigits{"[0-9][0-9][0-9]"};
constexpr SplitStage kLineEnds{R"([\r\n])"};
constexpr SplitStage kCjkAndMore{R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)"};
constexpr SplitStage kHanAndKana{R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)"};
constexpr SplitStage kBloomWords{
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)"};

constexpr SplitStage kGpt2Stages[] = {kGpt2};
constexpr SplitStage kLlama3Stages[] = {kLlama3};
constexpr SplitStage kQwen2Stages[] = {kQwen2};
constexpr SplitStage kNewlineStages[] = {kNewlines};
constexpr SplitStage kBloomStages[] = {kBloomWords};
constexpr SplitStage kVikingStages[] = {kBloomWords, kDigits};
constexpr SplitStage kSuperBpeStages[] = {kDigitTriples};
constexpr SplitStage kDefaultStages[] = {
    {R"([\p{P}$+<=>^~|]+)"}, kGpt2, {R"(\p{N}+)"}, kThreeDigits};
constexpr SplitStage kFalconStages[] = {{R"([\p{P}$+<=>^~|`]+)"}, kGpt2, kThreeDigits};

constexpr SplitStage kSmolLmStages[] = {{"", WordScanner::kSmolLm}};
constexpr SplitStage kSmolLmReference[] = {kDigits, kGpt2};
constexpr SplitStage kQwen35Stages[] = {
    {R"(<contraction>|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|<tail>)",
     WordScanner::kQwen35}};
constexpr SplitStage kTekkenStages[] = {
    {R"([^\r\n\p{L}\p{N}]?<upper>*<lower>+|[^\r\n\p{L}\p{N}]?<upper>+<lower>*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|<tail>)"}};
constexpr SplitStage kGpt4oStages[] = {
    {R"([^\r\n\p{L}\p{N}]?<upper>*<lower>+<contraction>?|[^\r\n\p{L}\p{N}]?<upper>+<lower>*<contraction>?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|<tail>)"}};
constexpr SplitStage kTinyAyaStages[] = {kDigitTriples, kGpt4oStages[0]};
constexpr SplitStage kBailingStages[] = {
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}};
constexpr SplitStage kSeedCoderStages[] = {
    {R"(<contraction>|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|<tail>)"}};
constexpr SplitStage kUfakZekaStages[] = {
    {R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|<tail>)"}};
constexpr SplitStage kLagunaStages[] = {kNewlines, kQwen2};
// The letter group is possessive: nothing follows it, and a long text must not fill the
// backtracking stack.
constexpr SplitStage kExaoneMoeStages[] = {
    {R"(<contraction>|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*+(?: \p{L}\p{M}*+)*+)++|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}};
constexpr SplitStage kMiniCpm5Stages[] = {
    {R"(\p{N}{1,3})"},
    {R"(<contraction>|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|<tail>)"}};
constexpr SplitStage kKimiK2Stages[] = {
    {R"(\p{Han}+|)"
     R"([^\r\n\p{L}\p{N}]?(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])*(?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])+<contraction>)"
     R"(?|[^\r\n\p{L}\p{N}]?(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])+(?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])*<contraction>)"
     R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|<tail>)"}};

constexpr SplitStage kDeepSeekLlmStages[] = {
    kLineEnds,
    {R"(\s?[)"
     R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
     R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C})"
     R"(\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5})"
     R"(\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B})"
     R"(\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45})"
     R"(\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4})"
     R"(\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB})"
     R"(\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115})"
     R"(\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139})"
     R"(\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
     R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})"
     R"(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17})"
     R"(\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"
     R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})"
     R"(]+)"},
    {R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)"},
    {"", WordScanner::kTrailingSpace},
    kCjkAndMore,
    {R"(\p{N}+)"}};
constexpr SplitStage kDeepSeekCoderStages[] = {
    kLineEnds, {R"(\s?\p{L}+)"}, {R"(\s?\p{P}+)"}, kCjkAndMore, kDigits};
constexpr SplitStage kDeepSeekV3Stages[] = {
    {R"(\p{N}{1,3})"}, kHanAndKana, {R"(<punctuated>|<tail>)"}};
constexpr SplitStage kSparkStages[] = {
    {R"(\p{N}{1,3})"},
    kHanAndKana,
    {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)"},
    kDigits};
constexpr SplitStage kAfmoeStages[] = {
    kDigitTriples,
    {R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F})"
     R"(\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F})"
     R"(\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)"},
    {R"(<punctuated>|<tail>)"}};
constexpr SplitStage kYoutuStages[] = {
    {R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|)"
     R"([\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|)"
     R"([\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)"},
    {R"([^\r\n\p{L}\p{N}]?<upper>*<lower>+<contraction>?|[^\r\n\p{L}\p{N}]?<upper>+<lower>*<contraction>?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|<tail>)"}};
constexpr SplitStage kChameleonStages[] = {{"<sentinel:[0-9]+>"},       {"(?:IMGIMG)[A-I]{1,4}Z"},
                                           {R"([\t\n]|    |  )"},       kDigits,
                                           {R"([\p{P}!-/:-@\[-`{-~])"}, kGpt2};

constexpr PreTokenizer::Traits kPlain{};
constexpr PreTokenizer::Traits kWhole{.whole_words_first = true};
constexpr PreTokenizer::Traits kWholeWithBos{.whole_words_first = true, .adds_bos = true};
constexpr PreTokenizer::Traits kBos{.adds_bos = true};
constexpr PreTokenizer::Traits kMarks{.space_marks = true};
constexpr PreTokenizer::Traits kMarksWithBos{.adds_bos = true, .space_marks = true};

constexpr SplitRule kRules[] = {
    {"default", kDefaultStages, kPlain},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     kLlama3Stages, kWholeWithBos},
    {"dbrx smaug-bpe chatglm-bpe", kLlama3Stages, kPlain},
    {"glm4 glm5", kLlama3Stages, kWhole},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
     kQwen2Stages, kPlain},
    {"qwen35", kQwen35Stages, kPlain},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", kSmolLmStages, kPlain,
     kSmolLmReference},
    {"gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum "
     "modern-bert roberta-bpe jina-es "
     "jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code",
     kGpt2Stages, kPlain},
    {"tekken", kTekkenStages, kWholeWithBos},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", kGpt4oStages, kPlain},
    {"granite-embed-multi-97m", kGpt4oStages, kWhole},
    {"deepseek-llm", kDeepSeekLlmStages, kPlain},
    {"deepseek-coder", kDeepSeekCoderStages, kPlain},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", kDeepSeekV3Stages, kPlain},
    {"falcon", kFalconStages, kPlain},
    {"gemma4", kNewlineStages, kMarksWithBos},
    {"granite-embed-multi-311m", kNewlineStages, kMarksWithBos},
    {"sarvam-moe", kNewlineStages, kMarks},
    {"poro-chat bloom gpt3-finnish", kBloomStages, kPlain},
    {"viking", kVikingStages, kPlain},
    {"chameleon", kChameleonStages, kBos},
    {"exaone-moe", kExaoneMoeStages, kPlain},
    {"tiny_aya cohere2moe", kTinyAyaStages, kPlain},
    {"superbpe", kSuperBpeStages, kPlain},
    {"bailingmoe bailingmoe2 llada-moe", kBailingStages, kPlain},
    {"seed-coder", kSeedCoderStages, kPlain},
    {"ufakzeka", kUfakZekaStages, kPlain},
    {"laguna", kLagunaStages, kPlain},
    {"minicpm5", kMiniCpm5Stages, kWhole},
    {"spark2_5", kSparkStages, kPlain},
    {"youtu", kYoutuStages, kWhole},
    {"afmoe", kAfmoeStages, kPlain},
    {"kimi-k2", kKimiK2Stages, kPlain},
};

}  // namespace

std::span<const SplitRule> all_split_rules() {
  return kRules;
}

std::span<const PatternPart> all_pattern_parts() {
  static constexpr PatternPart kParts[] = {
      {"<contraction>", "(?i:'s|'t|'re|'ve|'m|'ll|'d)"},
      {"<tail>", R"(\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"<upper>", R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"},
      {"<lower>", R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"},
      {"<punctuated>",
       R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)"},
  };
  return kParts;
}

}  // namespace edgewise::text
