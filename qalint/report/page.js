(function () {
  "use strict";
  var root = document.documentElement;
  var byId = function (id) { return document.getElementById(id); };
  var all = function (selector) { return Array.prototype.slice.call(document.querySelectorAll(selector)); };

  var theme = byId("theme");
  theme.hidden = false;
  theme.addEventListener("click", function () {
    var dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    var now = root.dataset.theme || (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    theme.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  });

  var filters = byId("filters");
  filters.hidden = false;
  var entries = all("[data-entry]").map(function (node) {
    return { node: node, data: node.dataset, words: node.textContent.toLowerCase() };
  });
  var groups = all("[data-group]");
  var status = byId("shown");

  function checked(name) {
    return all("input[name=" + name + "]:checked").map(function (box) { return box.value; });
  }

  function apply() {
    var section = byId("section").value;
    var file = byId("file").value;
    var words = byId("words").value.trim().toLowerCase();
    var severities = checked("severity");
    var verdicts = checked("verdict");
    var counts = { item: 0, finding: 0 };
    entries.forEach(function (entry) {
      var data = entry.data;
      var files = (data.files || "").split(" ");
      var shown = (!section || data.sections.split(" ").indexOf(section) >= 0)
        && (!file || files.indexOf(file) >= 0)
        && (!words || entry.words.indexOf(words) >= 0)
        && (data.entry !== "finding" || severities.indexOf(data.severity) >= 0)
        && (data.entry !== "item" || verdicts.indexOf(data.verdict) >= 0);
      entry.node.hidden = !shown;
      if (shown) { counts[data.entry] += 1; }
    });
    groups.forEach(function (group) {
      group.hidden = !group.querySelector("[data-entry]:not([hidden])");
    });
    status.textContent = counts.item + " items and " + counts.finding + " findings are shown.";
  }

  filters.addEventListener("input", apply);
  filters.addEventListener("submit", function (event) { event.preventDefault(); });
  byId("clear").addEventListener("click", function () {
    filters.reset();
    apply();
  });

  function open() {
    var target = window.location.hash && byId(window.location.hash.slice(1));
    for (var node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") { node.open = true; }
      if (node.hidden) { node.hidden = false; }
    }
    if (target) { target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", open);
  apply();
  open();
}());
