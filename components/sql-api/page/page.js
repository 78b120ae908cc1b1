"use strict";
const $ = (id) => document.getElementById(id);
const PAGE = 50;
const state = { table: null, info: null, offset: 0, order: null, descending: false, rows: [], columns: [], more: false };

/* ---- The API ---- */

class ApiError extends Error {
  constructor(error) { super(error.message); this.detail = error; }
}

async function api(path, body, method) {
  let response, answer;
  try {
    response = await fetch("/api" + path, {
      method: method || (body === undefined ? "GET" : "POST"),
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    answer = await response.json();
  } catch (problem) {
    throw new ApiError({ code: "connection", message: response ? "The answer was cut short." : "The server does not answer." });
  }
  if (answer.error && !response.ok) throw new ApiError(answer.error);
  return answer;
}

const rowsPath = (row) => `/tables/${encodeURIComponent(state.table)}/rows` +
  (row ? "?key=" + encodeURIComponent(JSON.stringify(row.key)) : "");
const quoted = (name) => '"' + name.replaceAll('"', '""') + '"';

/* ---- Elements. Text goes in as text only: what the database holds is never read as HTML. ---- */

function element(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function show(value) {
  if (value === null) return ["NULL", "null"];
  if (typeof value === "number") return [String(value), "number"];
  if (typeof value === "string") return [value.length > 400 ? value.slice(0, 400) + "…" : value, "text"];
  if ("integer" in value) return [value.integer, "number"];
  if ("real" in value) return [value.real, "number"];
  const bytes = atob(value.base64 ?? value.text_base64);
  const start = Array.from(bytes.slice(0, 12), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join(" ");
  return [`${bytes.length} bytes  ${start}${bytes.length > 12 ? " …" : ""}`, "blob"];
}

function cell(value) {
  const [text, kind] = show(value);
  return element("td", { className: kind, role: "gridcell", tabIndex: -1, title: text.length > 40 ? text : "" }, text);
}

/* A grid that one Tab stop leads into and arrow keys move in (WAI-ARIA, grid pattern). */
function grid(label, headers, rows) {
  const table = element("table", { role: "grid", "aria-label": label, "aria-rowcount": -1 });
  table.append(element("thead", {}, element("tr", {}, ...headers)), element("tbody", {}, ...rows));
  const cells = () => [...table.rows].map((row) => [...row.cells]);
  const first = table.querySelector("td") || table.querySelector("th");
  if (first) first.tabIndex = 0;
  table.addEventListener("focusin", (event) => {
    const here = event.target.closest("td,th");
    if (!here) return;
    table.querySelectorAll("[tabindex='0']").forEach((other) => { other.tabIndex = -1; });
    here.tabIndex = 0;
    table.querySelectorAll(".chosen").forEach((row) => row.classList.remove("chosen"));
    if (here.tagName === "TD") here.parentElement.classList.add("chosen");
  });
  table.addEventListener("keydown", (event) => {
    const here = event.target;
    if (here.tagName !== "TD" && here.tagName !== "TH") return;
    const all = cells(), y = here.parentElement.rowIndex, x = here.cellIndex;
    const move = { ArrowUp: [y - 1, x], ArrowDown: [y + 1, x], ArrowLeft: [y, x - 1], ArrowRight: [y, x + 1],
      Home: [event.ctrlKey ? 0 : y, 0], End: [event.ctrlKey ? all.length - 1 : y, all[y].length - 1],
      PageUp: [Math.max(1, y - 10), x], PageDown: [Math.min(all.length - 1, y + 10), x] }[event.key];
    if (!move) return;
    event.preventDefault();
    all[move[0]]?.[move[1]]?.focus();
  });
  return table;
}

function headers(names, types) {
  return names.map((name, i) => element("th", { scope: "col", role: "columnheader", tabIndex: -1 },
    element("span", {}, name), ...(types?.[i] ? [element("small", {}, types[i])] : [])));
}

/* ---- Messages ---- */

let toastTimer;
function toast(text, undo) {
  const box = $("toast"), button = box.querySelector("button");
  box.querySelector("span").textContent = text;
  button.hidden = !undo;
  button.onclick = () => { box.hidden = true; undo(); };
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, undo ? 12000 : 5000);
}

const report = (problem) => {
  if (!(problem instanceof ApiError)) throw problem;
  toast(problem.message);
};

/* ---- Tables ---- */

async function loadTables(choose) {
  const { tables } = await api("/tables");
  const list = $("tables");
  list.replaceChildren(...tables.map((table) => {
    const button = element("button", { type: "button", onclick: () => openTable(table.name).catch(report) }, table.name);
    if (table.type !== "table") button.append(element("small", {}, table.type));
    button.dataset.name = table.name;
    return element("li", {}, button);
  }));
  $("no-tables").hidden = tables.length > 0;
  const wanted = tables.find((table) => table.name === (choose ?? state.table)) || (choose === undefined ? tables[0] : null);
  if (wanted) await openTable(wanted.name, true);
  else if (!tables.some((table) => table.name === state.table)) closeTable();
}

function closeTable() {
  Object.assign(state, { table: null, info: null, rows: [], columns: [] });
  $("grid").replaceChildren(element("div", { className: "empty" }, "Choose a table, create one, or write SQL."));
  $("title").textContent = "No table chosen";
  $("count").textContent = $("range").textContent = "";
  $("structure-grid").replaceChildren();
  $("definition").textContent = "";
  for (const id of ["insert", "delete", "next", "previous"]) $(id).disabled = true;
}

async function openTable(name, keepView) {
  if (!keepView && !$("query").hidden) chooseTab("rows"); // at once: who goes on to a query meanwhile stays there
  const same = state.table === name;
  state.info = await api("/tables/" + encodeURIComponent(name));
  state.table = name;
  if (!same) Object.assign(state, { offset: 0, order: null, descending: false });
  document.querySelectorAll("#tables button").forEach((button) => {
    button.setAttribute("aria-current", String(button.dataset.name === name));
  });
  $("title").textContent = name;
  showStructure();
  await loadRows();
}

function showStructure() {
  const info = state.info;
  const flags = (column) => [column.primary_key ? "primary key" : "", column.not_null ? "not null" : "",
    column.generated ? "generated" : ""].filter(Boolean).join(", ");
  const references = (name) => info.foreign_keys.filter((key) => key.column === name)
    .map((key) => `${key.table}${key.to ? `(${key.to})` : ""}`).join(", ");
  const rows = info.columns.map((column) => element("tr", {}, ...[column.name, column.type || "any", flags(column),
    column.default ?? "", references(column.name)].map((text) => element("td", { role: "gridcell", tabIndex: -1 }, text))));
  $("structure-grid").replaceChildren(grid("Columns of " + info.name, headers(["Column", "Type", "Rules", "Default", "References"]), rows));
  $("definition").textContent = info.sql || "";
}

async function loadRows() {
  const query = new URLSearchParams({ limit: PAGE, offset: state.offset });
  if (state.order) query.set("order", state.order);
  if (state.descending) query.set("descending", "1");
  const answer = await api(rowsPath() + "?" + query);
  if (answer.rows.length === 0 && state.offset > 0) {
    state.offset = Math.max(0, state.offset - PAGE);
    return loadRows();
  }
  Object.assign(state, { rows: answer.rows, columns: answer.columns, more: answer.truncated });
  const types = state.columns.map((name) => state.info.columns.find((column) => column.name === name)?.type.toLowerCase());
  const head = headers(state.columns, types);
  head.forEach((th, i) => {
    th.dataset.sortable = "";
    th.setAttribute("aria-sort", state.order === state.columns[i] ? (state.descending ? "descending" : "ascending") : "none");
    const sort = () => sortBy(state.columns[i]).catch(report);
    th.onclick = sort;
    th.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } };
  });
  const body = state.rows.map((row) => element("tr", {}, ...row.values.map(cell)));
  const table = grid("Rows of " + state.table, head, body);
  table.addEventListener("keydown", gridKey);
  table.addEventListener("dblclick", (event) => { const td = event.target.closest("td"); if (td) edit(td); });
  $("grid").replaceChildren(table, ...(body.length ? [] : [element("div", { className: "empty" }, "No rows.")]));
  const total = state.info.row_count;
  $("count").textContent = total === null ? "many rows" : `${total.toLocaleString("en")} row${total === 1 ? "" : "s"}`;
  $("range").textContent = state.rows.length ? `${state.offset + 1}–${state.offset + state.rows.length}` : "";
  $("previous").disabled = state.offset === 0;
  $("next").disabled = !state.more;
  const editable = state.info.key.length > 0;
  $("insert").disabled = !editable;
  $("delete").disabled = !editable || body.length === 0;
}

async function sortBy(column) {
  state.descending = state.order === column && !state.descending;
  state.order = column;
  state.offset = 0;
  await loadRows();
  const index = state.columns.indexOf(column);
  $("grid").querySelectorAll("th")[index]?.focus();
}

async function turnPage(by) {
  if (by > 0 ? !state.more : state.offset === 0) return;
  state.offset = Math.max(0, state.offset + by * PAGE);
  await loadRows();
  $("grid").querySelector("td")?.focus();
}

async function refresh(y, x) {
  state.info = await api("/tables/" + encodeURIComponent(state.table));
  await loadRows();
  const rows = $("grid").querySelectorAll("tbody tr");
  rows[Math.min(y ?? 0, rows.length - 1)]?.cells[x ?? 0]?.focus();
}

/* ---- Editing ---- */

/* What was typed, as a value: numbers where the column does not ask for text. */
function typed(text, type) {
  if (/CHAR|CLOB|TEXT/i.test(type || "")) return text;
  if (/^-?(0|[1-9]\d{0,18})$/.test(text)) return Number.isSafeInteger(Number(text)) ? Number(text) : { integer: text };
  if (/^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text) && Number.isFinite(Number(text)) && /[.eE]/.test(text)) return Number(text);
  return text;
}

function edit(td) {
  const y = td.parentElement.sectionRowIndex, x = td.cellIndex, row = state.rows[y], column = state.columns[x];
  const info = state.info.columns.find((one) => one.name === column);
  const old = row.values[x], [text, kind] = show(old);
  if (!state.info.key.length) return toast("The rows of a view cannot be changed here.");
  if (info?.generated) return toast("The column is computed from others.");
  if (kind === "blob") return toast("Bytes are changed by a query.");
  const before = old === null ? "" : typeof old === "string" ? old : text;
  if (/[\r\0]/.test(before)) return toast("This text holds characters that no field keeps; change it by a query.");
  const input = element(before.includes("\n") ? "textarea" : "input", { value: before, "aria-label": column });
  if (old === null) input.placeholder = "NULL";
  let over = false;
  const leave = (save, value) => {
    if (over) return;
    over = true;
    const unchanged = value === undefined && input.value === before;
    td.classList.remove("editing");
    td.textContent = text;
    td.focus();
    if (!save || unchanged) return;
    const values = { [column]: value === undefined ? typed(input.value, info?.type) : value };
    api(rowsPath(row), { values, expected: { [column]: old } }, "PATCH")
      .then(() => refresh(y, x)).then(() => toast("Saved.")).catch((problem) => { report(problem); td.focus(); });
  };
  input.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); leave(true); }
    else if (event.key === "Escape") leave(false);
    else if (event.key === "0" && event.ctrlKey) { event.preventDefault(); leave(true, null); }
  };
  input.onblur = () => leave(true);
  td.classList.add("editing");
  td.replaceChildren(input);
  input.focus();
  input.select();
}

async function deleteRow(y, x) {
  const row = state.rows[y], table = state.table;
  if (!row || !state.info.key.length) return;
  const values = {};
  state.info.key.forEach((name, i) => { values[name] = row.key[i]; });
  state.columns.forEach((name, i) => {
    if (!state.info.columns.find((column) => column.name === name)?.generated) values[name] = row.values[i];
  });
  await api(rowsPath(row), undefined, "DELETE");
  await refresh(y, x);
  toast("Row deleted.", () => {
    api(`/tables/${encodeURIComponent(table)}/rows`, { values })
      .then(() => openTable(table)).then(() => refresh(y, x)).then(() => toast("Row restored.")).catch(report);
  });
}

function gridKey(event) {
  const td = event.target;
  if (td.tagName !== "TD" || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Enter" || event.key === "F2") { event.preventDefault(); edit(td); }
  if (event.key === "Delete") deleteRow(td.parentElement.sectionRowIndex, td.cellIndex).catch(report);
}

function showError(dialog, problem) {
  const box = dialog.querySelector(".error");
  box.hidden = !problem;
  box.textContent = problem ? problem.message : "";
}

function openInsert() {
  if ($("insert").disabled) return;
  const dialog = $("insert-dialog");
  const columns = state.info.columns.filter((column) => !column.generated);
  $("insert-title").textContent = "Insert into " + state.table;
  dialog.querySelector(".fields").replaceChildren(...columns.map((column) => {
    const automatic = column.primary_key && /^integer$/i.test(column.type) ? "automatic" : column.default ?? (column.not_null ? "required" : "NULL");
    return element("label", {}, element("span", {}, column.name + " ", element("small", {}, column.type.toLowerCase())),
      element("input", { name: column.name, placeholder: automatic, autocomplete: "off" }));
  }));
  showError(dialog, null);
  dialog.showModal();
}

$("insert-dialog").querySelector("form").onsubmit = async (event) => {
  event.preventDefault();
  const dialog = $("insert-dialog"), values = {};
  for (const input of dialog.querySelectorAll("input")) {
    const column = state.info.columns.find((one) => one.name === input.name);
    if (input.value !== "") values[input.name] = typed(input.value, column.type);
    else if (column.not_null && column.default === null && /CHAR|CLOB|TEXT/i.test(column.type)) values[input.name] = "";
  }
  try {
    const { key } = await api(rowsPath(), { values });
    dialog.close();
    if (!state.order && state.info.row_count !== null) state.offset = Math.floor(state.info.row_count / PAGE) * PAGE;
    await refresh();
    const y = state.rows.findIndex((row) => JSON.stringify(row.key) === JSON.stringify(key));
    $("grid").querySelectorAll("tbody tr")[Math.max(0, y)]?.cells[0]?.focus();
    toast("Row inserted.");
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    showError(dialog, problem);
  }
};

/* ---- A new table ---- */

function addColumn(name, type, key) {
  const check = (title, on) => element("label", {}, element("input", { type: "checkbox", checked: on }), title);
  const select = element("select", { "aria-label": "Type" }, ...["INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC"].map((one) => element("option", { selected: one === type }, one)));
  $("new-columns").append(element("div", { className: "column" },
    element("input", { value: name, placeholder: "column", "aria-label": "Column", autocomplete: "off" }), select, check("key", key), check("not null", false)));
}

$("create").onclick = () => {
  const dialog = $("create-dialog");
  dialog.querySelector("form").reset();
  $("new-columns").replaceChildren();
  addColumn("id", "INTEGER", true);
  addColumn("", "TEXT", false);
  showError(dialog, null);
  dialog.showModal();
};
$("add-column").onclick = () => { addColumn("", "TEXT", false); $("new-columns").lastChild.querySelector("input").focus(); };
$("create-dialog").querySelector("form").onsubmit = async (event) => {
  event.preventDefault();
  const dialog = $("create-dialog"), name = dialog.querySelector("[name=table]").value;
  const columns = [...$("new-columns").children].map((row) => {
    const [column, key, required] = row.querySelectorAll("input");
    return { name: column.value, type: row.querySelector("select").value, key: key.checked, required: required.checked };
  }).filter((column) => column.name !== "");
  const keys = columns.filter((column) => column.key);
  const parts = columns.map((column) => `${quoted(column.name)} ${column.type}${column.required ? " NOT NULL" : ""}${column.key && keys.length === 1 ? " PRIMARY KEY" : ""}`);
  if (keys.length > 1) parts.push(`PRIMARY KEY (${keys.map((column) => quoted(column.name)).join(", ")})`);
  try {
    await api("/query", { sql: `CREATE TABLE ${quoted(name)} (${parts.join(", ")})` });
    dialog.close();
    await loadTables(name);
    chooseTab("rows");
    $("insert").focus();
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    showError(dialog, problem);
  }
};

/* ---- Queries ---- */

/* The history is a convenience: a browser that keeps nothing, or has no room, must not keep a query from running. */
function loadHistory() {
  try { return JSON.parse(localStorage.getItem("history")) || []; } catch { return []; }
}

function remember(sql) {
  const history = [sql, ...loadHistory().filter((one) => one !== sql)].slice(0, 50);
  try { localStorage.setItem("history", JSON.stringify(history)); } catch { return; }
  fillHistory();
}

function fillHistory() {
  $("history").replaceChildren(element("option", { value: "" }, "–"),
    ...loadHistory().map((sql) => element("option", { value: sql }, sql.replace(/\s+/g, " ").slice(0, 80))));
}

/* The place of line and column (characters, from 1) as an index into a JavaScript string. */
function indexOf(text, line, column) {
  const before = text.split("\n").slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  return before + [...(text.split("\n")[line - 1] || "")].slice(0, column - 1).join("").length;
}

function showSqlError(error, sql) {
  const box = $("sql-error");
  box.hidden = false;
  box.textContent = error.line ? `Line ${error.line}, column ${error.column}: ${error.message}` : error.message;
  if (!error.line) return;
  const at = indexOf(sql, error.line, error.column);
  const length = /^\w+/.exec(sql.slice(at))?.[0].length || 1;
  box.append(element("code", {}, `${sql.split("\n")[error.line - 1]}\n${" ".repeat(error.column - 1)}${"^".repeat(length)}`));
  $("sql").focus();
  $("sql").setSelectionRange(at, at + length);
}

function showResult(result, number) {
  if (!result.columns.length) return element("p", { className: "quiet" }, `Done: ${result.rows_affected ?? 0} row${result.rows_affected === 1 ? "" : "s"} affected.`);
  const table = grid("Result " + (number + 1), headers(result.columns), result.rows.map((row) => element("tr", {}, ...row.map(cell))));
  const note = `${result.rows.length.toLocaleString("en")} row${result.rows.length === 1 ? "" : "s"}${result.truncated ? ", and more were left out" : ""}`;
  return element("div", {}, element("p", { className: "quiet" }, note), element("div", { className: "grid" }, table));
}

async function run() {
  const sql = $("sql").value, start = performance.now();
  if (!sql.trim() || $("run").disabled) return;
  $("sql-error").hidden = true;
  $("run").disabled = true;
  $("took").textContent = "Running…";
  remember(sql);
  try {
    const answer = await api("/query", { sql }).catch((problem) => {
      if (problem.detail?.code !== "several_statements") throw problem;
      return api("/transaction", { statements: [{ sql }] });
    });
    const results = answer.results || [answer];
    $("results").replaceChildren(...results.map(showResult));
    $("took").textContent = `${Math.round(performance.now() - start)} ms`;
    if (answer.error) showSqlError(answer.error, sql);
    if (results.some((result) => result.rows_affected !== undefined)) await loadTables();
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    $("results").replaceChildren();
    $("took").textContent = "";
    showSqlError(problem.detail, sql);
  } finally {
    $("run").disabled = false;
  }
}

/* ---- Tabs, buttons, keys ---- */

const tabs = ["rows", "structure", "query"];
function chooseTab(name, focus) {
  for (const tab of tabs) {
    const on = tab === name, button = $("tab-" + tab);
    button.setAttribute("aria-selected", String(on));
    button.tabIndex = on ? 0 : -1;
    $(tab).hidden = !on;
  }
  if (focus) $("tab-" + name).focus();
}
tabs.forEach((tab, i) => {
  $("tab-" + tab).onclick = () => chooseTab(tab);
  $("tab-" + tab).onkeydown = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) chooseTab(tabs[(i + by + tabs.length) % tabs.length], true);
  };
});
$("insert").onclick = openInsert;
$("delete").onclick = () => {
  const row = $("grid").querySelector("tr.chosen") || $("grid").querySelector("tbody tr");
  if (row) deleteRow(row.sectionRowIndex, 0).catch(report);
};
$("previous").onclick = () => turnPage(-1).catch(report);
$("next").onclick = () => turnPage(1).catch(report);
$("run").onclick = run;
$("help").onclick = () => $("help-dialog").showModal();
$("sql").onkeydown = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } };
$("history").onchange = (event) => { if (event.target.value) { $("sql").value = event.target.value; $("sql").focus(); event.target.value = ""; } };
document.querySelectorAll("dialog button[value=cancel]").forEach((button) => { button.onclick = () => button.closest("dialog").close(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]") ||
      /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const action = {
    "?": () => $("help-dialog").showModal(), n: openInsert, r: () => chooseTab("rows", true),
    q: () => { chooseTab("query"); $("sql").focus(); },
    t: () => (document.querySelector("#tables [aria-current=true]") || document.querySelector("#tables button"))?.focus(),
    "[": () => turnPage(-1).catch(report), "]": () => turnPage(1).catch(report),
  }[event.key];
  if (action) { event.preventDefault(); action(); }
});

fillHistory();
closeTable();
api("").then((about) => { $("about").textContent = `SQLite ${about.sqlite}`; }).catch(report);
loadTables().catch(report);
