/** One Streamable HTTP server of the modern era: stateless, shared by all clients. Closing the request is the cancel (MCP 2026-07-28). */
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import { modernHeaders } from '#protocol/mcp/modern.ts';
import { type HttpAnswer, HttpEndpoint, Stop } from './http-endpoint.ts';
import { readMessage, readRefusal, readResponse } from './responses.ts';
import type { Upstream, UpstreamCall, UpstreamReceiver } from './upstream.ts';

const encoder = new TextEncoder();

export class ModernHttp implements Upstream {
  readonly target: string;
  readonly #endpoint: HttpEndpoint;

  constructor(target: string, endpoint: HttpEndpoint) {
    this.target = target;
    this.#endpoint = endpoint;
  }

  request(call: UpstreamCall, receiver: UpstreamReceiver): () => void {
    const stop = new Stop();
    this.#run(call, receiver, stop).catch((error: unknown) => {
      if (!stop.stopped) receiver.fail(this.#endpoint.fault(error));
    });
    return () => stop.stop();
  }

  async #run(call: UpstreamCall, receiver: UpstreamReceiver, stop: Stop): Promise<void> {
    const headers = { ...call.headers, ...modernHeaders(call.method, call.name), 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    const answer = await this.#endpoint.send({ method: 'POST', headers, body: call.payload, stop, deadline: call.deadline, caller: this.#endpoint.callerOf(call.caller) });
    if (answer.kind === 'json') return receiver.end(answer.bytes, readResponse(answer.bytes, call.id, this.target), false);
    if (answer.kind === 'stream') return this.#stream(answer, call, receiver);
    if (answer.kind === 'accepted') throw new Fault('upstream', `${this.target} accepted a request without answering it`, { target: this.target });
    const response = readRefusal(answer.bytes, call.id);
    if (response === undefined) throw new Fault('upstream', `${this.target} answered HTTP ${answer.status}`, { target: this.target, status: String(answer.status) });
    receiver.end(encode(response), response, false);
  }

  async #stream(answer: HttpAnswer & { kind: 'stream' }, call: UpstreamCall, receiver: UpstreamReceiver): Promise<void> {
    let done = false;
    await this.#endpoint.readEvents(answer.body, {
      retry: () => undefined,
      event: (event) => {
        if (event.data === '' || done) return undefined;
        const bytes = encoder.encode(event.data);
        const from = readMessage(bytes, this.target);
        if (from.kind === 'notification') return receiver.message(from.message, bytes);
        if (from.kind === 'request') throw new Fault('upstream', `${this.target} sent a request, which this revision does not have`, { target: this.target });
        if (from.message.id !== call.id) return undefined;
        done = true;
        receiver.end(bytes, from.message, true);
        return undefined;
      },
    });
    if (!done) throw new Fault('upstream', `${this.target} closed the stream before it answered`, { target: this.target });
  }
}
