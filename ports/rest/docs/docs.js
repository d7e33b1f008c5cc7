// Shows /openapi.json. All text goes into the page as text, never as markup.
"use strict";

const methods = ["get", "post", "put", "patch", "delete"];
const deepest = 7;
const found = document.getElementById("found"); // how much the search finds
let api;

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value !== undefined) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
}

// prose makes paragraphs, with `code` as code.
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((paragraph) =>
    make("p", {}, ...paragraph.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part))));
}

// only is the schema that another one wraps, to say more about it.
const only = (schema) => (schema.allOf && schema.allOf.length === 1 ? schema.allOf[0] : schema);

function resolve(node) {
  node = node && only(node);
  for (let hops = 0; node && node.$ref && hops < 9; hops++) {
    node = node.$ref.slice(2).split("/").reduce((at, key) => at && at[decodeURIComponent(key).replace(/~1/g, "/").replace(/~0/g, "~")], api);
  }
  return node || {};
}

const nameOf = (schema) => (only(schema).$ref || "").split("/").pop();
const typesOf = (schema) => [].concat(schema.type || []);
const alternatives = (schema) => (schema.anyOf || schema.oneOf || []).filter((each) => each.type !== "null");

function typeText(schema) {
  const name = nameOf(schema);
  if (name) return name;
  if (schema.anyOf || schema.oneOf) return (schema.anyOf || schema.oneOf).map(typeText).join(" or ");
  const types = typesOf(schema).map((type) => (type === "array" ? "list of " + typeText(schema.items || {}) : type));
  if (schema.format && schema.format !== "int64") types[0] = types[0] + " (" + schema.format + ")";
  return types.join(" or ") || "anything";
}

function limitsOf(schema) {
  const found = [];
  const say = (text, value) => value !== undefined && found.push(text + " " + (typeof value === "string" ? value : JSON.stringify(value)));
  if (schema.enum) found.push(schema.enum.length === 1 ? "always " + schema.enum[0] : "one of " + schema.enum.join(", "));
  say("default", schema.default); say("at least", schema.minimum); say("at most", schema.maximum);
  say("shortest", schema.minLength); say("longest", schema.maxLength);
  say("fewest", schema.minItems); say("most", schema.maxItems); say("pattern", schema.pattern);
  if (schema.examples) say("example", schema.examples[0]);
  const each = schema.items && !schema.items.$ref && limitsOf(schema.items);
  if (each) found.push("each " + each);
  return found.join("; ");
}

// inner is the object that a schema holds somewhere below lists and alternatives, to be shown under its name.
function inner(schema, depth, seen) {
  const name = nameOf(schema);
  if (depth > deepest || (name && seen.includes(name))) return undefined;
  seen = name ? seen.concat(name) : seen;
  const it = resolve(schema);
  if (it.properties) return fields(it, depth, seen);
  if (it.items) return inner(it.items, depth, seen);
  if (it.additionalProperties && it.additionalProperties !== true) return inner(it.additionalProperties, depth, seen);
  const shown = alternatives(it).map((each) => inner(each, depth, seen)).filter(Boolean);
  return shown.length > 1 ? make("div", {}, ...shown.flatMap((each, i) => (i ? [make("p", { class: "type" }, "or"), each] : [each]))) : shown[0];
}

function fields(schema, depth, seen) {
  const needed = schema.required || [];
  return make("ul", { class: "fields" }, ...Object.entries(schema.properties).map(([name, property]) =>
    fieldItem(name, property, needed.includes(name), property.description, inner(property, depth + 1, seen))));
}

function fieldItem(name, schema, needed, note, below, where) {
  const item = make("li", {}, make("span", { class: "name" }, name), " ",
    make("span", { class: "type" }, (where ? where + ", " : "") + typeText(schema)), " ", needed ? make("span", { class: "needed" }, "required") : "");
  if (note) item.append(make("span", { class: "note" }, note));
  const limits = limitsOf(schema.$ref ? {} : schema);
  if (limits) item.append(make("span", { class: "limits" }, limits));
  if (below) item.append(below);
  return item;
}

function schemaView(schema) {
  return inner(schema, 0, []) || make("p", { class: "type" }, typeText(schema), " ", limitsOf(resolve(schema)));
}

function codeBlock(text, label) {
  const pre = make("pre", { tabindex: "0", "aria-label": label }, text);
  const button = make("button", { type: "button" });
  const say = (word) => { // to those who do not see it, too
    button.textContent = word;
    button.setAttribute("aria-label", word + ": " + label);
  };
  say("Copy");
  button.addEventListener("click", () => copy(pre, say));
  return make("div", { class: "block" }, pre, button);
}

async function copy(pre, say) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    say("Copied");
  } catch { // no clipboard without https: leave it selected, to be copied by hand
    getSelection().selectAllChildren(pre);
    say("Selected");
  }
  setTimeout(() => say("Copy"), 2000);
}

function sample(parameter) {
  const schema = resolve(parameter.schema || {});
  const known = { subscriptionId: "sub_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", eventId: "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", deliveryId: "dlv_01JZ8A2MV4N8S6D2K5X0R7T9QA",
    keyId: "key_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", jobId: "job_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", tenantId: "tenant-123", "X-Ordinavo-Tenant": "tenant-123", sourceSystem: "sap", id: "12", ordinavoId: "12" };
  return parameter.example ?? (schema.examples || [])[0] ?? known[parameter.name] ?? (schema.enum || [])[0] ?? schema.default ?? parameter.name;
}

const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

function bodyOf(operation) {
  const contents = (operation.requestBody || {}).content || {};
  return Object.entries(contents).find(([, content]) => content.example !== undefined) || Object.entries(contents)[0];
}

function curl(method, path, operation) {
  const parameters = (operation.parameters || []).map(resolve);
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(sample(parameters.find((p) => p.name === name) || { name })));
  const query = parameters.filter((p) => p.in === "query" && p.required).map((p) => p.name + "=" + encodeURIComponent(sample(p))).join("&");
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const lines = ["curl" + (method === "get" ? "" : " -X " + method.toUpperCase()) + " " + quote(base + filled + (query && "?" + query))];
  if ((operation.security || []).length) lines.push('-H "Authorization: Bearer $KEY"');
  for (const p of parameters) if (p.in === "header" && p.name === "X-Ordinavo-Tenant") lines.push("-H " + quote(p.name + ": " + sample(p)));
  const body = bodyOf(operation);
  if (body && body[1].example !== undefined) lines.push("-H " + quote("Content-Type: " + body[0]), "-d " + quote(JSON.stringify(body[1].example)));
  return lines.join(" \\\n  ");
}

// keyNote says what to put in for the key; a tenant's key that names another tenant, like the example's, finds none.
function keyNote(operation, parameters) {
  if (!(operation.security || []).length) return [];
  const perTenant = parameters.some((p) => p.name === "X-Ordinavo-Tenant");
  return [make("p", { class: "note" }, "KEY is your API key." + (perTenant ? " X-Ordinavo-Tenant is for platform keys: leave it out if the key is a tenant's." : ""))];
}

function operationBody(method, path, operation, isWebhook) {
  const parts = [...prose(operation.description)];
  const scopes = scopesOf(operation);
  if (!isWebhook) {
    parts.push(make("p", {}, make("strong", {}, "Key: "), !(operation.security || []).length ? "none is needed" : scopes.length ? make("code", {}, scopes.join(" ")) : "any; the description says more"));
  }
  const parameters = (operation.parameters || []).map(resolve);
  if (parameters.length) {
    parts.push(make("h3", {}, isWebhook ? "Headers" : "Parameters"), make("ul", { class: "fields" },
      ...parameters.map((p) => fieldItem(p.name, p.schema || {}, p.required, p.description, undefined, p.in))));
  }
  const body = bodyOf(operation);
  if (body) {
    parts.push(make("h3", {}, "Body ", make("code", {}, Object.keys(operation.requestBody.content).join(", "))));
    if (body[1].example !== undefined) parts.push(codeBlock(JSON.stringify(body[1].example, null, 2), "the example of the body"));
    parts.push(schemaView(body[1].schema || {}));
  }
  if (!isWebhook) parts.push(make("h3", {}, "With curl"), ...keyNote(operation, parameters), codeBlock(curl(method, path, operation), "the curl command"));
  parts.push(make("h3", {}, isWebhook ? "What the receiver answers" : "Answers"), responses(operation.responses || {}));
  return parts;
}

// responses says once what headers all answers have.
function responses(all) {
  const known = Object.values(all).map((response) => Object.keys(resolve(response).headers || {}));
  const everywhere = (known[0] || []).filter((name) => known.every((names) => names.includes(name)));
  const list = make("ul", { class: "fields responses" }, ...Object.entries(all).map(([status, response]) => {
    response = resolve(response);
    const headers = Object.entries(response.headers || {}).filter(([name]) => !everywhere.includes(name));
    const head = [make("span", { class: "status s" + status[0] }, status), " ", response.description || ""];
    const [mediaType, content] = Object.entries(response.content || {})[0] || [];
    if (headers.length) head.push(make("span", { class: "limits" }, "with " + headers.map(([name]) => name).join(", ")));
    if (!content || !content.schema) return make("li", {}, ...head);
    const details = make("details", {}, make("summary", {}, ...head, " ", make("span", { class: "type" }, mediaType + ", " + typeText(content.schema))));
    details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(schemaView(content.schema)));
    return make("li", {}, details);
  }));
  return make("div", {}, everywhere.length ? make("p", { class: "limits" }, "Each with " + everywhere.join(", ")) : "", list);
}

// saidIn is what a schema and those below it say: names of fields, descriptions, values.
function saidIn(schema, seen = []) {
  const it = resolve(schema);
  if (seen.includes(it)) return [];
  seen.push(it);
  const fields = Object.entries(it.properties || {}).flatMap(([name, field]) => [name, field.description, ...saidIn(field, seen)]);
  const others = [it.items, it.additionalProperties, ...alternatives(it)].filter((each) => each && each !== true);
  return [...(it.enum || []), ...fields, ...others.flatMap((each) => saidIn(each, seen))];
}

const scopesOf = (operation) => (operation.security || []).flatMap((each) => Object.values(each).flat());

// askedBy is what an operation says of its key, its parameters and its body.
function askedBy(operation) {
  const parameters = (operation.parameters || []).map(resolve).flatMap((p) => [p.name, p.description, ...saidIn(p.schema || {})]);
  const body = bodyOf(operation);
  return [...scopesOf(operation), ...parameters, ...saidIn((body && body[1].schema) || {})];
}

// entry is something that is found, opened and linked to; its body is made when it is first opened.
function entry(id, words, summary, body) {
  const details = make("details", {}, make("summary", {}, ...summary));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(make("div", { class: "body" }, ...body()));
  });
  const article = make("article", { id }, details);
  return { id, article, words: words.join(" ").toLowerCase() };
}

function operationEntry(method, path, operation, isWebhook) {
  const id = operation.operationId || method + path;
  const made = entry(id, [method, path, id, operation.summary, operation.description, ...askedBy(operation)],
    [make("span", { class: "method " + method }, method.toUpperCase()), make("span", { class: "path" }, path), make("span", { class: "title" }, operation.summary || "")],
    () => operationBody(method, path, operation, isWebhook));
  made.label = isWebhook ? path : operation.summary || path;
  return made;
}

function groups() {
  const byTag = new Map((api.tags || []).map((tag) => [tag.name, { title: tag.name, note: tag.description, entries: [] }]));
  const add = (items, isWebhook) => {
    for (const [path, item] of Object.entries(items || {})) {
      for (const method of methods.filter((each) => item[each])) {
        const tag = (item[method].tags || ["Other"])[0];
        if (!byTag.has(tag)) byTag.set(tag, { title: tag, entries: [] });
        byTag.get(tag).entries.push(operationEntry(method, path, item[method], isWebhook));
      }
    }
  };
  add(api.paths, false);
  add(api.webhooks, true);
  const schemas = Object.entries(api.components.schemas).map(([name, schema]) => ({
    ...entry("schema-" + name, [name, schema.description, ...saidIn(schema)], [make("span", { class: "path" }, name), make("span", { class: "title" }, schema.description || "")],
      () => [schemaView(schema)]), label: name }));
  return [...byTag.values(), { title: "Schemas", note: "What bodies and answers are made of.", entries: schemas }].filter((group) => group.entries.length);
}

function show(all) {
  for (const group of all) {
    group.section = make("section", {}, make("h2", {}, group.title), make("p", {}, group.note || ""), ...group.entries.map((each) => each.article));
    for (const each of group.entries) each.link = make("li", {}, make("a", { href: "#" + each.id }, each.label));
    group.nav = make("div", {}, make("h2", {}, group.title), make("ul", {}, ...group.entries.map((each) => each.link)));
    document.getElementById("operations").append(group.section);
    document.getElementById("contents").append(group.nav);
  }
}

function search(all, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let hits = 0, total = 0;
  for (const group of all) {
    let shown = 0;
    for (const each of group.entries) {
      const hit = words.every((word) => each.words.includes(word));
      each.article.hidden = each.link.hidden = !hit;
      shown += hit ? 1 : 0;
    }
    group.section.hidden = group.nav.hidden = !shown;
    hits += shown;
    total += group.entries.length;
  }
  found.textContent = words.length ? hits + " of " + total : "";
}

// open shows what the address names, even if the search does not find it.
function open(all) {
  const article = document.getElementById(location.hash.slice(1));
  const details = article && article.querySelector(":scope > details"); // the skip link names what holds them all
  if (!details) return;
  if (article.hidden) {
    document.getElementById("search").value = "";
    search(all, "");
  }
  details.open = true;
  article.scrollIntoView();
  details.querySelector("summary").focus({ preventScroll: true });
}

async function start() {
  found.textContent = "loading…";
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error("the document: " + response.status);
  api = await response.json();
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").append(...prose(api.info.description));
  const all = groups();
  show(all);
  const input = document.getElementById("search");
  input.addEventListener("input", () => search(all, input.value));
  addEventListener("hashchange", () => open(all));
  document.getElementById("contents").addEventListener("click", (event) => event.target.hash === location.hash && open(all)); // no change of the address
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && event.target !== input) { event.preventDefault(); input.focus(); }
    if (event.key === "Escape" && event.target === input) { input.value = ""; search(all, ""); }
  });
  search(all, input.value); // it may have been typed meanwhile
  open(all);
}

start().catch((error) => {
  found.textContent = "";
  document.getElementById("about").append(make("p", { class: "failure", role: "alert" }, "The document could not be shown (" + error.message + "). It is at "),
    make("a", { href: "openapi.json" }, "openapi.json"));
});
