// All that a person does with the page that documents the API of kernels, in a headless Chromium;
// ends with status 0 if it works.
//
//     node docs_kernels.js URL TOKEN SCREENSHOT
//
// URL is the gateway's, base path included.

const assert = require('assert');
const { launch } = require('./chromium');
const { body, complaints, curl, endpoint, fill, input, looks, open, send, status, textOf,
  when } = require('./docs_browser');

const [url, token, screenshot] = process.argv.slice(2);
const EXECUTE = 'POST /api/kernels/{kernel_id}/execute';
let page;

async function tokens() {
  // The page needs none; the calls do.
  const list = await endpoint('GET /api/kernels');
  assert.match(await send(list), /^401 .*token/);
  await fill(await page.$('header'), 'Token', token);
  assert.match(await send(list), /^200 /);
  assert.deepStrictEqual(JSON.parse(await body(list)), []);
}

async function described() {
  assert.strictEqual(await page.title(), 'Kernel gateway API');
  const groups = await page.$$eval('nav h3', all => all.map(each => each.textContent));
  for (const name of ['gateway', 'kernels', 'kernelspecs', 'notebooks', 'sessions']) {
    assert(groups.includes(name), `${groups}`);
  }
  const execute = await endpoint(EXECUTE);
  const [asked, told] = await execute.$$('.schema');
  await (await asked.$('summary')).press('Enter');
  await asked.waitForSelector('li');
  const fields = await asked.$$eval('.schema > .fields > li', all =>
    Object.fromEntries(all.map(each => [each.querySelector('code').textContent, each.textContent]))
  );
  assert.strictEqual(fields.code, 'code string, required');
  assert.match(fields.timeout, /^timeout number or null Seconds that the code may run, /);
  assert.match(fields.outputs, /ansi "keep" or "strip" .*mime list of string /);
  await (await told.$('summary')).press('Enter');
  await told.waitForSelector('li');
  assert.match(await told.evaluate(textOf), /status .*"timeout" or null, required/);
}

// Starts a kernel, runs code on it in all ways, and stops it.
async function kernels() {
  const start = await endpoint('POST /api/kernels');
  assert.match(await send(start), /^201 /);
  const { id } = JSON.parse(await body(start));

  const execute = await endpoint(EXECUTE);
  await fill(execute, 'kernel_id', id);
  assert.match(await send(execute), /^200 /);
  const { status: ended, outputs } = JSON.parse(await body(execute));
  assert.deepStrictEqual([ended, outputs[0].text], ['ok', '42\n']);

  const code = 'print(input("name "), flush=True)';
  await fill(execute, 'Body', JSON.stringify({ code, stdin: true }));
  await (await input(execute, 'Accept')).select('application/x-ndjson');
  const command = await curl(execute);
  assert(command.includes(`--no-buffer`) && !command.includes(token), command);
  assert(command.includes(`-H 'Accept: application/x-ndjson'`), command);
  await (await execute.$('.send')).press('Enter');
  // It is shown as it comes, and what it asks for is answered with another call.
  await when(execute, '.answer pre[aria-label="Body"]', /"event":"input_request".*\n/);
  assert.match(await status(execute), /receiving/);
  const [, execution] = /"execution_id":"(\w+)"/.exec(await body(execute));
  const answer = await endpoint(
    'POST /api/kernels/{kernel_id}/executions/{execution_id}/input');
  await fill(answer, 'kernel_id', id);
  await fill(answer, 'execution_id', execution);
  await fill(answer, 'Body', '{"value": "me"}');
  assert.match(await send(answer), /^204 /);
  await when(execute, '.status', / \d+ ms · /);
  const events = (await body(execute)).trim().split('\n').map(line => JSON.parse(line).event);
  assert.deepStrictEqual([events[0], events.at(-1)], ['accepted', 'result']);

  const show = await endpoint('GET /api/kernels/{kernel_id}/executions/{execution_id}');
  await fill(show, 'kernel_id', id);
  await fill(show, 'execution_id', execution);
  await fill(show, 'Last-Event-ID', '2');
  await (await input(show, 'Accept')).select('text/event-stream');
  assert.match(await send(show), /^200 /);
  assert.match(await body(show), /^id: 3\nevent: input_request\n/);

  const stop = await endpoint('DELETE /api/kernels/{kernel_id}');
  await fill(stop, 'kernel_id', id);
  assert.match(await send(stop), /^204 /);
}

// A variable may stand for several segments; a slash in it stays one.
async function files() {
  const file = await endpoint('GET /kernelspecs/{spec_name}/{file}');
  await fill(file, 'spec_name', 'a/b');
  await fill(file, 'file', 'c/d e');
  assert((await curl(file)).includes('/kernelspecs/a%2Fb/c/d%20e'), await curl(file));
  await fill(file, 'spec_name', 'python3');
  await fill(file, 'file', 'logo-64x64.png');
  assert.match(await send(file), /^200 /);
  const width = file => file.querySelector('.answer img')?.naturalWidth;
  await page.waitForFunction(width, {}, file);
}

async function main() {
  const browser = await launch();
  try {
    const isExpected = reason => / status of 401 /.test(reason);
    page = await open(browser, `${url}/api/docs`, isExpected);
    for (const step of [tokens, described, kernels, files]) await step();
    await page.screenshot({ path: screenshot });
    await looks();
    assert.deepStrictEqual(await page.evaluate(() => window.violations), []);
    assert.deepStrictEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error, complaints);
    process.exit(1);
  }
);
