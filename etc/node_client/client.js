// Runs one piece of code on a kernel behind a gateway, with @jupyterlab/services.
//
//     node client.js 'print("Hello")'
//
// GATEWAY_HOST says where the gateway is (127.0.0.1:8888), GATEWAY_TOKEN what it wants to see.

const WebSocket = require('ws');
const { KernelAPI, KernelSpecAPI, ServerConnection } = require('@jupyterlab/services');
// Importing it from here leaves out the managers, which need a browser.
const { KernelConnection } = require('@jupyterlab/services/lib/kernel/default');

const host = process.env.GATEWAY_HOST || '127.0.0.1:8888';
const serverSettings = ServerConnection.makeSettings({
  baseUrl: `http://${host}/`,
  wsUrl: `ws://${host}/`,
  token: process.env.GATEWAY_TOKEN || '',
  appendToken: true,
  WebSocket
});

async function main() {
  const specs = await KernelSpecAPI.getSpecs(serverSettings);
  console.log('Kernelspecs:', Object.keys(specs.kernelspecs).join(', '));
  const model = await KernelAPI.startNew({ name: specs.default }, serverSettings);
  const kernel = new KernelConnection({ model, serverSettings });
  try {
    const future = kernel.requestExecute({ code: process.argv[2] || 'print("Hello world!")' });
    future.onIOPub = message => {
      if (message.header.msg_type === 'stream') {
        process.stdout.write(message.content.text);
      } else if (message.header.msg_type === 'execute_result') {
        console.log(message.content.data['text/plain']);
      } else if (message.header.msg_type === 'error') {
        console.error(message.content.traceback.join('\n'));
      }
    };
    await future.done;
  } finally {
    kernel.dispose();
    await KernelAPI.shutdownKernel(model.id, serverSettings);
  }
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  }
);
