import { expect, test } from 'vitest';
import { createLog, maskUrls, type LogLevel, type Logger } from './log.ts';
import { Secrets } from './secrets.ts';

function listening(level: LogLevel = 'info'): { log: Logger; lines: string[]; last: () => Record<string, unknown> } {
  const lines: string[] = [];
  const log = createLog({ level, format: 'json', base: { service: 'ingress' }, sink: { write: (line) => void lines.push(line) } });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

test('a line is JSON with its level, time, message and who speaks', () => {
  const { log, last } = listening();
  log.info({ route: 'r1' }, 'route is up');
  expect(last()).toMatchObject({ level: 'info', service: 'ingress', route: 'r1', msg: 'route is up', time: expect.stringMatching(/^\d{4}-.*Z$/) });
});

test('what is below the level is not written', () => {
  const { log, lines } = listening('warn');
  log.info('quiet');
  log.warn('loud');
  expect(lines).toHaveLength(1);
});

test.each(['authorization', 'Authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'access_token', 'apiKey', 'x-api-key', 'password', 'clientSecret', 'credentials'])(
  'a value under the key %s is masked at any depth',
  (key) => {
    const { log, lines } = listening();
    log.info({ request: { headers: [{ [key]: 'hunter2' }] }, [key]: 'hunter2' }, 'a request');
    expect(lines.join('')).not.toContain('hunter2');
    expect(lines.join('')).toContain('[redacted]');
  },
);

test('keys that only speak of tokens stay readable', () => {
  const { log, last } = listening();
  log.info({ maxTokens: 12, progressToken: 'p1', hasToken: true }, 'usage');
  expect(last()).toMatchObject({ maxTokens: 12, progressToken: 'p1', hasToken: true });
});

test('an error keeps its code and its cause, and loses the password in its text', () => {
  const { log, last, lines } = listening();
  log.error(Object.assign(new Error('cannot reach nats://parley:hunter2@nats:4222', { cause: new Error('refused') }), { code: 'ECONNREFUSED' }));
  expect(last()).toMatchObject({ msg: 'cannot reach nats://[redacted]@nats:4222', err: { code: 'ECONNREFUSED', cause: { message: 'refused' } } });
  expect(lines.join('')).not.toContain('hunter2');
});

test('what a value holds too deep down, or in a cycle, is left out instead of followed', () => {
  const { log, last } = listening();
  const loop: Record<string, unknown> = { name: 'loop' };
  loop['again'] = loop;
  log.info({ loop, bytes: new Uint8Array(3) }, 'a cycle');
  expect(JSON.stringify(last())).toContain('[deeper]');
  expect(last()).toMatchObject({ bytes: '[3 bytes]' });
});

test('only the credentials of a URL are masked', () => {
  expect(maskUrls('nats://u:p@a:1,tls://token@b and mail me@host')).toBe('nats://[redacted]@a:1,tls://[redacted]@b and mail me@host');
});

test('a secret the process knows is in no line: not in the message, a field, an error or its cause', () => {
  const lines: string[] = [];
  const log = createLog({ level: 'info', format: 'json', secrets: Secrets.of({ SOME_TOKEN: 'planted-value' }), sink: { write: (line) => void lines.push(line) } });
  log.info({ list: ['planted-value'], err: new Error('no planted-value', { cause: new Error('planted-value') }) }, 'with planted-value');
  log.error(new Error('planted-value'));
  expect(lines).toHaveLength(2);
  expect(lines.join('')).not.toContain('planted-value');
});
