#!/usr/bin/env python3
"""Makes tiny_bert/ (a Hugging Face folder with random weights) and tiny_bert.gguf, which says the same in GGUF.

The folder is written by the `safetensors` and `tokenizers` packages. The GGUF file gets its tensor names from
gguf.get_tensor_name_map and its tokens as llama.cpp's conversion/bert.py spells them. Opening either must give the
same keys, tokens and tensors (src/tensor/safetensors_test.cc).

Made with gguf 0.19.0, numpy 2.4.6, safetensors 0.8.0, tokenizers 0.23.3:  python3 make_tiny_bert.py
"""
import json
import pathlib

import gguf
import numpy as np
import tokenizers
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
LAYERS, WIDTH, FFN, HEADS, CONTEXT = 2, 8, 16, 2, 12
WORDS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "##s", "##ing", "é", "中"]


def tensors(rng):
    def make(*shape, dtype=np.float32):
        return rng.standard_normal(shape).astype(dtype)

    result = {"embeddings.position_ids": np.arange(CONTEXT, dtype=np.int64).reshape(1, -1),
              "embeddings.word_embeddings.weight": make(len(WORDS), WIDTH),
              "embeddings.position_embeddings.weight": make(CONTEXT, WIDTH, dtype=np.float16),
              "embeddings.token_type_embeddings.weight": make(2, WIDTH, dtype=np.float16),
              "embeddings.LayerNorm.weight": make(WIDTH), "embeddings.LayerNorm.bias": make(WIDTH),
              "pooler.dense.weight": make(WIDTH, WIDTH), "pooler.dense.bias": make(WIDTH)}
    for layer in range(LAYERS):
        kind = [np.float32, np.float16][layer % 2]
        base = f"encoder.layer.{layer}."
        for name, rows, cols in [("attention.self.query", WIDTH, WIDTH), ("attention.self.key", WIDTH, WIDTH),
                                 ("attention.self.value", WIDTH, WIDTH), ("attention.output.dense", WIDTH, WIDTH),
                                 ("intermediate.dense", FFN, WIDTH), ("output.dense", WIDTH, FFN)]:
            result[base + name + ".weight"] = make(rows, cols, dtype=kind)
            result[base + name + ".bias"] = make(rows, dtype=kind)
        for name in ["attention.output.LayerNorm", "output.LayerNorm"]:
            result[base + name + ".weight"] = make(WIDTH, dtype=kind)
            result[base + name + ".bias"] = make(WIDTH, dtype=kind)
    return result


def write_folder(folder, weights):
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(folder / "tokenizer.json"))

    def write(name, content):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")

    write("config.json", {"_name_or_path": "tiny-bert", "architectures": ["BertModel"], "model_type": "bert",
                          "hidden_act": "gelu", "hidden_size": WIDTH, "intermediate_size": FFN, "layer_norm_eps": 1e-12,
                          "max_position_embeddings": CONTEXT, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
                          "position_embedding_type": "absolute", "type_vocab_size": 2, "vocab_size": len(WORDS)})
    write("tokenizer_config.json", {"do_lower_case": True, "unk_token": "[UNK]", "sep_token": {"content": "[SEP]"},
                                    "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"})
    prefix = "sentence_transformers.models."
    write("modules.json", [{"idx": 0, "name": "0", "path": "", "type": prefix + "Transformer"},
                           {"idx": 1, "name": "1", "path": "1_Pooling", "type": prefix + "Pooling"},
                           {"idx": 2, "name": "2", "path": "2_Normalize", "type": prefix + "Normalize"}])
    write("1_Pooling/config.json", {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False,
                                    "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False})


def write_gguf(path, weights):
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name("tiny-bert")
    writer.add_vocab_size(len(WORDS))
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("bert")
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    writer.add_token_list([w if w in special else w[2:] if w.startswith("##") else "\u2581" + w for w in WORDS])
    writer.add_token_types([gguf.TokenType.CONTROL if w in special else gguf.TokenType.NORMAL for w in WORDS])
    for add, token in [(writer.add_bos_token_id, "[CLS]"), (writer.add_eos_token_id, "[SEP]"),
                       (writer.add_unk_token_id, "[UNK]"), (writer.add_sep_token_id, "[SEP]"),
                       (writer.add_pad_token_id, "[PAD]"), (writer.add_mask_token_id, "[MASK]")]:
        add(WORDS.index(token))
    writer.add_uint32("tokenizer.ggml.cls_token_id", WORDS.index("[CLS]"))
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", True)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, LAYERS)
    for name, value in weights.items():
        if name == "embeddings.position_ids" or name.startswith("pooler."):
            continue
        is_f32 = value.ndim == 1 or "position_embeddings" in name or "token_type" in name
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), value.astype(np.float32) if is_f32 else value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    weights = tensors(np.random.default_rng(20261124))
    write_folder(HERE / "tiny_bert", weights)
    write_gguf(HERE / "tiny_bert.gguf", weights)


if __name__ == "__main__":
    main()
