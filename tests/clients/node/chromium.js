// A headless Chromium out of the packages that are installed in the current directory.

const fs = require('fs');
const { createRequire } = require('module');
const os = require('os');

// Makes the package unpack the libraries that the browser needs, too, so that the system need not
// have them. It looks at this when it is loaded.
process.env.AWS_LAMBDA_JS_RUNTIME = 'nodejs22.x';
// It brings a font, too, but its configuration looks for that in /tmp only. Without any font
// Chromium does not even let one type.
process.env.FONTCONFIG_FILE = `${os.tmpdir()}/fonts.conf`;
fs.writeFileSync(
  process.env.FONTCONFIG_FILE,
  `<fontconfig><dir>${os.tmpdir()}/fonts</dir><dir>/usr/share/fonts</dir>` +
    `<cachedir>${os.tmpdir()}/font-cache</cachedir></fontconfig>`
);

const need = createRequire(process.cwd() + '/');
const chromium = need('@sparticuz/chromium');
const puppeteer = need('puppeteer-core');

exports.launch = async () =>
  puppeteer.launch({
    executablePath: await chromium.executablePath(),
    headless: 'shell',
    // It ends with us, whatever ends us.
    pipe: true,
    args: [
      // Tests may run as root, and in containers.
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'
    ]
  });
