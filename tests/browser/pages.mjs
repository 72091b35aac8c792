// Visits each address as a person would, makes a picture, and lets axe-core look at it.
import { readFileSync } from 'node:fs';
import { signIn } from './steps.mjs';

const AXE = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

// In a world of its own, which the page's policy does not hold for and whose code the page does not see.
const audit = async (context, page) => {
  const session = await context.newCDPSession(page);
  const { frameTree } = await session.send('Page.getFrameTree');
  const { executionContextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id });
  const evaluate = async (expression) => {
    const done = await session.send('Runtime.evaluate', { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true });
    if (done.exceptionDetails) throw new Error(JSON.stringify(done.exceptionDetails));
    return done.result.value;
  };
  await evaluate(AXE);
  const found = await evaluate(`axe.run(document, { runOnly: ${JSON.stringify(RULES)} }).then((result) => ({
    passes: result.passes.length,
    violations: result.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html.slice(0, 120) + ' ' + node.failureSummary).join(' | ')),
  }))`);
  await session.detach();
  return found;
};

export const play = async ({ context, page, facts }) => {
  const found = {};
  const scripted = facts.browser.javaScriptEnabled !== false;
  if (facts.enter) {
    const next = facts.next ?? '/';
    await page.goto(`${facts.origin}/auth_login.html?next=${encodeURIComponent(next)}`);
    await signIn(page, facts.key);
    await page.waitForURL(facts.origin + next);
  }
  for (const [name, path] of facts.places) {
    const answer = await page.goto(facts.origin + path);
    await page.waitForLoadState('load');
    if (scripted) await page.waitForTimeout(150);
    if (facts.settled) await page.waitForSelector(facts.settled);
    await page.screenshot({ path: `${facts.pictures}/${name}.${facts.mark}.png`, fullPage: Boolean(facts.settled) });
    const session = await context.newCDPSession(page);
    const { cssLayoutViewport, cssContentSize } = await session.send('Page.getLayoutMetrics');
    await session.detach();
    found[name] = {
      status: answer.status(), language: await page.getAttribute('html', 'lang'), title: await page.title(), text: await page.innerText('body'),
      tooWide: cssContentSize.width > cssLayoutViewport.clientWidth, audit: scripted ? await audit(context, page) : null,
    };
  }
  return found;
};
