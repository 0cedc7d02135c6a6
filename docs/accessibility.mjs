// Looks at every kind of page of a running web UI with axe-core, at a desktop's and a phone's width, in light and dark.
// Usage: npm install axe-core puppeteer-core, somewhere; node docs/accessibility.mjs [http://localhost:8380] [CHROMIUM]
import { createRequire } from 'node:module';
const require = createRequire(process.cwd() + '/');
const puppeteer = require('puppeteer-core');
const [site = 'http://localhost:8380', chromium = '/usr/bin/chromium'] = process.argv.slice(2);
const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox'] });
const page = await browser.newPage();
// The policy of the pages forbids scripts of others, axe too.
await page.setBypassCSP(true);

// Up to five pages of each kind, found by links: numbers and hashes are left out of what tells kinds apart.
const kind = (address) => address.pathname.replace(/\/([0-9a-f]{64}|\d+)(?=\/|$)/g, '/*');
const wanted = [new URL('/admin/', site)];
const kinds = new Map();
for (let at = 0; at < wanted.length; at++) {
    const address = wanted[at];
    const same = kinds.get(kind(address)) ?? new Set();
    if (same.has(address.pathname) || same.size === 5) continue;
    const answer = await page.goto(address.href, { waitUntil: 'domcontentloaded' });
    if (!answer.headers()['content-type']?.startsWith('text/html')) continue;
    kinds.set(kind(address), same.add(address.pathname));
    const links = await page.$$eval('a[href]', (links) =>
        links.map((link) => new URL(link.getAttribute('href'), location).href));
    wanted.push(...links.map((link) => new URL(link)).filter((link) => link.origin === address.origin));
}

let found = 0;
let passed = 0;
for (const path of [...kinds.values()].flatMap((same) => [...same])) {
    const address = new URL(path, site);
    for (const [width, height] of [[1280, 900], [390, 800]]) {
        for (const scheme of ['light', 'dark']) {
            await page.setViewport({ width, height });
            await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
            await page.goto(address.href, { waitUntil: 'domcontentloaded' });
            await page.addScriptTag({ path: require.resolve('axe-core') });
            const { passes, violations } = await page.evaluate(() => axe.run());
            passed += passes.length;
            for (const { id, help, nodes } of violations) {
                found += nodes.length;
                console.log(`${address.pathname} ${width} ${scheme}: ${id}: ${help}: ${nodes[0].html.slice(0, 120)}`);
            }
        }
    }
}
console.log(`${kinds.size} kinds of pages, ${passed} rules held, ${found} faults`);
console.log([...kinds.keys()].join(' '));
await browser.close();
process.exit(found === 0 ? 0 : 1);
