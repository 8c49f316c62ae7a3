/**
 * Who may say what on NATS, as data: users.conf is written from it (`npm run golden`), and a test on a real server tries
 * both what is allowed and what is not.
 *
 * P1 A user is one service, and may do what that service does and no more. Two have several hands: `parley` is every
 *    service in one process, `operator` is the person at the command line.
 * P2 The subjects are those of the contracts; TRAFFIC says which services stand at either end of each.
 * P3 What is addressed to one process carries its service as a token (inbox, control, alive), and JetStream replies go to
 *    an inbox prefix of the user's own: nobody can listen to what another is told.
 * P4 The names of session records and replay logs hold session ids, and who knows an id may use the session: asking for a
 *    stream's facts (which can list the subjects in it) is given only to those who read it anyway.
 */
import type { AuditKind } from '#protocol/audit/kinds.ts';
import { audited } from '#protocol/audit/subjects.ts';
import { CONFIG_BUCKET } from '#protocol/records/config.ts';
import { CONFIG_KEYS_BUCKET, KEYS_BUCKET } from '#protocol/records/keys.ts';
import { QUARANTINE_BUCKET, SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { PINS_BUCKET } from '#protocol/records/tool-pins.ts';
import { connectorAuthorizer, connectorCall, connectorClose, connectorOnce, connectorOpen, connectorRelay, connectorStatus } from '#protocol/subjects/connector.ts';
import { alive, callCancelled, callSought, control, inbox } from '#protocol/subjects/frames.ts';
import { httpBody, httpExchange } from '#protocol/subjects/http.ts';
import { policyAuthorizationServer, policyKeys, policyLogin } from '#protocol/subjects/policy.ts';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';
import { sessionActor, sessionClaim, sessionClosed, sessionOpen, sessionStream, sessionStreamTaken, sessionUpstreamsLost, sessionWorker } from '#protocol/subjects/session.ts';
import { AUDIT_STREAM } from './layout.ts';

export type ServiceUser = 'ingress' | 'policy' | 'session' | 'connector';
export type User = ServiceUser | 'parley' | 'operator' | 'audit';

export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

const SERVICES: readonly ServiceUser[] = ['ingress', 'policy', 'session', 'connector'];
export const USERS: readonly User[] = [...SERVICES, 'parley', 'operator', 'audit'];

interface Contract {
  readonly pattern: string;
  readonly filter: string;
}

interface Traffic {
  readonly contract: Contract;
  /** Who may publish: the askers, and those who hand a question on to a sibling while they drain. */
  readonly from: readonly ServiceUser[];
  /** Who may subscribe; nobody = only a JetStream stream does. */
  readonly to: readonly ServiceUser[];
}

export const TRAFFIC: readonly Traffic[] = [
  { contract: sessionOpen, from: ['ingress', 'session'], to: ['session'] },
  { contract: sessionClaim, from: ['ingress', 'session'], to: ['session'] },
  { contract: sessionActor, from: ['ingress', 'session'], to: ['session'] },
  { contract: sessionWorker, from: ['ingress', 'session'], to: ['session'] },
  { contract: sessionUpstreamsLost, from: ['connector'], to: ['session'] },
  { contract: sessionStream, from: ['connector'], to: ['ingress'] },
  { contract: sessionStreamTaken, from: ['ingress'], to: ['ingress'] },
  { contract: sessionClosed, from: ['session'], to: ['ingress'] },
  { contract: connectorCall, from: ['ingress', 'connector'], to: ['connector'] },
  { contract: connectorOnce, from: ['ingress', 'connector'], to: ['connector'] },
  { contract: connectorOpen, from: ['session', 'connector'], to: ['connector'] },
  { contract: connectorRelay, from: ['session', 'connector'], to: ['connector'] },
  { contract: connectorClose, from: ['session'], to: ['connector'] },
  { contract: httpExchange, from: ['ingress', 'connector'], to: ['connector'] },
  { contract: httpBody, from: ['connector'], to: ['ingress'] },
  { contract: connectorAuthorizer, from: ['ingress', 'connector'], to: ['connector'] },
  { contract: policyKeys, from: ['ingress'], to: ['policy'] },
  { contract: policyAuthorizationServer, from: ['ingress'], to: ['policy'] },
  { contract: policyLogin, from: ['ingress'], to: ['policy'] },
  /** Whoever starts shows how the targets are. */
  { contract: connectorStatus, from: SERVICES, to: ['connector'] },
  { contract: replayFrame, from: ['ingress', 'connector'], to: [] },
  { contract: audited, from: SERVICES, to: [] },
  { contract: callCancelled, from: SERVICES, to: SERVICES },
  { contract: callSought, from: SERVICES, to: SERVICES },
];

/** Addressed to one process, whose service is the token `service`: said by all, heard by that service alone. */
export const ADDRESSED: readonly Contract[] = [inbox, control, alive];

/** look: its facts. read: single messages. follow: consumers. write: keys of a bucket. */
type StreamUse = 'look' | 'read' | 'follow' | 'write';

const kv = (bucket: string): string => `KV_${bucket}`;

const STREAM_USES: Readonly<Record<ServiceUser, Readonly<Record<string, readonly StreamUse[]>>>> = {
  ingress: { [kv(CONFIG_BUCKET)]: ['look', 'read', 'follow'], [REPLAY_STREAM]: ['look', 'read', 'follow'] },
  policy: { [kv(CONFIG_BUCKET)]: ['look', 'read', 'follow', 'write'], [kv(CONFIG_KEYS_BUCKET)]: ['look', 'read', 'write'] },
  session: {
    [kv(CONFIG_BUCKET)]: ['look', 'read', 'follow'],
    [kv(SESSIONS_BUCKET)]: ['look', 'read', 'follow', 'write'],
    [kv(QUARANTINE_BUCKET)]: ['look', 'read', 'write'],
  },
  connector: {
    [kv(CONFIG_BUCKET)]: ['look', 'read', 'follow'],
    [kv(CONFIG_KEYS_BUCKET)]: ['look', 'read'],
    [kv(KEYS_BUCKET)]: ['look', 'read', 'write'],
    [kv(PINS_BUCKET)]: ['look', 'read', 'follow', 'write'],
  },
};

/** Account facts tell the server's JetStream level, names which streams there are: everybody looks at both when it starts. */
const API_OF_ALL = ['$JS.API.INFO', '$JS.API.STREAM.NAMES'];

function streamSubjects(stream: string, use: StreamUse): string[] {
  switch (use) {
    case 'look':
      return [`$JS.API.STREAM.INFO.${stream}`];
    case 'read':
      return [`$JS.API.STREAM.MSG.GET.${stream}`, `$JS.API.DIRECT.GET.${stream}`, `$JS.API.DIRECT.GET.${stream}.>`];
    case 'follow':
      return [
        `$JS.API.CONSUMER.CREATE.${stream}`,
        `$JS.API.CONSUMER.CREATE.${stream}.>`,
        `$JS.API.CONSUMER.INFO.${stream}.*`,
        `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
        `$JS.API.CONSUMER.DELETE.${stream}.*`,
        `$JS.FC.${stream}.>`,
      ];
    case 'write':
      return [`$KV.${stream.slice('KV_'.length)}.>`];
  }
}

/** All of them: `nats sub 'audit.call_denied.>'` asks for some. */
const AUDIT_EVENTS = audited.pattern.replace(/\{.*/, '>');

/** The one kind of event that the command line tells of itself: nothing that a service decides can be made up there. */
const APPROVALS = audited.filter.replace('*', 'tool_approved' satisfies AuditKind);

/** The token of the command line's own processes in what is addressed to one process. */
const CLI = 'cli';

/** Of NATS clients that are not ours: the command line of NATS, for one. */
const INBOX = '_INBOX';

/** Where replies to requests of the NATS client go. A process of several services is the user `parley`. */
export function inboxPrefixOf(role: string): string {
  const known = USERS.find((user) => user === role);
  return `${INBOX}_${known ?? 'parley'}`;
}

export function permissionsOf(user: User): Permissions {
  switch (user) {
    case 'parley':
      return everything();
    case 'operator':
      return operator();
    case 'audit':
      return auditReader();
    default:
      return service(user);
  }
}

function service(user: ServiceUser): Permissions {
  const uses = Object.entries(STREAM_USES[user]);
  return {
    publish: [
      ...TRAFFIC.filter(({ from }) => from.includes(user)).map(({ contract }) => contract.filter),
      ...ADDRESSED.map(({ filter }) => filter),
      ...API_OF_ALL,
      ...uses.flatMap(([stream, how]) => how.flatMap((use) => streamSubjects(stream, use))),
    ],
    subscribe: [
      ...TRAFFIC.filter(({ to }) => to.includes(user)).map(({ contract }) => contract.filter),
      ...ADDRESSED.map((contract) => addressed(contract, user)),
      `${inboxPrefixOf(user)}.>`,
    ],
  };
}

/** The rights of the four services together, and of their processes under any name: `up`, `session-connector`. */
function everything(): Permissions {
  const all = SERVICES.map(service);
  const own = [...SERVICES, 'parley'].map((user) => `${inboxPrefixOf(user)}.>`);
  return {
    publish: distinct(all.flatMap(({ publish }) => publish)),
    subscribe: distinct([...TRAFFIC.filter(({ to }) => to.length > 0).map(({ contract }) => contract.filter), ...ADDRESSED.map(({ filter }) => filter), ...own]),
  };
}

/** JetStream whole (layout, backup, records), a session's owner to be told to end it, and to say what was approved of. Not what calls carry. */
function operator(): Permissions {
  const told: readonly Contract[] = [sessionClaim, sessionWorker, callCancelled, callSought, ...ADDRESSED];
  return {
    publish: [...told.map(({ filter }) => filter), '$JS.>', ...[SESSIONS_BUCKET, QUARANTINE_BUCKET, CONFIG_BUCKET, CONFIG_KEYS_BUCKET, KEYS_BUCKET, PINS_BUCKET].map((bucket) => `$KV.${bucket}.>`), APPROVALS],
    subscribe: [
      AUDIT_EVENTS,
      ...ADDRESSED.map((contract) => addressed(contract, CLI)),
      callCancelled.filter,
      callSought.filter,
      ...[inboxPrefixOf('operator'), inboxPrefixOf('audit'), INBOX].map((prefix) => `${prefix}.>`),
    ],
  };
}

function auditReader(): Permissions {
  const { name } = AUDIT_STREAM;
  return {
    publish: [...API_OF_ALL, ...(['look', 'read', 'follow'] as const).flatMap((use) => streamSubjects(name, use))],
    subscribe: [AUDIT_EVENTS, `${inboxPrefixOf('audit')}.>`],
  };
}

const addressed = ({ pattern }: Contract, token: string): string => pattern.replace('{service}', token).replaceAll(/\{\w+\}/g, '*');

const distinct = (subjects: readonly string[]): string[] => [...new Set(subjects)];

/** The variable a user's password comes from. */
export const passwordVariable = (user: User): string => `PARLEY_${user.toUpperCase()}_PASSWORD`;

/** The text of users.conf. */
export function usersText(): string {
  const entries = USERS.map((user) => {
    const { publish, subscribe } = permissionsOf(user);
    return `  {
    user: "${user}", password: $${passwordVariable(user)}
    permissions: {
      publish: { allow: [${listed(publish)}] }
      subscribe: { allow: [${listed(subscribe)}] }
    }
  }`;
  });
  return `# Written by \`npm run golden\` from permissions.ts, which says why. Change it there.
# Passwords come from the environment of nats-server: bcrypt (\`nats server passwd\`), or text that begins with a letter.
users: [
${entries.join('\n')}
]
`;
}

const listed = (subjects: readonly string[]): string => `\n${subjects.map((subject) => `        "${subject}"`).join('\n')}\n      `;
