"""Random text that tokenizers find hard: many scripts, white space of all kinds, digits, marks, emoji, controls."""
import random

SPACES = [" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\v", "\f", "\u00a0", "\u0085", "\u3000", "\u2003", "\u2028",
          "\u202f", "\u1680", "\u180e", "\u200b", "\ufeff", " \n", "\n ", "   \n  ", " \t "]
WORDS = ("the of and to in a is that it was for on are as with I'm don't we'll they've You'RE he'S it'd 'tis rock'n'roll "
         "naïve café Straße İstanbul Iß ſtraße 'ſ x'ſ ﬁn ﬂy ǅ Ǆ ϓ K Å hello world Hello WORLD camelCase snake_case "
         "int main() return 0; #include <vector> std::string foo->bar e.g. U.S.A. C++ C# f(x)=x^2 a/b http://x.y/z?q=1&r=2 "
         "привет мир Ελληνικά שלום العربية مرحبا हिन्दी नमस्ते ไทย ภาษา ខ្មែរ 日本語 漢字かな カタカナ 한국어 조선말 中文 你好 "
         "Việt nghĩa Đà déjà ångström œuvre ąćęł ğış ñandú ▁ ▁▁ a▁b Ġ Ċ Ã").split(" ")
RANGES = [(0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x6FF),
          (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
          (0x20A0, 0x214F), (0x2150, 0x218F), (0x2190, 0x2BFF), (0x3000, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
          (0xAC00, 0xD7A3), (0xE000, 0xE010), (0xF900, 0xFAFF), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF), (0x10000, 0x1004F),
          (0x10300, 0x1032F), (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x1F900, 0x1F9FF),
          (0x20000, 0x20100), (0x2F800, 0x2FA1D), (0xE0020, 0xE007F)]
MARKS = ["\u0301", "\u0300", "\u0308", "\u0327", "\u0323", "\u0345", "\u200d", "\ufe0f", "\u20e3", "\u093f", "\u1dc4", "\u0903"]


def any_code_point(rng, is_assigned):
    while True:
        code = rng.choice([rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x20000), rng.randrange(0x110000)])
        if not 0xD800 <= code <= 0xDFFF and is_assigned(code):
            return chr(code)


def piece(rng, tokens, is_assigned):
    kind = rng.randrange(14)
    if kind < 3:
        return rng.choice(WORDS) + rng.choice(["", " ", " ", "  ", "\n"])
    if kind == 3:
        return rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 3, rng.randrange(1, 40)])
    if kind == 4:
        return "".join(rng.choice("0123456789") for _ in range(rng.choice([1, 2, 3, 4, 7, 30])))
    if kind == 5:
        return rng.choice(["٣٤٥", "½", "Ⅷ", "१२३", "𝟘𝟙", "²³", "一二三", "㊿"]) * rng.randrange(1, 4)
    if kind == 6:
        return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.choice([1, 1, 2, 3, 12])))
    if kind == 7:
        return rng.choice("'’`") + rng.choice(["s", "S", "t", "re", "RE", "rE", "ve", "m", "LL", "ll", "d", "D", "x", "ſ", ""])
    if kind in (8, 9):
        low, high = rng.choice(RANGES)
        codes = [rng.randint(low, high) for _ in range(rng.randrange(1, 9))]
        return "".join(chr(c) for c in codes if is_assigned(c))
    if kind == 10:
        return rng.choice("aeioucnsAEÖ가कが") + "".join(rng.choice(MARKS) for _ in range(rng.randrange(1, 4)))
    if kind == 11:
        return any_code_point(rng, is_assigned)
    if kind == 12:
        return chr(rng.choice(list(range(1, 32)) + [127, 0x80, 0x9F, 0xAD, 0xFFFD]))
    return "".join(rng.choice(tokens) for _ in range(rng.randrange(1, 5))) if tokens else ""


def text(rng, tokens=(), is_assigned=lambda code: True):
    """One text of 1 to about 20 pieces. `tokens`: texts from the vocabulary; `is_assigned`: which code points to use."""
    return "".join(piece(rng, tokens, is_assigned) for _ in range(rng.choice([1, 2, 3, 5, 8, rng.randrange(1, 21)])))


def broken(rng, data):
    """`data` with a few bytes changed, so that it is hardly valid UTF-8."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        where = rng.randrange(len(out) + 1)
        out[where:where + rng.randrange(0, 2)] = bytes([rng.choice([0x80, 0xBF, 0xC3, 0xE2, 0xF0, 0xFF, 0xC0, rng.randrange(256)])])
    return bytes(out)


def make_rng(seed):
    return random.Random(seed)
