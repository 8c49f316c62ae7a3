/** One exchange of plain HTTP over any bus (protocol/subjects/http.ts): heads and trailers of answers, and bodies that are pulled. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CREDIT_FRAMES } from '#protocol/subjects/frames.ts';
import { CHUNK_BYTES_MAX, httpBody, httpExchange } from '#protocol/subjects/http.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Asked } from '#host/bus/bus.ts';
import { PulledBody } from '../../services/connector/runtime/http/pulled-body.ts';
import type { EdgeRequest } from '../../services/ingress/runtime/edge/edge.ts';
import { RequestBodies } from '../../services/ingress/runtime/http/request-bodies.ts';
import { Bench, type Buses, bytes, text } from './bus-bench.ts';

/** A request whose body comes from here. */
const bodyOf = (chunks: () => AsyncIterable<Uint8Array>): EdgeRequest => ({ chunks }) as EdgeRequest;

export function httpExchangeContract(name: string, open: () => Promise<Buses>): void {
  describe(`an exchange over ${name}`, () => {
    const bench = new Bench();
    let bodies: RequestBodies;
    beforeEach(async () => {
      await bench.open(open);
      bodies = new RequestBodies(bench.asker);
      await bench.settled();
    });
    afterEach(async () => {
      bodies.close();
      await bench.close();
    });

    const pull = (body: string): PulledBody => new PulledBody(bench.server, bench.asker.instance, body);

    test('has a head with the first frame, and trailers with the last', async () => {
      const subject = httpExchange.to({ backend: 'files' });
      const heard: (string | undefined)[] = [];
      bench.server.serve(subject, ({ answer, meta }: Asked<{ request?: string }>) => {
        answer.head({ response: `head of ${meta.request}` });
        answer.data(bytes('body'));
        answer.end(bytes(''), { trailers: 'trailers' });
      });
      await bench.settled();
      await new Promise<void>((resolve, reject) => {
        bench.asker.call(subject, { payload: bytes(''), meta: { principal: 'p', route: 'r', request: 'it' }, deadline: Number.MAX_SAFE_INTEGER }, {
          head: (facts) => void heard.push(facts.response),
          data: (payload) => void heard.push(text(payload)),
          end: (payload, facts) => (heard.push(text(payload), facts?.trailers), resolve()),
          fail: reject,
        });
      });
      expect(heard).toEqual(['head of it', 'body', '', 'trailers']);
    });

    test('cuts a body into frames of their limit at most', async () => {
      const { name: body } = bodies.offer(bodyOf(async function* () {
        yield Buffer.alloc(CHUNK_BYTES_MAX + 1);
        yield Buffer.alloc(CHUNK_BYTES_MAX);
      }));
      const sizes: number[] = [];
      await new Promise<void>((end, fail) => {
        bench.server.call(httpBody.to({ instance: bench.asker.instance }), { payload: bytes(''), meta: { body }, deadline: Number.MAX_SAFE_INTEGER }, { data: ({ length }) => void sizes.push(length), end: () => end(), fail });
      });
      expect(sizes).toEqual([CHUNK_BYTES_MAX, 1, CHUNK_BYTES_MAX]);
    });

    test('pulls a body to its end, once', async () => {
      const { name: body } = bodies.offer(bodyOf(async function* () {
        yield bytes('begin');
        yield bytes('end');
      }));
      expect(Buffer.concat((await pull(body).toArray()) as Buffer[]).toString()).toBe('beginend');
      await expect(pull(body).resume().toArray()).rejects.toMatchObject({ code: 'gone' });
    });

    test('has nothing to pull of what was withdrawn', async () => {
      const { name: body, withdraw } = bodies.offer(bodyOf(async function* () {}));
      withdraw();
      await expect(pull(body).toArray()).rejects.toMatchObject({ code: 'gone' });
    });

    test('holds a sender back whose body nobody takes, and lets it go on', async () => {
      let sent = 0;
      const chunk = Buffer.alloc(CHUNK_BYTES_MAX, 'x');
      const count = 3 * CREDIT_FRAMES;
      const stopped = Promise.withResolvers<void>();
      const { name: body } = bodies.offer(bodyOf(async function* () {
        for (; sent < count; sent += 1) {
          if (sent === CREDIT_FRAMES - 1) stopped.resolve();
          yield chunk;
        }
      }));
      const pulled = pull(body);
      pulled.read(0);
      await stopped.promise;
      for (let turn = 0; turn < 3; turn += 1) await bench.settled();
      expect(sent).toBeLessThanOrEqual(CREDIT_FRAMES + 2);
      let size = 0;
      for await (const one of pulled) size += (one as Buffer).length;
      expect(size).toBe(count * chunk.length);
    });

    test('ends with the fault of a client that breaks off', async () => {
      const { name: body } = bodies.offer(bodyOf(async function* () {
        yield bytes('half');
        throw new Fault('invalid', 'the body broke off', { status: '400' });
      }));
      await expect(pull(body).toArray()).rejects.toMatchObject({ code: 'invalid', facts: { status: '400' } });
    });

    test('reads no more of a body whose backend has gone', async () => {
      const closed = Promise.withResolvers<void>();
      const { name: body } = bodies.offer(bodyOf(async function* () {
        try {
          for (;;) yield Buffer.alloc(1_000);
        } finally {
          closed.resolve();
        }
      }));
      const pulled = pull(body);
      await new Promise((resolve) => pulled.once('data', resolve));
      pulled.destroy();
      await closed.promise;
    });
  });
}
