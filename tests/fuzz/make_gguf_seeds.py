#!/usr/bin/env python3
"""Makes small seeds for fuzz_gguf in corpus/gguf with the `gguf` package (0.19.0): a model with a few tensors of
different types, a vocabulary without tensors, a file with another alignment and one with an unsupported type."""
import pathlib

import gguf
import numpy as np

FOLDER = pathlib.Path(__file__).parent / "corpus" / "gguf"


def write(name, fill):
    writer = gguf.GGUFWriter(str(FOLDER / name), "llama")
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantized(writer, name, kind):
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    writer.add_tensor(name, np.arange(size, dtype=np.uint8).reshape(1, -1), raw_dtype=kind)


def model(writer):
    writer.add_block_count(1)
    writer.add_float32("llama.rope.freq_base", 1e4)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_array("llama.feed_forward_length", [1, 2])
    writer.add_tensor("token_embd.weight", np.ones((2, 4), np.float32))
    for kind in ["Q4_0", "Q8_0", "Q4_K", "BF16"]:
        quantized(writer, f"{kind}.weight", gguf.GGMLQuantizationType[kind])


def vocabulary(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab", "\u0120"])
    writer.add_token_types([1, 1, 1, 3])
    writer.add_token_scores([0.0, -1.0, -2.0, -3.0])
    writer.add_token_merges(["a b"])


def aligned(writer):
    writer.add_custom_alignment(8)
    writer.add_uint64("u64", 2**63)
    writer.add_int8("i8", -1)
    writer.add_tensor("t", np.ones(3, np.float32))
    writer.add_tensor("u", np.ones((1, 1, 2, 1), np.float16))


def unsupported(writer):
    quantized(writer, "odd", gguf.GGMLQuantizationType.IQ2_XXS)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for fill in [model, vocabulary, aligned, unsupported]:
        write(f"{fill.__name__}.gguf", fill)


if __name__ == "__main__":
    main()
