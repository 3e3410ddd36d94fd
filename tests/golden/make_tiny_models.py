#!/usr/bin/env python3
"""Makes tiny_models/: small random models of every architecture, and what llama.cpp computes with them.

Each <name>.gguf has every feature of its architecture switched on (windows shorter than the text, scaled rotation,
norms, biases, experts) at a width that keeps it small. <name>.expected.gguf, made from it by llama.cpp on its CPU
backend with a 16-bit KV cache, holds the logits of every position of a random token sequence, a greedy continuation
and, where the model pools, an embedding; its metadata name the makers, their versions and the tolerance that
src/model/golden_test.cc applies.

The tolerance is relative to the spread of the logits: of models in F32, what 16-bit keys, values and probabilities
cost llama.cpp; of quantized ones, what its 8-bit activations cost (more with experts, where a close choice may turn);
of bert, that llama.cpp approximates GELU.

Made with gguf 0.19.0, numpy 2.4.6 and the llama.cpp of llama-cpp-python 0.3.36:
    python3 make_tiny_models.py        (LLAMA_CPP_LIB_PATH: a folder with libllama.so, where the package has none)
"""
import ctypes
import pathlib

import gguf
import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).parent / "tiny_models"
MAKER = f"llama.cpp of llama-cpp-python {llama_cpp.__version__}, CPU backend, f16 KV cache; gguf 0.19.0"
VOCAB, TOKENS, CONTINUATION = 64, 80, 12
TOLERANCE = {"f32": 0.005, "quantized": 0.06, "quantized experts": 0.15, "bert": 0.002}
GGML = ctypes.CDLL(str(pathlib.Path(llama_cpp.llama_cpp._lib._name).parent / "libggml-base.so"))
GGML.ggml_quantize_chunk.restype = ctypes.c_size_t
GGML.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                     ctypes.c_int64, ctypes.c_void_p]
F32, F16, BF16 = (gguf.GGMLQuantizationType[t] for t in ("F32", "F16", "BF16"))


class TinyModel:
    """A GGUF file being written: metadata under the architecture's prefix, random tensors."""

    def __init__(self, name, arch, types=(F32,), **shape):
        self.name, self.arch, self.types = name, arch, types
        self.shape = {"width": 32, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 48, "layers": 2, "context": 256} | shape
        self.__dict__.update(self.shape)
        self.rng = np.random.default_rng(sum(name.encode()))
        self.writer = gguf.GGUFWriter(HERE / f"{name}.gguf", arch)
        self.matrices = 0
        self.writer.add_string("tokenizer.ggml.model", "none")
        self.key("vocab_size", VOCAB)
        self.key("context_length", self.context)
        self.key("embedding_length", self.width)
        self.key("block_count", self.layers)
        self.key("feed_forward_length", self.ffn)
        self.key("attention.head_count", self.heads)
        self.key("attention.head_count_kv", self.kv_heads)

    def key(self, name, value):
        name = f"{self.arch}.{name}"
        add = {bool: self.writer.add_bool, int: self.writer.add_uint32, float: self.writer.add_float32,
               str: self.writer.add_string, list: self.writer.add_array}
        add[type(value)](name, value)

    def vector(self, name, count, around=0.0, spread=0.1):
        self.writer.add_tensor(name, (around + spread * self.rng.standard_normal(count)).astype(np.float32))

    def matrix(self, name, rows, cols, gain=1.0, experts=None, kind=None):
        kind = kind or self.types[self.matrices % len(self.types)]
        self.matrices += 1
        shape = (rows, cols) if experts is None else (experts, rows, cols)
        values = (gain / np.sqrt(cols) * self.rng.standard_normal(shape)).astype(np.float32)
        if kind == F32:
            self.writer.add_tensor(name, values)
            return
        block, size = gguf.GGML_QUANT_SIZES[kind]
        raw = np.zeros(values.size // block * size, np.uint8)
        count = values.size // cols
        if kind in (F16, BF16):
            raw = gguf.quants.quantize(values, kind).view(np.uint8)
        else:
            GGML.ggml_quantize_chunk(int(kind), values.ctypes.data, raw.ctypes.data, 0, count, cols, None)
        self.writer.add_tensor(name, raw.reshape(*shape[:-1], -1), raw_dtype=kind)

    def linear(self, name, rows, cols, gain=1.0, bias=False):
        self.matrix(name + ".weight", rows, cols, gain)
        if bias:
            self.vector(name + ".bias", rows, spread=0.3)

    def norm(self, name, count, around=1.0, bias=False):
        self.vector(name + ".weight", count, around)
        if bias:
            self.vector(name + ".bias", count)

    def attention(self, i, bias=(), fused=False):
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if fused:
            self.linear(f"blk.{i}.attn_qkv", q + 2 * kv, self.width, 1.5)
        else:
            self.linear(f"blk.{i}.attn_q", q, self.width, 2.0, "q" in bias)
            self.linear(f"blk.{i}.attn_k", kv, self.width, 2.0, "k" in bias)
            self.linear(f"blk.{i}.attn_v", kv, self.width, 1.0, "v" in bias)
        self.linear(f"blk.{i}.attn_output", self.width, q, 1.0, "o" in bias)

    def feed_forward(self, i, bias=False, gate=True):
        if gate:
            self.linear(f"blk.{i}.ffn_gate", self.ffn, self.width, 1.5, bias)
        self.linear(f"blk.{i}.ffn_up", self.ffn, self.width, 1.0, bias)
        self.linear(f"blk.{i}.ffn_down", self.width, self.ffn, 1.5, bias)

    def experts(self, i, count, width):
        self.matrix(f"blk.{i}.ffn_gate_inp.weight", count, self.width, 2.0, kind=F32)
        for part, rows, cols in [("gate", width, self.width), ("up", width, self.width), ("down", self.width, width)]:
            self.matrix(f"blk.{i}.ffn_{part}_exps.weight", rows, cols, 1.5, count)

    def ends(self, tied=True, output_norm=True):
        self.matrix("token_embd.weight", VOCAB, self.width, np.sqrt(self.width) if not tied else 2.0)
        if output_norm:
            self.norm("output_norm", self.width)
        if not tied:
            self.matrix("output.weight", VOCAB, self.width, 2.0)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        kind = "f32" if self.types == (F32,) else "quantized experts" if "moe" in self.name else "quantized"
        expect(self.name, TOLERANCE["bert" if self.arch == "bert" else kind], self.rng)


def pre_norm_layers(m, qk_norm=None, post_norm=False, bias=(), fused=False, moe=None, ffn_bias=False):
    for i in range(m.layers):
        m.norm(f"blk.{i}.attn_norm", m.width)
        m.attention(i, bias, fused)
        if qk_norm:
            m.norm(f"blk.{i}.attn_q_norm", m.head_dim, qk_norm)
            m.norm(f"blk.{i}.attn_k_norm", m.head_dim, qk_norm)
        m.norm(f"blk.{i}.ffn_norm", m.width)
        if post_norm:
            m.norm(f"blk.{i}.post_attention_norm", m.width)
            m.norm(f"blk.{i}.post_ffw_norm", m.width)
        if moe:
            m.experts(i, *moe)
        elif fused:
            m.linear(f"blk.{i}.ffn_up", 2 * m.ffn, m.width, 1.5)
            m.linear(f"blk.{i}.ffn_down", m.width, m.ffn, 1.5)
        else:
            m.feed_forward(i, ffn_bias)


def rms(m, eps=1e-6):
    m.key("attention.layer_norm_rms_epsilon", eps)


def explicit_heads(m):
    m.key("attention.key_length", m.head_dim)
    m.key("attention.value_length", m.head_dim)


def llama(name, types=(F32,), moe=None, tied=True, **shape):
    m = TinyModel(name, "llama", types, **shape)
    rms(m, 1e-5)
    explicit_heads(m)
    m.key("rope.dimension_count", m.head_dim)
    m.key("rope.freq_base", 50000.0)
    if moe:
        m.key("expert_count", moe[0])
        m.key("expert_used_count", 2)
    m.vector("rope_freqs.weight", m.head_dim // 2, 4.0, 1.0)
    pre_norm_layers(m, bias="qkvo" if types == (F32,) else "", moe=moe, ffn_bias=types == (F32,))
    m.ends(tied)
    m.close()


def qwen2(name, types=(F32,), tied=True, **shape):
    m = TinyModel(name, "qwen2", types, **shape)
    rms(m)
    m.key("rope.freq_base", 1000.0)  # these three put yarn's ramp across the middle of the 8 pairs
    m.key("rope.scaling.type", "yarn")
    m.key("rope.scaling.factor", 4.0)
    m.key("rope.scaling.original_context_length", 2048)
    pre_norm_layers(m, bias="qkv")
    m.ends(tied)
    m.close()


def qwen3():
    m = TinyModel("qwen3", "qwen3")
    rms(m)
    explicit_heads(m)
    m.key("rope.freq_base", 1000000.0)
    m.key("pooling_type", 3)
    pre_norm_layers(m, qk_norm=1.5)
    m.ends()
    m.close()


def qwen3moe(name="qwen3moe", types=(F32,), **shape):
    m = TinyModel(name, "qwen3moe", types, **shape)
    rms(m)
    explicit_heads(m)
    m.key("expert_count", 6)
    m.key("expert_used_count", 3)
    m.key("expert_feed_forward_length", 32)
    pre_norm_layers(m, qk_norm=1.5, moe=(6, 32))
    m.ends(tied=False)
    m.close()


def gemma2():
    m = TinyModel("gemma2", "gemma2", layers=3)
    rms(m)
    explicit_heads(m)
    m.key("attention.sliding_window", 9)
    m.key("attn_logit_softcapping", 5.0)
    m.key("final_logit_softcapping", 8.0)
    pre_norm_layers(m, post_norm=True)
    m.ends()
    m.close()


def gemma3():
    m = TinyModel("gemma3", "gemma3", layers=7, ffn=32)
    rms(m)
    explicit_heads(m)
    m.key("attention.sliding_window", 11)
    m.key("rope.freq_base", 1000000.0)
    m.key("rope.freq_base_swa", 10000.0)
    m.key("rope.scaling.type", "linear")
    m.key("rope.scaling.factor", 8.0)
    pre_norm_layers(m, qk_norm=1.5, post_norm=True)
    m.ends()
    m.close()


def phi3(name, original_context):
    m = TinyModel(name, "phi3", heads=2, kv_heads=1)
    rms(m)
    m.key("rope.dimension_count", 12)
    m.key("rope.scaling.original_context_length", original_context)
    m.key("rope.scaling.attn_factor", 1.19)
    m.vector("rope_factors_long.weight", 6, 5.0, 1.0)
    m.vector("rope_factors_short.weight", 6, 1.3, 0.1)
    pre_norm_layers(m, fused=True)
    m.ends(tied=False)
    m.close()


def smollm3():
    m = TinyModel("smollm3", "smollm3", layers=5, ffn=32, heads=2, kv_heads=1)
    rms(m)
    m.key("rope.dimension_count", m.head_dim)
    pre_norm_layers(m)
    m.ends()
    m.close()


def granite():
    m = TinyModel("granite", "granite", heads=2, kv_heads=1)
    rms(m)
    m.key("embedding_scale", 3.0)
    m.key("residual_scale", 0.22)
    m.key("attention.scale", 0.05)
    m.key("logit_scale", 0.5)
    m.key("rope.dimension_count", m.head_dim)
    pre_norm_layers(m)
    m.ends()
    m.close()


def olmo2(name, window=None):
    m = TinyModel(name, "olmo2", layers=4 if window else 2, heads=2, kv_heads=1)
    rms(m)
    if window:
        m.key("attention.sliding_window", window)
        m.key("rope.scaling.type", "yarn")
        m.key("rope.scaling.factor", 8.0)
        m.key("rope.scaling.original_context_length", 32)
    for i in range(m.layers):
        m.attention(i)
        m.norm(f"blk.{i}.attn_q_norm", m.heads * m.head_dim, 1.5)
        m.norm(f"blk.{i}.attn_k_norm", m.kv_heads * m.head_dim, 1.5)
        m.norm(f"blk.{i}.post_attention_norm", m.width)
        m.norm(f"blk.{i}.post_ffw_norm", m.width)
        m.feed_forward(i)
    m.ends(tied=False)
    m.close()


def bert(name, pooling):
    m = TinyModel(name, "bert", heads=2, kv_heads=2)
    m.key("attention.layer_norm_epsilon", 1e-12)
    m.key("attention.causal", False)
    m.key("pooling_type", pooling)
    m.writer.add_uint32("tokenizer.ggml.token_type_count", 2)
    m.matrix("token_types.weight", 2, m.width, 3.0)
    m.matrix("position_embd.weight", m.context, m.width, 3.0)
    m.norm("token_embd_norm", m.width, bias=True)
    for i in range(m.layers):
        m.attention(i, "qkvo")
        m.norm(f"blk.{i}.attn_output_norm", m.width, bias=True)
        m.feed_forward(i, bias=True, gate=False)
        m.norm(f"blk.{i}.layer_output_norm", m.width, bias=True)
    m.ends(output_norm=False)
    m.close()


class Llama:
    """llama.cpp with one model loaded."""

    def __init__(self, path):
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = False  # plain kernels
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        assert self.model, path

    def context(self, pooling):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = 128
        params.n_threads = params.n_threads_batch = 1
        params.flash_attn_type = 0
        params.swa_full = True
        params.embeddings = pooling
        params.pooling_type = -1 if pooling else 0
        return llama_cpp.llama_init_from_model(self.model, params)

    @staticmethod
    def decode(context, tokens, first):
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, first + i, 1, 0, 1
        assert llama_cpp.llama_decode(context, batch) == 0
        llama_cpp.llama_batch_free(batch)

    def logits(self, tokens, continuation):
        context = self.context(False)
        row = lambda i: np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (VOCAB,)).copy()
        self.decode(context, tokens, 0)
        rows = [row(i) for i in range(len(tokens))]
        greedy, last = [], rows[-1]
        for i in range(continuation):
            greedy.append(int(last.argmax()))
            self.decode(context, greedy[-1:], len(tokens) + i)
            last = row(0)
        llama_cpp.llama_free(context)
        return np.stack(rows), greedy

    def embedding(self, tokens):
        context = self.context(True)
        self.decode(context, tokens, 0)
        width = llama_cpp.llama_model_n_embd(self.model)
        values = np.ctypeslib.as_array(llama_cpp.llama_get_embeddings_seq(context, 0), (width,)).copy()
        llama_cpp.llama_free(context)
        return values / np.linalg.norm(values)


def expect(name, tolerance, rng):
    llama = Llama(HERE / f"{name}.gguf")
    tokens = rng.integers(0, VOCAB, TOKENS).tolist()
    writer = gguf.GGUFWriter(HERE / f"{name}.expected.gguf", "expected")
    writer.add_string("golden.maker", MAKER)
    writer.add_float32("golden.tolerance", tolerance)
    writer.add_array("golden.tokens", tokens)
    if not name.startswith("bert"):
        logits, greedy = llama.logits(tokens, CONTINUATION)
        writer.add_array("golden.continuation", greedy)
        writer.add_tensor("logits", logits)
        print(f"{name:12} logits spread {logits.std():.3f}, greedy {greedy}")
    if name.startswith("bert") or name == "qwen3":
        writer.add_tensor("embedding", llama.embedding(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def kinds(*names):
    return tuple(gguf.GGMLQuantizationType[n] for n in names)


def main():
    HERE.mkdir(exist_ok=True)
    llama_cpp.llama_backend_init()
    llama("llama")
    llama("llama_moe", moe=(4, 48))
    llama("llama_k_quants", kinds("Q4_K", "Q6_K", "Q5_K", "Q3_K", "Q2_K", "IQ4_XS", "Q8_0", "Q4_0"), tied=False, width=256, ffn=256,
          head_dim=64)
    qwen2("qwen2", heads=2, kv_heads=1)
    qwen2("qwen2_blocks", kinds("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "F16", "BF16", "F32"), heads=4, kv_heads=2, width=64,
          ffn=96)
    qwen3()
    qwen3moe()
    qwen3moe("qwen3moe_q8", kinds("Q8_0", "Q5_1"))
    gemma2()
    gemma3()
    phi3("phi3_long", 32)
    phi3("phi3_short", 4096)
    smollm3()
    granite()
    olmo2("olmo2")
    olmo2("olmo3", window=13)
    bert("bert_mean", 1)
    bert("bert_cls", 2)


if __name__ == "__main__":
    main()
