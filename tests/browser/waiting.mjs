// The page of a ComfyUI that is away: it goes on by itself once ComfyUI is back.
import { graph, signIn, until } from './steps.mjs';

export const play = async ({ page, facts }) => {
  await page.goto(facts.origin);
  await signIn(page, facts.key);
  await graph(page);
  await page.evaluate(() => fetch('/_standin/crash?code=9', { method: 'POST' }).catch(() => {}));
  let waited = null;
  await until(async () => {
    const answer = await page.goto(facts.origin).catch(() => null);
    if (answer?.status() !== 503) return false;
    waited = { title: await page.title(), text: await page.innerText('body'), address: page.url() };
    return true;
  }, 'the waiting page', 10000);
  await graph(page);
  return { waited, address: page.url() };
};
