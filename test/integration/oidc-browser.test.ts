/** A login in a real browser: it keeps or refuses cookies by rules of its own, which no script of ours imitates whole. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Everything, startEverything } from '../fixtures/everything/main.ts';
import { type AuthorizationServerWorld, startAuthorizationServer } from '../world/authorization-server.ts';
import { type RunningChromium, noChromium, startChromium } from '../world/chromium.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { initializeOf } from '../world/wire.ts';

const SECRET = 'the secret of the client';

// Where no browser is, there is nothing to try it with: noChromium says what is missing. Continuous integration installs one (.ci/run).
describe.skipIf(noChromium !== undefined)('a login in Chromium', () => {
  let everything: Everything;
  let server: AuthorizationServerWorld;
  let parley: ParleyWorld;
  let browser: RunningChromium;
  /** Another site than the provider's, which is at 127.0.0.1. */
  let url: string;

  beforeAll(async () => {
    const port = await freePort();
    url = `http://localhost:${port}/mcp`;
    const redirectURI = `${url}/callback`;
    const client = { client_id: 'gateway', client_secret: SECRET, redirect_uris: [redirectURI], grant_types: ['authorization_code'], response_types: ['code'] };
    [everything, server, browser] = await Promise.all([startEverything(), startAuthorizationServer({ resource: 'https://nothing.test', clients: [client], form: true }), startChromium()]);
    const policies = { oidc: { issuer: server.issuer, clientId: 'gateway', clientSecret: '$CLIENT_SECRET', redirectURI }, authorization: { rules: ['jwt.sub == "ada"'] } };
    parley = await startParley({ config: { mcp: { port, policies, targets: [{ name: 'everything', mcp: { host: everything.url } }] } }, env: { CLIENT_SECRET: SECRET } });
  });
  afterAll(async () => {
    await browser?.close();
    await parley?.stop();
    await Promise.all([server?.close(), everything?.close()]);
  });

  test('ends on the page that was opened, whose scripts then speak MCP, until they log out', async () => {
    const page = await browser.context.newPage();
    await page.goto(`${url}?from=here`);
    expect([page.url().startsWith(server.issuer), await page.title()]).toEqual([true, 'Sign in']);
    await page.getByLabel('Name').fill('ada');
    await page.getByRole('button').click();
    await page.waitForURL(`${url}?from=here`);

    const cookies = await browser.context.cookies(url);
    expect(cookies).toEqual([expect.objectContaining({ name: expect.stringMatching(/^agw_oidc_s_/), httpOnly: true, sameSite: 'Lax', secure: false, path: '/' })]);
    expect(await page.evaluate('document.cookie')).toBe('');

    const ask = (request: { readonly path: string; readonly body?: unknown }) =>
      page.evaluate(async ({ path, body }) => {
        const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
        const response = await fetch(path, { method: 'POST', redirect: 'manual', headers, body: JSON.stringify(body) });
        return { status: response.status, type: response.type, text: await response.text() };
      }, request);
    const opened = await ask({ path: '/mcp', body: initializeOf() });
    expect([opened.status, JSON.parse(opened.text)]).toEqual([200, expect.objectContaining({ result: expect.objectContaining({ protocolVersion: '2025-11-25' }) })]);

    expect((await ask({ path: '/mcp/callback?logout' })).type).toBe('opaqueredirect');
    expect(await browser.context.cookies(url)).toEqual([]);
    expect((await ask({ path: '/mcp', body: initializeOf() })).status).toBe(401);
  });

  test('is not given away to a page of another site, which cannot use it either', async () => {
    const page = await browser.context.newPage();
    await page.goto(url);
    if (page.url().startsWith(server.issuer)) {
      await page.getByLabel('Name').fill('ada');
      await page.getByRole('button').click();
    }
    await page.waitForURL(url);
    const elsewhere = await browser.context.newPage();
    await elsewhere.goto(`${server.issuer}/.well-known/openid-configuration`);
    const refused = await elsewhere.evaluate(async (target) => fetch(target, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' }).then(({ type }) => type, String), `${url}/callback?logout`);
    expect(refused).toBe('opaque');
    expect(await browser.context.cookies(url)).toHaveLength(1);
  });
});
