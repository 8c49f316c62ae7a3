/** Subjects the connector service answers. A backend is reached by its queue group; a session's upstreams by the instance that holds them. */
import { z } from 'zod';
import { CALLER_META } from './caller.ts';
import { defineSubject } from './define.ts';
import { actorMeta, messageMeta } from './session.ts';

export const CONNECTOR_QUEUE = 'connector';

/** One stateless (modern) message; any connector of the backend may serve it. */
export const connectorCall = defineSubject({
  pattern: 'parley.connector.call.{backend}',
  owner: 'connector',
  mode: 'call',
  meta: messageMeta.extend({
    principal: z.string(),
    route: z.string(),
    again: actorMeta.shape.again,
    params: z.string().optional().describe('the Mcp-Param-* headers as received, as a JSON object'),
  }),
  payload: 'the JSON-RPC request or notification, with its envelope in _meta',
  reply: 'data: notifications of the upstream for this call; end: the response, or empty for a notification',
});

/** One legacy request in a session of its own, opened before it and closed after it: statefulMode `stateless`. */
export const connectorOnce = defineSubject({
  pattern: 'parley.connector.once.{backend}',
  owner: 'connector',
  mode: 'call',
  meta: messageMeta.extend({
    principal: z.string(),
    route: z.string(),
    version: z.string().describe('the protocol version the upstreams are asked for'),
  }),
  payload: 'the JSON-RPC request',
  reply: 'data: messages of the upstream for this call; end: the response',
});

/**
 * Opens the upstreams of one session: every target of the backend, initialized with the client's own parameters. Upstream
 * sessions that still live at a server (adopt) are gone on with; whatever cannot be is initialized anew.
 */
export const connectorOpen = defineSubject({
  pattern: 'parley.connector.open.{backend}',
  owner: 'connector',
  mode: 'call',
  meta: z.object({
    session: z.string(),
    principal: z.string(),
    route: z.string(),
    caller: CALLER_META,
    adopt: z.string().optional().describe('JSON of SessionAdoption: what an earlier connector had opened, and what the client had set'),
  }),
  payload: "the client's initialize request",
  reply: 'data: JSON of OpenedUpstreams; end: the initialize response, merged over the targets',
});

/** What an open tells the session about the upstreams it now has. */
export const openedUpstreams = z.object({
  connector: z.string().describe('instance that holds them'),
  version: z.string().describe('the protocol version the session speaks'),
  targets: z.record(
    z.string(),
    z.object({
      session: z.string().nullable().describe('the upstream session id; null when the server gave none, or is a child process'),
      version: z.string(),
      capabilities: z.record(z.string(), z.unknown()).default({}).describe('as the server declared them'),
    }),
  ),
});
export type OpenedUpstreams = z.infer<typeof openedUpstreams>;

/** What another connector needs to go on where one left off. */
export const sessionAdoption = z.object({
  connector: z.string().optional().describe('instance that held them; asked itself, it goes on with what it has'),
  version: z.string(),
  targets: openedUpstreams.shape.targets,
  initialized: z.boolean(),
  logLevel: z.string().nullable(),
  subscriptions: z.array(z.string()),
  listening: z.boolean(),
});
export type SessionAdoption = z.infer<typeof sessionAdoption>;

/** verb relay: a message of the client. listen: open the upstreams' own event streams. holds: whether the upstreams are here (end, or fault gone). */
export const connectorRelay = defineSubject({
  pattern: 'parley.connector.relay.{instance}',
  owner: 'connector',
  mode: 'call',
  meta: messageMeta.partial().extend({
    verb: z.enum(['relay', 'listen', 'holds']),
    session: z.string(),
    again: actorMeta.shape.again,
    transient: actorMeta.shape.transient,
    passedOn: z.literal('1').optional().describe('another connector passed it on: it is not to be passed on again'),
  }),
  payload: 'the JSON-RPC message; empty for the verbs listen and holds',
  reply: 'data: messages of the upstream for this call; end: the response, or empty when there is none',
});

export const connectorClose = defineSubject({
  pattern: 'parley.connector.close.{instance}',
  owner: 'connector',
  mode: 'one',
  meta: z.object({
    session: z.string(),
    handedOver: z.literal('1').optional().describe('another connector has gone on with them: forget them, and leave the upstream sessions alone'),
    resting: z.literal('1').optional().describe('the session rests: forget them unless a call is open, and leave the upstream sessions alone'),
  }),
  payload: 'empty',
});

/** An authorizer that wants to know who asks: the credentials for that are a connector's. It asks what the configuration names, and nothing else. */
export const connectorAuthorizer = defineSubject({
  pattern: 'parley.connector.authorizer',
  owner: 'connector',
  mode: 'call',
  meta: z.object({
    wire: z.enum(['grpc', 'http']),
    authorizer: z.string().describe('the key of one that the configuration names'),
  }),
  payload: 'base64 of the question, sealed with the session key: a CheckRequest of Envoy, or JSON of an HTTP request (services/host/callouts/http-text.ts)',
  reply: 'end: base64 of what it answered, sealed likewise; fault gone when the configuration does not name it, upstream or timeout when it gave no answer',
});

/** What is sealed for whom: a question does not open as an answer. */
export const authorizerPurpose = (what: 'question' | 'answer', authorizer: string): string => `authorizer ${what} ${authorizer}`;

export const connectorStatus = defineSubject({
  pattern: 'parley.connector.status',
  owner: 'connector',
  mode: 'call',
  meta: z.object({}),
  payload: 'empty',
  reply: 'end: JSON of ConnectorStatus',
});

export const connectorStatusReply = z.object({
  targets: z.array(
    z.object({
      backend: z.string(),
      target: z.string(),
      kind: z.enum(['mcp', 'stdio', 'http']),
      state: z.enum(['starting', 'ready', 'failed']),
      eras: z.array(z.enum(['legacy', 'modern'])),
      tools: z.number().nullable(),
      error: z.string().optional(),
    }),
  ),
});
export type ConnectorStatus = z.infer<typeof connectorStatusReply>;
