// The status page in the hands of somebody who looks after the box; `facts.part` says what they do.
import { signIn, until } from './steps.mjs';

// Every figure with its raw value, every text as it is read.
const figures = (page) => page.evaluate(() => {
  const rows = Object.fromEntries([...document.querySelectorAll('main dd[id]')].map((one) => [one.id, {
    text: one.textContent, value: one.dataset.value, shown: one.checkVisibility(),
  }]));
  const gpus = [...document.querySelectorAll('.gpu')].map((card) => ({
    title: card.querySelector('h2').textContent,
    power: card.querySelector('.power').textContent,
    versions: card.querySelector('p.soft').textContent,
    plots: Object.fromEntries([...card.querySelectorAll('[data-of]')].map((plot) => [plot.dataset.of, {
      text: plot.querySelector('.read').textContent, value: plot.querySelector('.read').dataset.value,
      line: plot.querySelector('.line').getAttribute('d'), top: plot.querySelector('.canvas').dataset.top,
      says: plot.querySelector('.canvas').getAttribute('aria-label'),
    }])),
  }));
  return {
    rows, gpus, word: document.getElementById('word').textContent, chip: document.getElementById('word').className, sentence: document.getElementById('sentence').textContent,
    conditions: [...document.querySelectorAll('#conditions li')].map((one) => one.innerText),
    lines: [...document.querySelectorAll('#lines > div')].map((one) => one.textContent),
    sandbox: document.getElementById('sandbox').innerText, refusals: document.querySelector('#refusals tbody').innerText,
    queue: document.querySelector('#queue-plot .read').dataset.value, title: document.title,
    progress: { shown: !document.getElementById('progress').hidden, value: document.getElementById('bar').value, text: document.getElementById('percent').textContent },
  };
});

const enter = async (page, facts, remember = false) => {
  await page.goto(`${facts.origin}/guard/`);
  await signIn(page, facts.key, remember);
  await page.waitForURL(`${facts.origin}/guard/`);
  await page.waitForSelector('#word.ok, #word.warn, #word.bad');
};
const asked = (page, path) => page.evaluate((one) => fetch(one).then((answer) => answer.json()), path);
const word = (page) => page.textContent('#word');
const posts = (seen) => seen.requests.filter((one) => one.method === 'POST' && one.url.includes('/guard/')).map((one) => ({ url: one.url, origin: one.headers.origin, token: Boolean(one.headers.authorization) }));

const parts = {
  figures: async ({ page, facts }) => {
    await enter(page, facts);
    await page.waitForTimeout(facts.settle ?? 2500);
    return { page: await figures(page), status: await asked(page, '/guard/status.json'), health: await asked(page, '/health') };
  },

  restart: async ({ page, facts, seen }) => {
    await enter(page, facts);
    await page.waitForTimeout(1500);
    const before = await figures(page);
    const words = [];
    await page.click('#restart');
    const question = await page.innerText('#ask-restart');
    const focus = await page.evaluate(() => document.activeElement.closest('dialog')?.id);
    await page.click('#ask-restart button[value=""]');
    await page.waitForTimeout(500);
    await page.keyboard.press('Tab');
    await page.click('#restart');
    await page.keyboard.press('Escape');
    await page.waitForTimeout(500);
    const cancelled = posts(seen);
    await page.click('#restart');
    await page.click('#ask-restart button[value="yes"]');
    await page.waitForFunction(() => document.getElementById('done').textContent);
    const told = await page.textContent('#done');
    await until(async () => {
      const now = await word(page);
      if (words.at(-1) !== now) words.push(now);
      return words.length > 1 && now === 'ok';
    }, 'ComfyUI is back', 30000);
    await page.waitForTimeout(1500);
    const after = await figures(page);
    // At once again, which is too soon.
    await page.click('#restart');
    await page.click('#ask-restart button[value="yes"]');
    await page.waitForFunction((text) => document.getElementById('done').textContent !== text, told);
    return { before, question, focus, cancelled, told, words, after, again: await page.textContent('#done'), posts: posts(seen) };
  },

  tokenless: async ({ page, facts }) => {
    await enter(page, facts);
    const tried = await page.evaluate(async () => {
      const answers = [];
      for (const path of ['restart', 'sign_out_everywhere']) {
        for (const headers of [{}, { Authorization: `Bearer ${'0'.repeat(64)}` }, { 'Content-Type': 'application/x-www-form-urlencoded' }]) {
          answers.push((await fetch(`/guard/${path}`, { method: 'POST', headers })).status);
        }
      }
      return answers;
    });
    return { tried, still: await page.evaluate(() => fetch('/guard/status.json').then((answer) => answer.status)) };
  },

  enter: async ({ page, facts }) => {
    if (facts.sign) await enter(page, facts, true);
    else await page.goto(`${facts.origin}/guard/`);
    return { address: page.url(), guarded: await page.locator('#word').count() === 1 };
  },

  everywhere: async ({ context, page, facts }) => {
    await enter(page, facts, true);
    const other = await context.newPage();
    await other.goto(`${facts.origin}/guard/`);
    await other.waitForSelector('#word.ok, #word.warn');
    await page.bringToFront();
    await page.click('#everywhere');
    await page.click('#ask-everywhere button[value=""]');
    await page.waitForTimeout(700);
    const stayed = page.url();
    await page.click('#everywhere');
    await page.click('#ask-everywhere button[value="yes"]');
    await page.waitForURL(/auth_login/);
    await other.waitForURL(/auth_login/, { timeout: 10000 });
    await page.waitForFunction(() => document.getElementById('good')?.textContent);
    return {
      stayed, address: page.url(), other: other.url(), said: await page.textContent('#good'), cookies: await context.cookies(),
      kept: await page.evaluate(() => ({ ...localStorage, ...sessionStorage })),
    };
  },

  hidden: async ({ page, facts, seen }) => {
    await enter(page, facts);
    const count = () => seen.requests.filter((one) => one.url.includes('/guard/') && one.url.endsWith('.json')).length;
    const turn = (hidden) => page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    // Once a second; a busy machine may be slower, and that it asks at all is what is looked for.
    const until = async (many) => {
      for (let left = 200; left > 0 && count() < many; left -= 1) await page.waitForTimeout(100);
      return count();
    };
    const visible = await until(3);
    await turn(true);
    await page.waitForTimeout(1500);
    const start = count();
    await page.waitForTimeout(4000);
    const unseen = count() - start;
    await turn(false);
    return { visible, unseen, again: (await until(start + unseen + 2)) - start - unseen };
  },

  silence: async ({ context, page, facts }) => {
    await enter(page, facts);
    await context.setOffline(true);
    await page.waitForFunction(() => document.getElementById('silence').textContent, null, { timeout: 10000 });
    const said = await page.textContent('#silence');
    const stale = await page.evaluate(() => document.body.classList.contains('stale'));
    await page.click('#restart');
    await page.click('#ask-restart button[value="yes"]');
    await page.waitForFunction(() => document.getElementById('done').textContent);
    const failed = await page.textContent('#done');
    await context.setOffline(false);
    await page.waitForFunction(() => !document.getElementById('silence').textContent, null, { timeout: 10000 });
    return { said, stale, failed, later: await page.evaluate(() => document.body.classList.contains('stale')) };
  },

  plot: async ({ page, facts }) => {
    await enter(page, facts);
    await page.waitForTimeout(4000);
    const canvas = page.locator('.gpu [data-of=temperature] .canvas').first();
    const read = () => page.textContent('.gpu [data-of=temperature] .read');
    const found = { rest: await read() };
    const { x, y, width, height } = await canvas.boundingBox();
    await canvas.scrollIntoViewIfNeeded();
    await canvas.hover({ position: { x: width - 3, y: height / 2 } });
    found.hovered = await read();
    await page.mouse.move(x, Math.max(y - 200, 1));
    await page.mouse.move(1, 1);
    found.left = await read();
    await canvas.focus();
    await page.keyboard.press('ArrowLeft');
    found.last = await read();
    await page.keyboard.press('ArrowLeft');
    found.before = await read();
    found.cursor = await page.getAttribute('.gpu [data-of=temperature] .cursor', 'd');
    return found;
  },

  hostile: async ({ page, facts }) => {
    await enter(page, facts);
    await page.waitForFunction((text) => document.getElementById('lines').textContent.includes(text), facts.last, { timeout: 10000 });
    return {
      ...await figures(page),
      scripts: await page.evaluate(() => document.scripts.length), images: await page.evaluate(() => document.images.length),
      ran: await page.evaluate(() => window.ran ?? null), children: await page.evaluate(() => document.querySelectorAll('#lines > div *').length),
    };
  },

  foreign: async ({ context, page, facts, seen }) => {
    await enter(page, facts);
    const evil = await context.newPage();
    await evil.goto(`${facts.other}/page`);
    const tried = await evil.evaluate(async (origin) => {
      const found = { read: [], failed: 0 };
      for (const path of ['/guard/', '/guard/status.json', '/guard/history.json']) {
        for (const init of [{ credentials: 'include' }, { credentials: 'include', mode: 'no-cors' }]) {
          try {
            const answer = await fetch(origin + path, init);
            if (answer.type !== 'opaque') found.read.push(await answer.text());
          } catch { found.failed += 1; }
        }
      }
      for (const path of ['/guard/restart', '/guard/sign_out_everywhere']) {
        for (const init of [{}, { mode: 'no-cors' }, { mode: 'no-cors', body: new URLSearchParams({ token: 'x' }) }, { headers: { Authorization: `Bearer ${'0'.repeat(64)}` } }]) {
          try { await fetch(origin + path, { method: 'POST', credentials: 'include', ...init }); } catch { found.failed += 1; }
        }
        const frame = Object.assign(document.createElement('iframe'), { name: path });
        const form = Object.assign(document.createElement('form'), { method: 'post', action: origin + path, target: path });
        document.body.append(frame, form);
        const done = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 3000); });
        form.submit();
        await done;
        new Image().src = origin + path;
      }
      const framed = Object.assign(document.createElement('iframe'), { src: `${origin}/guard/`, id: 'framed' });
      document.body.append(framed);
      await new Promise((resolve) => { framed.onload = resolve; setTimeout(resolve, 4000); });
      await new Promise((resolve) => { setTimeout(resolve, 1500); });
      try { found.framed = framed.contentDocument?.body.innerText ?? 'closed'; } catch { found.framed = 'closed'; }
      return found;
    }, facts.other ? facts.origin : '');
    const inFrame = evil.frames().filter((one) => one !== evil.mainFrame() && one.url().includes('/guard/'));
    const words = await Promise.all(inFrame.map((one) => one.locator('#word').count().catch(() => 0)));
    return { ...tried, words, still: await page.evaluate(() => fetch('/guard/status.json').then((answer) => answer.status)), refused: seen.refused };
  },
};

export const play = async (all) => {
  // What the policy forbids is also red in the console; here it is named.
  await all.context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => { console.error(`policy: ${violatedDirective} ${blockedURI}`); });
  });
  return parts[all.facts.part](all);
};
