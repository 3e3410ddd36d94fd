#!/usr/bin/env python3
"""Prints "passed failed skipped" of a JUnit report, as ctest and pytest write it. Usage: junit_counts.py FILE"""
import sys
import xml.etree.ElementTree

passed = failed = skipped = 0
try:
    cases = list(xml.etree.ElementTree.parse(sys.argv[1]).iter("testcase"))
except (OSError, xml.etree.ElementTree.ParseError) as error:
    sys.exit(f"junit_counts: {error}")
for case in cases:
    outcomes = {child.tag for child in case}
    if outcomes & {"failure", "error"}:
        failed += 1
    elif "skipped" in outcomes or case.get("status") in ("notrun", "disabled"):
        skipped += 1
    else:
        passed += 1
print(passed, failed, skipped)
