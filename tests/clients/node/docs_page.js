// All that a person does with the page that documents notebooks' endpoints, in a headless Chromium;
// ends with status 0 if it works.
//
//     node docs_page.js URL TOKEN SCREENSHOT INTERRUPTED
//
// URL is the gateway's, base path included; the notebooks are those of test_docs_page.py. The file
// INTERRUPTED comes to be when a stream's code is interrupted.

const assert = require('assert');
const fs = require('fs');
const { launch } = require('./chromium');
const { BODY, body, complaints, curl, endpoint, fill, input, looks, open, send, status, textOf,
  when } = require('./docs_browser');

const [url, token, screenshot, interrupted] = process.argv.slice(2);
const { origin } = new URL(url);
const ENDPOINTS = [
  'POST /stations', 'GET /chart', 'GET /table', 'GET /readings', 'GET /stations/{name}',
  'POST /release', 'GET /broken', 'GET /cut', 'GET /degrees', 'PUT /upload'
];

let page;

// The browser says so of every answer that is an error, or not whole.
const isExpected = (reason, where) => where.endsWith('/tools/cut')
  ? reason.startsWith('net::ERR_INCOMPLETE_CHUNKED_ENCODING')
  : / status of (401|500) /.test(reason);
const show = browser => open(browser, `${url}/_api/docs?token=${token}#top`, isExpected);

async function lists() {
  const listed = await page.$$eval('details.endpoint > summary', all =>
    all.map(each => ['.method', '.path'].map(of => each.querySelector(of).textContent).join(' '))
  );
  assert.deepStrictEqual(listed, ENDPOINTS);
  const titles = await page.$$eval('h2', all => all.map(each => each.firstChild.textContent));
  assert.deepStrictEqual(titles, ['weather', 'tools']);
  assert.deepStrictEqual(
    await page.$$eval('.mark', all => all.map(each => each.closest('details').id)),
    ['0/get/readings', '1/get/cut']
  );

  // The token has left the address for the field.
  assert.strictEqual(page.url(), `${url}/_api/docs#top`);
  assert.strictEqual(await page.evaluate(() => history.state), null);
  const field = await input(await page.$('header'), 'Token');
  assert.strictEqual(await field.evaluate(each => each.value), token);

  const search = await input(await page.$('nav'), 'Filter');
  await search.type('CHART');
  const shown = await page.$$eval('details.endpoint:not([hidden])', all => all.map(each => each.id));
  assert.deepStrictEqual(shown, ['0/get/chart']);
  await fill(await page.$('nav'), 'Filter', ' ');
}

async function answers() {
  const station = await endpoint('GET /stations/{name}');
  // Markdown becomes elements, HTML does not.
  assert.strictEqual(await station.$eval('.prose li code', textOf), 'name');
  assert.strictEqual(await station.$('.prose b'), null);
  assert.deepStrictEqual(
    await station.$$eval('.prose em, .prose strong, .prose ol li', all =>
      all.map(each => each.textContent)
    ),
    ['all', 'nothing else', 'nothing else', 'not']
  );
  // What is in the summary already is not repeated.
  assert.strictEqual(await station.$eval('summary .about code', textOf), 'json');
  assert.match(await station.$eval('.prose', textOf), /^Everything that is known of it: /);

  // Without a name nothing is sent.
  await (await station.$('.send')).press('Enter');
  assert.strictEqual(await status(station), '');
  await fill(station, 'name', 'a/b ü?#%');
  await fill(station, 'Query string', 'x=1&x=%20');
  await fill(station, 'Headers', 'X-Mine: yes\nX-Other: a:b');
  assert.match(await send(station), /^200 OK · \d+ ms · \d+ bytes$/);
  const text = await body(station);
  // Large numbers are shown as they came.
  assert(text.includes('\n    "serial": 12345678901234567890\n'), text);
  let seen = JSON.parse(text).request;
  assert.deepStrictEqual(seen.path, { name: 'a/b ü?#%' });
  assert.strictEqual(seen.url, '/base/weather/stations/a%2Fb%20%C3%BC%3F%23%25?x=1&x=%20');
  assert.deepStrictEqual(seen.args, { x: ['1', ' '] });
  assert.deepStrictEqual([seen.headers['X-Mine'], seen.headers['X-Other']], ['yes', 'a:b']);
  assert.deepStrictEqual([seen.headers.Referer, seen.headers.Authorization], [undefined, undefined]);
  await (await station.$('.headers summary')).press('Enter');
  const headers = await station.waitForSelector('.headers pre');
  assert.match(await headers.evaluate(textOf), /content-type: application\/json/);
  const command = await curl(station);
  assert(command.includes('$KGD_TOKEN') && !command.includes(token), command);
  assert(command.includes(`-H 'X-Mine: yes'`), command);

  // The body is the example, until it is changed. Its numbers are as they were written, too.
  const added = await endpoint('POST /stations');
  assert.match(await send(added), /^201 Created · /);
  assert.match(await body(added), /"height": 26\.0,\n *"serial": 12345678901234567891\n/);
  seen = JSON.parse(await body(added)).request;
  assert.strictEqual(seen.body.name, 'List');
  assert.strictEqual(seen.headers['Content-Type'], 'application/json');
  assert.strictEqual(seen.headers.Origin, origin);
  await fill(added, 'Content type', 'text/plain');
  await fill(added, 'Body', "it's");
  await send(added);
  seen = JSON.parse(await body(added)).request;
  assert.deepStrictEqual([seen.body, seen.headers['Content-Type']], ["it's", 'text/plain']);
  assert((await curl(added)).endsWith(`--data-raw 'it'\\''s'`));
  await (await added.$('figure button')).press('Enter');
  assert.match(await curl(added), /"name": "List"/);
  await (await added.$$('figure button'))[1].press('Enter');
  assert.match(await curl(added), /"name": "Husum"/);

  const degrees = await endpoint('GET /degrees');
  assert.match(await send(degrees), /^200 OK · \d+ ms · 400001 bytes$/);
  assert.strictEqual(await body(degrees), `C${'°'.repeat(200_000)}`);

  const broken = await endpoint('GET /broken');
  assert.match(await send(broken), /^500 /);
  assert.strictEqual(await body(broken), 'Error ValueError: broken \n');
}

async function files() {
  const upload = await endpoint('PUT /upload');
  const file = await input(upload, 'File');
  await file.uploadFile(__filename);
  await fill(upload, 'Name of', 'program');
  assert.match(await send(upload), /^200 /);
  const { size } = fs.statSync(__filename);
  let seen = JSON.parse(await body(upload));
  assert.match(seen.headers['Content-Type'], /^multipart\/form-data; boundary=/);
  assert.deepStrictEqual(seen.body, { note: ['a note'] });
  assert.deepStrictEqual(
    seen.files,
    { program: [{ name: 'docs_page.js', type: 'text/javascript', size, length: size }] }
  );
  assert((await curl(upload)).endsWith(`-F 'program=@docs_page.js'`));

  await fill(upload, 'Content type', 'text/javascript');
  await send(upload);
  seen = JSON.parse(await body(upload));
  assert(seen.body.startsWith('// All that a person does'), seen.body);
  assert.strictEqual(seen.headers['Content-Type'], 'text/javascript');
  await fill(upload, 'Content type', 'application/octet-stream');
  await send(upload);
  seen = JSON.parse(await body(upload));
  assert.strictEqual(seen.files.body[0].length, size);
}

async function pictures() {
  const chart = await endpoint('GET /chart');
  assert.match(await send(chart), /^200 OK/);
  const width = chart => chart.querySelector('.answer img')?.naturalWidth;
  await page.waitForFunction(width, {}, chart);
  assert.strictEqual(await chart.evaluate(width), 480);

  const table = await endpoint('GET /table');
  await send(table);
  assert.match(await body(table), /^<table>/);
  await (await table.$('.preview summary')).press('Enter');
  await table.waitForSelector('iframe');
  const frame = await (await table.$('iframe')).contentFrame();
  await frame.waitForSelector('#first');
}

// A stream that fails is seen to be broken off, with what had come.
async function cuts() {
  const cut = await endpoint('GET /cut');
  await (await cut.$('.send')).press('Enter');
  await when(cut, BODY, /^one\n$/);
  await send(await endpoint('POST /release'));
  await when(cut, '.status', /^200 OK · broken off after \d+ ms · 4 bytes$/);
  assert.strictEqual(await body(cut), 'one\n');
  assert.strictEqual(await cut.$eval('.answer', each => each.dataset.kind), 'bad');
}

async function streams() {
  const readings = await endpoint('GET /readings');
  await (await readings.$('.send')).press('Enter');
  await when(readings, BODY, /^4\.1 °$/);
  assert.strictEqual(await status(readings), '200 OK · receiving');
  const release = await endpoint('POST /release');
  // All of its description is the summary: one paragraph on two lines.
  assert.match(await release.$eval('summary', textOf), /Let the readings go on, wherever /);
  assert.match(await send(release), /^200 /);
  await when(readings, '.status', / · \d+ ms · /);
  assert.strictEqual(await body(readings), '4.1 °C\nthe end\n');

  await (await readings.$('.send')).press('Enter');
  await when(readings, BODY, /^4\.1 °$/);
  await (await readings.$('button[type=button]')).press('Enter');
  await when(readings, '.status', /^Stopped after /);
  // Whoever uses the keyboard is where the next request starts.
  assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), 'Send');
  while (!fs.existsSync(interrupted)) await new Promise(resolve => setTimeout(resolve, 10));
}

async function refusals() {
  const header = await page.$('header');
  const chart = await endpoint('GET /chart');
  await fill(header, 'Token', 'wrong');
  assert.match(await send(chart), /^401 .*token/);
  assert.strictEqual(await chart.$('.answer img'), null);
  await fill(header, 'Token', token);
  assert.match(await send(chart), /^200 /);
}

async function main() {
  const browser = await launch();
  try {
    page = await show(browser);
    const steps = [lists, answers, files, pictures, cuts, streams, refusals, looks];
    for (const step of steps) await step();
    assert.deepStrictEqual(await page.evaluate(() => window.violations), []);
    await page.close();

    page = await show(browser);
    await send(await endpoint('GET /chart'));
    await page.waitForSelector('.answer img');
    await page.screenshot({ path: screenshot });
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
