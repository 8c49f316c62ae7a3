import { describe, expect, test } from 'vitest';
import { traceSettings, tracingSchema } from './tracing.ts';

const settingsOf = (config: object): unknown => traceSettings(tracingSchema.parse({ host: 'collector:4317', ...config }));
const problemsOf = (config: object): string[] => (tracingSchema.safeParse(config).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);

test('spans go to a host, by gRPC or HTTP', () => {
  expect(settingsOf({})).toEqual({ protocol: 'grpc', url: 'http://collector:4317', ratio: 0 });
  expect(settingsOf({ host: 'https://collector', protocol: 'http' })).toMatchObject({ protocol: 'http', url: 'https://collector/v1/traces' });
  expect(settingsOf({ protocol: 'http', path: '/x' })).toMatchObject({ url: 'http://collector:4317/x' });
});

test.each([
  [true, 1], ['true', 1], [false, 0], ['false', 0], [0.25, 0.25], ['0.25', 0.25], [1, 1], ['0', 0],
])('of the traces that begin here, %j is the share %j', (randomSampling, ratio) => {
  expect(settingsOf({ randomSampling })).toMatchObject({ ratio });
});

describe('what is not served is refused', () => {
  test.each([
    [{}, ': one of host is required'],
    [{ host: 'a/b' }, 'host: expected a host without a path'],
    [{ host: 'a', path: '/x' }, 'path: gRPC has no path'],
    [{ host: 'a', randomSampling: 'random() < 0.5' }, 'randomSampling: '],
    [{ host: 'a', randomSampling: 2 }, 'randomSampling: a share is 0 to 1'],
    [{ host: 'a', clientSampling: false }, 'clientSampling: a trace that its client records is recorded'],
    [{ host: 'a', attributes: { a: '1' } }, 'attributes: Parley knows this key but does not serve it yet'],
    [{ host: 'a', filter: 'true' }, 'filter: Parley knows this key but does not serve it yet'],
  ])('%j', (config, problem) => {
    expect(problemsOf(config)[0]).toContain(problem);
  });
});
