"""Writes small GGUF files: a vocabulary alone, or a random llama model with it. Nothing but the standard library.

The layout follows the GGUF specification (ggml's docs/gguf.md), version 3.
"""
import random
import struct

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
WIDTH, HEADS, KV_HEADS, FFN, LAYERS, CONTEXT = 64, 4, 2, 128, 2, 256


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def _entry(key, kind, value):
    if isinstance(kind, tuple):
        return _string(key) + struct.pack("<IIQ", ARRAY, kind[1], len(value)) + b"".join(_value(kind[1], v) for v in value)
    return _string(key) + struct.pack("<I", kind) + _value(kind, value)


def vocabulary(rename=None):
    """A SentencePiece vocabulary: control tokens, all bytes, printable characters and a few words, some of them renamed."""
    tokens = [("<unk>", 2), ("<s>", 3), ("</s>", 3)] + [(f"<0x{b:02X}>", 6) for b in range(256)]
    pieces = ["\u2581"] + [chr(c) for c in range(33, 127)] + ["he", "ll", "hell", "hello", "\u2581hello", "\u2581w", "or", "ld", "orld", "\u2581world"]
    tokens += [((rename or {}).get(piece, piece), 1) for piece in pieces]
    return [("tokenizer.ggml.model", STRING, "llama"),
            ("tokenizer.ggml.tokens", (ARRAY, STRING), [t for t, _ in tokens]),
            ("tokenizer.ggml.scores", (ARRAY, F32), [float(len(t)) if kind == 1 else 0.0 for t, kind in tokens]),
            ("tokenizer.ggml.token_type", (ARRAY, I32), [kind for _, kind in tokens]),
            ("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2),
            ("tokenizer.ggml.add_bos_token", BOOL, True)], len(tokens)


def _llama(vocab, layers):
    return [("llama.block_count", U32, layers), ("llama.context_length", U32, CONTEXT), ("llama.embedding_length", U32, WIDTH),
            ("llama.feed_forward_length", U32, FFN), ("llama.attention.head_count", U32, HEADS),
            ("llama.attention.head_count_kv", U32, KV_HEADS), ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
            ("llama.rope.dimension_count", U32, WIDTH // HEADS), ("llama.vocab_size", U32, vocab)]


def _shapes(vocab, layers):
    kv = WIDTH // HEADS * KV_HEADS
    yield "token_embd.weight", (WIDTH, vocab)
    yield "output_norm.weight", (WIDTH,)
    for i in range(layers):
        for name, shape in (("attn_norm", (WIDTH,)), ("attn_q", (WIDTH, WIDTH)), ("attn_k", (WIDTH, kv)), ("attn_v", (WIDTH, kv)),
                            ("attn_output", (WIDTH, WIDTH)), ("ffn_norm", (WIDTH,)), ("ffn_gate", (WIDTH, FFN)), ("ffn_up", (WIDTH, FFN)),
                            ("ffn_down", (FFN, WIDTH))):
            yield f"blk.{i}.{name}.weight", shape


def head(metadata=()):
    """A GGUF file without tensors: what is read of a model before anything else."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)) + b"".join(_entry(*m) for m in metadata)


def write(path, with_weights=True, chat_template=None, extra=(), layers=LAYERS, rename=None):
    """Models with fewer layers have the same first ones."""
    metadata, vocab = vocabulary(rename)
    metadata = [("general.architecture", STRING, "llama"), ("general.name", STRING, "Tiny")] + metadata + list(extra)
    if chat_template is not None:
        metadata.append(("tokenizer.chat_template", STRING, chat_template))
    tensors = []
    if with_weights:
        metadata += _llama(vocab, layers)
        tensors = list(_shapes(vocab, layers))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(_entry(*m) for m in metadata)
    rng, data = random.Random(1), b""
    for name, shape in tensors:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [1.0] * count if "norm" in name else [rng.gauss(0, 0.15) for _ in range(count)]
        head += _string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape) + struct.pack("<IQ", 0, len(data))
        data += struct.pack(f"<{count}f", *values)
        data += b"\0" * (-len(data) % 32)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path
