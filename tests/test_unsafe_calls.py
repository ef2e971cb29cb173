"""No file of the package calls what would run what it reads: its whole syntax is looked through, call by call."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "semples_cli"

# Whatever begins with one of these runs what it is given, or writes where an archive says.
FORBIDDEN = (
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle._loads", "_pickle.", "dill.",
    "cloudpickle.", "joblib.load", "shelve.", "marshal.", "os.system", "os.popen", "os.exec", "os.spawn",
    "os.posix_spawn", "os.startfile", "pty.", "subprocess.", "runpy.", "code.interact", "code.Interactive", "yaml.",
    "ruamel.", "torch.hub.", "torch.package.", "torch.ops.load_library", "torch.classes.load_library",
    "torch.utils.cpp_extension.", "numpy.ctypeslib.", "numpy.fromregex", "pandas.read_pickle", "jinja2.Template",
    "shutil.unpack_archive", "tempfile.mktemp", "ssl._create_unverified_context", "xml.", "lxml.",
)  # fmt: skip
# Of any object: tarfile's and zipfile's extraction, and templates that are themselves read.
FORBIDDEN_METHODS = ("extract", "extractall", "from_string", "unsafe_load")
# A call that is harmless with a certain argument, and only with it.
NEEDED = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "numpy.lib.format.read_array": ("allow_pickle", False),
    "jinja2.Environment": ("autoescape", True),
}
# What would be forbidden, by file, and why it is not.
ALLOWED = {
    "data/cams/restricted_pickle.py": {"pickle.Unpickler"},  # finds no name but those of its own table
    "data/cams/torch_storage.py": {"pickle.Unpickler"},  # the same
    "engine/convert.py": {"torch.jit.load"},  # behind --trust
    "artifacts/report_html/svg.py": {"xml.etree.ElementTree"},  # reads what matplotlib wrote a line before
    "artifacts/export/label_studio.py": {"xml.etree.ElementTree"},  # writes alone
    "artifacts/report_html/render.py": {"markupsafe.Markup"},  # our own drawings, style, script; JSON that is escaped
    "steps/export_masks.py": {"importlib.import_module"},  # one of a table of ours
    "__init__.py": {"importlib.import_module"},  # the same
}
WITH_A_REASON = ("pickle.Unpickler", "torch.jit.load", "markupsafe.Markup", "importlib.import_module")
# Who may know of a network: `models pull`, processes of one training, Ray's address.
NETWORK = {
    "engine/weights.py": {"urllib.request", "urllib.error", "huggingface_hub"},
    "engine/vit_weights.py": {"huggingface_hub"},
    "engine/rendezvous.py": {"socket"},
    "steps/ray_cluster.py": {"socket", "ray"},
    "steps/ray_shards.py": {"ray"},
}
NETWORK_MODULES = re.compile(
    r"(socket|ssl|http|urllib\.(request|error)|urllib3|requests|httpx|aiohttp|ftplib|smtplib|telnetlib|xmlrpc"
    r"|huggingface_hub|ray|websockets|paramiko|boto3)(\.|$)"
)


def find_unsafe(source, allowed=frozenset()):
    """What a module does that it should not, each as 'line: what'."""
    tree = ast.parse(source)
    names = _imported(tree)
    return [f"{node.lineno}: {what}" for node in ast.walk(tree) for what in _trouble(node, names, allowed)]


def _trouble(node, names, allowed):
    if isinstance(node, ast.Call):
        yield from _called(node, names, allowed)
    if isinstance(node, ast.ClassDef):
        yield from (base for each in node.bases if (base := _dotted(each, names)) in set(WITH_A_REASON) - allowed)
    if isinstance(node, ast.Import | ast.ImportFrom):
        xml = (name for name in _modules(node) if name.startswith(("xml.", "lxml")))
        yield from (f"import {name}" for name in xml if not any(_is_in(each, name) for each in allowed))


def _called(node, names, allowed):
    name = _dotted(node.func, names)
    if any(_is_in(name, each) for each in allowed):
        return
    if name in WITH_A_REASON or any(name == each or (name.startswith(each) and "." in each) for each in FORBIDDEN):
        yield name
    if isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_METHODS:
        yield f".{node.func.attr}"
    given = {each.arg: each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)}
    if name in NEEDED and given.get(NEEDED[name][0]) is not NEEDED[name][1]:
        yield "{} without {}={}".format(name, *NEEDED[name])
    if given.get("shell") is True or given.get("verify") is False:
        yield f"{name} with shell=True, or verify=False"


def _is_in(name, module):
    return name == module or name.startswith(f"{module}.")


def _imported(tree):
    """Full name by the name that a module has given it."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.asname: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return names


def _dotted(node, names):
    """`np.load` as 'numpy.load'; what is no name, such as the result of a call, is '()'."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    first = node.id if isinstance(node, ast.Name) else "()"
    return ".".join([names.get(first, first).removeprefix("builtins."), *reversed(parts)]).removeprefix("builtins.")


def _modules(node):
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module, *(f"{node.module}.{each.name}" for each in node.names)]


MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def test_no_module_runs_what_it_reads():
    found = {name: find_unsafe(path.read_text(), ALLOWED.get(name, frozenset())) for name, path in MODULES.items()}
    assert len(MODULES) > 200
    assert {name: what for name, what in found.items() if what} == {}


def test_no_example_does():
    examples = sorted((PACKAGE.parent / "examples").rglob("*.py"))
    assert len(examples) > 0
    assert {path.name: found for path in examples if (found := find_unsafe(path.read_text()))} == {}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_is_there(name):
    """An exception that nobody needs any more is taken back."""
    for each in ALLOWED[name]:
        assert find_unsafe(MODULES[name].read_text(), ALLOWED[name] - {each}) != []


def test_the_network_is_known_to_few():
    for name, path in MODULES.items():
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        used = {each for node in nodes for each in _modules(node)[:1] if NETWORK_MODULES.match(each)}
        assert [each for each in used if not any(_is_in(each, known) for known in NETWORK.get(name, ()))] == [], name


def test_templates_and_scripts_of_the_page_make_no_markup_of_text():
    page = PACKAGE / "artifacts" / "report_html"
    assert not re.search(r"\|\s*safe\b|autoescape\s+false|Markup", (page / "report.html.j2").read_text())
    script = (page / "report.js").read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|setAttribute\(\"on", script
    )


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle\npickle.load(f)",
        "import pickle as p\np.loads(data)",
        "from pickle import loads\nloads(data)",
        "from pickle import loads as read\nread(data)",
        "import pickle\npickle.Unpickler(f).load()",
        "import pickle\nclass Mine(pickle.Unpickler): ...",
        "from pickle import Unpickler\nclass Mine(Unpickler): ...",
        "import dill\ndill.loads(data)",
        "import joblib\njoblib.load(path)",
        "import shelve\nshelve.open(path)",
        "import marshal\nmarshal.loads(data)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=flag)",
        "import torch\ntorch.load(path, weights_only=1)",
        "from torch import load\nload(path)",
        "import torch\ntorch.jit.load(path)",
        "from torch import jit\njit.load(path)",
        "import torch\ntorch.hub.load('a', 'b')",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=mine)",
        "from numpy.lib import format\nformat.read_array(f)",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "import builtins\nbuiltins.eval(text)",
        "import importlib\nimportlib.import_module(name)",
        "import os\nos.system(text)",
        "import os\nos.popen(text)",
        "import os\nos.execvp(text, [])",
        "import subprocess\nsubprocess.run([text])",
        "from subprocess import Popen\nPopen(text)",
        "run(text, shell=True)",
        "get(url, verify=False)",
        "import yaml\nyaml.load(f)",
        "import yaml\nyaml.safe_load(f)",
        "from xml.etree import ElementTree",
        "import xml.dom.minidom",
        "from lxml import etree",
        "import tarfile\ntarfile.open(f).extractall(out)",
        "import zipfile\nzipfile.ZipFile(f).extract(name)",
        "import shutil\nshutil.unpack_archive(f)",
        "import tempfile\ntempfile.mktemp()",
        "import jinja2\njinja2.Environment()",
        "from jinja2 import Environment\nEnvironment(autoescape=False)",
        "from jinja2 import Template\nTemplate(text)",
        "environment.from_string(text)",
        "from markupsafe import Markup\nMarkup(text)",
    ],
)
def test_the_search_finds(bad):
    assert find_unsafe(bad)


@pytest.mark.parametrize(
    "good",
    [
        "import torch\ntorch.load(path, map_location='cpu', weights_only=True)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import pickle\npickle.dumps(value)",
        "model.eval()",
        "import re\nre.compile('a')",
        "from defusedxml.ElementTree import parse\nparse(path)",
        "from jinja2 import Environment\nEnvironment(autoescape=True)",
        "import zipfile\nzipfile.ZipFile(f).read(name)",
        "import ast\nast.literal_eval(text)",
    ],
)
def test_the_search_leaves_alone(good):
    assert find_unsafe(good) == []
