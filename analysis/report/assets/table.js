// The table of all runs. `chosen` holds the names of the runs whose training curves are drawn.

const chosen = new Set();

// DataTables is a module in a script element that the browser does not run; a blob gives it an address to import from.
async function loadDataTables() {
  const text = embedded("library");
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const library = await import(address);
  URL.revokeObjectURL(address);
  library.set_or_remove_dark_class(); // now, and whenever the system's setting changes
  return library.default;
}

function makeTable(DataTable, onChoice) {
  const last = (compare) => (a, b) => (a == null || b == null ? (a == null) - (b == null) : compare(a, b));
  DataTable.type("known-number", { order: { asc: last((a, b) => a - b), desc: last((a, b) => b - a) } });
  const table = new DataTable("#table", {
    data: runs,
    columns: columns(onChoice),
    order: [], // that of the runs, best first
    autoWidth: false,
    pageLength: 25,
    lengthMenu: [10, 25, 100, { label: "all", value: -1 }],
    layout: { topStart: null, topEnd: null, bottomStart: ["pageLength", "info"], bottomEnd: "paging" },
    language: { info: "_START_ to _END_ of _TOTAL_ runs", infoEmpty: "no runs", infoFiltered: "(of _MAX_ in all)",
      lengthMenu: "_MENU_ per page", zeroRecords: "No run matches these filters.", emptyTable: "There is no run." },
  });
  const column = (name) => table.column(`${name}:name`);
  document.getElementById("state-filter").onchange = ({ target }) => column("state").search(exactly(target.value, (text) => text.split(":")[0])).draw();
  document.getElementById("data-filter").onchange = ({ target }) => column("data").search(exactly(target.value)).draw();
  document.getElementById("search").oninput = ({ target }) => table.search(target.value).draw();
  document.getElementById("study-filter").onchange = ({ target }) => {
    column("name").search(exactly(target.value, studyOf)).draw();
    for (const figure of document.querySelectorAll(".wall > figure")) figure.hidden = target.value !== "" && figure.dataset.study !== target.value;
  };
  fillFilter("study", runs.map((run) => studyOf(run.name)));
  column("data").visible(fillFilter("data", runs.map((run) => run.data)));
  fill(document.querySelector("#runs .dt-layout-table"), { role: "region", "aria-label": "Table of all runs", tabindex: "0" });
}

const exactly = (value, part = (text) => text) => (value ? (text) => part(text) === value : "");

// The folder that a run's name begins with.
const studyOf = (name) => name.slice(0, Math.max(0, name.lastIndexOf("/")));

// Offers each of the values, and hides the filter where there is nothing to choose; tells whether there is.
function fillFilter(name, values) {
  const different = [...new Set(values)].sort(), select = document.getElementById(`${name}-filter`);
  select.append(...different.filter(Boolean).map((value) => element("option", {}, value)));
  select.parentElement.hidden = different.length < 2;
  return different.length > 1;
}

function columns(onChoice) {
  const shown = (draw, text) => (value, type, run) => (type === "display" ? draw(run) : text ? text(run) : value);
  const number = (name, title, hint) => ({ data: name, title: titled(title, hint), type: "known-number", className: "number",
    searchable: false, orderSequence: ["desc", "asc"], render: shown((run) => document.createTextNode(format(run[name]))) });
  const part = (name, short, hint) => ({ ...number(name, short, hint), render: shown((run) => document.createTextNode(fixed(run[name], 2))) });
  const meaning = new Map(data.glossary.map((entry) => [entry.name, entry.meaning]));
  return [
    { data: null, title: "Curves", orderable: false, searchable: false, className: "tick", render: shown((run) => tickBox(run, onChoice), () => "") },
    { data: "name", name: "name", title: "Run", type: "string", className: "name", render: shown((run) => element("a", { href: runLink(run.name) }, ...breakable(run.name))) },
    { data: "thumbnail", title: "Samples", orderable: false, searchable: false, render: shown(thumbnail, () => "") },
    { data: "state", name: "state", title: "State", type: "string", className: "reason",
      render: shown((run) => element("div", {}, stateBadge(run), element("small", { title: run.reason }, run.reason)), (run) => `${run.state}: ${run.reason}`) },
    { ...number("score", "Validation", `score on validation images, by which runs are compared: ${meaning.get("score")}`),
      render: shown((run) => score(run.score, run.stderr)) },
    { ...number("test", "Test", "score on test images, by which nothing was chosen: the figure to quote"),
      render: shown((run) => score(run.test, run.testStderr)) },
    ...data.parts.map((name) => part(name, SHORT[name], `${name}: ${meaning.get(name)}`)),
    number("alpha", "alpha", "weight of the adversarial terms"),
    number("beta", "beta", "weight of the reconstruction"),
    number("m", "m [nats]", "margin"),
    number("ratio", "m/KL", "margin over the KL of a plain VAE with the same beta, predicted from the data and corrected by the warm-up"),
    ...(runs.some((run) => run.predictedRatio != null)
      ? [number("predictedRatio", "m/predicted KL", "margin over the KL that the data predict of a VAE with the same beta; no warm-up corrects it")] : []),
    number("kl", "KL [nats]", meaning.get("kl")),
    { data: "data", name: "data", title: "Data", type: "string", render: shown((run) => document.createTextNode(run.data)) },
  ];
}

const SHORT = { reconstruction: "Recon.", informativeness: "Inform.", sharpness: "Sharp.", structure: "Struct.", diversity: "Divers." };
const titled = (title, hint) => element("abbr", { title: hint }, title).outerHTML;

function tickBox(run, onChoice) {
  const box = element("input", { type: "checkbox", "aria-label": `Draw the training curves of ${run.name}` });
  box.checked = chosen.has(run.name);
  box.disabled = !run.curves.step;
  box.onchange = () => { chosen[box.checked ? "add" : "delete"](run.name); onChoice(); };
  return box;
}

function thumbnail(run) {
  if (!run.thumbnail) return document.createTextNode("–");
  const alt = `Samples of ${run.name}`;
  return element("a", { href: runLink(run.name), tabindex: "-1" }, element("img", { src: run.thumbnail, alt, class: "thumbnail" }));
}

function score(value, stderr) {
  return element("span", { class: "score" }, fixed(value, 3), element("small", {}, stderr == null ? "" : `± ${fixed(stderr, 3)}`));
}
