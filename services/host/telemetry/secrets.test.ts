import { describe, expect, test } from 'vitest';
import { PASSING_MAX, SECRETS_MAX, SECRET_CHARS_MIN, Secrets, namesSecret } from './secrets.ts';

const knowing = (...texts: readonly string[]): Secrets => {
  const secrets = new Secrets();
  secrets.add(texts);
  return secrets;
};

describe('what a process tells', () => {
  test('holds none of the secrets it knows, however often and in whatever form they stand there', () => {
    const secret = 's3cr"et/with ünusual';
    const { mask } = knowing(secret);
    expect(mask(`a ${secret} b ${secret} c`)).toBe('a [redacted] b [redacted] c');
    expect(mask(JSON.stringify({ at: secret }))).toBe('{"at":"[redacted]"}');
    expect(mask(`?key=${encodeURIComponent(secret)}&x=1`)).toBe('?key=[redacted]&x=1');
  });

  test('holds nothing of a secret that holds another', () => {
    expect(knowing('inner-secret', 'the-inner-secret-and-more').mask('see the-inner-secret-and-more')).toBe('see [redacted]');
    const secrets = knowing('inner-secret');
    secrets.learn('the-inner-secret-and-more', 'passing');
    expect(secrets.mask('see the-inner-secret-and-more')).toBe('see [redacted]');
  });

  test('keeps what is shorter than a secret, and loses what is just as long', () => {
    const [short, long] = ['x'.repeat(SECRET_CHARS_MIN - 1), 'y'.repeat(SECRET_CHARS_MIN)];
    expect(knowing(short, long).mask(`${short} ${long}`)).toBe(`${short} [redacted]`);
  });

  test('holds none of as many secrets as are known at once; the first that were told stay known', () => {
    const nth = (n: number): string => `secret-${String(n).padStart(6, '0')}`;
    const { mask } = knowing(...Array.from({ length: SECRETS_MAX + 1 }, (_, n) => nth(n)));
    expect(mask(`${nth(0)} ${nth(SECRETS_MAX - 1)} ${nth(SECRETS_MAX)}`)).toBe(`[redacted] [redacted] ${nth(SECRETS_MAX)}`);
  });

  test('holds none of the last secrets that were had and pass; those that were used again count as new', () => {
    const nth = (n: number): string => `passing-${String(n).padStart(6, '0')}`;
    const secrets = knowing('kept-secret');
    for (const n of Array.from({ length: PASSING_MAX }, (_, index) => index)) secrets.learn(nth(n), 'passing');
    secrets.learn(nth(0), 'passing');
    secrets.learn(nth(PASSING_MAX), 'passing');
    secrets.learn('of-a-file', 'kept');
    secrets.learn('short', 'passing');
    expect(secrets.mask(`${nth(0)} ${nth(1)} ${nth(PASSING_MAX)} kept-secret of-a-file short`)).toBe(`[redacted] ${nth(1)} [redacted] [redacted] [redacted] short`);
  });

  test('holds none of the last secrets of files, and none of the environment however many these are', () => {
    const nth = (n: number): string => `filed-${String(n).padStart(6, '0')}`;
    const secrets = knowing('given-secret');
    for (let n = 0; n <= SECRETS_MAX; n += 1) secrets.learn(nth(n), 'kept');
    expect(secrets.mask(`${nth(0)} ${nth(1)} ${nth(SECRETS_MAX)} given-secret`)).toBe(`${nth(0)} [redacted] [redacted] [redacted]`);
  });

  test('keeps plain addresses, which a log is of little use without, and loses those with a secret in them', () => {
    const [plain, query] = ['http://upstream.example:8080/mcp', 'http://upstream.example:8080/mcp?key=1'];
    expect(knowing(plain, query).mask(`${plain} and ${query}`)).toBe(`${plain} and [redacted]`);
  });
});

test('what the variables of a configuration stand for is secret, but for what a log could not do without', () => {
  const secrets = new Secrets();
  secrets.addVariables(['UPSTREAM_PIN', 'PWD', 'UNSET'], { UPSTREAM_PIN: 'planted-value', PWD: '/home/somebody', OTHER: 'other-value' });
  expect(secrets.mask('/home/somebody planted-value other-value')).toBe('/home/somebody [redacted] other-value');
});

describe('of its environment a process knows as secret', () => {
  test.each([
    ['NATS_PASSWORD', 'planted-value', 'planted-value'],
    ['PARLEY_HANDLE_KEY', 'planted-value', 'planted-value'],
    ['GITHUB_TOKEN', 'planted-value', 'planted-value'],
    ['NATS_URL', 'nats://user:planted%2Dvalue@a:1,nats://b:2', 'planted-value'],
    ['NATS_URL', 'nats://planted-value@a:1', 'planted-value'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'x=1,authorization=Bearer%20planted-value', 'planted-value'],
  ])('what %s=%s holds', (name, value, secret) => {
    expect(Secrets.of({ [name]: value }).mask(`it is ${secret}.`)).toBe('it is [redacted].');
  });

  test.each([
    ['HOME', '/home/somebody'],
    ['PARLEY_LOG_LEVEL', 'planted-value'],
    ['NATS_URL', 'nats://planted-value:4222'],
  ])('nothing of %s=%s', (name, value) => {
    expect(Secrets.of({ [name]: value }).mask(value)).toBe(value);
  });

  test.each([
    ['Authorization', true],
    ['api_key', true],
    ['clientSecret', true],
    ['max_tokens', false],
    ['progressToken', false],
    ['monkey', false],
  ])('the name %s says so: %s', (name, says) => {
    expect(namesSecret(name)).toBe(says);
  });
});
