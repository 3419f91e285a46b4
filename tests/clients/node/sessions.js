// All that JupyterLab does with sessions; ends with status 0 if it works.
//
//     node sessions.js HOST TOKEN

const assert = require('assert');
const { createRequire } = require('module');

const need = createRequire(process.cwd() + '/');
const WebSocket = need('ws');
const { KernelAPI, ServerConnection, SessionAPI } = need('@jupyterlab/services');
const { KernelConnection } = need('@jupyterlab/services/lib/kernel/default');
const { SessionConnection } = need('@jupyterlab/services/lib/session/default');

const [host, token] = process.argv.slice(2);
const serverSettings = ServerConnection.makeSettings({
  baseUrl: `http://${host}/`,
  wsUrl: `ws://${host}/`,
  token,
  appendToken: true,
  WebSocket
});

async function run(kernel, code) {
  const future = kernel.requestExecute({ code });
  let text = '';
  future.onIOPub = m => (text += m.header.msg_type === 'stream' ? m.content.text : '');
  const reply = await future.done;
  assert.strictEqual(reply.content.status, 'ok');
  return text;
}

async function missing(promise) {
  const error = await promise.then(
    () => assert.fail('it is there'),
    error => error
  );
  assert.strictEqual(error.response && error.response.status, 404, error);
}

async function main() {
  assert.deepStrictEqual(await SessionAPI.listRunning(serverSettings), []);

  // Starting one starts a kernel, which works.
  const options = { path: 'a.ipynb', name: 'a', type: 'notebook', kernel: { name: 'python3' } };
  const model = await SessionAPI.startSession(options, serverSettings);
  assert.deepStrictEqual([model.path, model.name, model.type], ['a.ipynb', 'a', 'notebook']);
  assert.strictEqual(model.kernel.name, 'python3');
  const session = new SessionConnection({
    model,
    connectToKernel: more => new KernelConnection({ serverSettings, ...more }),
    serverSettings
  });
  assert.strictEqual(await run(session.kernel, 'print("hello")'), 'hello\n');

  // The path is taken: there is one session for it.
  const same = await SessionAPI.startSession(options, serverSettings);
  assert.deepStrictEqual([same.id, same.kernel.id], [model.id, model.kernel.id]);
  assert.strictEqual((await KernelAPI.listRunning(serverSettings)).length, 1);

  // Renamed, its kernel stays.
  await session.setPath('folder/b.ipynb');
  await session.setName('b');
  let found = await SessionAPI.getSessionModel(model.id, serverSettings);
  assert.deepStrictEqual([found.path, found.name], ['folder/b.ipynb', 'b']);
  assert.strictEqual(found.kernel.id, model.kernel.id);
  await session.setType('console');
  found = await SessionAPI.getSessionModel(model.id, serverSettings);
  assert.strictEqual(found.type, 'console');
  await session.setType('notebook');

  // Two sessions may share a kernel.
  const sharing = await SessionAPI.startSession(
    { path: 'c.py', name: 'c', type: 'file', kernel: { id: model.kernel.id } },
    serverSettings
  );
  assert.strictEqual(sharing.kernel.id, model.kernel.id);
  const listed = await SessionAPI.listRunning(serverSettings);
  assert.deepStrictEqual(listed.map(each => each.id).sort(), [model.id, sharing.id].sort());

  // Another kernel replaces the old one, which nobody wants any more, unless a session has it.
  const kernel = await session.changeKernel({ name: 'python3' });
  assert.notStrictEqual(kernel.id, model.kernel.id);
  assert.strictEqual(await run(kernel, 'print("new")'), 'new\n');

  // A session whose kernel is gone is gone.
  const lonely = await SessionAPI.startSession(
    { path: 'd.ipynb', name: 'd', type: 'notebook', kernel: {} },
    serverSettings
  );
  await KernelAPI.shutdownKernel(lonely.kernel.id, serverSettings);
  await missing(SessionAPI.getSessionModel(lonely.id, serverSettings));
  const ids = (await SessionAPI.listRunning(serverSettings)).map(each => each.id);
  assert(!ids.includes(lonely.id));
  // The library takes a 404 for granted.
  await SessionAPI.shutdownSession(lonely.id, serverSettings);

  // Shutting down takes the kernel along.
  await session.shutdown();
  for (const each of await SessionAPI.listRunning(serverSettings)) {
    await SessionAPI.shutdownSession(each.id, serverSettings);
  }
  assert.deepStrictEqual(await SessionAPI.listRunning(serverSettings), []);
  await missing(SessionAPI.getSessionModel(model.id, serverSettings));
  const kernels = (await KernelAPI.listRunning(serverSettings)).map(each => each.id);
  assert(!kernels.includes(kernel.id), kernels);
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  }
);
