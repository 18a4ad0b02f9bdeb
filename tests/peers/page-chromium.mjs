// What Chromium's own log says of a page's load, beside what HARs say: page-chromium.mjs URL HAR … prints a line for each
// check. Of times the median of all loads counts, on either side; what is
// as far from it as Chromium is from itself is no difference.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
const { chromium } = createRequire(process.env.MODULES + '/')('playwright-core');
const [url, ...hars] = process.argv.slice(2);
const check = (name, seen, wanted) => console.log([seen === wanted ? 'ok' : 'bad', name, seen === wanted ? seen : `saw «${seen}», wanted «${wanted}»`].join('\t'));
const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
// One load: what was asked for in its order, with status, TLS and first byte, in milliseconds.
async function load() {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 720 } });
  const page = await context.newPage();
  const log = await context.newCDPSession(page);
  const seen = [];
  const told = ({ url, status, timing }, type) => {
    if (!timing || url.endsWith('/favicon.ico')) return;
    seen.push({ url, status, type, tls: timing.sslEnd - timing.sslStart, wait: timing.receiveHeadersEnd - timing.sendEnd });
  };
  const order = [];
  log.on('Network.requestWillBeSent', ({ request, redirectResponse, type }) => {
    if (redirectResponse) told(redirectResponse, type);
    if (!request.url.endsWith('/favicon.ico')) order.push(request.url);
  });
  log.on('Network.responseReceived', ({ response, type }) => told(response, type));
  await log.send('Network.enable');
  await page.goto(url, { waitUntil: 'networkidle' });
  await context.close();
  return { order, seen };
}
await load(); // It starts processes that a second load has.
const loads = [];
while (loads.length < 9) loads.push(await load());
await browser.close();

const read = (har) => JSON.parse(readFileSync(har)).log.entries.map(({ request, response, timings }) => ({ url: request.url, status: response.status, ...timings }));
const all = hars.map(read);
const [entries] = all, [{ order, seen }] = loads;
check('page, the same URLs', entries.map((e) => e.url).sort().join(' '), order.slice().sort().join(' '));
// The page, then what it names in its order; what a style sheet names is asked for when that is there.
check('page, the same order', entries.map((e) => e.url).join(' '), order.join(' '));
check('page, the same statuses', entries.map((e) => `${e.url} ${e.status}`).sort().join(' '), seen.map((e) => `${e.url} ${e.status}`).sort().join(' '));
const near = (name, ours, theirs) => {
  const [own, its] = [median(ours), median(theirs)];
  const [least, most] = [Math.min(0.9 * its, ...theirs), Math.max(1.1 * its, ...theirs)];
  const said = `${own.toFixed(1)} ms, Chromium ${its.toFixed(1)} ms, of ${Math.min(...theirs).toFixed(1)} to ${Math.max(...theirs).toFixed(1)}`;
  console.log([least <= own && own <= most ? 'ok' : 'bad', name, said].join('\t'));
};
// Of the page itself: Chromium counts what it began before it was asked to neither here nor there.
const tls = (all, key) => all.map((e) => e.find(({ url }) => url.startsWith('https'))[key]);
near('page, TLS', tls(all, 'ssl'), tls(loads.map(({ seen }) => seen), 'tls'));
const wait = (all, url) => all.map((e) => e.find((e) => e.url === url)?.wait ?? NaN);
for (const { url } of entries) {
  near(`page, first byte of ${url.replace(/^https?:\/\/[^/]*/, '')}`, wait(all, url), wait(loads.map(({ seen }) => seen), url));
}
