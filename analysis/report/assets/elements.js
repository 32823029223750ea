const embedded = (id) => JSON.parse(document.getElementById(id).textContent);
const data = embedded("data");
const { images, pictures } = embedded("pictures");
const runs = data.runs.map((run) => ({ ...run, pictures: pictures[run.name] ?? {} }));
const byName = new Map(runs.map((run) => [run.name, run]));
const SVG_NAMESPACE = "http://www.w3.org/2000/svg"; // a name, not an address: nothing is fetched

// An element with attributes and children. Text always becomes a text node, so that no name is read as HTML.
const element = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);

function fill(node, attributes, children = []) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// Three significant digits, all digits of a whole number above 1,000, and a dash for an unknown value.
function format(value) {
  if (value == null || value === "") return "–";
  if (Array.isArray(value)) return value.map(format).join(" · ") || "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return Object.entries(value).map(([key, inner]) => `${key}: ${format(inner)}`).join(" · ");
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size > 0 && size < 0.001) return value.toExponential(1);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

// The parts of a run's name, between which a line may break.
const breakable = (name) => name.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")]);
const fixed = (value, digits) => (value == null ? "–" : value.toFixed(digits));
const withError = (value, stderr) => fixed(value, 3) + (stderr == null ? "" : ` ± ${fixed(stderr, 3)}`);
const runLink = (name) => `#run=${encodeURIComponent(name)}`;
const compareLink = (a, b) => `#compare=${encodeURIComponent(a)},${encodeURIComponent(b)}`;

function stateBadge(run) {
  const { symbol, tone, meaning } = data.states[run.state];
  return element("span", { class: `state ${tone}`, title: meaning }, element("span", { "aria-hidden": "true" }, symbol), ` ${run.state}`);
}
