import { describe, expect, it } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import { compare, scoredFailures } from './compare.ts';
import { readRequirements, REVISIONS, runSuite } from './suite.ts';

describe.each(REVISIONS)('the fixture under the requirements of %s', (revision) => {
  it('passes every scored scenario, twice alike', { timeout: 120_000 }, async () => {
    const everything = await startEverything();
    try {
      const requirements = await readRequirements(revision);
      const first = await runSuite(everything.url, revision, AbortSignal.timeout(60_000));
      const second = await runSuite(everything.url, revision, AbortSignal.timeout(60_000));
      expect(scoredFailures(requirements, first)).toEqual([]);
      expect(compare(first, second)).toEqual([]);
      expect([...first.keys()].toSorted()).toEqual([...requirements.scored, ...requirements.notScored.keys()].toSorted());
    } finally {
      await everything.close();
    }
  });
});
