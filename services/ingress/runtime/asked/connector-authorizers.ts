/**
 * Authorizers that want to know who asks: credentials are for connectors alone, so a connector asks them for us (decision 30).
 * Questions and answers hold tokens of callers, and go there and back sealed.
 */
import type { HttpAnswer, HttpQuestion } from '#policies/authorizer/authorizer.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { authorizerPurpose, connectorAuthorizer } from '#protocol/subjects/connector.ts';
import type { Bus } from '#host/bus/bus.ts';
import { answerOf, questionBytes } from '#host/callouts/http-text.ts';
import type { Wire } from '#host/callouts/wire.ts';
import type { CallerSeal } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export type AskConnector = (wire: 'grpc' | 'http', authorizer: string) => Wire<Uint8Array, Uint8Array>;

export const askConnector = (bus: Pick<Bus, 'request'>, seal: Pick<CallerSeal, 'sealText' | 'openText'>): AskConnector => (wire, authorizer) => ({
  async ask(question, deadline) {
    try {
      const sealed = await seal.sealText(Buffer.from(question).toString('base64'), authorizerPurpose('question', authorizer), Math.max(1, deadline - clock()));
      const answer = await bus.request(connectorAuthorizer.to({}), { payload: encoder.encode(sealed), meta: { wire, authorizer }, deadline });
      return Buffer.from(await seal.openText(decoder.decode(answer), authorizerPurpose('answer', authorizer)), 'base64');
    } catch (error) {
      // Whatever keeps an answer from us is no bug of the call: `failureMode` says what it means.
      const fault = asFault(error);
      throw fault.code === 'timeout' || fault.code === 'bug' ? fault : new Fault('upstream', fault.message, fault.facts);
    }
  },
  close: () => undefined,
});

export const httpByConnector = (wire: Wire<Uint8Array, Uint8Array>): Wire<HttpQuestion, HttpAnswer> => ({
  ask: async (question, deadline) => answerOf(await wire.ask(questionBytes(question), deadline)),
  close: () => wire.close(),
});
