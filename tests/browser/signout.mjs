// Two tabs of one session; the first signs out by `facts.how`, the second one's socket has to close.
import { graph, holdings, signIn, until } from './steps.mjs';

const by = {
  url: (page, facts) => page.goto(`${facts.origin}/auth_login.html?logout=true`),
  script: (page) => page.evaluate(() => { window.comfyuiLogout(); }),
  control: async (page) => {
    await until(
      () => page.evaluate(() => window.app.extensionManager.command.commands.some((one) => one.id === 'ComfyGuard.SignOut')),
      'the command is registered',
    );
    await page.keyboard.press('Escape');
    await page.locator('.comfy-menu-button-wrapper, .comfyui-logo-menu-trigger, [aria-label="Menu"], .comfyui-logo-wrapper').first().click();
    await page.getByText('Sign out', { exact: true }).first().click();
  },
};

export const play = async ({ context, page, facts, seen }) => {
  await page.goto(facts.origin);
  await signIn(page, facts.key, facts.remember);
  await graph(page);
  const [cookie] = await context.cookies();
  const other = await context.newPage();
  await other.goto(facts.origin);
  await graph(other);
  const own = await until(() => seen.sockets[1]?.texts > 0 && seen.sockets[1], 'the second tab hears its socket');
  const before = await holdings(page);
  let ended = null;
  page.on('response', (response) => {
    if (response.request().method() === 'DELETE' && response.url().endsWith('/auth_session')) ended ??= Date.now();
  });
  await page.bringToFront();
  await by[facts.how](page, facts);
  await until(() => ended, 'the session is ended at the guard');
  await until(() => own.closed, 'the other tab\'s socket closes', 5000);
  await page.waitForFunction(() => document.getElementById('good')?.textContent);
  return {
    before, cookie, closedAfter: own.closed - ended, said: await page.textContent('#good'), address: page.url(),
    after: await holdings(page), cookies: await context.cookies(),
  };
};
