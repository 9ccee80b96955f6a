"""A reader of the pages that the tests look at: cells with their exact numbers, addresses, text."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """``cells[(spec, name)]`` -> (exact value, shown text); ``tags`` counts elements; ``addresses`` in src and href."""

    def __init__(self, text: str):
        super().__init__()
        self.cells: dict[tuple[str, str], tuple[str, str]] = {}
        self.tags: dict[str, int] = {}
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self._at: tuple[str, str] | None = None
        self._small = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.addresses += [found[k] for k in ("src", "href", "srcset", "action", "data") if found.get(k)]
        self.handlers += [k for k in found if k.startswith("on")]
        if "data-spec" in found:
            self._at = (found["data-spec"], found["data-name"])
            self.cells.setdefault(self._at, (found["data-value"] or "", ""))
        self._small = found.get("class") == "ci"

    def handle_data(self, data):
        if self._at and not self._small and data.strip():
            exact, shown = self.cells[self._at]
            self.cells[self._at] = (exact, shown or data.strip())

    def handle_endtag(self, tag):
        self._small = False
        if tag in ("td", "dd"):
            self._at = None
