/** What becomes of calls whose authorizer is not there, whatever protocol it would speak. */
import { expect, test } from 'vitest';

export interface AbsentAuthorizer {
  /** Of a call to a route: `/down` says nothing of failures, `/down-allow` lets calls through, `/down-status` answers 503. */
  statusOf(path: string): Promise<number>;
  /** So many checks of the one that is not there came out like this. */
  outcomes(outcome: string): Promise<number>;
}

/** The routes; `asking` is how one asks the authorizer, without what it does when that fails. */
export const downRoutes = (asking: object, route: (name: string, policies: object) => object): object[] => [
  route('down', { extAuthz: asking }),
  route('down-allow', { extAuthz: { ...asking, failureMode: 'allow' } }),
  route('down-status', { extAuthz: { ...asking, failureMode: { denyWithStatus: 503 } } }),
];

export function absentAuthorizer({ statusOf, outcomes }: AbsentAuthorizer): void {
  test.each([['/down', 403], ['/down-allow', 200], ['/down-status', 503]])('at %s is %d', async (path, status) => {
    expect(await statusOf(path)).toBe(status);
  });

  test('is counted, with those that went on all the same', async () => {
    expect(await outcomes('allowed-failing')).toBe(1);
    expect(await outcomes('unavailable')).toBe(3);
  });
}
