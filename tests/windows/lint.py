"""Reads the PowerShell scripts of this folder with two grammars and finds what a run would stumble on.

There is no PowerShell among the packages that this project may install, so nothing here runs the
scripts. Two independent tree-sitter grammars must accept each file, and these rules hold:

help       the file begins with a comment that has a .SYNOPSIS
strict     strict mode and stopping at errors, or common.ps1, which has both
verb       a function is called Verb-Noun, with an approved verb
command    each command is a function of these scripts or stands in cmdlets.txt; no aliases
program    a program is called with its extension, by its path, or by a variable
parameter  each parameter is one of the function's own, or stands in cmdlets.txt after the cmdlet
variable   each variable that is read is assigned somewhere, or is PowerShell's own
version    nothing that Windows PowerShell 5.1 lacks

`lint.py` checks the folder; `lint.py --planted` plants a fault for each rule and checks that the rule
sees it. Prints one line for each finding, then the counts; ends with 1 if there is a finding.
"""

import pathlib
import sys

import tree_sitter
import tree_sitter_powershell
import tree_sitter_pwsh

FOLDER = pathlib.Path(__file__).resolve().parent
PARSERS = [
    tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    for grammar in (tree_sitter_powershell, tree_sitter_pwsh)
]
VERBS = {
    "add", "clear", "copy", "export", "find", "get", "import", "install", "invoke", "measure",
    "new", "read", "remove", "restore", "save", "select", "set", "start", "stop", "test",
    "uninstall", "update", "wait", "write",
}
# Variables that PowerShell sets, and parameters that every advanced function has.
OWN = {
    "_", "true", "false", "null", "psscriptroot", "lastexitcode", "args", "input", "pscommandpath",
    "erroractionpreference", "matches",
}
COMMON = {"verbose", "erroraction", "erroractionpreference", "warningaction", "outvariable"}


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def text(node):
    return node.text.decode()


def of_type(node, *kinds):
    return [one for one in walk(node) if one.type in kinds]


class Script:
    """One file and what it defines."""

    def __init__(self, name, source):
        self.name = name
        self.source = source
        self.trees = [parser.parse(source.encode()) for parser in PARSERS]
        self.root = self.trees[0].root_node
        self.functions = {}
        for function in of_type(self.root, "function_statement"):
            names = of_type(function, "function_name")
            own = [text(v).lstrip("$").lower() for p in of_type(function, "script_parameter")
                   for v in p.children if v.type == "variable"]
            self.functions[text(names[0]).lower()] = own


def variables(node):
    for one in of_type(node, "variable"):
        name = text(one).lstrip("$@").strip("{}").lower()
        if name.startswith("script:"):
            name = name[len("script:"):]
        if not name.startswith("env:"):
            yield one, name


def assigned(script):
    names = set()
    for node in of_type(script.root, "left_assignment_expression", "script_parameter"):
        found = [name for _, name in variables(node)]
        names.update(found[:1])
    for loop in of_type(script.root, "foreach_statement"):
        names.update(name for one, name in variables(loop) if one.parent == loop)
    return names


def check(scripts, cmdlets):
    functions, shared = {}, set()
    for script in scripts:
        functions.update(script.functions)
        if script.name in ("common.ps1", "run.ps1", "scenarios.ps1", "silos.ps1"):
            shared |= assigned(script)
    for script in scripts:
        yield from check_one(script, functions, shared, cmdlets)


def check_one(script, functions, shared, cmdlets):
    def finding(node, rule, what):
        line = node.start_point[0] + 1 if node else 1
        return script.name, line, rule, what

    for tree in script.trees:
        for node in walk(tree.root_node):
            if node.type == "ERROR" or node.is_missing:
                yield finding(node, "parse", f"no PowerShell: {text(node)[:40]!r}")
                break
    head = script.source.lstrip()
    head = head.split("\n", 1)[-1].lstrip() if head.startswith("#Requires") else head
    if not head.startswith("<#") or ".SYNOPSIS" not in head.split("#>")[0]:
        yield finding(None, "help", "begins with no comment that has a .SYNOPSIS")
    strict = "Set-StrictMode -Version Latest" in script.source
    stops = "$ErrorActionPreference = 'Stop'" in script.source
    if not (strict and stops) and "'common.ps1'" not in script.source:
        if "To be dot-sourced by" not in script.source:
            yield finding(None, "strict", "neither strict mode with Stop nor common.ps1")
    for name in script.functions:
        if name.count("-") != 1 or name.split("-")[0] not in VERBS:
            yield finding(None, "verb", f"{name} is no Verb-Noun with an approved verb")
    for command in of_type(script.root, "command"):
        yield from check_command(command, functions, cmdlets, finding)
    known = assigned(script) | shared | OWN
    for node, name in variables(script.root):
        if name not in known:
            yield finding(node, "variable", f"${name} is never assigned")
    for node in of_type(script.root, "pipeline_chain_tail"):
        yield finding(node, "version", "&& and || are not in Windows PowerShell 5.1")


def check_command(command, functions, cmdlets, finding):
    names = [c for c in command.children if c.type in ("command_name", "command_name_expr")]
    if not names:
        return
    name = text(names[0])
    called = command.children[0].type == "command_invokation_operator"
    if name[0].isdigit() or name.startswith(("$", "(", "{")):
        return
    if called or name.lower().endswith(".exe"):
        if not name.lower().endswith(".exe"):
            yield finding(command, "program", f"{name}: write the program with its extension")
        return
    known = functions.get(name.lower(), cmdlets.get(name.lower()))
    if known is None:
        yield finding(command, "command", f"{name} is no function here and not in cmdlets.txt")
        return
    for parameter in parameters(command):
        if parameter not in known and parameter not in COMMON:
            yield finding(command, "parameter", f"{name} has no -{parameter}")


def parameters(command):
    elements = [c for c in command.children if c.type == "command_elements"]
    given = [c for e in elements for c in e.children if c.type == "command_parameter"]
    return [text(one).lstrip("-").split(":")[0].lower() for one in given]


GOOD = """<#
.SYNOPSIS
A script.
#>
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
function Get-Thing {
    param([string] $Name)
    return "$Name"
}
$one = Get-Thing -Name 'x'
Write-Output $one
& where.exe $one
"""
PLANTED = [
    ("parse", "$one = Get-Thing -Name 'x'", "$one = Get-Thing -Name 'x"),
    ("parse", "    return \"$Name\"\n}", "    return \"$Name\"\n"),
    ("help", ".SYNOPSIS", "Synopsis"),
    ("strict", "Set-StrictMode -Version Latest", ""),
    ("strict", "'Stop'", "'Continue'"),
    ("verb", "Get-Thing", "Obtain-Thing"),
    ("command", "Write-Output", "Write-Outptu"),
    ("command", "Write-Output $one", "gci $one"),
    ("program", "where.exe", "where"),
    ("parameter", "-Name 'x'", "-Naem 'x'"),
    ("parameter", "Write-Output $one", "Write-Output -Objcet $one"),
    ("variable", "Write-Output $one", "Write-Output $own"),
    ("version", "& where.exe $one", "& where.exe $one && Write-Output $one"),
]


def planted():
    """Each fault must be seen by its rule; the good script by none."""
    cmdlets = {"set-strictmode": {"version"}, "write-output": set()}
    if findings := list(check([Script("good.ps1", GOOD)], cmdlets)):
        print(f"the good script: {findings}")
        return 1
    missed = 0
    for rule, old, new in PLANTED:
        source = GOOD.replace(old, new)
        assert source != GOOD, old
        rules = {found[2] for found in check([Script("bad.ps1", source)], cmdlets)}
        if rule not in rules:
            print(f"rule {rule} does not see {new!r}, only {sorted(rules)}")
            missed += 1
    print(f"{len(PLANTED) - missed} of {len(PLANTED)} planted faults are seen")
    return missed


def main():
    lines = (FOLDER / "cmdlets.txt").read_text().splitlines()
    words = [line.lower().split() for line in lines if line and not line.startswith("#")]
    cmdlets = {first: set(rest) for first, *rest in words}
    if "--planted" in sys.argv:
        return planted()
    scripts = [Script(file.name, file.read_text()) for file in sorted(FOLDER.glob("*.ps1"))]
    used = {text(n).lower() for s in scripts for n in of_type(s.root, "command_name")}
    findings = list(check(scripts, cmdlets))
    idle = sorted(set(cmdlets) - used)
    findings += [("cmdlets.txt", 1, "command", f"{one} is not used") for one in idle]
    for name, line, rule, what in findings:
        print(f"tests/windows/{name}:{line}: {rule}: {what}")
    lengths = sum(script.source.count("\n") for script in scripts)
    print(f"{len(scripts)} scripts, {lengths} lines, {len(findings)} findings")
    return len(findings)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
