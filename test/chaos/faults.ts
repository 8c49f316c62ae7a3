/** What is done to the world, and what a client may notice of it: everything else is a violation. */

export const SERVICES = ['policy', 'session', 'connector', 'ingress'] as const;
export type ServiceName = (typeof SERVICES)[number];

/** kill = kill -9, started again a little later; stop = SIGSTOP, SIGCONT seconds later; partition = no byte to or from NATS for seconds; restart = SIGTERM, started again. */
const MANNERS = ['kill', 'stop', 'partition', 'restart'] as const;
export type Manner = (typeof MANNERS)[number];

/** The leader is that of the stream behind the bucket of sessions. */
const NATS_KINDS = ['nats-kill', 'nats-stop', 'nats-restart', 'nats-leader-kill', 'nats-leader-stop'] as const;
export type NatsKind = (typeof NATS_KINDS)[number];
export type ServiceKind = `${ServiceName}-${Manner}`;
/** Nothing is done to anybody: what the harness itself measures then is the floor of all other figures. */
export const CALM = 'calm';
export type FaultKind = ServiceKind | NatsKind | typeof CALM;

const SERVICE_KINDS: readonly ServiceKind[] = SERVICES.flatMap((service) => MANNERS.map((manner): ServiceKind => `${service}-${manner}`));
export const KINDS: readonly FaultKind[] = [CALM, ...SERVICE_KINDS, ...NATS_KINDS];

export const isNatsKind = (kind: FaultKind): kind is NatsKind => (NATS_KINDS as readonly string[]).includes(kind);

export function partsOf(kind: ServiceKind): { readonly service: ServiceName; readonly manner: Manner } {
  const [service, manner] = kind.split('-') as [ServiceName, Manner];
  return { service, manner };
}

/** What may happen to calls that are open during a fault of a kind, or begin before it is healed. Absent = may not. */
export interface Allowance {
  /**
   * The connection may break before an answer or an event id came. The protocol has no resume for that (MCP 2025-11-25,
   * Streamable HTTP), so it is nobody's fault but the fault's.
   */
  readonly cut?: true;
  /** A call that may not run twice may end in an error that says so: nobody knows whether it ran. */
  readonly unknown?: true;
  /** 503: not now, the call was not taken. Clients repeat what may be repeated. */
  readonly refused?: true;
  /** The same for what must be written to KV before it is answered, and only for that. */
  readonly durableRefused?: true;
}

/** Nobody can carry on what only the dead one knew. */
const LOST: Allowance = { unknown: true };
/** Until the nodes that are left have elected a leader nothing can be written. */
const LEADERLESS: Allowance = { durableRefused: true };

const ALLOWED: Partial<Record<FaultKind, Allowance>> = {
  'connector-kill': LOST,
  'connector-stop': LOST,
  'connector-partition': LOST,
  /** Its sockets die with it. */
  'ingress-kill': { cut: true },
  /** Its clients still reach it, and it reaches nobody. */
  'ingress-partition': { cut: true, unknown: true, refused: true },
  'nats-kill': LEADERLESS,
  'nats-stop': LEADERLESS,
  'nats-restart': LEADERLESS,
  'nats-leader-kill': LEADERLESS,
  'nats-leader-stop': LEADERLESS,
};

export const allowedBy = (kind: FaultKind): Allowance => ALLOWED[kind] ?? {};
