// All that a notebook does with a kernel, through @jupyterlab/services; ends with status 0 if it works.
//
//     node everything.js HOST TOKEN v1|legacy

const assert = require('assert');
const { createRequire } = require('module');

// The packages are installed where the example client is.
const need = createRequire(process.cwd() + '/');
const WebSocket = need('ws');
const { KernelAPI, KernelSpecAPI, ServerConnection } = need('@jupyterlab/services');
const { KernelConnection } = need('@jupyterlab/services/lib/kernel/default');

const [host, token, framing] = process.argv.slice(2);

// Without a subprotocol the library speaks the legacy framing.
class LegacyWebSocket extends WebSocket {
  constructor(url) {
    super(url);
  }
}

const serverSettings = ServerConnection.makeSettings({
  baseUrl: `http://${host}/`,
  wsUrl: `ws://${host}/`,
  token,
  appendToken: true,
  WebSocket: framing === 'v1' ? WebSocket : LegacyWebSocket
});

async function execute(kernel, code, more = {}) {
  const future = kernel.requestExecute({ code, ...more });
  const outputs = [];
  future.onIOPub = message => outputs.push(message);
  const reply = await future.done;
  const text = outputs
    .filter(message => message.header.msg_type === 'stream')
    .map(message => message.content.text)
    .join('');
  return { reply, outputs, text };
}

function when(signal, wanted) {
  return new Promise(resolve => {
    signal.connect((_, value) => {
      if (value === wanted) {
        resolve();
      }
    });
  });
}

async function main() {
  const specs = await KernelSpecAPI.getSpecs(serverSettings);
  assert(specs.kernelspecs[specs.default]);
  const model = await KernelAPI.startNew({ name: specs.default }, serverSettings);
  const kernel = new KernelConnection({ model, serverSettings });

  // Outputs of every kind.
  let run = await execute(kernel, 'print("hello"); 6 * 7');
  assert.strictEqual(run.text, 'hello\n');
  assert(run.outputs.some(m => m.content.data && m.content.data['text/plain'] === '42'));
  assert.strictEqual(run.reply.content.status, 'ok');
  run = await execute(kernel, '1/0');
  assert.strictEqual(run.reply.content.ename, 'ZeroDivisionError');
  const info = await kernel.info;
  assert.strictEqual(info.language_info.name, 'python');

  // Input.
  const asking = kernel.requestExecute({ code: 'print(input("? "))', allow_stdin: true });
  let echoed = '';
  asking.onIOPub = m => (echoed += m.header.msg_type === 'stream' ? m.content.text : '');
  asking.onStdin = message => {
    assert.strictEqual(message.content.prompt, '? ');
    kernel.sendInputReply({ value: 'typed', status: 'ok' }, message.header);
  };
  await asking.done;
  assert.strictEqual(echoed, 'typed\n');

  // An endless loop is interrupted.
  const looping = kernel.requestExecute({ code: 'print("go", flush=True)\nwhile True: pass' });
  const going = new Promise(resolve => {
    looping.onIOPub = m => m.header.msg_type === 'stream' && resolve();
  });
  await going;
  await kernel.interrupt();
  const interrupted = await looping.done;
  assert.strictEqual(interrupted.content.ename, 'KeyboardInterrupt');

  // A restart forgets everything, and the connection goes on.
  await execute(kernel, 'x = 1');
  await kernel.restart();
  run = await execute(kernel, 'x');
  assert.strictEqual(run.reply.content.ename, 'NameError');

  // A kernel that dies comes back by itself.
  const restarting = when(kernel.statusChanged, 'autorestarting');
  const connected = restarting.then(() => when(kernel.connectionStatusChanged, 'connected'));
  kernel.requestExecute({ code: 'import os; os._exit(1)' }).done.catch(() => {});
  await restarting;
  await connected;
  run = await execute(kernel, 'print("again")');
  assert.strictEqual(run.text, 'again\n');

  // Shutting down ends it.
  const listed = await KernelAPI.listRunning(serverSettings);
  assert.deepStrictEqual(listed.map(each => each.id), [model.id]);
  await kernel.shutdown();
  assert.deepStrictEqual(await KernelAPI.listRunning(serverSettings), []);
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  }
);
