// Makes the page from the document. All text is set as text: nothing of the document is ever read as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "head"];
let spec;

function make(name, options, ...children) {
  const element = document.createElement(name);
  Object.assign(element, options);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function resolve(schema) {
  let found = schema;
  for (let depth = 0; found && found.$ref && depth < 10; depth += 1) {
    found = found.$ref.split("/").slice(1).reduce((at, key) => at && at[key.replace(/~1/g, "/").replace(/~0/g, "~")], spec);
  }
  return found || {};
}

function nameOf(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").pop() : "";
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return nameOf(schema);
  if (schema.oneOf || schema.anyOf) return (schema.oneOf || schema.anyOf).map(typeOf).join(" or ");
  const types = [].concat(schema.type || []);
  const text = types.map((type) => (type === "array" ? `list of ${typeOf(schema.items)}` : type)).join(" or ");
  const more = [schema.format, schema.enum && schema.enum.join(" | ")].filter(Boolean).join(", ");
  return more ? `${text} (${more})` : text;
}

function bounds(schema) {
  const known = ["minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern", "default"];
  return known.filter((key) => schema[key] !== undefined).map((key) => `${key} ${schema[key]}`).join(", ");
}

function fields(schema, depth) {
  const whole = resolve(schema);
  const parts = [whole, ...(whole.allOf || []).map(resolve)];
  const rows = [];
  for (const part of parts) {
    for (const [name, field] of Object.entries(part.properties || {})) {
      const required = (part.required || []).includes(name);
      rows.push(row([name, required ? "required" : "", typeOf(field), [field.description, bounds(field)].filter(Boolean).join(" ")]));
      const inner = field.items || field;
      if (depth < 2 && inner.$ref && resolve(inner).properties) {
        const cell = make("td", { colSpan: 3 }, make("details", {}, make("summary", {}, nameOf(inner)), fields(inner, depth + 1)));
        rows.push(make("tr", {}, make("td", {}), cell));
      }
    }
  }
  return rows.length ? table(["field", "", "type", ""], rows) : make("p", {}, make("code", {}, typeOf(schema)));
}

function row(cells) {
  return make("tr", {}, ...cells.map((cell, at) => make("td", {}, at === 0 ? make("code", {}, cell) : cell || "")));
}

function table(head, rows) {
  return make("table", {}, make("tr", {}, ...head.map((cell) => make("th", {}, cell))), ...rows);
}

function answers(responses) {
  return Object.entries(responses || {}).map(([status, response]) => {
    const [kind, content] = Object.entries(response.content || {})[0] || ["", {}];
    const about = make("summary", {}, make("code", {}, status), ` ${response.description || ""} `, make("small", {}, kind));
    return make("details", {}, about, content.schema ? fields(content.schema, 0) : null);
  });
}

function example(method, path, operation) {
  const body = operation.requestBody ? ' \\\n  -H "Content-Type: application/json" -d @body.json' : "";
  const version = (operation.parameters || []).some((one) => one.name === "If-Match") ? ' \\\n  -H "If-Match: \\"$ETAG\\""' : "";
  return `curl -X ${method.toUpperCase()} -H "Authorization: Bearer $TOKEN"${version}${body} \\\n  "${location.origin}${path}"`;
}

function operationOf(method, path, operation) {
  const parameters = (operation.parameters || []).map((one) =>
    row([one.name, `${one.in}${one.required ? ", required" : ""}`, typeOf(one.schema), [one.description, bounds(one.schema || {})].filter(Boolean).join(" ")]));
  const body = operation.requestBody && Object.values(operation.requestBody.content || {})[0];
  const head = make("summary", {},
    make("span", { className: `method ${method}` }, method), make("code", {}, path),
    make("span", { className: "about" }, operation.summary || ""));
  const shown = make("details", { id: operation.operationId }, head,
    operation.description ? make("p", {}, operation.description) : null,
    parameters.length ? make("h4", {}, "Parameters") : null,
    parameters.length ? table(["name", "in", "type", ""], parameters) : null,
    body ? make("h4", {}, "Body") : null,
    body ? fields(body.schema, 0) : null,
    make("h4", {}, "Answers"), ...answers(operation.responses),
    make("h4", {}, "With curl"), make("pre", {}, example(method, path, operation)));
  shown.dataset.text = `${method} ${path} ${operation.operationId} ${operation.summary || ""}`.toLowerCase();
  return shown;
}

function show() {
  const tags = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((one) => item[one])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push(operationOf(method, path, item[method]));
    }
  }
  document.getElementById("title").textContent = `${spec.info.title} API ${spec.info.version}`;
  document.getElementById("about").textContent = spec.info.description || "";
  const main = document.getElementById("operations");
  const nav = document.getElementById("tags");
  main.replaceChildren();
  for (const [tag, operations] of tags) {
    nav.append(make("a", { href: `#${tag}` }, tag));
    main.append(make("section", { id: tag }, make("h2", {}, tag), ...operations));
  }
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("main section")) {
    let any = false;
    for (const operation of section.querySelectorAll(":scope > details")) {
      operation.hidden = !words.every((word) => operation.dataset.text.includes(word));
      any = any || !operation.hidden;
    }
    section.hidden = !any;
  }
}

fetch("openapi.json")
  .then((answer) => answer.json())
  .then((document_) => {
    spec = document_;
    show();
    document.getElementById("find").addEventListener("input", (event) => find(event.target.value));
  })
  .catch((error) => {
    document.getElementById("operations").textContent = `The document could not be read: ${error}`;
  });
