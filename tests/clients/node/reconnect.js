// Runs cells while somebody cuts the connection; ends with status 0 if each output came once.
//
//     node reconnect.js HOST v1|legacy FIFO
//
// The last cell waits for three lines in the FIFO; after the outputs for each it makes a file.

const assert = require('assert');
const { createRequire } = require('module');

const need = createRequire(process.cwd() + '/');
const WebSocket = need('ws');
const { KernelAPI, ServerConnection } = need('@jupyterlab/services');
const { KernelConnection } = need('@jupyterlab/services/lib/kernel/default');

const [host, framing, fifo] = process.argv.slice(2);
const LINES = 200;

class LegacyWebSocket extends WebSocket {
  constructor(url) {
    super(url);
  }
}

const serverSettings = ServerConnection.makeSettings({
  baseUrl: `http://${host}/`,
  wsUrl: `ws://${host}/`,
  WebSocket: framing === 'v1' ? WebSocket : LegacyWebSocket
});

const code = `
lines = open("${fifo}")
for round in range(3):
    print("waiting", round, flush=True)
    lines.readline()
    for number in range(${LINES}):
        print(round, number, flush=True)
    open("${fifo}.round%d" % round, "w").close()
input("? ")
"the end"
`;

async function main() {
  const model = await KernelAPI.startNew({}, serverSettings);
  const kernel = new KernelConnection({ model, serverSettings });
  await kernel.requestExecute({ code: 'pass' }).done;
  console.log('kernel', model.id);
  kernel.connectionStatusChanged.connect((_, status) => console.log('status', status));

  const future = kernel.requestExecute({ code, allow_stdin: true });
  let text = '';
  const kinds = [];
  const replies = [];
  future.onIOPub = message => {
    if (message.header.msg_type === 'stream') {
      message.content.text.split('\n').forEach(line => {
        if (line.startsWith('waiting')) {
          console.log(line);
        }
      });
      text += message.content.text;
    } else {
      kinds.push(message.content.execution_state || message.header.msg_type);
    }
  };
  future.onReply = message => replies.push(message.content.status);
  let asked = 0;
  future.onStdin = message => {
    asked += 1;
    kernel.sendInputReply({ value: 'typed', status: 'ok' }, message.header);
  };
  await future.done;

  let expected = '';
  for (let round = 0; round < 3; round++) {
    expected += `waiting ${round}\n`;
    for (let number = 0; number < LINES; number++) {
      expected += `${round} ${number}\n`;
    }
  }
  assert.strictEqual(text, expected);
  assert.deepStrictEqual(kinds, ['busy', 'execute_input', 'execute_result', 'idle']);
  assert.deepStrictEqual(replies, ['ok']);
  assert.strictEqual(asked, 1);
  await kernel.shutdown();
  console.log('done');
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  }
);
