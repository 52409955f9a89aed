# ruff: noqa: E501
"""The JavaScript that looks at a notebook's page. marimo's elements live in shadow roots: it goes in."""

SCRIPT = r"""
() => {
  const children = node => [...(node.shadowRoot ? node.shadowRoot.childNodes : []), ...node.childNodes];
  function* walk(node) {
    yield node;
    for (const child of children(node)) yield* walk(child);
  }
  const elements = (root, test) => [...walk(root)].filter(n => n.nodeType === 1 && test(n));
  const hidden = new Set(["SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT"]);
  const visible = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  function text(node) {
    if (node.nodeType === 3) return node.textContent;
    if (node.nodeType !== 1 && node.nodeType !== 11 || hidden.has(node.tagName)) return "";
    // A custom element shows what is in its shadow root; its children are slots' contents.
    return children(node).map(text).join(node.tagName === "SPAN" ? "" : " ");
  }
  const outputs = () => elements(document.body, e => /(^| )output-area( |$)/.test(e.className));
  // The custom element itself has no box.
  const grid = table => elements(table, e => e.tagName === "TABLE" && visible(e))[0];
  const tables = () => elements(document.body, e => e.tagName === "MARIMO-TABLE" && grid(e));
  const rows = table => elements(table, e => e.tagName === "TR" && e.parentElement.tagName === "TBODY"
    && e.querySelectorAll("td").length > 0 && !/no results/i.test(text(e)));
  // Where the part of a table that can be seen ends: a wide one scrolls inside a box of its own.
  const frame = table => {
    let node = grid(table), right = node.getBoundingClientRect().right;
    for (; node && node !== table; node = node.parentNode || node.host)
      if (node.nodeType === 1 && /auto|scroll/.test(getComputedStyle(node).overflowX))
        right = Math.min(right, node.getBoundingClientRect().right);
    return right;
  };
  const root = () => document.body;
  // What moves without side effects: sliders take arrow keys wherever they are.
  const controls = () => elements(document.body, e => e.getAttribute("role") === "slider"
    || (e.tagName === "INPUT" && e.type === "range"));
  const squeeze = s => s.replace(/\s+/g, " ").trim();
  const column = e => {
    let node = e;
    while (node) {
      if (node.nodeType === 1 && /(^| )output-area( |$)/.test(node.className)) return node;
      node = node.parentNode || node.host;
    }
    return document.body;
  };
  window.qalint = {
    text: () => squeeze(text(root())),
    cells: () => Object.fromEntries(outputs()
      .map(e => [e.id, squeeze(text(e)) || (elements(e, x => ["SVG", "svg", "IMG", "CANVAS"].includes(x.tagName)
        || x.tagName.startsWith("MARIMO-")).length ? "(a figure or control)" : "")])
      .filter(([_, shown]) => shown !== "")),
    tables: () => tables().map(t => ({
      rows: Number(t.getAttribute("data-total-rows")), shown: rows(t).length,
    })),
    next_page: index => {
      const table = tables()[index];
      const button = elements(table, e => e.tagName === "BUTTON" && /next page/i.test(text(e)
        + (e.getAttribute("aria-label") || "") + (e.getAttribute("data-testid") || ""))
        && !/last/i.test(e.getAttribute("data-testid") || ""))[0];
      if (!button || button.disabled) return false;
      button.click();
      return true;
    },
    claims_a_part: () => {
      const found = /\b(first|showing) \d+ (rows |examples |samples )?of \d+/i.exec(text(root()));
      return found && !/page/i.test(found[0]) ? squeeze(found[0]) : "";
    },
    unreadable: () => {
      for (const table of tables()) {
        for (const cell of elements(table, e => e.tagName === "TD" && visible(e))) {
          const inner = elements(cell, e => e !== cell && /hidden|clip/.test(getComputedStyle(e).overflowX));
          for (const e of [cell, ...inner])
            if (e.scrollWidth > e.clientWidth + 2 && /hidden|clip/.test(getComputedStyle(e).overflowX))
              return `a cell of a table is cut off: ${squeeze(text(cell)).slice(0, 60)}`;
          if (parseFloat(getComputedStyle(cell).fontSize) < 10) return "a table is written smaller than 10 px";
        }
        const room = column(table).getBoundingClientRect();
        if (frame(table) > room.right + 2) return "a table is wider than its column";
      }
      return "";
    },
    steps: () => {
      const said = outputs().filter(visible).map(text).join("\n");
      const found = [...said.matchAll(/\bstep\s+(\d+)\s*(?:(?:of|\/)\s*(\d+)|[:.\u2013\u2014-])/gi)];
      return {
        shown: found.map(m => Number(m[1])).filter(n => n < 100),
        total: Math.max(0, ...found.map(m => Number(m[2] || m[1])).filter(n => n < 100)),
      };
    },
    callouts: () => {
      const groups = {};
      for (const e of elements(document.body, x => x.tagName === "MARIMO-CALLOUT-OUTPUT")) {
        const box = elements(e, x => x !== e && visible(x))
          .find(x => getComputedStyle(x).backgroundColor !== "rgba(0, 0, 0, 0)") || e;
        const lead = squeeze(text(e)).replace(/\d+/g, "#").split(" ").slice(0, 3).join(" ");
        (groups[lead] ||= []).push(`${getComputedStyle(box).backgroundColor} (${e.getAttribute("data-kind")})`);
      }
      return groups;
    },
    press_buttons: () => {
      for (const e of elements(document.body, x => x.tagName === "MARIMO-BUTTON"))
        for (const button of elements(e, x => x.tagName === "BUTTON")) button.click();
    },
    controls: () => controls().length,
    focus: index => {
      const control = controls()[index];
      if (!control || !visible(control)) return false;
      control.focus();
      return true;
    },
    figures: () => elements(document.body, e => ["svg", "IMG", "CANVAS"].includes(e.tagName) && visible(e)
        && e.getBoundingClientRect().width >= 200 && column(e) !== document.body)
      .map(e => {
        const box = e.getBoundingClientRect(), room = column(e).getBoundingClientRect();
        return {kind: e.tagName.toLowerCase(), width: box.width, room: room.width,
                cut: box.right > room.right + 2 || box.left < room.left - 2};
      }),
  };
}
"""
"""Defines `window.qalint`; evaluate it once a page."""
