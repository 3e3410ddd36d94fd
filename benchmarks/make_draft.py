#!/usr/bin/env python3
"""A draft model to measure with: make_draft.py [--keep 0-7,24-27] MODEL.gguf DRAFT.gguf

Copies a GGUF file with only some of its layers, so that the vocabulary is the same and a token costs less. What is left was never
trained to work alone: its guesses are much worse than those of a model that was made small. Needs the package gguf.
"""
import argparse

import gguf


def parse_layers(text, count):
    layers = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        layers += range(int(first), int(last or first) + 1)
    if not layers or layers != sorted(set(layers)) or layers[-1] >= count:
        raise SystemExit(f"--keep {text}: ascending layers below {count} are wanted")
    return layers


def value_of(field):
    kind = field.types[0]
    if kind == gguf.GGUFValueType.ARRAY:
        return kind, field.types[-1], [field.contents(i) for i in range(len(field.data))]
    return kind, None, field.contents()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("draft")
    parser.add_argument("--keep", default="0-7,24-27", help="layers that are kept")
    args = parser.parse_args()
    reader = gguf.GGUFReader(args.model)
    architecture = reader.fields["general.architecture"].contents()
    layers = parse_layers(args.keep, reader.fields[f"{architecture}.block_count"].contents())
    place = {f"blk.{old}.": f"blk.{new}." for new, old in enumerate(layers)}

    writer = gguf.GGUFWriter(args.draft, architecture)
    for name, field in reader.fields.items():
        if name == "general.architecture" or name.startswith("GGUF."):
            continue
        kind, sub_kind, value = value_of(field)
        if name == f"{architecture}.block_count":
            value = len(layers)
        elif name == "general.name":
            value += f", layers {args.keep}"
        writer.add_key_value(name, value, kind, sub_type=sub_kind)
    for tensor in reader.tensors:
        name = tensor.name
        if name.startswith("blk."):
            prefix = name[:name.index(".", 4) + 1]
            if prefix not in place:
                continue
            name = place[prefix] + name[len(prefix):]
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
