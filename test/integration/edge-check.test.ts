import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../world/certificates.ts';
import { runCommand } from '../world/command.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-check-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const TARGETS = 'targets: [{ name: a, stdio: { cmd: x } }]';

describe('parley check', () => {
  test.each<[string, string, readonly string[]]>([
    [
      'a wrong key deep inside',
      `binds:\n  - port: 3000\n    listeners:\n      - routes:\n          - name: one\n            backnds:\n              - mcp: { ${TARGETS} }\n`,
      ['6:13 error binds[0].listeners[0].routes[0].backnds: unknown key "backnds" (did you mean "backends"?)'],
    ],
    [
      'wrong types and values, all of them at once',
      'mcp:\n  port: three\n  prefixMode: conditionl\n  targets:\n    - name: a_b\n      stdio: { cmd: x }\n    - name: b\n      stdio: { cmd: [x] }\n',
      [
        '2:3 error mcp.port: expected a port number, found a text',
        '3:3 error mcp.prefixMode: expected one of conditional, always, never; found "conditionl" (did you mean "conditional"?)',
        '5:7 error mcp.targets[0].name: a target name must not contain',
        '8:16 error mcp.targets[1].stdio.cmd: ',
      ],
    ],
    [
      'references to nothing',
      `gateways:\n  default:\n    port: 3000\nroutes:\n  - name: one\n    gateways: [defalt]\n    backends:\n      - backend: everyting\nbackends:\n  - name: everything\n    mcp: { ${TARGETS} }\n`,
      [
        '6:16 error routes[0].gateways[0]: there is no gateway "defalt" (did you mean "default"?)',
        '8:9 error routes[0].backends[0].backend: there is no backend "everyting" (did you mean "everything"?)',
      ],
    ],
    [
      "a target's reference to nothing",
      'backends:\n  - name: upstream\n    host: localhost:4000\nmcp:\n  port: 3000\n  targets:\n    - name: a\n      mcp: { backend: upstrem }\n',
      ['8:14 error mcp.targets[0].mcp.backend: there is no backend "upstrem" (did you mean "upstream"?)'],
    ],
    [
      'two gateways on one port',
      `gateways:\n  first:\n    port: 3000\n  second:\n    port: 3000\nroutes:\n  - gateways: [first]\n    backends:\n      - mcp: { ${TARGETS} }\n`,
      ['5:5 error gateways.second.port: port 3000 is already taken by gateways.first'],
    ],
    [
      'one port in three ways of writing',
      `binds:\n  - port: 3000\n    listeners: [{ routes: [] }]\n  - port: 3000\n    listeners: [{ routes: [] }]\nmcp:\n  port: 3000\n  ${TARGETS}\n`,
      ['4:5 error binds[1].port: port 3000 is already taken by binds[0]', '7:3 error mcp.port: port 3000 is already taken by binds[0]'],
    ],
    ['a key that is written twice', `mcp:\n  port: 3000\n  port: 3001\n  ${TARGETS}\n`, ['3:3 error the key "port" is written twice']],
    ['what is no YAML', 'mcp:\n  port: 3000\n  targets: [\n    - name: a\n', ['4:5 error ']],
  ])('names file, line and key of %s', async (_what, text, problems) => {
    const file = join(folder, 'config.yaml');
    await writeFile(file, text);
    const { code, stdout, stderr } = await runCommand(['check', '-f', file]);
    const lines = stdout.trim().split('\n');
    for (const problem of problems) expect(lines).toContainEqual(expect.stringContaining(`${file}:${problem}`));
    expect(stderr).toContain(`${file} is not valid`);
    expect(code).toBe(1);
  });

  test('looks at the certificates and keys a configuration names', async () => {
    const authority = makeAuthority();
    const [one, two] = [authority.issue('one'), authority.issue('two', undefined, -1_000)];
    const path = (name: string): string => join(folder, name);
    await Promise.all([writeFile(path('one.pem'), one.cert), writeFile(path('one.key'), one.key), writeFile(path('two.pem'), two.cert), writeFile(path('two.key'), two.key)]);
    const file = path('tls.yaml');
    const gateway = (port: number, cert: string, key: string, mode = ''): string => `  g${port}:\n    port: ${port}\n    tls:\n      cert: ${path(cert)}\n      key: ${path(key)}\n${mode}`;
    await writeFile(file, `gateways:\n${gateway(3000, 'none.pem', 'one.key')}${gateway(3001, 'one.pem', 'two.key')}${gateway(3002, 'two.pem', 'two.key')}${gateway(3003, 'one.key', 'one.key')}${gateway(3004, 'one.pem', 'one.key', '      mode: dynamicCa\n')}`);
    const bad = await runCommand(['check', '-f', file]);
    expect(bad.stdout.trim().split('\n')).toEqual([
      expect.stringContaining(`${file}:5:7 error gateways.g3000.tls.cert: the file cannot be read: there is no such file`),
      expect.stringContaining(`${file}:11:7 error gateways.g3001.tls.key: the file does not belong to the certificate in cert`),
      expect.stringContaining(`${file}:15:7 warning gateways.g3002.tls.cert: the certificate has ended`),
      expect.stringContaining(`${file}:20:7 error gateways.g3003.tls.cert: the file holds no certificate`),
      expect.stringContaining(`${file}:25:7 error gateways.g3004.tls.cert: the file is the certificate of no authority`),
    ]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('is not valid: 4 errors')]);
    await writeFile(file, `gateways:\n${gateway(3000, 'one.pem', 'one.key')}`);
    expect(await runCommand(['check', '-f', file])).toMatchObject({ code: 0, stdout: `${file} is valid\n` });
  });
});
