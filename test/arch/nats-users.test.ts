/** The users of NATS are written from data, and the data knows every subject and every service that uses it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ADDRESSED, passwordVariable, permissionsOf, TRAFFIC, USERS, usersText } from '#deploy/nats/permissions.ts';
import { listFiles, REPOSITORY } from './tree.ts';

const USERS_CONF = join(REPOSITORY, 'deploy/nats/users.conf');
const SERVICES = ['ingress', 'policy', 'session', 'connector'] as const;

interface Contract {
  readonly pattern: string;
  readonly filter: string;
}
const isContract = (value: unknown): value is Contract => typeof value === 'object' && value !== null && 'pattern' in value && 'filter' in value && 'owner' in value;

const contracts = new Map<string, Contract>();
for (const file of listFiles(['protocol/{subjects,audit}/*.ts']).filter((path) => !path.endsWith('.test.ts'))) {
  const module = (await import(pathToFileURL(join(REPOSITORY, file)).href)) as Record<string, unknown>;
  for (const [name, value] of Object.entries(module)) if (isContract(value)) contracts.set(name, value);
}

if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(USERS_CONF, usersText());

/** Contracts a service's own code builds subjects of, by name, with the file. */
function usedBy(service: string): [string, string][] {
  const found: [string, string][] = [];
  for (const file of listFiles([`services/${service}/**/*.ts`]).filter((path) => !path.endsWith('.test.ts'))) {
    const text = readFileSync(join(REPOSITORY, file), 'utf8');
    for (const name of contracts.keys()) if (new RegExp(`\\b${name}\\.(to\\(|filter)`).test(text)) found.push([name, file]);
  }
  return found;
}

describe('the users of NATS', () => {
  test('are in users.conf as permissions.ts says', () => {
    expect(readFileSync(USERS_CONF, 'utf8'), 'users.conf is out of date: `npm run golden` writes it anew').toBe(usersText());
  });

  test('take their passwords from variables that the example names', () => {
    const example = readFileSync(join(REPOSITORY, 'deploy/nats/nats.env.example'), 'utf8');
    const named = ['nats-server.conf', 'users.conf'].flatMap((file) => [...readFileSync(join(REPOSITORY, 'deploy/nats', file), 'utf8').matchAll(/\$([A-Z][A-Z0-9_]+)/g)].map(([, name]) => name));
    const variables = named.filter((name) => !/^(KV|JS)$/.test(name ?? ''));
    expect(variables).toEqual(expect.arrayContaining(USERS.map(passwordVariable)));
    expect(variables.filter((name) => !new RegExp(`^${name}=`, 'm').test(example))).toEqual([]);
  });

  test('are given every subject there is a contract for', () => {
    const given = new Set([...TRAFFIC.map(({ contract }) => contract.pattern), ...ADDRESSED.map(({ pattern }) => pattern)]);
    const left = [...contracts].filter(([, { pattern }]) => !given.has(pattern)).map(([name]) => name);
    expect(left, 'say in TRAFFIC of deploy/nats/permissions.ts who publishes and who subscribes it').toEqual([]);
  });

  test.each(SERVICES)('%s may use every contract its code builds subjects of', (service) => {
    const { publish, subscribe } = permissionsOf(service);
    const used = usedBy(service);
    const refused = used.filter(([name]) => {
      const { filter, pattern } = contracts.get(name) as Contract;
      return !ADDRESSED.some((one) => one.pattern === pattern) && !publish.includes(filter) && !subscribe.includes(filter);
    });
    expect(refused.map(([name, file]) => `${file}: ${name}`), `let ${service} publish or subscribe it in TRAFFIC of deploy/nats/permissions.ts`).toEqual([]);
    if (service !== 'policy') expect(used.length).toBeGreaterThan(0);
  });
});
