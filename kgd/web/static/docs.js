// Shows the endpoints of notebooks, and lets a person try them.
//
// What notebooks say is not trusted: it gets into the page as text only, never as HTML.

const METHODS = ["get", "put", "post", "delete", "patch", "options", "head", "trace"];
const WITH_BODY = ["put", "post", "patch"];
// Longer answers would make the page slow; they can still be saved.
const MOST_CHARACTERS = 1_000_000;
const TEXT = /^text\/|^application\/([\w.-]+\+)?(json|xml|yaml|javascript|x-ndjson|x-www-form-urlencoded)\b|^$/;

// ------------------------------------------------------------------ making elements

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else node.setAttribute(name, value);
  }
  // Strings become text.
  node.append(...children.flat().filter(child => child !== undefined && child !== null));
  return node;
}

function textOf(value) {
  if (typeof value === "string") return value;
  return value === undefined || value === null ? "" : JSON.stringify(value, null, 2);
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

// `code` in a line of text.
function inline(line) {
  return line.split(/(`[^`]+`)/).map(piece => {
    const code = /^`([^`]+)`$/.exec(piece);
    return code ? make("code", {}, code[1]) : piece;
  });
}

// The little of Markdown that descriptions need: headings, lists, code and paragraphs.
function prose(markdown) {
  const shown = make("div", { class: "prose" });
  let open = null;
  let fence = null;
  for (const line of textOf(markdown).split(/\r?\n/)) {
    const heading = /^#{1,6}\s+(.*)/.exec(line);
    const item = /^\s*[-*+]\s+(.*)/.exec(line);
    if (/^\s*```/.test(line)) {
      fence = fence ? null : block("", "Example");
      if (fence) shown.append(fence);
      open = null;
    } else if (fence) {
      fence.append(`${line}\n`);
    } else if (heading) {
      shown.append(make("h5", {}, inline(heading[1])));
      open = null;
    } else if (item) {
      if (open?.tagName !== "UL") shown.append((open = make("ul")));
      open.append(make("li", {}, inline(item[1])));
    } else if (!line.trim()) {
      open = null;
    } else {
      if (!open) shown.append((open = make("p")));
      (open.tagName === "UL" ? open.lastChild : open).append(...inline(`${line} `));
    }
  }
  return shown;
}

// ------------------------------------------------------------------ reading documents

// All examples for a body: media type and text.
function examplesOf(content) {
  return Object.entries(content ?? {}).flatMap(([type, media]) => {
    const values = Object.values(media?.examples ?? {}).map(each => each?.value);
    if (media?.example !== undefined) values.unshift(media.example);
    return values.map(value => ({ type, text: textOf(value) }));
  });
}

function parametersOf(item, operation) {
  const found = new Map();
  for (const each of [item.parameters, operation.parameters].flatMap(list => list ?? [])) {
    if (each?.name) found.set(`${each.in} ${each.name}`, each);
  }
  return [...found.values()];
}

// ------------------------------------------------------------------ showing answers

function duration(since) {
  const milliseconds = performance.now() - since;
  return milliseconds < 1000
    ? `${Math.round(milliseconds)} ms`
    : `${(milliseconds / 1000).toFixed(2)} s`;
}

function bytes(size) {
  if (size < 1024) return `${size} B`;
  return size < 1048576 ? `${(size / 1024).toFixed(1)} KB` : `${(size / 1048576).toFixed(1)} MB`;
}

function decoderFor(contentType) {
  try {
    return new TextDecoder(/charset="?([\w-]+)/i.exec(contentType)?.[1] ?? "utf-8");
  } catch {
    return new TextDecoder();
  }
}

// Indents JSON and leaves its values as they are: parsed, large numbers would change.
function indented(json) {
  try {
    JSON.parse(json);
  } catch {
    return json;
  }
  const pieces = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g);
  let depth = 0;
  return pieces
    .map((piece, index) => {
      const newline = () => `\n${"  ".repeat(depth)}`;
      if (piece === ",") return piece + newline();
      if (piece === ":") return ": ";
      if (piece === "{" || piece === "[") {
        depth += 1;
        return /[}\]]/.test(pieces[index + 1][0]) ? piece : piece + newline();
      }
      if (piece === "}" || piece === "]") {
        depth -= 1;
        return /[{[]/.test(pieces[index - 1][0]) ? piece : newline() + piece;
      }
      return piece;
    })
    .join("");
}

// The place where an answer is shown, anew for each request.
class Answer {
  constructor() {
    this.line = make("p", { class: "status", role: "status", "aria-live": "polite" });
    this.rest = make("div");
    this.node = make("section", { class: "answer", "aria-label": "Answer" }, this.line, this.rest);
    this.url = null;
  }

  say(text, kind) {
    this.line.textContent = text;
    this.node.dataset.kind = kind;
  }

  clear() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    this.rest.replaceChildren();
  }

  // Shows what comes as it comes.
  async show(response, started) {
    const kind = response.ok ? "good" : "bad";
    const status = `${response.status} ${response.statusText}`.trim();
    const type = response.headers.get("content-type") ?? "";
    this.say(`${status} · receiving`, kind);
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    this.rest.append(
      make("details", { class: "headers" }, make("summary", {}, "Headers"), block(headers, "Headers"))
    );
    const pre = block("", "Body");
    const decoder = TEXT.test(type) ? decoderFor(type) : null;
    const chunks = [];
    let size = 0;
    let text = "";
    const add = piece => {
      if (text.length < MOST_CHARACTERS) pre.append(piece.slice(0, MOST_CHARACTERS - text.length));
      text += piece;
    };
    if (decoder) this.rest.append(pre);
    const reader = response.body?.getReader();
    for (let next = await reader?.read(); next && !next.done; next = await reader.read()) {
      chunks.push(next.value);
      size += next.value.length;
      if (decoder) add(decoder.decode(next.value, { stream: true }));
    }
    if (decoder) add(decoder.decode());
    const hint = response.status === 401 ? " · is the token at the top right?" : "";
    this.say(`${status} · ${duration(started)} · ${bytes(size)}${hint}`, kind);
    this.finish(pre, type, text, size && new Blob(chunks, { type }));
  }

  finish(pre, type, text, blob) {
    if (!blob) {
      pre.replaceWith(make("p", { class: "hint" }, "The body is empty."));
      return;
    }
    this.url = URL.createObjectURL(blob);
    if (/^image\//.test(type)) {
      this.rest.append(make("img", { src: this.url, alt: "The answer" }));
    } else if (/[/+]json\b/.test(type) && text.length <= MOST_CHARACTERS) {
      pre.textContent = indented(text);
    } else if (/^text\/html\b/.test(type)) {
      this.rest.append(preview(text));
    }
    const cut = text.length > MOST_CHARACTERS ? "Only the beginning is shown. " : "";
    this.rest.append(make("p", {}, cut, make("a", { href: this.url, download: "answer" }, "Save")));
  }
}

// Runs no scripts, and has the rules of this page, so that it can load nothing from elsewhere.
function preview(html) {
  const shown = make("details", { class: "preview" }, make("summary", {}, "Preview without scripts and styles"));
  shown.addEventListener(
    "toggle",
    () => shown.append(make("iframe", { sandbox: "", title: "Preview", srcdoc: html })),
    { once: true }
  );
  return shown;
}

// ------------------------------------------------------------------ trying an endpoint

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// The form for one endpoint.
class Trial {
  constructor(token, api, method, path, item, operation) {
    this.token = token;
    this.base = api.base.replace(/\/+$/, "");
    this.method = method.toUpperCase();
    this.path = path;
    this.streamed = Boolean(operation["x-kgd-streamed"]);
    this.running = null;
    this.answer = new Answer();
    this.parameters = parametersOf(item, operation)
      .filter(each => ["path", "query", "header"].includes(each.in))
      .map(each => ({
        in: each.in,
        name: each.name,
        control: make("input", {
          type: "text",
          autocomplete: "off",
          spellcheck: "false",
          required: each.in === "path" || Boolean(each.required),
          value: textOf(each.example ?? each.schema?.example ?? each.schema?.default)
        })
      }));
    const takesBody = operation.requestBody || WITH_BODY.includes(method);
    this.body = takesBody ? this.makeBody(operation.requestBody?.content) : null;
    this.query = make("input", { type: "text", placeholder: "name=value&other=value", autocomplete: "off", spellcheck: "false" });
    this.headers = make("textarea", { rows: "2", placeholder: "Name: value", spellcheck: "false" });
    this.curl = block("", "Command line");
    this.send = make("button", { type: "submit", class: "send" }, "Send");
    this.stop = make("button", { type: "button", disabled: true, click: () => this.running.abort() }, "Stop");
    this.node = make("form", { class: "try", submit: event => this.submit(event), input: () => this.refresh() },
      make("h4", {}, "Try it"),
      this.parameters.map(each => field(each.name, each.control, each.in)),
      field("Query string", this.query),
      field("Headers", this.headers, "one per line"),
      this.body?.nodes,
      make("div", { class: "buttons" }, this.send, this.stop),
      make("div", { class: "curl" }, make("h5", {}, "curl"), this.curl),
      this.answer.node
    );
    this.refresh();
  }

  makeBody(content) {
    const types = Object.keys(content ?? {});
    const [example] = examplesOf(content);
    const list = make("datalist", {}, types.map(type => make("option", { value: type })));
    list.id = `types-${(fields += 1)}`;
    const type = make("input", {
      type: "text", list: list.id, autocomplete: "off", spellcheck: "false",
      value: example?.type ?? types[0] ?? "application/json"
    });
    const text = make("textarea", { rows: "5", spellcheck: "false" }, example?.text ?? "");
    const name = make("input", { type: "text", value: "file", autocomplete: "off" });
    const file = make("input", { type: "file", multiple: true });
    const nameField = field("Name of the file's field", name);
    const textField = field("Body", text);
    const fileField = field("File", file, "sent as the body, if there is one");
    const nodes = [field("Content type", type), list, textField, nameField, fileField];
    return { type, text, name, file, nodes, nameField, textField, fileField };
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

  address() {
    const given = kind => this.parameters.filter(each => each.in === kind);
    const values = new Map(given("path").map(each => [each.name, each.control.value]));
    // Put together like this, a path that begins with // is not another host.
    const url = new URL(location.origin);
    url.pathname = this.base + this.path.replace(/\{([^{}]+)\}/g, (whole, name) =>
      values.has(name) ? encodeURIComponent(values.get(name)) : whole);
    const pairs = given("query").filter(each => each.control.value).map(each => [each.name, each.control.value]);
    url.search = [String(new URLSearchParams(pairs)), this.query.value.replace(/^\?/, "")].filter(Boolean).join("&");
    return url.href;
  }

  // Names and values, but not the token's.
  headerList() {
    const own = this.parameters.filter(each => each.in === "header" && each.control.value);
    const lines = this.headers.value.split("\n").filter(line => line.trim());
    const list = own.map(each => [each.name, each.control.value]);
    for (const line of lines) {
      const [, name, value] = /^([^:]*):?(.*)$/.exec(line);
      list.push([name.trim(), value.trim()]);
    }
    return list;
  }

  // The form's text fields: a name=value in each line.
  formFields() {
    const lines = this.body.text.value.split("\n").filter(line => line.includes("="));
    return lines.map(line => [line.slice(0, line.indexOf("=")).trim(), line.slice(line.indexOf("=") + 1)]);
  }

  request() {
    const headers = new Headers();
    const options = { method: this.method, headers, cache: "no-store", signal: this.running.signal };
    for (const [name, value] of this.headerList()) headers.append(name, value);
    if (this.token.value && !headers.has("Authorization")) {
      headers.set("Authorization", `token ${this.token.value}`);
    }
    if (this.body && this.isForm()) {
      options.body = new FormData();
      for (const [name, value] of this.formFields()) options.body.append(name, value);
      for (const file of this.body.file.files) options.body.append(this.body.name.value, file);
      // The browser says which boundary it has chosen.
      headers.delete("Content-Type");
    } else if (this.body) {
      options.body = this.body.file.files[0] ?? this.body.text.value;
      const type = this.body.type.value.trim();
      if (type && !headers.has("Content-Type")) headers.set("Content-Type", type);
    }
    return options;
  }

  commandLine() {
    const url = this.address();
    const words = ["curl"];
    if (this.streamed) words.push("--no-buffer");
    // Otherwise curl takes these for patterns.
    if (/[[\]{}]/.test(url)) words.push("--globoff");
    if (this.method === "HEAD") words.push("--head");
    else if (this.method !== "GET") words.push(`-X ${this.method}`);
    words.push(quoted(url));
    if (this.token.value) words.push('-H "Authorization: token $KGD_TOKEN"');
    for (const [name, value] of this.headerList()) words.push(`-H ${quoted(`${name}: ${value}`)}`);
    const files = [...(this.body?.file.files ?? [])];
    if (this.body && this.isForm()) {
      for (const [name, value] of this.formFields()) words.push(`--form-string ${quoted(`${name}=${value}`)}`);
      for (const file of files) words.push(`-F ${quoted(`${this.body.name.value}=@${file.name}`)}`);
    } else if (this.body) {
      const type = this.body.type.value.trim();
      if (type) words.push(`-H ${quoted(`Content-Type: ${type}`)}`);
      words.push(files.length ? `--data-binary ${quoted(`@${files[0].name}`)}` : `--data-raw ${quoted(this.body.text.value)}`);
    }
    return words.join(" \\\n  ").replace(/^curl \\\n {2}/, "curl ");
  }

  refresh() {
    if (this.body) {
      const form = this.isForm();
      this.body.nameField.hidden = !form;
      this.body.textField.querySelector("label").textContent = form ? "Fields, a name=value in each line" : "Body";
      this.body.fileField.querySelector(".hint").textContent = form ? "" : "sent as the body, if there is one";
    }
    this.curl.textContent = this.commandLine();
  }

  async submit(event) {
    event.preventDefault();
    if (this.running) return;
    this.running = new AbortController();
    this.stop.disabled = false;
    // A button that is disabled would lose the focus.
    this.send.setAttribute("aria-disabled", "true");
    this.answer.clear();
    this.answer.say("Sending", "");
    const started = performance.now();
    try {
      await this.answer.show(await fetch(this.address(), this.request()), started);
    } catch (error) {
      const stopped = error.name === "AbortError";
      this.answer.say(stopped ? `Stopped after ${duration(started)}` : `No answer: ${error.message}`, "bad");
    }
    this.running = null;
    this.send.removeAttribute("aria-disabled");
    if (document.activeElement === this.stop) this.send.focus();
    this.stop.disabled = true;
  }
}

// ------------------------------------------------------------------ the page

function examples(list, use) {
  return list.map(example =>
    make("figure", {},
      make("figcaption", {}, make("code", {}, example.type),
        use && make("button", { type: "button", class: "small", click: () => use(example) }, "Use")),
      block(example.text, "Example")
    ));
}

function mediaTypes(content) {
  return Object.keys(content ?? {}).map(type => make("code", { class: "type" }, type));
}

function description(operation, item, trial) {
  const parameters = parametersOf(item, operation);
  const { requestBody } = operation;
  return make("div", { class: "about" },
    operation.description ? prose(operation.description) : null,
    parameters.length ? [make("h4", {}, "Parameters"), make("dl", {}, parameters.map(each => [
      make("dt", {}, make("code", {}, each.name), " ", make("span", { class: "hint" }, textOf(each.in))),
      make("dd", {}, prose(each.description))
    ]).flat())] : null,
    requestBody ? [make("h4", {}, "Request body"), make("p", {}, mediaTypes(requestBody.content)),
      requestBody.description ? prose(requestBody.description) : null,
      examples(examplesOf(requestBody.content), example => trial.use(example))].flat() : null,
    make("h4", {}, "Answers"),
    Object.entries(operation.responses ?? {}).map(([status, response]) => [
      make("p", {}, make("b", {}, status), " ", textOf(response?.description), " ", mediaTypes(response?.content)),
      examples(examplesOf(response?.content))
    ]).flat(2)
  );
}

function endpoint(token, api, id, method, path, item, operation) {
  const cells = operation["x-kgd-cells"] ?? [];
  const shown = make("details", { class: "endpoint", id },
    make("summary", {},
      make("span", { class: `method ${method}` }, method.toUpperCase()),
      make("code", { class: "path" }, path),
      make("span", { class: "about" }, textOf(operation.summary)),
      operation["x-kgd-streamed"] ? make("span", { class: "mark" }, "streamed") : null,
      cells.length ? make("span", { class: "cells" }, `cell ${cells.join(", ")}`) : null));
  // A notebook may have many endpoints, of which few are looked at.
  shown.addEventListener("toggle", () => {
    const trial = new Trial(token, api, method, path, item, operation);
    token.addEventListener("input", () => trial.refresh());
    shown.append(make("div", { class: "columns" }, description(operation, item, trial), trial.node));
  }, { once: true });
  return shown;
}

function notebook(token, api, number) {
  const { info, paths } = api.document;
  const links = make("ul");
  const section = make("section", { class: "notebook", "aria-label": api.title },
    make("h2", {}, api.title, " ", make("span", { class: "hint" }, textOf(info?.version))),
    make("p", { class: "base" }, make("code", {}, location.origin + api.base)),
    info?.description ? prose(info.description) : null);
  for (const [path, item] of Object.entries(paths ?? {})) {
    for (const method of METHODS.filter(each => item?.[each])) {
      const id = `${number}/${method}${path}`;
      section.append(endpoint(token, api, id, method, path, item, item[method]));
      links.append(make("li", {}, make("a", { href: `#${encodeURIComponent(id)}`, "data-id": id },
        make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", {}, path))));
    }
  }
  return { section, links: make("div", { class: "group" }, make("h3", {}, api.title), links) };
}

// The token comes from the address once, and must not stay there: addresses are shown and kept.
function takeToken() {
  const url = new URL(location.href);
  const token = url.searchParams.get("token") ?? "";
  if (url.searchParams.has("token")) {
    url.searchParams.delete("token");
    history.replaceState(null, "", url.href);
  }
  return token;
}

function openLinked() {
  const id = decodeURIComponent(location.hash.slice(1));
  const linked = id && document.getElementById(id);
  if (linked?.matches("details.endpoint")) {
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
  const apis = JSON.parse(document.getElementById("apis").textContent);
  const token = make("input", { type: "password", autocomplete: "off", value: takeToken(), spellcheck: "false" });
  const search = make("input", { type: "search", input: () => filter(search.value) });
  const notebooks = apis.map((api, number) => notebook(token, api, number));
  document.body.append(
    make("header", {}, make("h1", {}, document.title), field("Token", token, "not kept")),
    make("div", { class: "page" },
      make("nav", { "aria-label": "Endpoints" }, field("Filter", search), notebooks.map(each => each.links)),
      make("main", {}, notebooks.map(each => each.section))));
  const all = document.querySelectorAll("details.endpoint");
  if (all.length === 1) all[0].open = true;
  window.addEventListener("hashchange", openLinked);
  openLinked();
}

start();
