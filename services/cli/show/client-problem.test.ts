import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ProtocolError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client';
import { describe, expect, test } from 'vitest';
import { CommandError, EXIT_FAILED } from '../core/exit.ts';
import { clientProblem } from './client-problem.ts';

const url = new URL('http://localhost:3000/mcp');

describe('a failed conversation', () => {
  test('with nobody at the port asks whether `parley up` runs', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const closed = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
    await new Promise((resolve) => server.close(resolve));
    const refused = await fetch(closed).catch((error: unknown) => error);
    const problem = clientProblem(refused, closed);
    expect(problem.message).toBe(`cannot reach ${closed.href}: connection refused; is \`parley up\` running?`);
    expect(problem.exitCode).toBe(EXIT_FAILED);
  });

  test.each([
    [404, 'no MCP server is at this path'],
    [401, 'it wants a login'],
    [503, 'cannot serve now'],
    [502, 'answered 502: bad gateway'],
  ])('with HTTP %i says what that means', (status, meaning) => {
    const error = new SdkHttpError(SdkErrorCode.ClientHttpNotImplemented, 'bad gateway', { status });
    expect(clientProblem(new Error('outer', { cause: error }), url).message).toContain(meaning);
  });

  test('with a JSON-RPC error gives the words and the code of the server', () => {
    expect(clientProblem(new ProtocolError(-32602, 'no such tool'), url).message).toBe(`${url.href} refused: no such tool (JSON-RPC error -32602)`);
  });

  test('of a kind we never saw keeps its own words, even when it is its own cause', () => {
    const strange = new Error('strange');
    strange.cause = strange;
    expect(clientProblem(strange, url).message).toBe(`talking to ${url.href} failed: strange`);
    expect(clientProblem('text', url).message).toBe(`talking to ${url.href} failed: text`);
  });

  test('that was put into words already stays as it is', () => {
    const told = new CommandError('no tool of this name');
    expect(clientProblem(told, url)).toBe(told);
  });
});
