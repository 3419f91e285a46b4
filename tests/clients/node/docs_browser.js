// What a person does with a documentation page, in a headless Chromium: finding calls, filling in
// forms, sending them, and reading the answers.

const assert = require('assert');

const complaints = [];
let page;

// A page that lets nothing out, and notes what it should not have done. What the browser itself says
// of answers that are errors, or not whole, is expected if it matches.
async function open(browser, address, expected) {
  const { origin } = new URL(address);
  page = await browser.newPage();
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
  await page.setViewport({ width: 1280, height: 900 });
  await page.setRequestInterception(true);
  page.on('request', request => {
    const there = new URL(request.url());
    if (there.origin === origin || ['blob:', 'data:', 'about:'].includes(there.protocol)) {
      return request.continue();
    }
    complaints.push(`a request to ${there}`);
    return request.abort();
  });
  page.on('pageerror', error => complaints.push(`${error}`));
  page.on('console', message => {
    const [, reason] = /^Failed to load resource: (.*)/.exec(message.text()) ?? [];
    const isExpected = reason && expected(reason, message.location().url ?? '');
    if (!isExpected && message.type() !== 'debug') complaints.push(message.text());
  });
  await page.evaluateOnNewDocument(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', event =>
      window.violations.push(`${event.violatedDirective} ${event.blockedURI}`)
    );
  });
  const answer = await page.goto(address);
  // The second time it is the same.
  assert([200, 304].includes(answer.status()), `${answer.status()}`);
  return page;
}

// Opens an endpoint with the keyboard.
async function endpoint(name) {
  const found = await page.evaluateHandle(
    name =>
      [...document.querySelectorAll('details.endpoint')].find(
        each => ['.method', '.path'].map(of => each.querySelector(of).textContent).join(' ') === name
      ),
    name
  );
  const [summary, isOpen] = [await found.$('summary'), await found.evaluate(each => each.open)];
  await summary.focus();
  if (!isOpen) await page.keyboard.press('Enter');
  await found.waitForSelector('form');
  return found;
}

// The input with this label.
async function input(within, label) {
  const found = await within.evaluateHandle(
    (within, label) =>
      [...within.querySelectorAll('label')].find(each => each.textContent.startsWith(label))?.control,
    label
  );
  assert(found.asElement(), label);
  return found.asElement();
}

async function fill(within, label, text) {
  const control = await input(within, label);
  await control.evaluate(control => control.select());
  await control.press('Backspace');
  await control.type(text);
}

const BODY = '.answer pre[aria-label="Body"]';
const textOf = each => each.textContent;
const status = within => within.$eval('.status', textOf);
const body = within => within.$eval(BODY, textOf);
const curl = within => within.$eval('.curl', textOf);

async function when(within, selector, pattern) {
  await page.waitForFunction(
    (within, selector, pattern) =>
      new RegExp(pattern).test(within.querySelector(selector)?.textContent),
    {},
    within,
    selector,
    pattern.source
  );
}

// Waits for the whole answer.
async function send(within) {
  await (await within.$('.send')).press('Enter');
  await when(within, '.status', / \d+ ms · |No answer/);
  return status(within);
}

async function looks() {
  const unlabelled = await page.$$eval('input, textarea', all =>
    all.filter(each => !each.labels[0]?.textContent.trim()).map(each => each.outerHTML)
  );
  assert.deepStrictEqual(unlabelled, []);
  await page.setViewport({ width: 360, height: 700 });
  // Nothing reaches out of a small window.
  const wide = await page.$$eval('body *', all =>
    all
      .filter(each => each.getBoundingClientRect().right > 360 && !each.closest('pre'))
      .map(each => `${each.parentNode.outerHTML}`.slice(0, 300))
  );
  assert.deepStrictEqual(wide, []);
  assert.strictEqual(await page.evaluate(() => document.documentElement.scrollWidth), 360);
}

module.exports = { BODY, body, complaints, curl, endpoint, fill, input, looks, open, send, status,
  textOf, when };
