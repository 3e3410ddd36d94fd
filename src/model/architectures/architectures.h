// The architectures that this program runs, by the name in `general.architecture`.
//
// To add one: a file beside this that fills a ModelSpec through SpecReader, its declaration below, its line in
// architectures.cc, and a tiny random model in tests/golden/make_tiny_models.py, whose logits others computed.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "model/architectures/spec_reader.h"
#include "model/model_spec.h"
#include "tensor/model_file.h"

namespace edgewise::model {

// What the file describes, checked. An unknown architecture: an error that lists those that work.
// `context`: positions a sequence may take; 0: as trained.
Result<ModelSpec> read_spec(const tensor::ModelFile& file, std::int64_t context = 0);

std::string supported_architectures();  // "bert, gemma2, ..."

Result<ModelSpec> read_bert(const SpecReader& reader);
Result<ModelSpec> read_gemma2(const SpecReader& reader);
Result<ModelSpec> read_gemma3(const SpecReader& reader);
Result<ModelSpec> read_granite(const SpecReader& reader);
Result<ModelSpec> read_llama(const SpecReader& reader);
Result<ModelSpec> read_olmo2(const SpecReader& reader);
Result<ModelSpec> read_phi3(const SpecReader& reader);
Result<ModelSpec> read_qwen2(const SpecReader& reader);
Result<ModelSpec> read_qwen3(const SpecReader& reader);
Result<ModelSpec> read_qwen3moe(const SpecReader& reader);
Result<ModelSpec> read_smollm3(const SpecReader& reader);

}  // namespace edgewise::model
