"""The page: harmless whatever the source says, complete without a network, and alive in a browser."""

import re
import shutil
from html.parser import HTMLParser

import pytest

from qalint.cli.report import main
from qalint.report.listing import escape_markdown
from qalint.report.markup import escape, escape_line, prose

HOSTILE = '''\
"""</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>"""
import torch

evil = "\\u202e</title><svg onload=alert(3)>"  # `</code>` {{7*7}} ${alert(4)} <!-- -->
scaler_x = torch.cuda.amp.GradScaler()
# </details></main><iframe src="javascript:alert(5)"></iframe>
if __name__ == "__main__":
    learning_rate = 3e-4  # "'><b onmouseover=alert(6)>
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=learning_rate)
    torch.zeros(1, requires_grad=True).sum().backward()
'''
NAME = "a'\"<img src=x onerror=alert(7)>&`.py"
VOID = {"meta", "input", "br", "img", "link"}


class Checker(HTMLParser):
    """Notes every tag, and whether all are closed in order."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags = []
        self.stack = []
        self.ids = []
        self.links = []
        self.labels = set()
        self.inputs = []
        self.events = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.stack.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        if tag == "label" and "for" in values:
            self.labels.add(values["for"])
        if tag in ("select", "input"):
            self.inputs.append(values)
        self.events += [name for name in values if name.startswith("on")]

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1:]}>"
        self.stack.pop()


@pytest.fixture
def page(tmp_path):
    source = tmp_path / NAME
    source.write_text(HOSTILE)
    out = tmp_path / "report.html"
    assert main([str(source), "-o", str(out)]) == 0
    return out


def test_nothing_of_the_source_acts(page):
    text = page.read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.stack == []
    assert checker.tags.count("script") == 1
    assert {"img", "iframe", "b", "object", "link"} & set(checker.tags) == set()
    assert checker.events == []
    assert "\u202e" not in text
    assert text.count("<title>QA scorecard") == 1
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]+'", text)
    assert "default-src 'none'" in text


def test_nothing_is_fetched_and_links_lead_somewhere(page):
    checker = Checker()
    checker.feed(page.read_text())
    assert len(checker.ids) == len(set(checker.ids))
    for link in checker.links:
        assert link.startswith(("#", "https://")), link
        if link.startswith("#"):
            assert link[1:] in checker.ids, link
    assert "src=" not in re.sub(r"<pre.*?</pre>|src=x", "", page.read_text(), flags=re.S)


def test_controls_have_labels_and_charts_have_words(page):
    text = page.read_text()
    checker = Checker()
    checker.feed(text)
    for values in checker.inputs:
        assert values.get("type") == "checkbox" or values["id"] in checker.labels
    assert (
        text.count("<svg") == text.count('role="img"') == len(re.findall(r"<svg[^>]*aria-labelledby", text))
    )
    assert '<html lang="en">' in text
    assert 'class="skip" href="#main"' in text
    assert 'aria-live="polite"' in text


@pytest.mark.parametrize(
    "text", ["<", "a&b", '"', "'", "`x` <y>", "\x1b[31m", "\u2028", "\x00", "\ud800", "</script>"]
)
def test_escapes(text):
    for function in (escape, escape_line, prose):
        out = function(text)
        assert not re.search(r"<(?!/?code>)", out)
        assert not re.search(r"[\x00-\x08\x1b\u2028\u202e]", out)
        out.encode("utf-8")


def test_markdown_links_nowhere_and_calls_nobody(tmp_path, capsys):
    source = tmp_path / "x.py"
    body = "Because [click](http://evil.example) is better than <img src=x> | @everyone `unclosed"
    source.write_text(f'"""{body}"""\n' + HOSTILE)
    assert main([str(source), "--output-format", "markdown"]) == 0
    out = re.sub(r"```+text.*?```+", "", capsys.readouterr().out, flags=re.S)
    assert "@everyone" not in out
    assert "[click](" not in out
    assert "<img" not in out and "<script" not in out and "<iframe" not in out
    tags = set(re.findall(r"</?(\w+)", out))
    assert tags <= {"details", "summary", "code", "br"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a `b[0] <c>` d[0]", "a `b[0] <c>` d\\[0\\]"),
        ("one ` tick [x]", "one \\` tick \\[x\\]"),
        ("a | b\nc", "a \\| b\\x0ac"),
    ],
)
def test_markdown_escapes(text, expected):
    assert escape_markdown(text) == expected


def test_a_line_keeps_its_length():
    line = "\tx = '\x1b\u202e<'"
    assert len(re.sub(r"&\w+;|&#\d+;", "?", escape_line(line))) == len(line)


def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if path is None:
        pytest.skip("no Chromium")
    return playwright, path


def test_in_a_browser(page):
    playwright, path = browser()
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = chromium.new_context(
            offline=True, color_scheme="dark", viewport={"width": 400, "height": 800}
        )
        tab = context.new_page()
        problems, requests, dialogs = [], [], []
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        tab.goto(page.as_uri())
        assert problems == [] and dialogs == []
        assert requests == [page.as_uri()]

        # Nothing is wider than a narrow window.
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

        shown = "[data-entry=finding]:not([hidden])"
        every = tab.locator(shown).count()
        assert every > 2
        tab.uncheck("input[name=severity][value=low]")
        fewer = tab.locator(shown).count()
        assert 0 < fewer < every
        assert f"{fewer} findings" in tab.inner_text("#shown")
        tab.select_option("#section", "14")
        assert tab.locator(shown).count() == 0
        assert tab.locator("[data-entry=item]:not([hidden])").count() == 13
        tab.click("#clear")
        assert tab.locator(shown).count() == every
        tab.fill("#words", "gradscaler")
        assert 0 < tab.locator(shown).count() < every
        tab.click("#clear")
        tab.select_option("#file", "1")
        assert tab.locator(shown).count() == every

        # Dark by preference, light by the button; the keyboard reaches the skip link first.
        dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        tab.click("#theme")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        tab.reload()
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.className") == "skip"

        # A link into the source opens it.
        tab.locator("[data-entry=finding] a.place").first.click()
        assert tab.evaluate("document.querySelector(location.hash).closest('details').open")
        chromium.close()
