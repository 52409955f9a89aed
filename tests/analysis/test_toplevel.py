"""An imported file runs only as far as the program needs it, and what it does by itself is not lost."""

import ast

from qalint.analysis.modules import Modules
from qalint.analysis.modules.toplevel import TopLevel
from qalint.analysis.project import Project
from qalint.file import File
from qalint.linter import parse
from qalint.source import Source


def program(folder, **files: str) -> Modules:
    """The analysis of `main`, beside the other files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    source = Source(str(folder / "main.py"), files["main"])
    file = File(source, parse(source).tree, Project([str(folder)]))
    found = file.get(Modules)
    assert found is not None
    return found


def events(modules: Modules, kind: str) -> list[str]:
    return [ast.unparse(event.site.node) for event in modules.all(kind)]


def test_what_nobody_needs_does_not_run(tmp_path):
    modules = program(
        tmp_path,
        main="import torch\nfrom parts import Net\n\nnet = Net()\n",
        parts=(
            "import torch\n\n\nclass Net(torch.nn.Module):\n    pass\n\n\n"
            "class Other(Net):\n    pass\n\n\nspare = torch.nn.Linear(2, 2)\n"
        ),
    )
    assert [cls.name for cls in modules.run.classes] == ["Net"]
    assert "torch.nn.Linear(2, 2)" not in events(modules, "load")


def test_what_a_file_does_to_its_own_model_is_seen(tmp_path):
    modules = program(
        tmp_path,
        main="import torch\nfrom parts import net\n\nnet(torch.zeros(2))\n",
        parts="import torch\n\nnet = torch.nn.Linear(2, 2)\nmoved = net.to('cuda')\nnet.half()\n",
    )
    assert events(modules, "move") == ["net.to('cuda')"]
    assert events(modules, "cast") == ["net.half()"]
    assert len(list(modules.all("forward"))) == 1


def test_a_name_that_is_needed_on_both_arms_is_bound_once(tmp_path):
    modules = program(
        tmp_path,
        main=(
            "import sys\nimport torch\nfrom parts import net\n\n"
            "if sys.argv:\n    net.half()\nelse:\n    net.float()\nnet.cuda()\n"
        ),
        parts="import torch\n\nnet = torch.nn.Linear(2, 2)\n",
    )
    found = list(modules.all("cast", "move"))
    assert [ast.unparse(event.site.node) for event in found] == ["net.half()", "net.cuda()"]
    assert len({id(event.target) for event in found}) == 1


def test_conditional_imports_wait_with_what_stands_in_for_them():
    tree = ast.parse(
        "try:\n    import a\nexcept ImportError:\n    a = None\n"
        "if a:\n    from a import f\nelse:\n    def f(): pass\n"
        "x = build()\ny = freeze(x)\nz = 1\nz = 2\nprint(z)\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    top = TopLevel.of(tree)
    assert sorted(top.waiting) == ["a", "f", "x", "z"]
    assert len(top.waiting["z"]) == 2
    assert [ast.unparse(statement) for statement in top.at_once] == ["y = freeze(x)", "print(z)"]
    assert top.imports["f"] == ("a", 0)
