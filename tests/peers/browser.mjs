// Chromium and `serve`: a WebSocket, the listing, an application of one page, a video; the chat; and TLS. browser.mjs ECHO LISTING APP VIDEO
// CHAT SECURE [PICTURES] prints a line for each check; with a folder it leaves pictures there.
import { createRequire } from 'node:module';
const { chromium } = createRequire(process.env.MODULES + '/')('playwright-core');
const [echo, listing, app, video, chat, secure, pictures] = process.argv.slice(2);
const check = (name, seen, wanted) => console.log([seen === wanted ? 'ok' : 'bad', name, seen === wanted ? seen : `saw «${seen}», wanted «${wanted}»`].join('\t'));

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const open = async (options) => {
  const page = await (await browser.newContext({ viewport: { width: 760, height: 330 }, ...options })).newPage();
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && page.errors.push(message.text()));
  return page;
};
const shoot = (page, name) => pictures && page.screenshot({ path: `${pictures}/${name}.png` });
const names = (page) => page.$$eval('tbody a', (all) => all.map((a) => a.textContent).join(' '));

async function socket() {
  const page = await open({});
  await page.goto(echo);
  await page.waitForFunction(() => document.getElementById('seen').textContent.startsWith('echoed'), null, { timeout: 20000 });
  check('page and echo', await page.textContent('#seen'), 'echoed: 你好, 5 bytes');
}

async function byTls() {
  const page = await open({ ignoreHTTPSErrors: true });
  const answer = await page.goto(secure);
  await page.waitForFunction(() => document.getElementById('seen').textContent.startsWith('echoed'), null, { timeout: 20000 });
  check('https and wss, page and echo', await page.textContent('#seen'), 'echoed: 你好, 5 bytes');
  const { protocol } = await answer.securityDetails();
  check('https, version', protocol, 'TLS 1.3');
  const again = await Promise.all([...Array(20)].map((_, n) => page.evaluate((n) => fetch(`/?${n}`).then((answer) => answer.text()), n)));
  check('https, twenty at once', again.every((text) => text.startsWith('<!doctype html>')), true);
  const stranger = await open({});
  check('https, who is not trusted', await stranger.goto(secure).catch((error) => /ERR_CERT_AUTHORITY_INVALID/.test(error.message)), true);
}

async function chatting() {
  const [one, other, elsewhere] = [await open({}), await open({}), await open({})];
  const log = async (page) => (await page.textContent('#log')).trim().replaceAll('\n', ' | ');
  const hears = (page, line) => page.waitForFunction((line) => document.getElementById('log').textContent.includes(line), line, { timeout: 20000 });
  await one.goto(`${chat}/rooms/a`);
  await hears(one, 'guest 1 is here');
  await other.goto(`${chat}/rooms/a`);
  await hears(one, 'guest 2 is here');
  await elsewhere.goto(`${chat}/rooms/b`);
  await hears(elsewhere, 'guest 3 is here');
  await other.fill('#line', 'hello, 你好 <b>');
  await other.press('#line', 'Enter');
  await hears(one, 'hello');
  await hears(other, 'hello');
  await other.close();
  await hears(one, 'has left');
  check('chat, what one hears', await log(one), 'guest 1 is here | guest 2 is here | guest 2: hello, 你好 <b> | guest 2 has left');
  check('chat, another room', await log(elsewhere), 'guest 3 is here');
}

async function listings() {
  let page = await open({ colorScheme: 'light' });
  await page.goto(listing);
  check('listing', await names(page), 'pictures/ <b>&.txt large.bin small.html été.txt');
  await shoot(page, 'listing-light');
  await page.click('th a >> text=Size');
  check('listing by size', await names(page), 'pictures/ <b>&.txt été.txt small.html large.bin');
  await page.click('text=<b>&.txt');
  check('a name that is markup', await page.textContent('body'), 'a name');
  await page.goto(listing);
  await page.click('text=pictures/');
  check('a directory', `${decodeURI(new URL(page.url()).pathname)} ${await names(page)}`, '/pictures/ ../ one.svg');

  page = await open({ colorScheme: 'dark' });
  await page.goto(listing);
  const [ink, paper] = await page.evaluate(() => {
    const light = (colour) => colour.match(/[\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
    const style = getComputedStyle(document.body), root = getComputedStyle(document.documentElement);
    const paper = style.backgroundColor === 'rgba(0, 0, 0, 0)' ? root.backgroundColor : style.backgroundColor;
    return [light(style.color), paper === 'rgba(0, 0, 0, 0)' && root.colorScheme.includes('dark') ? 0 : light(paper)];
  });
  check('in the dark', ink > 500 && paper < 150, true);
  await shoot(page, 'listing-dark');

  page = await open({ viewport: { width: 390, height: 330 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  await page.goto(listing);
  const [width, row] = await page.evaluate(() => [document.documentElement.scrollWidth, document.querySelector('tbody tr').getBoundingClientRect().height]);
  check('on a phone: nothing to scroll aside, rows for fingers', `${width <= 390} ${row >= 32}`, 'true true');
  await shoot(page, 'listing-phone');
}

async function application() {
  const page = await open({});
  const answers = [];
  page.on('response', (response) => answers.push(response.status()));
  const heading = () => page.textContent('h1');
  await page.goto(app);
  await page.click('nav >> text=Kyoto');
  check('application, by a link', `${new URL(page.url()).pathname} ${await heading()}`, '/places/kyoto Kyoto');
  await page.reload();
  check('application, reloaded', `${new URL(page.url()).pathname} ${await heading()}`, '/places/kyoto Kyoto');
  await shoot(page, 'spa');
  await page.goto(new URL('/places/quito', app).href);
  await page.goBack();
  check('application, back', await heading(), 'Kyoto');
  check('application, what was answered', [...new Set(answers)].filter((status) => status !== 304).join(), '200');
  const missing = await page.evaluate(() => fetch('/missing.js').then((answer) => answer.status));
  check('application, a script that is not there', missing, 404);
}

async function seeking() {
  const page = await open({});
  const ranges = [];
  page.on('response', async (response) => {
    if (!response.url().endsWith('.webm')) return;
    ranges.push({ asked: response.request().headers().range, status: response.status(), from: Number(response.headers()['content-range']?.match(/\d+/)) });
  });
  await page.goto(new URL('/video.html', video).href);
  const seek = (to) => page.evaluate((to) => new Promise((done) => {
    const video = document.querySelector('video');
    video.onseeked = () => done(`${video.currentTime} ${video.readyState >= 2}`);
    video.currentTime = to;
  }), to);
  const length = await page.evaluate(() => new Promise((done) => {
    const video = document.querySelector('video');
    if (video.readyState >= 1) done(video.duration);
    else video.onloadedmetadata = () => done(video.duration);
  }));
  check('video, its length', Math.round(length), 120);
  check('video, a jump ahead', await seek(110), '110 true');
  // What was asked and answered is told later than what is seen.
  const there = () => ranges.some(({ asked, status, from }) => status === 206 && asked === `bytes=${from}-` && from > 1e7);
  for (let n = 0; n < 100 && !there(); n++) await page.waitForTimeout(50);
  check('video, by a range from there', there(), true);
  check('video, a jump back', await seek(1), '1 true');
  check('video, all by ranges', ranges.every(({ status }) => status === 206), true);
}

try {
  await socket();
  await byTls();
  await chatting();
  await listings();
  await application();
  await seeking();
} catch (error) {
  console.log(`bad\tbrowser\t${String(error.message).split('\n')[0]}`);
}
await browser.close();
