// Opens an address and says what is there: the login page or the graph, and what the browser holds.
import { graph, holdings, signIn, until } from './steps.mjs';

const kind = (page) => until(() => page.evaluate(() => {
  if (document.getElementById('enter')) return 'login';
  return window.app?.graph && document.querySelector('canvas') ? 'graph' : null;
}), 'the login page or the graph', 90000);

export const play = async ({ context, page, facts }) => {
  const answer = await page.goto(facts.origin + (facts.path ?? '/'));
  const found = { status: answer.status(), before: await kind(page), mark: await page.locator('meta[http-equiv=refresh]').count() };
  if (facts.type !== undefined) {
    await signIn(page, facts.type, facts.remember);
    if (facts.refused) {
      await until(async () => (await page.textContent('#error')).trim(), 'an error in words');
      found.said = await page.textContent('#error');
      found.invalid = await page.getAttribute('#key', 'aria-invalid');
    } else {
      await graph(page);
    }
  }
  found.shows = await kind(page);
  found.kept = await holdings(page);
  found.cookies = await context.cookies();
  found.api = await page.evaluate(async () => {
    const statuses = {};
    for (const path of ['/queue', '/api/queue', '/object_info', '/view?filename=x.png', '/history', '/api/userdata?dir=workflows', '/system_stats']) {
      statuses[path] = (await fetch(path, { headers: { Accept: 'application/json' } })).status;
    }
    return statuses;
  });
  return found;
};
