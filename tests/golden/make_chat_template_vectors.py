#!/usr/bin/env python3
"""Writes chat_template_vectors.json: what jinja2 (see hf_templates.py) makes of real models' own templates and of a
list of small templates that touch each convention.

  TZ=UTC tests/golden/make_chat_template_vectors.py MODEL.gguf... > tests/golden/chat_template_vectors.json

Made with jinja2 3.1.6 on Python 3.11 from SmolLM2-135M-Instruct and Qwen2.5-Coder-1.5B-Instruct.
"""
import json
import pathlib
import struct
import sys

import jinja2

import hf_templates

CONTEXT = {
    "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    "text": "  Ünï <b> & \"q\" 'a'  ", "empty": "", "n": 3, "x": 1.5, "big": 1e22, "small": 1.5e-7, "whole": 2.0,
    "yes": True, "none": None, "list": [3, 1, 2], "nested": {"b": [1, {"k": None}], "a": "é\u0001\u007f", "items": 7},
    "words": ["x", "Y", "z"], "lines": "one\ntwo\nthree", "bos_token": "<s>", "long": 2**63, "emoji": "😀",
}

FEATURES = r"""
{{ yes }} {{ none }} {{ list }} {{ nested }} {{ x }} {{ whole }} {{ big }} {{ small }} {{ long }}
{{ undefined_thing }}|{{ undefined_thing is defined }}|{{ text is defined }}
{{ undefined_thing.deeper }}
{{ nested.missing }}|{{ nested['missing'] is defined }}
{{ nested | tojson }}
{{ nested | tojson(indent=2) }}
{{ list | tojson(indent=4) }}{{ {} | tojson(indent=2) }}{{ [] | tojson(indent=2) }}
{{ text | tojson }}{{ emoji | tojson }}{{ emoji | tojson(ensure_ascii=true) }}
{{ nested | tojson(separators=(',', ':')) }}{{ nested | tojson(sort_keys=true) }}
{{ [x, whole, big, small, n, yes, none, long] | tojson }}
{{ {1: 'a', none: 2, true: 3, 'k': (1, 2)} | tojson }}
{{ undefined_thing | tojson }}
{{ text | trim }}|{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}|{{ 'xxaxx'.strip('x') }}
{{ 'a,b,,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a-b-c'.split('-', 1) }}{{ ('a</think>b'.split('</think>')|last).lstrip('\n') }}
{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abc'.upper() }}{{ 'ABC'.lower() }}{{ 'a b'.title() }}{{ 'abc'.capitalize() }}
{{ 'aXbX'.replace('X', '-') }}{{ 'aXbX' | replace('X', '-') }}{{ 'abcabc'.find('c') }}{{ 'abcabc'.rfind('c') }}{{ 'aab'.count('a') }}
{{ '{} and {name}'.format(1, name='b') }}{{ '%s-%d' | format('a', 3) }}{{ '-'.join(words) }}{{ words | join(', ') }}
{{ nested.items() | list }}{{ nested.keys() | list }}{{ nested.get('zzz', 'dflt') }}{{ nested.get('zzz') }}
{% for k, v in nested.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in nested | items %}{{ k }}={{ v }};{% endfor %}{{ nested | dictsort }}
{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.length }}{{ m.content }}{% endfor %}
{% for m in messages %}{{ loop.previtem.content if loop.previtem is defined else '-' }}{{ loop.nextitem.content if not loop.last }}{% endfor %}
{% for m in messages if m.role == 'user' %}{{ m.content }}{% else %}none{% endfor %}{% for m in [] %}x{% else %}none{% endfor %}
{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ m.content }}{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}
{% for m in messages[1:] %}{{ m.content }}{% endfor %}{{ messages[-1].content }}{{ messages[:-1] | length }}{{ messages[::-1] | map(attribute='content') | join }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}{{ messages | rejectattr('role', '==', 'user') | list | length }}
{{ messages | map('upper') | list if false else words | map('upper') | list }}{{ [0, 1, none, 2] | select | list }}{{ [1, 2, 3, 4] | reject('odd') | list }}
{% set ns = namespace(found=false, n=1) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}{{ ns.found }}
{% set a = 1 %}{% for i in range(3) %}{% set a = a + i %}{% endfor %}{{ a }}
{% set a = 1 %}{% if true %}{% set a = 2 %}{% endif %}{{ a }}
{% macro m(a, b='d', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(1, c=3) }}{{ m(b=1, a=2) }}
{% macro wrap(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call wrap('p') %}in{% endcall %}
{% set block %}a{{ n }}b{% endset %}{{ block }}{{ block is string }}{{ block | upper }}
{% filter upper %}abc{% endfilter %}{% raw %}{{ raw }}{% generation %}{% endraw %}{# comment {% generation %} #}
{%- generation -%} made {{ n }} {%- endgeneration -%} after
{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q is defined }}
{{ list is sequence }}{{ text is sequence }}{{ nested is sequence }}{{ n is sequence }}{{ text is iterable }}{{ nested is iterable }}{{ n is iterable }}{{ none is iterable }}
{{ nested is mapping }}{{ list is mapping }}{{ text is string }}{{ n is number }}{{ yes is number }}{{ yes is boolean }}{{ n is integer }}{{ yes is integer }}{{ x is float }}{{ none is none }}
{{ 'a' in 'abc' }}{{ 'a' in words }}{{ 'b' in nested }}{{ 'a' not in words }}{{ n in list }}{{ n == 3.0 }}{{ yes == 1 }}{{ 'a' < 'b' }}
{{ n / 2 }}{{ n // 2 }}{{ n % 2 }}{{ n ** 2 }}{{ -n }}{{ 7 / 7 }}{{ n * 1.5 }}{{ 'ab' * 2 }}{{ [1] + [2] }}{{ 'a' ~ 1 ~ none ~ true }}
{{ 'yes' if yes else 'no' }}{{ 'x' if false }}{{ not yes }}{{ yes and n }}{{ empty or 'dflt' }}{{ none or false }}
{{ empty | default('d') }}{{ empty | default('d', true) }}{{ undefined_thing | default('d') }}{{ none | default('d') }}{{ undefined_thing or 'u' }}
{{ list | length }}{{ text | length }}{{ list | first }}{{ list | last }}{{ list | sort }}{{ list | max }}{{ list | min }}{{ list | sum }}{{ list | reverse | list }}{{ 'abc' | reverse }}
{{ list | string }}{{ yes | string }}{{ x | string }}{{ '3' | int + 1 }}{{ '2.5' | float }}{{ 'x' | int }}{{ x | round }}{{ x | int }}{{ -3 | abs }}
{{ [1, 2, 1] | unique | list }}{{ messages | groupby('role') | map('first') | list }}{{ [1, 2, 3] | batch(2) | list }}
{{ lines | indent(2) }}|{{ lines | indent(2, true) }}|{{ lines.splitlines() }}
[{{ 'a\n\nb\n' | indent(2) }}][{{ 'a\n\nb' | indent(2, true, true) }}][{{ '' | indent(2, first=true) }}][{{ '{\n' | indent(4, first=true) }}][{{ 'a\nb' | indent('->') }}]
{{ 'a\r\nb\rc\n'.splitlines() }}{{ 'a\nb'.splitlines(true) }}{{ 'n/a' | int(7) }}{{ 'n/a' | float }}{{ '0x1f' | int(base=16) }}{{ none | int }}
{{ text | e }}{{ text | escape }}{{ '<a>' | safe }}{{ 'HELLO World' | lower | title }}{{ 'hello wORLD' | capitalize }}
{{ strftime_now('%Y-%m-%d %H:%M %d %b %B %A %j %-d') }}
{{ raise_exception('no, ' ~ n) }}
{{ 'a' 'b' }}
{{ "tab\tnew\\n'q'" }}{{ 'line\nbreak' }}{{ 'é\u00e9\x41' }}
{% if n > 2 and n < 4 %}in{% elif n %}other{% else %}zero{% endif %}{{ 1 if n is odd else 2 }}{{ n is divisibleby 3 }}{{ n is eq 3 }}{{ 'x' is in words }}
   {% if yes %}
lstrip
   {% endif %}
  {{- ' minus ' -}}  end
{%+ if yes +%}
plus{% endif %}
{{ list.append(1) }}
{{ nested.update({'a': 1}) }}
{{ text.__class__ }}
{{ n.missing() }}
{% include 'other' %}
{{ range(3) | list }}{{ range(1, 6, 2) | list }}{{ dict(a=1, b='x') }}{{ (1, 'a') }}{{ (1,) }}{{ {'k': 'v'} }}
{% set x, y = 1, 2 %}{{ x }}{{ y }}{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}
{% with z = 1 %}{{ z }}{% endwith %}{{ z is defined }}
{% for i in range(2) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{% endfor %}{{ cycler('a', 'b').next() }}
{% for c in 'abc' %}{{ c }}.{% endfor %}{% for k in nested %}{{ k }},{% endfor %}{{ 'abc'[1] }}{{ 'abc'[1:] }}{{ 'abc'[-1] }}{{ 'abc'[::-1] }}
{{ text.isdigit() }}{{ '12'.isdigit() }}{{ 'ab'.isalpha() }}{{ 'x'.isupper() }}{{ words.count('x') }}{{ words.index('z') }}
{{ messages[0]['content'] + 1 }}
{{ undefined_function() }}
{% if %}
{{ 1 +
{% endfor %}
"""


def metadata_string(path, key):
    """One string of a GGUF file's metadata (docs/gguf.md of ggml)."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    with open(path, "rb") as f:
        _, _, _, count = struct.unpack("<IIQQ", f.read(24))

        def text():
            return f.read(struct.unpack("<Q", f.read(8))[0])

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                item, n = struct.unpack("<IQ", f.read(12))
                for _ in range(n):
                    value(item)
                return None
            return f.read(sizes[kind])

        for _ in range(count):
            name = text().decode()
            found = value(struct.unpack("<I", f.read(4))[0])
            if name == key:
                return found.decode()
    raise KeyError(key)


def case(source, name, variables):
    ok, output = hf_templates.render(source, variables)
    return {"context": name, "ok": ok, "output": output}


def main():
    conversations = hf_templates.conversations()
    vectors = {"maker": f"jinja2 {jinja2.__version__}", "now": hf_templates.NOW,
               "contexts": {"features": CONTEXT, **conversations}, "templates": []}
    for path in sys.argv[1:]:
        source = metadata_string(path, "tokenizer.chat_template")
        cases = [case(source, name, variables) for name, variables in conversations.items()]
        vectors["templates"].append({"name": pathlib.Path(path).stem, "source": source, "cases": cases})
    sources = FEATURES.strip("\n").split("\n")
    sources += [
        "   {% if yes %}\n  kept  \n   {% endif %}\n tail \n",
        "{% for m in messages %}\n{{ m.content }}\n{% endfor %}\n",
        "a\n  {#- comment -#}  \nb\n\n", "{{ 'x' }}\n\n\n", "\n{{ 'x' }}",
        "{%- for m in messages -%}\n  {{- m.role }}:\n  {%- if not loop.last %}, {% endif %}\n{%- endfor -%}\n",
        "{% set x %}\n  {{ n }}\n{% endset %}[{{ x }}]",
    ]
    for i, source in enumerate(sources):
        vectors["templates"].append({"name": f"feature {i}", "source": source,
                                     "cases": [case(source, "features", CONTEXT)]})
    json.dump(vectors, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
