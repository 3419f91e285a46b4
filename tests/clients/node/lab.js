// What a person does with a notebook in JupyterLab, in a headless Chromium; ends with status 0 if it
// works.
//
//     node lab.js URL
//
// URL is that of the notebook of test_jupyterlab.py, with a token.

const assert = require('assert');
const { launch } = require('./chromium');

const [url] = process.argv.slice(2);
const complaints = [];
let page;

const OUTPUT = '.jp-OutputArea-output:not(.jp-OutputArea-stdin-item)';

// The text of a cell's outputs.
function outputs(index) {
  return page.evaluate(
    (index, OUTPUT) => {
      const cell = window.jupyterapp.shell.currentWidget.content.widgets[index].node;
      return [...cell.querySelectorAll(OUTPUT)].map(each => each.textContent).join('|');
    },
    index,
    OUTPUT
  );
}

async function when(index, pattern) {
  await page.waitForFunction(
    (index, pattern, OUTPUT) => {
      const cell = window.jupyterapp.shell.currentWidget.content.widgets[index].node;
      const text = [...cell.querySelectorAll(OUTPUT)].map(each => each.textContent).join('|');
      return new RegExp(pattern).test(text);
    },
    {},
    index,
    pattern.source,
    OUTPUT
  ).catch(async error => {
    throw new Error(`cell ${index}: ${await outputs(index)}, not ${pattern}: ${error}`);
  });
}

function status(...wanted) {
  return page.waitForFunction(
    wanted =>
      wanted.includes(window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status),
    {},
    wanted
  );
}

function command(name) {
  // What a command returns may take until the kernel is idle.
  return page.evaluate(name => void window.jupyterapp.commands.execute(name), name);
}

async function run(index) {
  // What follows a cell that fails is not run, if it comes before that cell's end.
  await page.waitForFunction(() =>
    [...document.querySelectorAll('.jp-InputPrompt')].every(each => each.textContent !== '[*]:')
  );
  await page.evaluate(
    index => (window.jupyterapp.shell.currentWidget.content.activeCellIndex = index),
    index
  );
  await command('notebook:run-cell');
}

async function main() {
  const browser = await launch();
  try {
    page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    await page.setViewport({ width: 1280, height: 900 });
    page.on('pageerror', error => complaints.push(`${error}`));
    page.on('response', response => {
      const { pathname } = new URL(response.url());
      if (response.status() >= 400 && /^\/api\/(kernel|session)/.test(pathname)) {
        complaints.push(`${response.status()} ${response.request().method()} ${pathname}`);
      }
    });
    await page.goto(url);
    await page.waitForFunction(() => window.jupyterapp?.shell.currentWidget?.content?.widgets);
    await status('idle');

    // Outputs of several kinds, and a question.
    await run(0);
    await when(0, /^hello\n\|42$/);
    await run(1);
    await when(1, /^bold$/);
    await run(2);
    const input = await page.waitForSelector('.jp-Stdin-input');
    await input.type('typed');
    await input.press('Enter');
    await when(2, /typed!/);

    // Much at once.
    await run(3);
    await when(3, /^299\n\|'the end'$/);

    // An endless loop, which the menu's command ends.
    await run(4);
    await when(4, /go/);
    await status('busy');
    await command('notebook:interrupt-kernel');
    await when(4, /KeyboardInterrupt/);
    await status('idle');

    // A restart, once the person has agreed.
    await command('notebook:restart-kernel');
    const agree = await page.waitForSelector('.jp-Dialog .jp-mod-accept.jp-mod-warn');
    await agree.click();
    await page.waitForFunction(() => !document.querySelector('.jp-Dialog'));
    await run(5);
    await when(5, /NameError/);

    // A kernel that dies comes back by itself, and the person is told.
    await run(6);
    const dismiss = await page.waitForSelector('.jp-Dialog .jp-mod-accept');
    const told = await page.$eval('.jp-Dialog', each => each.textContent);
    assert.match(told, /appears to have died/);
    await dismiss.click();
    await run(0);
    await when(0, /^hello\n\|42$/);

    await command('notebook:shutdown-kernel');
    await page.waitForFunction(
      () => !window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel
    );
    assert.deepStrictEqual(complaints, []);
  } catch (error) {
    // What there is to see.
    const text = await page.evaluate(() => document.body.innerText).catch(String);
    throw new Error(`${error.stack}\n${text}`);
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
