#!/usr/bin/env python3
"""Makes minilm.expected.gguf: all-MiniLM-L6-v2's embeddings of some sentences, computed in doubles with numpy alone.

Follows Hugging Face's BertModel (post-norm layers, exact GELU, mean over all tokens, unit length); ids are the
`tokenizers` package's. src/model/minilm_test.cc compares, where EDGEWISE_TEST_MINILM names the model's folder.

Made with gguf 0.19.0, numpy 2.4.6, safetensors 0.8.0, tokenizers 0.23.3:  python3 make_minilm_vectors.py FOLDER-OF-THE-MODEL
"""
import math
import pathlib
import sys

import gguf
import numpy as np
import tokenizers
from safetensors.numpy import load_file

SENTENCES = ["A plant gateway reads the vibration of a pump.", "The pump's vibration is read by a gateway in the plant.",
             "Der Zug hält nicht in Würzburg.", "x", "How do I reset the alarm? " * 12]
HEADS, EPSILON, LAYERS = 12, 1e-12, 6


def normalize(w, name, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + EPSILON) * w[name + ".weight"] + w[name + ".bias"]


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def split(x):
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def embed(w, ids):
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:len(ids)]
    x = normalize(w, "embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(LAYERS):
        base = f"encoder.layer.{layer}."
        q, k, v = (split(linear(w, f"{base}attention.self.{part}", x)) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(x.shape)
        x = normalize(w, base + "attention.output.LayerNorm", x + linear(w, base + "attention.output.dense", mixed))
        hidden = linear(w, base + "intermediate.dense", x)
        hidden *= 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = normalize(w, base + "output.LayerNorm", x + linear(w, base + "output.dense", hidden))
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def main():
    folder = pathlib.Path(sys.argv[1])
    weights = {name: t.astype(np.float64) for name, t in load_file(folder / "model.safetensors").items()}
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    writer = gguf.GGUFWriter(pathlib.Path(__file__).parent / "minilm.expected.gguf", "expected")
    writer.add_string("golden.maker", "numpy 2.4.6 in doubles, tokenizers 0.23.3")
    writer.add_float32("golden.tolerance", 5e-4)  # 16-bit keys and values cost 2e-4
    writer.add_array("golden.texts", SENTENCES)
    for i, sentence in enumerate(SENTENCES):
        ids = tokenizer.encode(sentence).ids
        writer.add_array(f"golden.tokens.{i}", ids)
        writer.add_tensor(f"embedding.{i}", embed(weights, ids).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
