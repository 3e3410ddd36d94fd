#!/usr/bin/env python3
"""Makes dequant_vectors.gguf: blocks of every weight type with the values that the `gguf` package gives them.

Tensor "<TYPE>.blocks" holds random blocks whose scales are set to ordinary, tiny, subnormal, zero, negative and
the largest finite halves; "<TYPE>.values" (F32) holds gguf.quants.dequantize of them, to be met bit for bit.
The metadata has one key of every value type, to be read back (src/tensor/dtype_test.cc).

Made with gguf 0.19.0 and numpy 2.4.6:  python3 make_dequant_vectors.py
"""
import pathlib

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
         "IQ4_NL", "IQ4_XS"]
SCALE_OFFSETS = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
                 "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}
SCALES = [0.01171875, -0.25, 6e-8, 3.05e-5, 0.0, 65504.0, -1.5, 0.3333]


def blocks(name, rng):
    elems, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    count = {1: 64, 32: 8, 256: 3}[elems]
    if name == "F32":
        return rng.standard_normal(count).astype(np.float32).view(np.uint8).reshape(1, -1)
    if name in ("F16", "BF16"):
        bits = rng.integers(0, 1 << 16, count).astype(np.uint16)
        infinite = 0x7C00 if name == "F16" else 0x7F80
        bits[(bits & infinite) == infinite] &= ~np.uint16(0x0400 if name == "F16" else 0x0080)
        bits[:4] = [0, 0x8000, 1, 0x8001]
        return bits.view(np.uint8).reshape(1, -1)
    data = rng.integers(0, 256, (count, size)).astype(np.uint8)
    for block in range(count):
        for nth, offset in enumerate(SCALE_OFFSETS[name]):
            scale = SCALES[(block * (3 if elems == 256 else 1) + nth * 5) % len(SCALES)]
            data[block, offset:offset + 2] = np.array([scale], np.float16).view(np.uint8)
    return data.reshape(1, -1)


def main():
    rng = np.random.default_rng(20261124)
    writer = gguf.GGUFWriter(str(pathlib.Path(__file__).with_name("dequant_vectors.gguf")), "none")
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -100)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4_000_000_000)
    writer.add_int32("test.i32", -2_000_000_000)
    writer.add_uint64("test.u64", 2**64 - 1)
    writer.add_int64("test.i64", -2**63)
    writer.add_float32("test.f32", 0.5)
    writer.add_float64("test.f64", 1e300)
    writer.add_bool("test.true", True)
    writer.add_bool("test.false", False)
    writer.add_string("test.text", "grüße\n")
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.25, -1.5])
    writer.add_array("test.bools", [True, False, True])
    writer.add_array("test.texts", ["a", "", "Ġhello"])
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        raw = blocks(name, rng)
        values = gguf.quants.dequantize(raw, kind).astype(np.float32)
        assert np.isfinite(values).all()
        plain = {"F32": np.float32, "F16": np.float16}.get(name)
        writer.add_tensor(f"{name}.blocks", raw.view(plain) if plain else raw, raw_dtype=None if plain else kind)
        writer.add_tensor(f"{name}.values", values.reshape(-1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
