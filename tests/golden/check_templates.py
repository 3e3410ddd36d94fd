#!/usr/bin/env python3
"""Renders every *.jinja of a folder over many conversations with jinja2 (as transformers does) and with our binary,
and compares. Needs jinja2 and the target render_templates.

  tests/golden/check_templates.py build/release/tests/render_templates FOLDER [-v]

Made for the 69 real templates in llama.cpp's models/templates; exit status 1 when an output differs.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import hf_templates

# Template -> why it differs. Nothing else may.
KNOWN = {
    "meetkai-functionary-medium-v3.1.jinja":
        "marks a string as safe and joins others to it, which jinja2 then HTML-escapes: a slip of that template",
}
# Reasons why jinja2 refuses where minijinja goes on: an absent list is an empty one, a generator is a list.
LENIENT = ("'NoneType' object is not iterable", "Object of type generator is not JSON serializable")


def our_outputs(binary, jobs):
    """jobs: (template path, context path) -> (ok, text)"""
    lines = "".join(f"{template}\t{context}\n" for template, context in jobs)
    environment = {**os.environ, "TZ": "UTC"}
    raw = subprocess.run([binary, str(hf_templates.NOW)], input=lines.encode(), stdout=subprocess.PIPE, check=True,
                         env=environment).stdout
    outputs, at = [], 0
    for _ in jobs:
        end = raw.index(b"\n", at)
        state, size = raw[at:end].split()
        at = end + 1 + int(size)
        outputs.append((state == b"ok", raw[end + 1:at].decode()))
    return outputs


def main():
    os.environ["TZ"] = "UTC"
    binary, folder, verbose = sys.argv[1], pathlib.Path(sys.argv[2]), "-v" in sys.argv[3:]
    templates = sorted(folder.glob("*.jinja"))
    same = refused = lenient = 0
    differing = {}
    with tempfile.TemporaryDirectory() as work:
        cases, jobs = [], []
        for i, (name, context) in enumerate(hf_templates.conversations().items()):
            path = pathlib.Path(work) / f"{i}.json"
            path.write_text(json.dumps(context, ensure_ascii=False))
            for template in templates:
                cases.append((template, name, context))
                jobs.append((template, path))
        for (template, name, context), (ok, text) in zip(cases, our_outputs(binary, jobs)):
            expected_ok, expected = hf_templates.render(template.read_text(), context)
            if ok == expected_ok and (not ok or text == expected):
                same += 1
                refused += not ok
                continue
            if ok and not expected_ok and any(reason in expected for reason in LENIENT):
                lenient += 1
                continue
            differing.setdefault(template.name, []).append(name)
            if verbose:
                print(f"--- {template.name}, {name}\n  jinja2 {expected_ok}: {expected!r}\n  ours   {ok}: {text!r}")
    print(f"{len(templates)} templates, {len(cases)} renderings: {same} equal ({refused} refused by both), {lenient} lenient")
    unknown = 0
    for name, conversations in differing.items():
        reason = KNOWN.get(name)
        unknown += reason is None
        print(f"differs: {name}: {', '.join(conversations)}: {reason or 'UNKNOWN'}")
    return 1 if unknown or not templates else 0


if __name__ == "__main__":
    sys.exit(main())
