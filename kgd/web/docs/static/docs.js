// Shows the calls of an API or the endpoints of notebooks, and lets a person try them.
//
// What notebooks say is not trusted: it gets into the page as text only, never as HTML.

const METHODS = ["get", "put", "post", "delete", "patch", "options", "head", "trace"];
const WITHOUT_BODY = ["get", "head", "trace"];
// Longer answers would make the page slow; they can still be saved.
const MOST_CHARACTERS = 1_000_000;
// Descriptions of fields go so deep.
const MOST_LEVELS = 4;
const STREAM = /^(application\/x-ndjson|text\/event-stream)$/;
const TEXT = /^$|^text\/|^application\/([\w.-]+\+)?(json|xml|yaml|javascript|x-ndjson)\b/;

// ------------------------------------------------------------------ making elements

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else node.setAttribute(name, value);
  }
  // Strings become text.
  node.append(...children.flat(Infinity).filter(child => child !== undefined && child !== null));
  return node;
}

function textOf(value) {
  if (typeof value === "string") return value;
  return value === undefined || value === null ? "" : JSON.stringify(value, null, 2);
}

function line(attributes) {
  return make("input", { type: "text", autocomplete: "off", spellcheck: "false", ...attributes });
}

// Makes its content when it is opened for the first time.
function folded(attributes, summary, content) {
  const node = make("details", attributes, make("summary", {}, summary));
  node.addEventListener("toggle", () => node.append(...[content()].flat()), { once: true });
  return node;
}

let fields = 0;

// An input, textarea or the like with its label.
function field(label, control, hint) {
  control.id = `field-${(fields += 1)}`;
  const text = hint ? [label, " ", make("span", { class: "hint" }, hint)] : [label];
  return make("div", { class: "field" }, make("label", { for: control.id }, text), control);
}

function block(text, label) {
  // One can scroll in it, so one must be able to get there with the keyboard.
  return make("pre", { tabindex: "0", role: "region", "aria-label": label }, text);
}

// `code`, **strong** and *emphasised* text in a line.
function inline(text) {
  const pieces = text.split(/(`[^`]+`|\*\*(?=\S)[^*]*[^*\s]\*\*|\*(?=\S)[^*]*[^*\s]\*)/);
  return pieces.map((piece, number) => {
    if (number % 2 === 0) return piece;
    if (piece[0] === "`") return make("code", {}, piece.slice(1, -1));
    if (piece[1] === "*") return make("strong", {}, piece.slice(2, -2));
    return make("em", {}, piece.slice(1, -1));
  });
}

// The little of Markdown that descriptions need: headings, lists, code and paragraphs.
function prose(markdown) {
  const shown = make("div", { class: "prose" });
  let open = null;
  let fence = null;
  for (const text of textOf(markdown).split(/\r?\n/)) {
    const heading = /^#{1,6}\s+(.*)/.exec(text);
    // A paragraph may go on with "1999. That was" in its next line.
    const item = /^\s*(?:[-*+]|(\d{1,9})[.)])\s+(.*)/.exec(text);
    if (/^\s*```/.test(text)) {
      fence = fence ? null : block("", "Example");
      if (fence) shown.append(fence);
      open = null;
    } else if (fence) {
      fence.append(`${text}\n`);
    } else if (heading) {
      shown.append(make("h5", {}, inline(heading[1])));
      open = null;
    } else if (item && !(item[1] > 1 && open?.tagName === "P")) {
      const [, number, rest] = item;
      const list = number ? "OL" : "UL";
      if (open?.tagName !== list) {
        shown.append((open = number ? make("ol", { start: number }) : make("ul")));
      }
      open.append(make("li", {}, inline(rest)));
    } else if (!text.trim()) {
      open = null;
    } else {
      if (!open) shown.append((open = make("p")));
      (open.tagName === "P" ? open : open.lastChild).append(...inline(`${text} `));
    }
  }
  return shown;
}

// A description without its beginning, where that is a heading or a paragraph and the same as the
// summary, which is above it.
function details({ summary, description }) {
  const text = textOf(description).trim();
  const [first] = text.split(text[0] === "#" ? "\n" : /\n\s*\n/, 1);
  const plain = first.replace(/^#+/, "").trim().replace(/\s+/g, " ");
  return plain === textOf(summary).trim() ? text.slice(first.length).trim() : text;
}

// All examples for a body: media type and text.
function examplesOf(content) {
  return Object.entries(content ?? {}).flatMap(([type, media]) => {
    const values = Object.values(media?.examples ?? {}).map(each => each?.value);
    if (media?.example !== undefined) values.unshift(media.example);
    return values.map(value => ({ type, text: textOf(value) }));
  });
}

// An operation's own ones come instead of those of its path.
function parametersOf(item, operation) {
  const all = [item.parameters, operation.parameters].flat().filter(each => each?.name);
  return [...new Map(all.map(each => [`${each.in} ${each.name}`, each])).values()];
}

// The media types of successes, without patterns.
function successTypes({ responses }) {
  const successes = Object.entries(responses ?? {}).filter(([status]) => /^2/.test(status));
  const types = successes.flatMap(([, response]) => Object.keys(response?.content ?? {}));
  return [...new Set(types)].filter(type => !type.includes("*"));
}

// ------------------------------------------------------------------ describing fields

// A schema without references, and with what all of its parts say.
function whole(document, schema, level = 0) {
  if (!schema || typeof schema !== "object" || level > MOST_LEVELS) return {};
  const name = /^#\/components\/schemas\/(.+)$/.exec(schema.$ref)?.[1];
  const parts = [name ? document.components?.schemas?.[name] : null, schema.allOf ?? []].flat();
  const found = parts.map(each => whole(document, each, level + 1));
  return Object.assign({}, ...found, schema, {
    properties: Object.assign({}, ...found.map(each => each.properties), schema.properties),
    required: [...found, schema].flatMap(each => each.required ?? [])
  });
}

function typeName(document, schema, level = 0) {
  const { type, anyOf, oneOf, items, format, title, ...all } = whole(document, schema);
  const inner = each => typeName(document, each, level + 1);
  const choices = anyOf ?? oneOf;
  if (level > MOST_LEVELS) return "";
  if (all.const !== undefined) return JSON.stringify(all.const);
  if (Array.isArray(all.enum)) return all.enum.map(each => JSON.stringify(each)).join(" or ");
  if (Array.isArray(choices)) return choices.map(inner).filter(Boolean).join(" or ");
  if (type === "array") return `list of ${inner(items) || "anything"}`;
  const values = type === "object" && inner(all.additionalProperties);
  if (values) return `object of ${values}`;
  return [type].flat().filter(Boolean).join(" or ") + (format ? ` (${format})` : "");
}

// That of a field that holds an object, possibly among others.
function nested(document, schema) {
  const all = whole(document, schema);
  const { items, additionalProperties, contentSchema, anyOf } = all;
  const parts = [all, items, additionalProperties, contentSchema, anyOf ?? []].flat();
  const found = parts.map(each => whole(document, each));
  return found.find(each => Object.keys(each.properties ?? {}).length);
}

function fieldList(document, schema, level = 0) {
  const { properties, required } = whole(document, schema);
  const one = ([name, each]) => {
    const all = whole(document, each);
    const below = level < MOST_LEVELS ? nested(document, each) : null;
    return make("li", {}, make("code", {}, name), " ",
      make("span", { class: "hint" }, typeName(document, each),
        required.includes(name) ? ", required" : ""),
      all.description ? [" ", inline(textOf(all.description))] : null,
      below ? fieldList(document, below, level + 1) : null);
  };
  return make("ul", { class: "fields" }, Object.entries(properties ?? {}).map(one));
}

// What is known of the fields of a body, folded: of an object, a list of them, or a stream.
function fieldsOf(document, content) {
  return Object.entries(content ?? {}).flatMap(([type, media]) => {
    const events = media?.schema?.contentSchema?.items?.oneOf;
    if (Array.isArray(events)) {
      return folded({ class: "schema" }, `Events of ${type}`, () =>
        events.map(each => fieldList(document, each)));
    }
    const schema = nested(document, media?.schema);
    return schema ? folded({ class: "schema" }, "Fields", () => fieldList(document, schema)) : [];
  });
}

// ------------------------------------------------------------------ showing answers

const since = started => `${Math.round(performance.now() - started)} ms`;

// Reads JSON; where the browser can, numbers are written as they were when they are shown.
function parsed(json) {
  return JSON.parse(json, (_, value, context) => {
    const differs = typeof value === "number" && context && context.source !== String(value);
    return differs && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  });
}

// Indents JSON and leaves its values as they are: parsed, large numbers would change.
function indented(json) {
  try {
    JSON.parse(json);
  } catch {
    return json;
  }
  let depth = 0;
  const newline = () => `\n${"  ".repeat(depth)}`;
  return json.replace(/"(?:[^"\\]+|\\.)*"|\s+|\{\s*\}|\[\s*\]|[{}[\],:]/g, piece => {
    if (piece[0] === '"') return piece;
    if (piece === ":") return ": ";
    if (piece === ",") return piece + newline();
    if (piece === "{" || piece === "[") {
      depth += 1;
      return piece + newline();
    }
    // Empty ones stay in one line.
    if (piece !== "}" && piece !== "]") return piece.replace(/\s/g, "");
    depth -= 1;
    return newline() + piece;
  });
}

// The place where an answer is shown, anew for each request.
class Answer {
  constructor() {
    this.line = make("p", { class: "status", role: "status", "aria-live": "polite" });
    this.rest = make("div");
    this.node = make("section", { class: "answer", "aria-label": "Answer" }, this.line, this.rest);
    this.url = null;
    this.begun = "";
    this.size = 0;
  }

  say(text, kind) {
    this.line.textContent = text;
    this.node.dataset.kind = kind;
  }

  clear() {
    URL.revokeObjectURL(this.url);
    this.rest.replaceChildren();
    this.begun = "";
    this.size = 0;
  }

  // There was none, or it is not whole.
  fail(error, started) {
    const cut = `${this.begun} · broken off after ${since(started)} · ${this.size} bytes`;
    this.say(this.begun ? cut : `No answer: ${error.message}`, "bad");
  }

  // Shows what comes as it comes.
  async show(response, started) {
    const kind = response.ok ? "good" : "bad";
    const status = `${response.status} ${response.statusText}`.trim();
    const type = response.headers.get("content-type") ?? "";
    this.begun = status;
    this.say(`${status} · receiving`, kind);
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    this.rest.append(folded({ class: "headers" }, "Headers", () => block(headers, "Headers")));
    const pre = block("", "Body");
    const decoder = TEXT.test(type) ? new TextDecoder() : null;
    const chunks = [];
    let text = "";
    const add = piece => {
      if (text.length < MOST_CHARACTERS) pre.append(piece.slice(0, MOST_CHARACTERS - text.length));
      text += piece;
    };
    pre.hidden = !decoder;
    this.rest.append(pre);
    const reader = response.body?.getReader();
    for (let next = await reader?.read(); next && !next.done; next = await reader.read()) {
      chunks.push(next.value);
      this.size += next.value.length;
      if (decoder) add(decoder.decode(next.value, { stream: true }));
    }
    if (decoder) add(decoder.decode());
    const hint = response.status === 401 ? " · the token is at the top of the page" : "";
    this.say(`${status} · ${since(started)} · ${this.size} bytes${hint}`, kind);
    this.finish(pre, type, text, chunks);
  }

  finish(pre, type, text, chunks) {
    if (!chunks.length) {
      pre.replaceWith(make("p", { class: "hint" }, "The body is empty."));
      return;
    }
    const image = /^image\//.test(type);
    // Whoever opens what is to be saved must not open a page of ours.
    const blob = new Blob(chunks, { type: image ? type : "application/octet-stream" });
    this.url = URL.createObjectURL(blob);
    if (image) this.rest.append(make("img", { src: this.url, alt: "The answer" }));
    if (/[/+]json\b/.test(type) && text.length <= MOST_CHARACTERS) pre.textContent = indented(text);
    if (/^text\/html\b/.test(type)) {
      // It runs no scripts, and has this page's policy, so that it loads nothing from elsewhere.
      this.rest.append(folded({ class: "preview" }, "Preview without scripts and styles", () =>
        make("iframe", { sandbox: "", title: "Preview", srcdoc: text })));
    }
    const cut = text.length > MOST_CHARACTERS ? "Only the beginning is shown. " : "";
    this.rest.append(make("p", {}, cut, make("a", { href: this.url, download: "answer" }, "Save")));
  }
}

// ------------------------------------------------------------------ trying an endpoint

// For a shell.
const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;

// The form for one endpoint.
class Trial {
  constructor(token, api, method, path, parameters, operation) {
    this.token = token;
    token.addEventListener("input", () => this.refresh());
    this.base = api.base.replace(/\/+$/, "");
    this.method = method.toUpperCase();
    this.path = path;
    this.streamed = Boolean(operation["x-kgd-streamed"]);
    this.running = null;
    this.answer = new Answer();
    this.parameters = parameters
      .filter(each => ["path", "query", "header"].includes(each.in))
      .map(each => ({
        in: each.in,
        name: each.name,
        // Where a variable stands for several segments, slashes separate them.
        encode: each["x-kgd-slashes"]
          ? text => text.split("/").map(encodeURIComponent).join("/")
          : encodeURIComponent,
        control: line({
          required: each.in === "path" || Boolean(each.required),
          value: textOf(each.example ?? each.schema?.example ?? each.schema?.default)
        })
      }));
    const types = successTypes(operation);
    this.accept = types.length > 1 ? make("select", {},
      make("option", { value: "" }, "any"), types.map(type => make("option", {}, type))) : null;
    this.body = WITHOUT_BODY.includes(method) ? null : this.makeBody(operation.requestBody);
    this.query = line({ placeholder: "name=value&other=value" });
    this.headers = make("textarea", { rows: "2", placeholder: "Name: value", spellcheck: "false" });
    this.curl = block("", "Command line");
    this.send = make("button", { type: "submit", class: "send" }, "Send");
    const stop = () => this.running.abort();
    this.stop = make("button", { type: "button", disabled: true, click: stop }, "Stop");
    const events = { submit: event => this.submit(event), input: () => this.refresh() };
    this.node = make("form", { class: "try", ...events },
      make("h4", {}, "Try it"),
      this.parameters.map(each => field(each.name, each.control, each.in)),
      field("Query string", this.query),
      this.accept ? field("Accept", this.accept) : null,
      field("Headers", this.headers, "one per line"),
      this.body?.nodes,
      make("div", { class: "buttons" }, this.send, this.stop),
      this.answer.node
    );
    this.refresh();
  }

  makeBody({ content } = {}) {
    const [example] = examplesOf(content);
    const [first = "application/json"] = Object.keys(content ?? {});
    const any = first.includes("*") ? "application/octet-stream" : first;
    const type = line({ value: example?.type ?? any });
    const text = make("textarea", { rows: "5", spellcheck: "false" }, example?.text ?? "");
    const file = make("input", { type: "file", multiple: true });
    const name = line({ value: "file" });
    const nameField = field("Name of the file's field", name);
    const nodes = [field("Content type", type),
      field("Body", text, "for multipart/form-data a name=value in each line"),
      field("File", file, "instead of that body, or in the form"), nameField];
    return { type, text, file, name, nameField, nodes };
  }

  // Takes over an example.
  use({ type, text }) {
    this.body.type.value = type;
    this.body.text.value = text;
    this.refresh();
    this.body.text.focus();
  }

  isForm() {
    return /^multipart\/form-data\b/i.test(this.body.type.value.trim());
  }

  // The names and values of all parameters of a kind that have one.
  given(kind) {
    const filled = this.parameters.filter(each => each.in === kind && each.control.value);
    return filled.map(each => [each.name, each.control.value]);
  }

  address() {
    const variables = this.parameters.filter(each => each.in === "path" && each.control.value);
    const values = new Map(variables.map(each => [each.name, each.encode(each.control.value)]));
    const path = this.path.replace(/\{([^{}]+)\}/g, (all, name) => values.get(name) ?? all);
    const query = [String(new URLSearchParams(this.given("query"))), this.query.value];
    // Put together like this, a path that begins with // is not another host.
    const url = new URL(location.origin);
    url.pathname = this.base + path;
    url.search = query.filter(Boolean).join("&");
    return url.href;
  }

  // Names and values, but not the token's.
  headerList() {
    const lines = this.headers.value.split("\n").filter(text => text.trim());
    const typed = lines.map(text => /^([^:]*):?(.*)$/.exec(text).slice(1).map(part => part.trim()));
    const accept = this.accept?.value ? [["Accept", this.accept.value]] : [];
    return [...this.given("header"), ...accept, ...typed];
  }

  // What is sent as the body: a form's fields, or a type and the content.
  content() {
    const { type, text, name, file } = this.body;
    if (!this.isForm()) {
      const content = file.files[0] ?? text.value;
      return content ? { type: type.value.trim(), content } : {};
    }
    const lines = text.value.split("\n").filter(each => each.includes("="));
    const texts = lines.map(each => /^([^=]*)=(.*)$/.exec(each).slice(1));
    return { form: [...texts, ...[...file.files].map(each => [name.value, each])] };
  }

  request() {
    const headers = new Headers(this.headerList());
    const options = { method: this.method, headers, signal: this.running.signal };
    if (this.token.value && !headers.has("Authorization")) {
      headers.set("Authorization", `token ${this.token.value}`);
    }
    const { form, type, content } = this.body ? this.content() : {};
    if (form) {
      options.body = new FormData();
      for (const [name, value] of form) options.body.append(name, value);
      // The browser says which boundary it has chosen.
      headers.delete("Content-Type");
    } else {
      options.body = content;
      if (type && !headers.has("Content-Type")) headers.set("Content-Type", type);
    }
    return options;
  }

  commandLine() {
    const url = this.address();
    const streams = this.streamed || STREAM.test(this.accept?.value);
    const words = streams ? ["--no-buffer"] : [];
    // Otherwise curl takes these for patterns.
    if (/[[\]{}]/.test(url)) words.push("--globoff");
    if (this.method === "HEAD") words.push("--head");
    else if (this.method !== "GET") words.push(`-X ${this.method}`);
    words.push(quoted(url));
    if (this.token.value) words.push('-H "Authorization: token $KGD_TOKEN"');
    for (const [name, value] of this.headerList()) words.push(`-H ${quoted(`${name}: ${value}`)}`);
    const { form, type, content } = this.body ? this.content() : {};
    for (const [name, value] of form ?? []) {
      if (value instanceof File) words.push(`-F ${quoted(`${name}=@${value.name}`)}`);
      else words.push(`--form-string ${quoted(`${name}=${value}`)}`);
    }
    if (type) words.push(`-H ${quoted(`Content-Type: ${type}`)}`);
    if (content instanceof File) words.push(`--data-binary ${quoted(`@${content.name}`)}`);
    else if (content) words.push(`--data-raw ${quoted(content)}`);
    return `curl ${words.join(" \\\n  ")}`;
  }

  refresh() {
    if (this.body) this.body.nameField.hidden = !this.isForm();
    this.curl.textContent = this.commandLine();
  }

  async submit(event) {
    event.preventDefault();
    if (this.running) return;
    this.running = new AbortController();
    this.stop.disabled = false;
    this.answer.clear();
    this.answer.say("Sending", "");
    const started = performance.now();
    try {
      const response = await fetch(this.address(), { cache: "no-store", ...this.request() });
      await this.answer.show(response, started);
    } catch (error) {
      if (this.running.signal.aborted) this.answer.say(`Stopped after ${since(started)}`, "bad");
      else this.answer.fail(error, started);
    }
    this.running = null;
    // A button that is disabled would lose the focus.
    if (document.activeElement === this.stop) this.send.focus();
    this.stop.disabled = true;
  }
}

// ------------------------------------------------------------------ the page

function examples(content, use) {
  const button = each =>
    use && make("button", { type: "button", class: "small", click: () => use(each) }, "Use");
  return examplesOf(content).map(each => make("figure", {},
    make("figcaption", {}, make("code", {}, each.type), button(each)),
    block(each.text, "Example")));
}

function mediaTypes(content) {
  // Lines break at the blanks.
  return Object.keys(content ?? {}).flatMap(type => [make("code", { class: "type" }, type), " "]);
}

function description(document, operation, parameters, trial) {
  const shown = make("div", { class: "about" }, prose(details(operation)));
  const { requestBody, responses } = operation;
  if (parameters.length) {
    shown.append(make("h4", {}, "Parameters"), make("ul", {}, parameters.map(each => make("li", {},
      make("code", {}, each.name), ` ${each.in} `, inline(textOf(each.description))))));
  }
  if (requestBody) {
    shown.append(make("h4", {}, "Request body"), prose(requestBody.description),
      make("p", {}, mediaTypes(requestBody.content)),
      ...fieldsOf(document, requestBody.content),
      ...examples(requestBody.content, trial.body && (example => trial.use(example))));
  }
  shown.append(make("h4", {}, "Answers"));
  for (const [status, response] of Object.entries(responses ?? {})) {
    // What the gateway answers is the same everywhere.
    if (response?.$ref) continue;
    const text = [" ", inline(textOf(response?.description)), " "];
    shown.append(make("p", {}, make("b", {}, status), text, mediaTypes(response?.content)),
      ...(/^[45]/.test(status) ? [] : fieldsOf(document, response?.content)),
      ...examples(response?.content));
  }
  shown.append(make("h4", {}, "From the command line"), make("div", { class: "curl" }, trial.curl));
  return shown;
}

function badge(method) {
  return make("span", { class: `method ${method}` }, method.toUpperCase());
}

function endpoint(token, api, id, method, path, item, operation) {
  const cells = operation["x-kgd-cells"] ?? [];
  const where = `${cells.length > 1 ? "cells" : "cell"} ${cells.join(", ")}`;
  const summary = [badge(method), make("code", { class: "path" }, path),
    make("span", { class: "about" }, inline(textOf(operation.summary))),
    operation["x-kgd-streamed"] ? make("span", { class: "mark" }, "streamed") : null,
    cells.length ? make("span", { class: "cells" }, where) : null];
  // A notebook may have many endpoints, of which few are looked at.
  return folded({ class: "endpoint", id }, summary, () => {
    const parameters = parametersOf(item, operation);
    const trial = new Trial(token, api, method, path, parameters, operation);
    return make("div", { class: "columns" },
      description(api.document, operation, parameters, trial), trial.node);
  });
}

function notebook(token, api, number) {
  const { info, paths, tags } = api.document;
  // A notebook seldom has a version; it is said to have this one then.
  const version = info?.version === "0.0.0" ? "" : textOf(info?.version);
  const names = tags?.length ? tags.map(each => each.name) : [""];
  const groups = new Map(names.map(name => [name, make("ul")]));
  const section = make("section", { class: "notebook", "aria-label": api.title },
    make("h2", {}, api.title, " ", make("span", { class: "hint" }, version)),
    make("p", { class: "base" }, make("code", {}, location.origin + api.base)),
    prose(info?.description));
  for (const [path, item] of Object.entries(paths ?? {})) {
    for (const method of METHODS.filter(each => item?.[each])) {
      const id = `${number}/${method}${path}`;
      const link = { href: `#${encodeURIComponent(id)}`, "data-id": id };
      section.append(endpoint(token, api, id, method, path, item, item[method]));
      const links = groups.get(item[method].tags?.[0]) ?? [...groups.values()][0];
      links.append(make("li", {}, make("a", link, badge(method), make("span", {}, path))));
    }
  }
  const links = [...groups].map(([name, list]) =>
    make("div", { class: "group" }, make("h3", {}, name || api.title), list));
  return { section, links };
}

// The token comes from the address once, and must not stay there: addresses are shown and kept.
function takeToken() {
  const url = new URL(location.href);
  const token = url.searchParams.get("token") ?? "";
  url.searchParams.delete("token");
  history.replaceState(null, "", url.href);
  return token;
}

function openLinked() {
  const link = [...document.querySelectorAll("nav a")].find(each => each.hash === location.hash);
  if (link) {
    const linked = document.getElementById(link.dataset.id);
    linked.open = true;
    linked.scrollIntoView();
    linked.querySelector("summary").focus({ preventScroll: true });
  }
}

function filter(words) {
  const wanted = words.toLowerCase().trim();
  for (const link of document.querySelectorAll("nav a")) {
    const shown = document.getElementById(link.dataset.id);
    const hidden = !shown.querySelector("summary").textContent.toLowerCase().includes(wanted);
    shown.hidden = link.parentNode.hidden = hidden;
  }
}

function start() {
  const apis = parsed(document.getElementById("apis").textContent);
  const token = line({ type: "password", value: takeToken() });
  const search = make("input", { type: "search", input: () => filter(search.value) });
  const notebooks = apis.map((api, number) => notebook(token, api, number));
  document.body.append(
    make("header", {}, make("h1", {}, document.title), field("Token", token)),
    make("div", { class: "page" },
      make("nav", { "aria-label": "Endpoints" }, field("Filter", search),
        notebooks.flatMap(each => each.links)),
      make("main", {}, notebooks.map(each => each.section))));
  window.addEventListener("hashchange", openLinked);
  openLinked();
}

start();
