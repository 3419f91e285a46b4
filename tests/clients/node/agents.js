// An agent's work with an official SDK of the Model Context Protocol; ends with status 0 if it works.
//
//     node agents.js URL TOKEN sdk|client

const assert = require('assert');
const { createRequire } = require('module');

const need = createRequire(process.cwd() + '/');
const [url, token, which] = process.argv.slice(2);
const isOlder = which === 'sdk';
const { Client } = need(isOlder ? '@modelcontextprotocol/sdk/client/index.js' : '@modelcontextprotocol/client');
const { StreamableHTTPClientTransport } = isOlder
  ? need('@modelcontextprotocol/sdk/client/streamableHttp.js')
  : need('@modelcontextprotocol/client');

const PICTURE = `
import base64
from IPython.display import Image, display
display(Image(data=base64.b64decode("iVBORw0KGgo="), format="png"))
`;
const ENDLESS = `
import time
print("begun", flush=True)
while True:
    time.sleep(0.1)
`;

async function main() {
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
    requestInit: { headers: { Authorization: `Bearer ${token}` } }
  });
  const info = { name: 'kgd-test', version: '1' };
  const client = new Client(info, isOlder ? {} : { versionNegotiation: { mode: 'auto' } });
  await client.connect(transport);
  assert.strictEqual(client.getServerVersion().name, 'kgd');
  assert.strictEqual(transport.protocolVersion, isOlder ? '2025-11-25' : '2026-07-28');
  const call = (name, args, options = {}) => {
    const request = { name, arguments: args };
    return isOlder ? client.callTool(request, undefined, options) : client.callTool(request, options);
  };

  // The list is what results are checked with.
  const { tools } = await client.listTools();
  assert(tools.some(tool => tool.name === 'run_code'));
  let result = await call('run_code', { code: "x = 20\nprint('hello')\nx + 1" });
  assert.strictEqual(result.structuredContent.stdout, 'hello\n');
  assert.strictEqual(result.structuredContent.result, '21');
  const kernel_id = result.structuredContent.kernel_id;
  result = await call('run_code', { code: PICTURE, kernel_id });
  assert.deepStrictEqual(result.content, [{ type: 'image', data: 'iVBORw0KGgo=', mimeType: 'image/png' }]);

  const controller = new AbortController();
  const begun = [];
  const onprogress = progress => {
    begun.push(progress.message);
    controller.abort('enough');
  };
  await assert.rejects(call('run_code', { code: ENDLESS, kernel_id }, { signal: controller.signal, onprogress }));
  assert.deepStrictEqual(begun, ['begun\n']);
  result = await call('run_code', isOlder ? { code: 'x' } : { code: 'x', kernel_id });
  assert.strictEqual(result.structuredContent.result, '20');
  assert.strictEqual(result.structuredContent.kernel_id, kernel_id);

  result = await call('interrupt', { kernel_id: '1-2-3-4-5' });
  assert(result.isError && result.content[0].text.includes('1-2-3-4-5'));
  await assert.rejects(call('nothing', {}), /Unknown tool/);
  if (isOlder) {
    await transport.terminateSession();
  } else {
    await call('stop_kernel', { kernel_id });
  }
  await client.close();
  console.log('All is well.');
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
