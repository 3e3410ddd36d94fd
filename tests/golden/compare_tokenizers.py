#!/usr/bin/env python3
"""Compares our tokenizer with others' on random text.

  compare_tokenizers.py DRIVER MODEL --oracle llama [--count N] [--seed S] [--invalid]
  compare_tokenizers.py DRIVER MODEL --oracle hf [--pre NAME]
  compare_tokenizers.py DRIVER FOLDER --oracle hf --tokenizer-json FILE --old-unicode

DRIVER is the program built from tokenize_stream.cc (ninja tokenize_stream). Oracles: `llama` is llama.cpp through the
llama-cpp-python package; `hf` is the tokenizers package, either with a tokenizer.json or with the vocabulary and merges of
the GGUF file and the split pattern that the models with that tokenizer.ggml.pre carry in theirs. Exit status 1: a
difference.

Known differences, all on purpose:
- llama.cpp decodes overlong UTF-8 and surrogates; we do not (texts with them are skipped). In SentencePiece models it lets
  a broken lead byte swallow the valid characters after it; we give bytes only for the broken ones (--invalid shows it).
- llama.cpp makes every "</s>" a control token; we leave it text where the file calls it normal, as its model does.
- llama.cpp's expressions for tekken, gpt-4o, tiny_aya and deepseek-llm are approximations; ours are the models' own
  (except tiny_aya's digit groups, which are llama.cpp's).
- Hugging Face's BERT uses a Unicode 8 table of marks and punctuation; we use a current one (--old-unicode avoids most).
"""
import argparse
import re
import struct
import subprocess
import sys

import random_text

CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PUNCTUATED = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|")


def words(digits):
    return CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL


def cased(suffix, digits):
    return (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + suffix + r"|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" +
            suffix + "|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL)


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# As in the tokenizer.json of the families; a tuple is a sequence of splits.
HF_PATTERNS = {
    "gpt-2": (GPT2,),
    "smollm": (r"\p{N}", GPT2),
    "llama-bpe": (words(r"\p{N}{1,3}"),),
    "qwen2": (words(r"\p{N}"),),
    "qwen35": (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + TAIL,),
    "tekken": (cased("", r"\p{N}"),),
    "gpt-4o": (cased(CONTRACTION + "?", r"\p{N}{1,3}"),),
    "deepseek-v3": (r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", PUNCTUATED + TAIL),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"),
    "bailingmoe": (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",),
    "exaone-moe": (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",),
    "seed-coder": (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|" + TAIL,),
    "tiny_aya": (r"\d{1,3}(?=(?:\d{3})*\b)", cased(CONTRACTION + "?", r"\p{N}{1,3}")),
}


def gguf_fields(path):
    import gguf
    fields = gguf.GGUFReader(path).fields
    return lambda key: fields[key].contents() if key in fields else None


class Hf:
    def __init__(self, args):
        import tokenizers
        from tokenizers import models, pre_tokenizers
        if args.tokenizer_json:
            self.tokenizer = tokenizers.Tokenizer.from_file(args.tokenizer_json)
            self.tokenizer.no_truncation()
            self.tokenizer.no_padding()
            return
        field = gguf_fields(args.model)
        pre = args.pre or field("tokenizer.ggml.pre")
        tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
        merges = []
        for merge in field("tokenizer.ggml.merges"):
            space = merge.index(" ", 1)
            merges.append((merge[:space], merge[space + 1:]))
        vocabulary = {t: i for i, t in enumerate(tokens)}
        self.tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges,
                                                         ignore_merges=pre in ("llama-bpe", "tekken")))
        splits = [pre_tokenizers.Split(tokenizers.Regex(p), "isolated") for p in HF_PATTERNS[pre]]
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            splits + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        self.tokenizer.add_special_tokens([tokenizers.AddedToken(t, normalized=False, special=True)
                                           for t, kind in zip(tokens, types) if kind in (2, 3)])
        self.tokenizer.add_tokens([tokenizers.AddedToken(t, normalized=False) for t, kind in zip(tokens, types) if kind == 4])

    def vocabulary(self):
        return [self.tokenizer.id_to_token(i) for i in range(self.tokenizer.get_vocab_size())]

    def encode(self, data, add_special, parse_special):
        return self.tokenizer.encode(data.decode("utf-8"), add_special_tokens=add_special).ids


class Llama:
    def __init__(self, args):
        import llama_cpp
        import ctypes
        self.api, self.ctypes = llama_cpp, ctypes
        silent = llama_cpp.llama_log_callback(lambda level, message, data: None)
        self.keep = silent
        llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(args.model.encode(), params)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def encode(self, data, add_special, parse_special):
        size = len(data) * 2 + 64
        ids = (self.ctypes.c_int32 * size)()
        count = self.api.llama_tokenize(self.vocab, data, len(data), ids, size, add_special, parse_special)
        assert count >= 0
        return list(ids[:count])


class Ours:
    def __init__(self, args):
        command = [args.driver, args.model] + ([args.pre] if args.pre else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, size):
        data = self.process.stdout.read(size)
        if len(data) != size:
            sys.exit("our tokenizer ended early")
        return data

    def encode(self, data, add_special, parse_special):
        self.process.stdin.write(struct.pack("<BI", add_special | parse_special << 1, len(data)) + data)
        self.process.stdin.flush()
        count, = struct.unpack("<I", self.read(4))
        ids = list(struct.unpack(f"<{count}i", self.read(4 * count)))
        length, = struct.unpack("<I", self.read(4))
        self.decoded = self.read(length)
        return ids


# What llama.cpp decodes although it is not UTF-8: overlong forms, surrogates, beyond U+10FFFF (there it ends the process).
LAX_SEQUENCES = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xed[\xa0-\xbf][\x80-\xbf]"
                           rb"|\xf0[\x80-\x8f][\x80-\xbf]{2}|\xf4[\x90-\xbf][\x80-\xbf]{2}|[\xf5-\xf7][\x80-\xbf]{3}")


def bytes_to_characters():
    """GPT-2's alphabet."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def is_assigned_for(args):
    """Only what this Python's Unicode (or Unicode 3.2) knows: the libraries' tables differ in age."""
    import unicodedata
    newest = unicodedata.ucd_3_2_0 if args.old_unicode else unicodedata
    return lambda code: newest.category(chr(code)) != "Cn"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("driver")
    parser.add_argument("model")
    parser.add_argument("--oracle", choices=["hf", "llama"], required=True)
    parser.add_argument("--tokenizer-json")
    parser.add_argument("--pre", help="another tokenizer.ggml.pre than the file's")
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--invalid", action="store_true", help="break the UTF-8 of every text")
    parser.add_argument("--old-unicode", action="store_true", help="only characters of Unicode 3.2")
    parser.add_argument("--round-trip", action="store_true", help="decoding must give the text back")
    parser.add_argument("--show", type=int, default=10)
    args = parser.parse_args()
    oracle, ours = (Hf if args.oracle == "hf" else Llama)(args), Ours(args)
    vocabulary = oracle.vocabulary() if args.tokenizer_json else gguf_fields(args.model)("tokenizer.ggml.tokens")
    is_assigned = is_assigned_for(args)
    rng = random_text.make_rng(args.seed)
    spelled = set(vocabulary)
    # A byte without a token is left out: by Hugging Face before merging, by GGUF's rules after. Not compared.
    missing = set() if args.oracle != "hf" or args.tokenizer_json else {
        b for b, c in bytes_to_characters().items() if c not in spelled}
    # llama.cpp makes every "</s>" a control token that ends the answer; in most vocabularies it is only HTML.
    plain_end = args.oracle == "llama" and "</s>" in spelled
    usable = [t for t in rng.sample(vocabulary, min(len(vocabulary), 5000)) if t.isprintable()]
    differences = 0
    for number in range(args.count):
        data = random_text.text(rng, usable, is_assigned).encode("utf-8", "ignore")
        if plain_end:
            data = data.replace(b"</s>", b"")
        if missing:
            data = "".join(c for c in data.decode() if not missing.intersection(c.encode())).encode()
        if args.invalid:
            data = random_text.broken(rng, data)
            if LAX_SEQUENCES.search(data):
                continue
        add_special = (args.oracle == "llama" or args.tokenizer_json is not None) and number % 4 == 0
        parse_special = args.oracle == "hf" or number % 2 == 0
        expected = oracle.encode(data, add_special, parse_special)
        actual = ours.encode(data, add_special, parse_special)
        wrong_text = args.round_trip and not parse_special and not add_special and ours.decoded != data
        if expected != actual or wrong_text:
            differences += 1
            if differences <= args.show:
                at = next((i for i, (a, b) in enumerate(zip(expected, actual)) if a != b), min(len(expected), len(actual)))
                shown = lambda ids: [vocabulary[i] if 0 <= i < len(vocabulary) else i for i in ids[max(0, at - 1):at + 5]]
                print(f"{number}: {data if args.invalid else data.decode()!r}\n   oracle {shown(expected)}\n   ours   {shown(actual)}"
                      + (f"\n   decoded {ours.decoded!r}" if wrong_text else ""))
    print(f"{args.model} {args.oracle} {args.pre or ''} seed {args.seed}: {args.count} texts, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
