#!/usr/bin/env python3
"""Include levels: fails when a module uses another that it does not declare, or that stands above it.

Reads the module order of the top CMakeLists.txt (low to high) and the DEPS of every edgewise_module() line.
A module may include its own headers and those of its DEPS, and of what these stand on. Usage: check_layers.py [ROOT]
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
KEYWORDS = {"NAME", "SOURCES", "DEPS", "LIBS", "TESTS", "TEST_LIBS"}


def module_order(root):
    text = (root / "CMakeLists.txt").read_text()
    loop = re.search(r"foreach\(module ([^)]*)\)", text)
    if not loop:
        sys.exit("check_layers: no 'foreach(module ...)' in CMakeLists.txt")
    return loop.group(1).split()


def declared(cmake_file):
    """{module: {keyword: [words]}} of one CMakeLists.txt."""
    text = re.sub(r"#.*", "", cmake_file.read_text())
    modules = {}
    for call in re.finditer(r"edgewise_module\(([^)]*)\)", text):
        groups, keyword = {}, None
        for word in call.group(1).split():
            if word in KEYWORDS:
                keyword = word
                groups[keyword] = []
            elif keyword:
                groups[keyword].append(word)
        modules[groups["NAME"][0]] = groups
    return modules


def reach(module, deps, path=()):
    """The modules that `module` may include: its dependencies, and theirs."""
    if module in path:
        return set()
    below = set()
    for dep in deps.get(module, ()):
        below |= {dep} | reach(dep, deps, (*path, module))
    return below


def check(root):
    order = module_order(root)
    level = {name: i for i, name in enumerate(order)}
    problems, deps = [], {}
    for folder in sorted(p for p in (root / "src").iterdir() if p.is_dir() and any(p.iterdir())):
        cmake_file = folder / "CMakeLists.txt"
        if folder.name not in level:
            problems.append(f"src/{folder.name}: not in the module list of CMakeLists.txt")
            continue
        modules = declared(cmake_file) if cmake_file.exists() else {}
        if folder.name not in modules:
            problems.append(f"src/{folder.name}: no edgewise_module(NAME {folder.name} ...) in its CMakeLists.txt")
            continue
        deps[folder.name] = modules[folder.name].get("DEPS", [])
    for module, names in deps.items():
        for dep in names:
            if dep not in level:
                problems.append(f"src/{module}/CMakeLists.txt: DEPS names {dep}, which is no module")
            elif level[dep] >= level[module]:
                problems.append(f"src/{module}/CMakeLists.txt: DEPS names {dep}, which is not below {module}")
    files = 0
    for module in deps:
        allowed = {module} | reach(module, deps)
        for path in sorted((root / "src" / module).rglob("*")):
            if path.suffix not in (".h", ".cc"):
                continue
            files += 1
            for include in INCLUDE.findall(path.read_text()):
                used = include.split("/")[0] if "/" in include else module
                where = path.relative_to(root)
                if used not in level:
                    continue  # a library's own header in quotes
                if level[used] > level[module]:
                    problems.append(f"{where}: includes {include}, which stands above {module}")
                elif used not in allowed:
                    problems.append(f"{where}: includes {include}, but {used} is not in the DEPS of {module}")
    return problems, files, len(deps)


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    problems, files, modules = check(root)
    for problem in problems:
        print(problem)
    print(f"check_layers: {files} files in {modules} modules, {len(problems)} problems")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
