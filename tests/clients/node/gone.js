// Waits until its kernel is deleted by somebody else; ends with status 0 if it leaves it at that.
//
//     node gone.js HOST v1|legacy

const assert = require('assert');
const { createRequire } = require('module');

const need = createRequire(process.cwd() + '/');
const WebSocket = need('ws');
const { KernelAPI, ServerConnection } = need('@jupyterlab/services');
const { KernelConnection } = need('@jupyterlab/services/lib/kernel/default');

const [host, framing] = process.argv.slice(2);
let sockets = 0;

class CountedWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, framing === 'v1' ? protocols : undefined);
    sockets += 1;
  }
}

const serverSettings = ServerConnection.makeSettings({
  baseUrl: `http://${host}/`,
  wsUrl: `ws://${host}/`,
  WebSocket: CountedWebSocket
});

async function main() {
  const model = await KernelAPI.startNew({}, serverSettings);
  const kernel = new KernelConnection({ model, serverSettings });
  await kernel.requestExecute({ code: 'pass' }).done;
  const seen = [];
  kernel.statusChanged.connect((_, status) => seen.push(status));
  const over = new Promise(resolve => {
    kernel.connectionStatusChanged.connect((_, status) => {
      seen.push(status);
      if (status !== 'connected') {
        resolve();
      }
    });
  });
  console.log('kernel', model.id);
  await over;
  // It would come back at once.
  for (let i = 0; i < 5; i++) {
    assert.deepStrictEqual(await KernelAPI.listRunning(serverSettings), []);
  }
  assert.strictEqual(sockets, 1, seen.join());
  assert(seen.includes('disconnected'), seen.join());
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  }
);
