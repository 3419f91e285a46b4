// What the Jupyter extension of VS Code asks of a server that its user has named, with the library
// that it uses; ends with status 0 if it works.
//
//     node vscode.js HOST TOKEN
//
// Facts: https://github.com/microsoft/vscode-jupyter, src/kernels/jupyter and
// src/standalone/userJupyterServer.

const assert = require('assert');
const { randomUUID } = require('crypto');
const { createRequire } = require('module');

const need = createRequire(process.cwd() + '/');
const WebSocket = need('ws');
const { KernelAPI, KernelManager, KernelSpecManager, ServerConnection, SessionManager } = need(
  '@jupyterlab/services'
);

const [host, token] = process.argv.slice(2);
const baseUrl = `http://${host}/`;
const sockets = [];

class PingingWebSocket extends WebSocket {
  constructor(url, protocols, options) {
    super(url, protocols, options);
    sockets.push(this);
  }
}

// A server that another extension provides comes with headers instead of a token. The library then
// adds none.
function withHeaders(headers) {
  return {
    Request: class extends Request {
      constructor(input, init) {
        super(input, init);
        Object.entries(headers).forEach(([name, value]) => this.headers.append(name, value));
        this.headers.set('Content-Type', 'application/json');
        const append = this.headers.append.bind(this.headers);
        this.headers.append = (name, value) => {
          if (name.toLowerCase() !== 'authorization') append(name, value);
        };
      }
    },
    WebSocket: class extends PingingWebSocket {
      constructor(url, protocols) {
        super(url, protocols, { headers });
      }
    }
  };
}

// A window of the editor.
class Window {
  constructor(more = {}) {
    this.serverSettings = ServerConnection.makeSettings({
      baseUrl,
      appUrl: '',
      wsUrl: baseUrl.replace('http', 'ws'),
      ...(token ? { token, appendToken: true } : {}),
      init: { cache: 'no-store', credentials: 'same-origin' },
      WebSocket: PingingWebSocket,
      ...more
    });
    const { serverSettings } = this;
    this.kernels = new KernelManager({ serverSettings });
    this.specs = new KernelSpecManager({ serverSettings });
    this.sessions = new SessionManager({ serverSettings, kernelManager: this.kernels });
  }

  // For the list of kernels that a user chooses from.
  async list() {
    const [kernels] = await Promise.all([
      KernelAPI.listRunning(this.serverSettings),
      this.sessions.ready.then(() => this.specs.refreshSpecs()),
      this.sessions.ready.then(() => this.sessions.refreshRunning())
    ]);
    const sessions = [...this.sessions.running()];
    for (const { kernel } of sessions) {
      assert(!Number.isNaN(Date.parse(kernel.last_activity)), kernel.last_activity);
      assert(Number.isInteger(kernel.connections), kernel.connections);
      assert(kernels.some(each => each.id === kernel.id));
    }
    assert(this.specs.specs.kernelspecs[this.specs.specs.default]);
    return sessions;
  }

  // Paths and names are made unique, or a server would return another window's session.
  start(name) {
    return this.sessions.startNew(
      {
        path: `${name}-jvsc-${randomUUID()}.ipynb`,
        kernel: { name: this.specs.specs.default },
        name: `${name}-${randomUUID()}.ipynb`,
        type: 'notebook'
      },
      { kernelConnectionOptions: { handleComms: true } }
    );
  }

  close() {
    [this.sessions, this.kernels, this.specs].forEach(each => each.dispose());
  }
}

// The user waits for this before the first cell runs.
function idle(kernel) {
  return new Promise(resolve => {
    const look = () => kernel.status === 'idle' && resolve();
    kernel.statusChanged.connect(look);
    look();
  });
}

function connected(kernel) {
  return new Promise(resolve => {
    const look = () => kernel.connectionStatus === 'connected' && resolve();
    kernel.connectionStatusChanged.connect(look);
    look();
  });
}

function execute(kernel, code, more = {}) {
  const future = kernel.requestExecute(
    {
      code,
      silent: false,
      stop_on_error: false,
      allow_stdin: true,
      store_history: true,
      ...more
    },
    false,
    { cellId: randomUUID() }
  );
  const run = { future, text: '' };
  run.going = new Promise(resolve => {
    future.onIOPub = message => {
      if (message.header.msg_type === 'stream') {
        run.text += message.content.text;
        resolve();
      }
    };
  });
  return run;
}

async function finished(run) {
  const reply = await run.future.done;
  run.future.dispose();
  return { text: run.text, ...reply.content };
}

async function pinged() {
  const open = sockets.filter(each => each.readyState === WebSocket.OPEN);
  assert(open.length > 0);
  await Promise.all(
    open.map(each => {
      const pong = new Promise(resolve => each.once('pong', resolve));
      each.ping();
      return pong;
    })
  );
}

async function main() {
  // Is it a hub, and does it want a password? What is not there is neither.
  for (const path of ['hub/api', 'tree?', 'login?']) {
    const answer = await fetch(baseUrl + path, {
      method: 'get',
      redirect: 'manual',
      headers: { Connection: 'keep-alive' }
    });
    assert(![200, 302].includes(answer.status), `${path} is ${answer.status}`);
    await answer.text();
  }

  const first = new Window();
  assert.deepStrictEqual(await first.list(), []);
  const session = await first.start('analysis');
  const { kernel } = session;
  await idle(kernel);
  // What it looks for itself does not count as a cell.
  const hidden = { silent: true, store_history: false, allow_stdin: false };
  assert.strictEqual(
    (await finished(execute(kernel, 'import os as _os; print(_os.getpid())', hidden))).status,
    'ok'
  );
  let run = await finished(execute(kernel, 'x = 6; print("hello")'));
  assert.deepStrictEqual([run.text, run.execution_count], ['hello\n', 1]);
  const matches = await kernel.requestComplete({ code: 'x.bit_', cursor_pos: 6 });
  assert(matches.content.matches.some(each => each.includes('bit_length')));
  const about = await kernel.requestInspect({ code: 'x', cursor_pos: 1, detail_level: 0 });
  assert(about.content.found);
  assert.deepStrictEqual((await kernel.requestCommInfo({})).content.comms, {});
  await pinged();

  // A cell still runs when the window is closed. The next one finds the session, and goes on to
  // show what the cell prints.
  const looping = execute(
    kernel,
    'import time\nfor _ in iter(int, 1): print("again", flush=True); time.sleep(0.05)'
  );
  await looping.going;
  const id = looping.future.msg.header.msg_id;
  looping.future.done.catch(() => {});
  first.close();
  session.dispose();
  const second = new Window(token ? withHeaders({ Authorization: `token ${token}` }) : {});
  const [model] = await second.list();
  assert.deepStrictEqual([model.id, model.type], [session.id, 'notebook']);
  assert.match(model.path, /^analysis-jvsc-/);
  const resumed = second.sessions.connectTo({
    model,
    kernelConnectionOptions: { handleComms: true }
  });
  const seen = [];
  const again = new Promise(resolve => {
    resumed.kernel.anyMessage.connect((_, { direction, msg }) => {
      if (direction === 'recv' && msg.parent_header.msg_id === id) {
        seen.push(msg.content.execution_state || msg.header.msg_type);
        if (msg.header.msg_type === 'stream') resolve();
      }
    });
  });
  await connected(resumed.kernel);
  await again;
  await resumed.kernel.interrupt();
  await idle(resumed.kernel);
  assert.deepStrictEqual(seen.slice(-2), ['error', 'idle']);
  run = await finished(execute(resumed.kernel, 'print(x * 7)'));
  assert.strictEqual(run.text, '42\n');
  await pinged();

  // A restart keeps the session.
  await resumed.kernel.restart();
  await connected(resumed.kernel);
  run = await finished(execute(resumed.kernel, 'x'));
  assert.strictEqual(run.ename, 'NameError');
  assert.deepStrictEqual((await second.list()).map(each => each.id), [model.id]);

  // The same notebook with another kernel is another session, and that without a notebook, too.
  const other = await second.start('analysis');
  assert.notStrictEqual(other.id, model.id);
  assert.strictEqual((await second.list()).length, 2);
  await other.shutdown();
  await resumed.shutdown();
  assert.deepStrictEqual(await second.list(), []);
  second.close();
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  }
);
