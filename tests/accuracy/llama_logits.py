#!/usr/bin/env python3
"""llama.cpp's logits, window by window: the third side of compare_kl.py. Runs in the venv that holds llama-cpp-python.

llama_logits.py MODEL.gguf CONTEXT THREADS [plain]
Standard input:  windows of CONTEXT int32 token ids.  Standard output: first one line of JSON (vocabulary, settings),
then for each window CONTEXT rows of `vocab` f32 logits. Defaults of the library: f16 KV cache, flash attention "auto",
repacked weights (not with `plain`: in some virtual machines the AMX kernels of that path die of a signal).
"""
import ctypes
import json
import os
import sys

import llama_cpp
import numpy


def quiet():
    """The library logs every tensor; errors still come back as return values."""
    callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p())
    return callback


def main():
    path, context, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write among the logits
    keep = quiet()  # noqa: F841 - the library holds a pointer to it
    llama_cpp.llama_backend_init()
    model_params = llama_cpp.llama_model_default_params()
    model_params.use_extra_bufts = sys.argv[4:] != ["plain"]
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    if not model:
        sys.exit(f"llama.cpp cannot load {path}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = context
    params.n_threads = params.n_threads_batch = threads
    state = llama_cpp.llama_init_from_model(model, params)
    if not state:
        sys.exit("llama.cpp cannot make a context")
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    settings = {"vocab": vocab, "context": context, "threads": threads, "kv_type": params.type_k, "flash_attention": params.flash_attn_type,
                "repacked_weights": model_params.use_extra_bufts,
                "system": llama_cpp.llama_print_system_info().decode()}
    out.write(json.dumps(settings).encode() + b"\n")
    out.flush()

    batch = llama_cpp.llama_batch_init(context, 0, 1)
    while window := sys.stdin.buffer.read(4 * context):
        for i, token in enumerate(numpy.frombuffer(window, "<i4")):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = int(token), i, 1, 0, 1
        batch.n_tokens = context
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(state), True)
        if status := llama_cpp.llama_decode(state, batch):
            sys.exit(f"llama_decode returned {status}")
        rows = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits(state), shape=(context, vocab))
        out.write(rows.astype("<f4", copy=False).data)
        out.flush()


if __name__ == "__main__":
    main()
