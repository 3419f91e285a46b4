// All that a client of 2015 does with a kernel; ends with status 0 if it works.
//
//     node everything.js HOST TOKEN PACKAGE

const assert = require('assert');
const WebSocket = require('ws');
const { XMLHttpRequest } = require('xmlhttprequest');

const [host, token, name] = process.argv.slice(2);
let frames = 0;

// Browsers cannot set headers either.
class TokenWebSocket extends WebSocket {
  constructor(url) {
    super(token ? `${url}&token=${token}` : url);
    this.on('message', () => (frames += 1));
  }
}

global.WebSocket = TokenWebSocket;
global.XMLHttpRequest = XMLHttpRequest;
// It says there what its validator finds wrong.
const complaints = [];
const complain = console.error;
console.error = (...words) => complaints.push(words.join(' '));

const jupyter = require(name);
const { KernelStatus } = jupyter;
const ajax = token ? { requestHeaders: { Authorization: `token ${token}` } } : {};
const baseUrl = `http://${host}`;

function execute(kernel, code) {
  return new Promise(resolve => {
    // It is silent unless one says otherwise.
    const future = kernel.execute({ code, silent: false });
    const outputs = [];
    let reply;
    future.onIOPub = message => outputs.push(message);
    future.onReply = message => (reply = message);
    future.onDone = () => {
      const streams = outputs.filter(message => message.msg_type === 'stream');
      resolve({ reply, outputs, text: streams.map(message => message.content.text).join('') });
    };
  });
}

function until(kernel, ...wanted) {
  return new Promise(resolve => {
    kernel.statusChanged.connect(function listen(_, status) {
      if (status === wanted[0]) {
        wanted.shift();
      }
      if (!wanted.length) {
        kernel.statusChanged.disconnect(listen);
        resolve();
      }
    });
  });
}

async function main() {
  const specs = await jupyter.getKernelSpecs(baseUrl, ajax);
  assert(specs.kernelspecs[specs.default]);
  const options = { baseUrl, wsUrl: `ws://${host}`, name: specs.default };
  const kernel = await jupyter.startNewKernel(options, ajax);

  let run = await execute(kernel, 'print("hello"); 6 * 7');
  assert.strictEqual(run.text, 'hello\n');
  assert.strictEqual(run.reply.content.status, 'ok');
  assert(run.outputs.some(m => m.content.data && m.content.data['text/plain'] === '42'));
  run = await execute(kernel, '1/0');
  assert.strictEqual(run.reply.content.ename, 'ZeroDivisionError');
  const info = await kernel.kernelInfo();
  assert.strictEqual((info.content || info).implementation, 'ipython');

  // An endless loop is interrupted.
  const looping = kernel.execute({ code: 'print("go", flush=True)\nwhile True: pass' });
  const replied = new Promise(resolve => (looping.onReply = resolve));
  await new Promise(resolve => {
    looping.onIOPub = message => message.msg_type === 'stream' && resolve();
  });
  await kernel.interrupt(ajax);
  assert.strictEqual((await replied).content.ename, 'KeyboardInterrupt');

  // A restart forgets everything, on the same socket.
  await execute(kernel, 'x = 1');
  await kernel.restart(ajax);
  run = await execute(kernel, 'x');
  assert.strictEqual(run.reply.content.ename, 'NameError');

  // A kernel that dies comes back by itself.
  const back = until(kernel, KernelStatus.Restarting, KernelStatus.Starting);
  kernel.execute({ code: 'import os; os._exit(1)' });
  await back;
  run = await execute(kernel, 'print("again")');
  assert.strictEqual(run.text, 'again\n');

  const listed = await jupyter.listRunningKernels(baseUrl, ajax);
  assert.deepStrictEqual(listed.map(each => each.id), [kernel.id]);
  await kernel.shutdown(ajax);
  assert.deepStrictEqual(await jupyter.listRunningKernels(baseUrl, ajax), []);
  kernel.dispose();
  assert.deepStrictEqual(complaints, []);
  assert(frames > 20);
}

main().then(
  () => process.exit(0),
  error => {
    complain(error, complaints);
    process.exit(1);
  }
);
